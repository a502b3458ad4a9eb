"""The original's end-to-end control of vehicle routing: a number of vehicles for every ordered pair of regions.

- goal: `Float[n * n]`, vehicles, row-major, the diagonal included although it moves nobody.
- state: `Int[n]`, idle vehicles.
- action: `Int[n, n]`, flows asked for.

Nothing keeps them within the idle vehicles: the simulator cuts off what exceeds them, in the original's order of edges.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ohio_jax.controllers import stateless
from ohio_jax.controllers.transport import moved, status_of_flows
from ohio_jax.low_level import ActionModel, Problem, Segment

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """Nothing to set."""


def act(params: Params, memory: Any, state: Int[Array, "n"], goal: Float[Array, "n*n"]) -> tuple[Int[Array, "n n"], Any]:
    """`Int[n, n]`, the goal truncated toward 0, negatives as 0."""
    n = state.shape[0]
    return _whole(goal).astype(jnp.int32).reshape(n, n), memory


def problem(params: Params) -> Problem:
    """Expects segments of one step, which are their own context. Compared are the flows between regions, truncated in value,
    smooth in their gradient. Closed form: the logged flows; UNEXPLAINED if no idle vehicles could make them.
    """
    return Problem(project=lambda goal: jnp.maximum(goal, 0.0), start=_nobody, action=ACTION, closed_form=_closed_form)


def _nobody(segment: Segment, at: Segment) -> jax.Array:
    return jnp.zeros(segment.state.shape[-1] ** 2)


def _closed_form(segment: Segment, at: Segment) -> tuple[jax.Array, jax.Array]:
    flows = segment.action[-1]
    return flows.astype(jnp.float32).reshape(-1), status_of_flows(segment.state[-1], moved(flows))


def _moves(goal: jax.Array, at: Segment) -> jax.Array:
    """`Float[1, n, n]`, without those that stay."""
    n = at.state.shape[-1]
    return jnp.where(jnp.eye(n, dtype=bool), 0.0, goal.reshape(n, n))[None]


ACTION = ActionModel(
    unclipped=_moves,
    scale=lambda segment, at: 1.0,
    execute=lambda goal, at: _moves(_whole(goal), at),
    logged=lambda segment: jax.vmap(moved)(segment.action),
)


def _whole(goal: jax.Array) -> jax.Array:
    return jnp.floor(jnp.maximum(goal, 0.0))
