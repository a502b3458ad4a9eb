"""A fair end-to-end control of vehicle routing: each region says where its own idle vehicles go; nothing is optimized.

- goal: `Float[n, n]`, row i = shares of region i's idle vehicles over destinations, the diagonal for those that stay.
- state: `Int[n]`, idle vehicles.
- action: `Int[n, n]`, flows.

Every goal is feasible: it is rounded to the vehicles at hand.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ohio_jax.controllers import stateless
from ohio_jax.controllers.transport import counts, moved, status_of_flows
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, ActionModel, Problem, Segment

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """Nothing to set."""


def act(params: Params, memory: Any, state: Int[Array, "n"], goal: Float[Array, "n n"]) -> tuple[Int[Array, "n n"], Any]:
    """`Int[n, n]`, each row's vehicles by largest remainder; row sums are the idle vehicles."""
    n = state.shape[0]
    return jax.vmap(counts)(project(goal.reshape(n, n)), state), memory


def project(goal: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """`Float[n, n]` whose rows sum to 1: what is not positive counts as 0; all stay where nothing is left."""
    positive = jnp.where(goal > 0, goal, 0.0)
    total = jnp.sum(positive, axis=1, keepdims=True)
    return jnp.where(total > 0, positive / jnp.where(total > 0, total, 1.0), jnp.eye(goal.shape[0]))


def problem(params: Params) -> Problem:
    """Expects segments of one step, which are their own context. Compared are the flows between regions, rounded in value, smooth
    in their gradient. Closed form: F_ij / idle_i, on the diagonal what stays; 1 there if nobody is idle.

    Status: UNEXPLAINED for flows that no idle vehicles could have made, else AMBIGUOUS if no region has vehicles. The row of
    a single empty region could be anything; as it moves nobody, that is settled by convention, not called ambiguous.
    """
    return Problem(project=project, start=_everyone_stays, action=ACTION, closed_form=_closed_form)


def _everyone_stays(segment: Segment, at: Segment) -> jax.Array:
    return jnp.eye(segment.state.shape[-1])


def _closed_form(segment: Segment, at: Segment) -> tuple[jax.Array, jax.Array]:
    idle, moves = segment.state[-1], moved(segment.action[-1])
    flows = moves + jnp.diag(idle - jnp.sum(moves, axis=1, dtype=jnp.int32))
    status = status_of_flows(idle, moves, jnp.where(jnp.any(idle > 0), UNIQUE, AMBIGUOUS))
    return project(flows.astype(jnp.float32)), status


def _shared(goal: jax.Array, at: Segment) -> jax.Array:
    """`Float[1, n, n]`, before rounding."""
    idle, n = at.state[-1], at.state.shape[-1]
    return jnp.where(jnp.eye(n, dtype=bool), 0.0, project(goal.reshape(n, n)) * idle[:, None])[None]


ACTION = ActionModel(
    unclipped=_shared,
    scale=lambda segment, at: 1.0,
    execute=lambda goal, at: moved(act(Params(), (), at.state[-1], goal)[0])[None],
    logged=lambda segment: jax.vmap(moved)(segment.action),
)
