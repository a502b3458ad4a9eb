"""End-to-end control: the goal is the action, clipped to its bound. One step long."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ohio_jax.controllers import stateless
from ohio_jax.low_level import UNIQUE, Problem, Segment

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """bound: Float[m], largest action."""

    bound: jax.Array


def act(params: Params, memory: Any, state: jax.Array, goal: jax.Array) -> tuple[jax.Array, Any]:
    return jnp.clip(goal, -params.bound, params.bound), memory


def problem(params: Params) -> Problem:
    """Expects segments of one step, whose action is the answer."""
    clip = lambda goal: jnp.clip(goal, -params.bound, params.bound)

    def closed_form(segment: Segment) -> tuple[jax.Array, jax.Array]:
        return clip(segment.action[-1]), jnp.int32(UNIQUE)

    return Problem(
        residual=lambda goal, segment: clip(goal) - segment.action[-1],
        start=lambda segment: jnp.zeros_like(segment.action[-1]),
        project=clip,
        closed_form=closed_form,
    )
