"""The tasks of the suite; `ohio_envs.registry.make` builds one by name."""
