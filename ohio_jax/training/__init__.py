"""Training: a plan, the loop that follows it, checkpoints between its blocks; offline, online, and through a simulator."""

from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan

__all__ = ["Plan", "train"]
