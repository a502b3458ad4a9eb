"""Data sets: logged low-level trajectories, and the high-level transitions an inverse makes of them."""

from ohio_jax.data.logs import from_arrays
from ohio_jax.data.storage import KINDS, Dataset, load, save, verify, write
from ohio_jax.data.trajectories import Trajectories, columns, concatenate, coverage, quality
from ohio_jax.data.transitions import Batch, Transitions, continuation

__all__ = [
    "KINDS", "Batch", "Dataset", "Trajectories", "Transitions",
    "columns", "concatenate", "continuation", "coverage", "from_arrays", "load", "quality", "save", "verify", "write",
]  # fmt: skip
