"""Normalised scores and their statistics.

A table of scores is `Float[R, T]`: R runs (seeds or episodes) of T strata (tasks, rows, ...). NumPy in, numbers out;
the resampling runs in JAX under an explicit key, so an interval is the same each time it is computed. `exact` and `interval`
count in float64, so that it is the same on every machine as well.
Aggregates follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021).
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.errors import UserError

CHUNK = 500  # resamples drawn side by side: bounds memory, not the result


def normalise(returns, zero: float, full: float) -> np.ndarray:
    """`100 (J - J_0) / (J_ref - J_0)` in float64, of any shape. Raises UserError if both references are equal."""
    if zero == full:
        raise UserError(f"score: expected different references for 0 and 100, found {zero} for both")
    return 100.0 * (np.asarray(returns, np.float64) - zero) / (full - zero)


def gap(returns, best: float) -> np.ndarray:
    """`100 (J_best - J) / |J_best|` in float64, of any shape: how many percent the returns are worse than the best there can be.

    best: the best mean return, as a task's reference for 100 or its bound gives it. Raises UserError if it is 0.
    """
    if best == 0:
        raise UserError("gap: expected a best return other than 0, found 0")
    return 100.0 * (best - np.asarray(returns, np.float64)) / abs(best)


def mean(scores) -> jax.Array:
    """Mean of all scores, Float[]."""
    return jnp.mean(jnp.asarray(scores))


def means(scores) -> jax.Array:
    """Mean over runs of each stratum, Float[T]; scores: Float[R, T]."""
    return jnp.mean(jnp.asarray(scores), axis=0)


def std(scores) -> jax.Array:
    """Standard deviation of all scores, Float[]; divided by their number, as published tables do."""
    return jnp.std(jnp.asarray(scores))


def interquartile_mean(scores) -> jax.Array:
    """Mean of the middle half of all scores, Float[]: a quarter of them, rounded down, is dropped at either end."""
    ordered = jnp.sort(jnp.ravel(jnp.asarray(scores)))
    dropped = ordered.size // 4
    return jnp.mean(ordered[dropped : ordered.size - dropped])


def median(scores) -> jax.Array:
    """Median over strata of the mean over runs, Float[]; scores: Float[R, T]."""
    return jnp.median(means(scores))


def optimality_gap(scores, full: float = 100.0) -> jax.Array:
    """By how much scores fall short of `full` on average, Float[]: the mean of max(full - score, 0)."""
    return jnp.mean(jnp.maximum(full - jnp.asarray(scores), 0.0))


def performance_profile(scores, thresholds) -> jax.Array:
    """Share of scores above each threshold, Float[K]; scores: of any shape, thresholds: Float[K]."""
    above = jnp.ravel(jnp.asarray(scores))[:, None] > jnp.asarray(thresholds)[None, :]
    return jnp.mean(above.astype(float), axis=0)  # of booleans JAX takes the mean in float32, whatever is enabled


def probability_of_improvement(ours, theirs) -> jax.Array:
    """Chance that a run of ours beats one of theirs on the same stratum, ties counting half; mean over strata, Float[].

    ours: Float[R, T], theirs: Float[S, T].
    """
    ours, theirs = jnp.asarray(ours)[:, None, :], jnp.asarray(theirs)[None, :, :]
    return jnp.mean((ours > theirs) + 0.5 * (ours == theirs))


def ranks(low, high) -> np.ndarray:
    """Int[N, 2], first and last place that intervals [low, high] leave to each of N contenders; 1 is the highest.

    One is surely before another where its interval lies above the other's whole; both are equal where it says no more.
    """
    low, high = np.asarray(low), np.asarray(high)
    before, after = (high[:, None] < low[None, :]).sum(axis=1), (low[:, None] > high[None, :]).sum(axis=1)
    return np.stack([1 + before, len(low) - after], axis=1)


def exact(statistic: Callable[..., Any], *samples) -> np.ndarray:
    """`statistic(*samples)` in float64."""
    with jax.enable_x64(True):
        return np.asarray(statistic(*(np.asarray(sample, np.float64) for sample in samples)))


def interval(
    key: jax.Array,
    *samples,
    statistic: Callable[..., Any] = mean,
    resamples: int = 20_000,
    confidence: float = 0.95,
) -> tuple[Any, Any]:
    """Percentile bootstrap interval (low, high) of `statistic(*samples)`; runs are drawn anew within each stratum.

    samples: tables Float[R, T], each resampled on its own; R may differ between them.
    statistic: a module-level function of the tables, traceable by JAX. low and high have its shape, in float64.
    """
    with jax.enable_x64(True):
        drawn = _resampled(key, tuple(np.asarray(sample, np.float64) for sample in samples), statistic, resamples)
    low, high = np.quantile(np.asarray(drawn), [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return low, high


@functools.partial(jax.jit, static_argnames=("statistic", "resamples"))
def _resampled(key: jax.Array, tables: tuple[jax.Array, ...], statistic, resamples: int) -> jax.Array:
    """`statistic` of `resamples` stratified resamples, Float[resamples, ...]."""

    def resample(key, table):
        rows = jax.random.randint(key, table.shape, 0, table.shape[0], jnp.int32)
        return jnp.take_along_axis(table, rows, axis=0)

    def once(key):
        keys = jax.random.split(key, len(tables))
        return statistic(*(resample(k, table) for k, table in zip(keys, tables, strict=True)))

    return jax.lax.map(once, jax.random.split(key, resamples), batch_size=min(CHUNK, resamples))
