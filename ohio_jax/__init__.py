"""Offline hierarchical reinforcement learning via inverse optimization, in JAX."""

__version__ = "0.1.0"
