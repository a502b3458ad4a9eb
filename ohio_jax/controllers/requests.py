"""The original's end-to-end control of vehicle routing: a number of vehicles for every ordered pair of regions.

goal: Float[n * n], vehicles, row-major, the diagonal included although it moves nobody; state: Int[n], idle vehicles;
action: Int[n, n], flows asked for. Nothing keeps them within the idle vehicles: the simulator cuts off what exceeds
them, in the original's order of edges.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ohio_jax.controllers import stateless
from ohio_jax.controllers.transport import moved, possible
from ohio_jax.low_level import Problem, Segment

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """Nothing to set."""


def act(params: Params, memory: Any, state: jax.Array, goal: jax.Array) -> tuple[jax.Array, Any]:
    """Int[n, n], the goal truncated toward 0, negatives as 0."""
    n = state.shape[0]
    return _whole(goal).astype(jnp.int32).reshape(n, n), memory


def problem(params: Params) -> Problem:
    """Expects segments of one step. Closed form: the logged flows; UNEXPLAINED if no idle vehicles could make them."""

    def residual(goal: jax.Array, segment: Segment) -> jax.Array:
        """Float[n * n], vehicles asked for beyond those logged; truncated in value, smooth in its gradient."""
        n = segment.state.shape[-1]
        asked = goal + jax.lax.stop_gradient(_whole(goal) - goal)
        return jnp.where(jnp.eye(n, dtype=bool), 0.0, asked.reshape(n, n) - segment.action[-1]).reshape(-1)

    def closed_form(segment: Segment) -> tuple[jax.Array, jax.Array]:
        flows = segment.action[-1]
        return flows.astype(jnp.float32).reshape(-1), possible(segment.state[-1], moved(flows))

    return Problem(
        residual=residual,
        start=lambda segment: jnp.zeros(segment.state.shape[-1] ** 2),
        project=lambda goal: jnp.maximum(goal, 0.0),
        closed_form=closed_form,
    )


def _whole(goal: jax.Array) -> jax.Array:
    return jnp.floor(jnp.maximum(goal, 0.0))
