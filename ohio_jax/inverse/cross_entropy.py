"""The inverse by the cross-entropy method: no derivative needed, nothing assumed of the residual (Rubinstein 1999)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ohio_jax import low_level
from ohio_jax.inverse.result import Recovered, goal_status, is_identifiable
from ohio_jax.low_level import Prepared, Problem, residual

ROUNDS, SAMPLES, ELITE = 60, 64, 8
# Of `search_as_released`: goals drawn and kept in a round; it ends after PATIENCE rounds in a row without an improvement by GAIN,
# or below ENOUGH, both of the loss [N^2 m^2].
DRAWN, KEPT, PATIENCE, GAIN, ENOUGH, LONGEST = 50, 10, 4, 0.1, 1e-6, 10_000
SMOOTHING = 0.5  # share of the old deviation kept in each round, so that the search does not collapse at once


def invert(problem: Problem, at: Prepared) -> Recovered:
    """Gaussian search around the problem's start; returns the best goal seen. All segments share the same draws."""
    start = problem.project(low_level.start(problem, at))
    squared = jax.vmap(lambda goal: jnp.sum(jnp.square(residual(problem, goal, at))))

    def search(carry, key):
        mean, deviation, best, lowest = carry
        noise = jax.random.normal(key, (SAMPLES, *start.shape), start.dtype)
        goals = jax.vmap(lambda noise: problem.project(mean + deviation * noise))(noise)
        values = jnp.nan_to_num(squared(goals), nan=jnp.inf)
        order = jnp.argsort(values)[:ELITE]
        elite = goals[order]
        found = values[order[0]] < lowest
        best, lowest = jnp.where(found, elite[0], best), jnp.minimum(values[order[0]], lowest)
        deviation = SMOOTHING * deviation + (1 - SMOOTHING) * jnp.std(elite, axis=0)
        return (jnp.mean(elite, axis=0), deviation, best, lowest), None

    deviation = 0.5 + jnp.abs(start)
    if problem.width is not None:  # goals may be much smaller than a half
        deviation = jnp.minimum(deviation, 0.5 * low_level.width(problem, at))
    first = (start, deviation, start, squared(start[None])[0])
    (_, deviation, best, _), _ = jax.lax.scan(search, first, jax.random.split(jax.random.key(0), ROUNDS))
    converged = jnp.max(deviation) < 1e-2 * (1.0 + jnp.max(jnp.abs(best)))
    return goal_status(problem, at, best, is_identifiable(problem, at, best), converged, ROUNDS)


class Search(NamedTuple):
    """State of `search_as_released`.

    Attributes:
        mean, deviation: `Float[g]`, of the goals drawn next.
        goal: `Float[g]`, the answer so far, and loss: `Float[]`, of the best goal that was drawn with it.
        stalled: `Int[]`, rounds in a row without an improvement by GAIN.
        iterations: `Int[]`, rounds.
    """

    mean: jax.Array
    deviation: jax.Array
    goal: jax.Array
    loss: jax.Array
    stalled: jax.Array
    iterations: jax.Array

    @property
    def converged(self) -> Bool[Array, ""]:
        return (self.stalled >= PATIENCE) | (self.loss < ENOUGH)


def search_as_released(
    loss: Callable[[jax.Array], jax.Array],
    mean: Float[Array, "g"],
    deviation: Float[Array, "g"],
    wanted: Bool[Array, ""] | bool = True,
) -> Search:
    """The original's search: a normal distribution, entry by entry, that is fitted to the best of its goals without smoothing.

    It returns the mean of the elite of the last round with an improvement by GAIN, with the loss of that round's best goal, which
    is another one. All segments share the same draws.

    Args:
        wanted: whether to search at all, so that a batch searches only where it must.
    """

    def step(old: Search) -> Search:
        key = jax.random.fold_in(jax.random.key(0), old.iterations)
        goals = old.mean[None] + old.deviation[None] * jax.random.normal(key, (DRAWN, *mean.shape), mean.dtype)
        values = jax.vmap(loss)(goals)
        values = jnp.where(jnp.isnan(values), jnp.inf, values)
        order = jnp.argsort(values)
        best, elite = values[order[0]], goals[order[:KEPT]]
        center, found = jnp.mean(elite, axis=0), best < old.loss - GAIN
        goal, least = jnp.where(found, center, old.goal), jnp.where(found, best, old.loss)
        return Search(
            center, jnp.std(elite, axis=0, ddof=1), goal, least, jnp.where(found, 0, old.stalled + 1), old.iterations + 1
        )

    far, no = jnp.full((), jnp.inf, mean.dtype), jnp.int32(0)
    first = Search(mean, deviation, mean, far, jnp.where(wanted, no, PATIENCE), no)
    return jax.lax.while_loop(lambda at: ~at.converged & (at.iterations < LONGEST), step, first)
