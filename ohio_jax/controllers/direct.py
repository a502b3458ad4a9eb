"""End-to-end control: the goal is the action, clipped to its bound. One step long."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from ohio_jax.controllers import stateless
from ohio_jax.low_level import UNIQUE, ActionModel, Problem, Segment

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """Parameters of the low level.

    Attributes:
        bound: `Float[m]`, largest action.
    """

    bound: jax.Array


def act(params: Params, memory: Any, state: Num[Array, "..."], goal: Float[Array, "m"]) -> tuple[Float[Array, "m"], Any]:
    return jnp.clip(goal, -params.bound, params.bound), memory


def problem(params: Params) -> Problem:
    """Expects segments of one step, whose action is the answer."""
    return Problem(
        project=lambda goal: jnp.clip(goal, -params.bound, params.bound),
        start=_nothing,
        action=ACTION,
        prepare=lambda segment: params,
        closed_form=_closed_form,
    )


def _closed_form(segment: Segment, params: Params) -> tuple[jax.Array, int]:
    return jnp.clip(segment.action[-1], -params.bound, params.bound), UNIQUE


def _nothing(segment: Segment, params: Params) -> jax.Array:
    return jnp.zeros_like(segment.action[-1])


ACTION = ActionModel(
    unclipped=lambda goal, params: goal[None],
    scale=lambda segment, params: 1.0,
    bounds=lambda unclipped, params: (-params.bound, params.bound),
)
