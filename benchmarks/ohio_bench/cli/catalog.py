"""`list`: what there is by name."""

from ohio_bench.cli.arguments import Add, show


def list_command(args) -> None:
    """tasks, policies, action interfaces, controllers, inverses, learners, experiments"""
    import gc

    gc.disable()  # importing makes many objects and no garbage; looking for it takes a tenth of this command's time
    from ohio_envs import datasets, registry
    from ohio_envs.plans import INTERFACES

    from ohio_bench.experiments import EXPERIMENTS
    from ohio_bench.speed.pages import PAGES
    from ohio_jax.controllers import CONTROLLERS
    from ohio_jax.inverse import INVERSES
    from ohio_jax.learners import LEARNERS

    found = {
        "tasks": sorted(registry.TASKS),
        "policies": registry.policies(),
        "data sets": sorted(datasets.RECIPES),
        "interfaces": {family: list(names) for family, names in INTERFACES.items()},
        "controllers": sorted(CONTROLLERS),
        "inverses": sorted(INVERSES),
        "learners": sorted(LEARNERS),
        "experiments": {name: sorted(of.presets) for name, of in EXPERIMENTS.items()},
        "speed": sorted(PAGES),
    }
    lines = []
    for kind, names in found.items():
        if isinstance(names, dict):
            names = [f"{name} ({', '.join(of)})" for name, of in names.items()]
        lines.append(f"{kind:<12} {', '.join(names)}")
    show(args, found, "\n".join(lines))


def add_to(add: Add) -> None:
    add("list", list_command, cached=False)
