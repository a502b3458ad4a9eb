"""Coverage of t intervals over runs, by simulation: normal runs, skewed ones, and runs of which some collapse."""

import functools
from collections.abc import Callable

import numpy as np

from ohio_jax import scores

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]  # runs of mean 0 of a shape

COLLAPSING = 0.1  # share of runs that collapse


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal runs."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Moderately skewed runs: gamma of skewness 1, mean 0 and deviation 1."""
    return (rng.gamma(4.0, size=shape) - 4.0) / 2.0


def collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Runs that score about 100, with deviation 3, of which one in ten scores 0; less their mean, 90."""
    return np.where(rng.random(shape) < COLLAPSING, 0.0, rng.normal(100.0, 3.0, shape)) - 100.0 * (1 - COLLAPSING)


@functools.cache
def coverage(draw: Draw, runs: int, trials: int = 100_000, seed: int = 0) -> float:
    """Share of trials in which the 95 % t interval of so many runs covers their mean."""
    low, high = scores.t_interval(draw(np.random.default_rng(seed), (trials, runs)))
    return float(np.mean((low <= 0) & (high >= 0)))
