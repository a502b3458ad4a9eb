"""Base stock as a low level: every node of a supply chain orders up to the level its goal names.

::

    action = max(goal * largest - position, 0)

- goal: `Float[N]` within [0, 1], levels as shares of the largest.
- state: `Float[N]`, each node's inventory position, what it holds, expects and owes (see `echelon_positions` in the supply
  chain's simulator).
- action: `Float[N]`, orders.

All in units but for the goal. Under levels that never change it is the classical policy, optimal in serial chains (Clark and
Scarf 1960).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.controllers import stateless
from ohio_jax.controllers.orders import half, project
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, ActionModel, Problem, Segment

init, plan = stateless.init, stateless.plan

TOLERANCE = 1e-2  # units by which all orders together may differ from those logged: what float32 leaves of large positions


class Params(NamedTuple):
    """Parameters of the low level.

    Attributes:
        largest: `Float[N]`, the levels of a goal of ones, in units, above 0.
    """

    largest: jax.Array


def act(params: Params, memory: Any, state: Float[Array, "N"], goal: Float[Array, "N"]) -> tuple[Float[Array, "N"], Any]:
    """`Float[N]`, orders, differentiable in the goal; 0 with slope 0 where a position is above its level."""
    return jnp.maximum(params.largest * project(goal) - state, 0.0), memory


def problem(params: Params) -> Problem:
    """Expects segments of one step. Closed form: the positions that the logged orders lead to, over the largest levels.

    Status: AMBIGUOUS where a node ordered nothing, which any level below its position explains; its position is returned.
    UNEXPLAINED where this goal makes other orders, as where a logged one leads above the largest level.
    """
    return Problem(
        project=project,
        start=half,
        action=ACTION,
        prepare=lambda segment: stateless.Context(params, segment.state[-1]),
        closed_form=_closed_form,
        tolerance=TOLERANCE,
    )


def _closed_form(segment: Segment, at: stateless.Context) -> tuple[jax.Array, jax.Array]:
    order = segment.action[-1]
    goal = project((at.state + order) / at.params.largest)
    return goal, jnp.where(jnp.any(order <= 0), AMBIGUOUS, UNIQUE)


ACTION = ActionModel(
    unclipped=lambda goal, at: (at.params.largest * project(goal) - at.state)[None],
    scale=lambda segment, at: 1.0,
    bounds=lambda unclipped, at: (0.0, jnp.inf),
)
