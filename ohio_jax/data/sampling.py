"""Which transitions a learner sees: a probability for each, and draws from them inside jit.

Trajectory weighting (Hong et al. 2023) draws the transitions of an episode in proportion to exp(score / temperature);
the score is the episode's return (RW) or its advantage over what its first observation lets one expect (AW), scaled to
[0, 1] over the dataset. Cloning of the best tenth ("10 % BC", Chen et al. 2021) is cloning of `top`. Neither needs a change of
a learner.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int32, PRNGKeyArray, UInt32

from ohio_jax.data.transitions import Transitions
from ohio_jax.errors import UserError

# Differences of scores below this share of the returns' size are rounding, not information.
TIE = 1e-6


def uniform(transitions: Transitions, temperature: float) -> Float64[np.ndarray, "M"]:
    """`Float64[M]`, the same for every transition; `temperature` has no effect."""
    return np.full(len(transitions.episode), 1.0 / len(transitions.episode))


def return_weighted(transitions: Transitions, temperature: float) -> Float64[np.ndarray, "M"]:
    """`Float64[M]`, RW: p ~ exp(scaled return / temperature)."""
    return _soft_max(transitions, transitions.episode_return, temperature)


def advantage_weighted(transitions: Transitions, temperature: float) -> Float64[np.ndarray, "M"]:
    """AW: as RW with the return minus its linear regression on the episode's first observation.

    With no more episodes than observations the regression explains every return, and the result is uniform.

    Returns:
        `Float64[M]`.
    """
    returns = np.asarray(transitions.episode_return, np.float64)
    present, rows = np.unique(transitions.episode, return_index=True)
    features = np.asarray(transitions.obs[rows], np.float64)
    spread = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
    centered = returns[present] - returns[present].mean()
    fit = np.linalg.lstsq(features, centered, rcond=1e-6)[0]
    advantage = np.zeros_like(returns)
    advantage[present] = centered - features @ fit
    return _soft_max(transitions, advantage, temperature)


def top(transitions: Transitions, share: float) -> Float64[np.ndarray, "M"]:
    """`Float64[M]`, the same for every transition of the best `share` of the episodes by return, ties included; else 0."""
    returns = np.sort(transitions.episode_return[np.unique(transitions.episode)])
    best = max(1, min(len(returns), round(share * len(returns))))
    chosen = transitions.episode_return[transitions.episode] >= returns[-best]
    return chosen / chosen.sum()


PROBABILITIES = {"uniform": uniform, "return": return_weighted, "advantage": advantage_weighted, "top": top}


def _soft_max(transitions: Transitions, score: np.ndarray, temperature: float) -> np.ndarray:
    """`Float64[M]` from scores `Float[E]`; only episodes that still have transitions count for the scaling."""
    score = np.asarray(score, np.float64)[transitions.episode]
    width = np.ptp(score)
    size = np.abs(transitions.episode_return[transitions.episode]).max()
    scaled = (score - score.max()) / width if width > TIE * size else np.zeros_like(score)
    weight = np.exp(scaled / temperature)
    return weight / weight.sum()


def cumulative(probabilities: Float[np.ndarray, "M"]) -> UInt32[np.ndarray, "M"]:
    """`UInt32[M]`, running sums in units of 2^-31: float32 would blur a million small probabilities.

    Raises:
        UserError: for probabilities whose sum is not finite, or not above 0.
    """
    total = np.cumsum(np.asarray(probabilities, np.float64))
    if not 0.0 < total[-1] < np.inf:
        raise UserError(f"sampling: expected probabilities with a finite sum above 0, found {total[-1]}")
    return np.round(total / total[-1] * 2.0**31).astype(np.uint32)


def sample_indices(key: PRNGKeyArray, cumulative: UInt32[Array, "M"], size: int) -> Int32[Array, "{size}"]:
    """`Int32[size]`, independent indices by inversion of `cumulative`; an index of probability 0 never comes."""
    uniform = jax.random.bits(key, (size,), jnp.uint32) >> 1
    return jnp.searchsorted(cumulative, uniform, side="right").astype(jnp.int32)
