"""Offline hierarchical reinforcement learning via inverse optimisation, in JAX."""

__version__ = "0.1.0"
