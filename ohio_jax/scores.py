"""Normalized scores and their statistics.

A table of scores is `Float[R, T]`: R runs (seeds or episodes) of T strata (tasks, rows, ...). All is counted in float64 by
NumPy, on small tables of many shapes, each of which XLA would compile anew. Runs are drawn by JAX under an explicit key, so
that an interval is the same each time it is computed, and on every machine. Statistics of a table take many as well: axes
before the last two are kept, and what is no table is the runs of one stratum.

Aggregates follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice" (NeurIPS 2021).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int, PRNGKeyArray
from numpy.typing import ArrayLike

from ohio_jax.errors import UserError

CHUNK = 2_000  # resamples counted side by side: bounds memory, not the result


def normalize(returns: ArrayLike, zero: float, full: float) -> np.ndarray:
    """`100 (J - J_0) / (J_ref - J_0)` in float64, of any shape. Raises UserError if both references are equal."""
    if zero == full:
        raise UserError(f"score: expected different references for 0 and 100, found {zero} for both")
    return 100.0 * (np.asarray(returns, np.float64) - zero) / (full - zero)


def gap(returns: ArrayLike, best: float) -> np.ndarray:
    """`100 (J_best - J) / |J_best|` in float64, of any shape: how many percent the returns are worse than the best there can be.

    Args:
        best: the best mean return, as a task's reference for 100 or its bound gives it.

    Raises:
        UserError: if it is 0.
    """
    if best == 0:
        raise UserError("gap: expected a best return other than 0, found 0")
    return 100.0 * (best - np.asarray(returns, np.float64)) / abs(best)


def _tables(scores) -> np.ndarray:
    """`Float64[..., R, T]`."""
    scores = np.asarray(scores, np.float64)
    return scores if scores.ndim > 1 else scores.reshape(-1, 1)


def _pooled(scores) -> np.ndarray:
    """`Float64[..., R T]`, the scores of all strata together."""
    tables = _tables(scores)
    return tables.reshape(*tables.shape[:-2], -1)


def mean(scores: ArrayLike) -> np.ndarray:
    """Mean of all scores, `Float[...]`."""
    return np.mean(_pooled(scores), axis=-1)


def means(scores: ArrayLike) -> Float64[np.ndarray, "... T"]:
    """Mean over runs of each stratum, `Float[..., T]`."""
    return np.mean(_tables(scores), axis=-2)


def std(scores: ArrayLike) -> np.ndarray:
    """Standard deviation of all scores, `Float[...]`; divided by their number, as published tables do."""
    return np.std(_pooled(scores), axis=-1)


def interquartile_mean(scores: ArrayLike) -> np.ndarray:
    """Mean of the middle half of all scores, `Float[...]`: a quarter of them, rounded down, is dropped at either end."""
    ordered = np.sort(_pooled(scores), axis=-1)
    dropped = ordered.shape[-1] // 4
    return np.mean(ordered[..., dropped : ordered.shape[-1] - dropped], axis=-1)


def median(scores: ArrayLike) -> np.ndarray:
    """Median over strata of the mean over runs, `Float[...]`."""
    return np.median(means(scores), axis=-1)


def optimality_gap(scores: ArrayLike, full: float = 100.0) -> np.ndarray:
    """By how much scores fall short of `full` on average, `Float[...]`: the mean of max(full - score, 0)."""
    return np.mean(np.maximum(full - _pooled(scores), 0.0), axis=-1)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> Float64[np.ndarray, "... K"]:
    """Share of scores above each threshold, `Float[..., K]`; thresholds: `Float[K]`."""
    ordered, thresholds = np.sort(_pooled(scores), axis=-1), np.asarray(thresholds)
    many = ordered.reshape(-1, ordered.shape[-1])
    above = ordered.shape[-1] - np.stack([np.searchsorted(one, thresholds, side="right") for one in many])
    return (above / ordered.shape[-1]).reshape(*ordered.shape[:-1], len(thresholds))


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> np.ndarray:
    """Chance that a run of ours beats one of theirs on the same stratum, ties counting half; mean over strata, `Float[...]`.

    Args:
        ours: `Float[..., R, T]`.
        theirs: `Float[..., S, T]`.
    """
    ours, theirs = _tables(ours)[..., :, None, :], _tables(theirs)[..., None, :, :]
    return np.mean(0.5 * (ours > theirs) + 0.5 * (ours >= theirs), axis=(-3, -2, -1))


def ranks(low: ArrayLike, high: ArrayLike) -> Int[np.ndarray, "N 2"]:
    """First and last place that intervals [low, high] leave to each of N contenders; 1 is the highest.

    One is surely before another where its interval lies above the other's whole; both are equal where it says no more.

    Returns:
        `Int[N, 2]`.
    """
    low, high = np.asarray(low), np.asarray(high)
    before, after = (high[:, None] < low[None, :]).sum(axis=1), (low[:, None] > high[None, :]).sum(axis=1)
    return np.stack([1 + before, len(low) - after], axis=1)


def t_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval (low, high) of the mean of independent values, Float[N], N > 1; with one value it is infinitely wide."""
    import scipy.special

    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return -math.inf, math.inf
    half = scipy.special.stdtrit(len(values) - 1, 0.5 + confidence / 2) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def interval(
    key: PRNGKeyArray,
    *samples: ArrayLike,
    statistic: Callable[..., Any] = mean,
    resamples: int = 20_000,
    confidence: float = 0.95,
) -> tuple[Any, Any]:
    """Percentile bootstrap interval (low, high) of `statistic(*samples)`; runs are drawn anew within each stratum.

    Args:
        *samples: tables `Float[R, T]`, each resampled on its own; R may differ between them.
        statistic: a function of the tables that keeps the axes before their last two. low and high have its shape.
    """
    tables, seed = [_tables(sample) for sample in samples], tuple(np.asarray(jax.random.key_data(key)).tolist())
    # JAX draws the same first numbers however many there are: lengths are rounded up, so that many tables share their draws.
    drawn = [_drawn(seed, resamples, (k, len(tables)), len(x), 2 ** math.ceil(math.log2(x.size))) for k, x in enumerate(tables)]
    found = []
    for start in range(0, resamples, CHUNK):
        some = (rows[start : start + CHUNK, : x.size].reshape(-1, *x.shape) for rows, x in zip(drawn, tables, strict=True))
        found.append(statistic(*(np.take_along_axis(x[None], rows, axis=1) for rows, x in zip(some, tables, strict=True))))
    low, high = np.quantile(np.concatenate(found), [0.5 - confidence / 2, 0.5 + confidence / 2], axis=0)
    return low, high


@functools.lru_cache(maxsize=16)
def _drawn(seed: tuple[int, ...], resamples: int, place: tuple[int, int], runs: int, length: int) -> np.ndarray:
    """`Int32[resamples, length]`, runs that are drawn: each at least 0 and below `runs`. place: which table, of how many."""
    keys = jax.random.split(jax.random.wrap_key_data(jnp.array(seed, jnp.uint32)), resamples)
    mine = jax.vmap(lambda key: jax.random.split(key, place[1])[place[0]])(keys)
    return np.asarray(_draw(mine, runs, length))


@functools.partial(jax.jit, static_argnums=2)
def _draw(keys: jax.Array, runs: int, length: int) -> jax.Array:
    """`Int32[N, length]`, from a key for each resample."""
    return jax.vmap(lambda key: jax.random.randint(key, (length,), 0, runs, jnp.int32))(keys)
