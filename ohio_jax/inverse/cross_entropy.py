"""The inverse by the cross-entropy method: no derivative needed, nothing assumed of the residual (Rubinstein 1999)."""

import jax
import jax.numpy as jnp

from ohio_jax import low_level
from ohio_jax.inverse.result import Recovered, goal_status, is_identifiable
from ohio_jax.low_level import Prepared, Problem, residual

ROUNDS, SAMPLES, ELITE = 60, 64, 8
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
