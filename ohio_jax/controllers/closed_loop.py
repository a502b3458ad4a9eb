"""What a low level with memory makes of a goal in a model of its world."""

from collections.abc import Callable
from typing import Any

import jax

Act = Callable[[Any, Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


def reached(act: Act, params: Any, memory: Any, start: jax.Array, goal: jax.Array) -> jax.Array:
    """Float[n], the state after `params.steps` steps of `act` in `params.model`, from start: Float[n]."""

    def step(carry, _):
        x, memory = carry
        u, memory = act(params, memory, x, goal)
        return (params.model.step(x, u), memory), None

    return jax.lax.scan(step, (start, memory), None, params.steps)[0][0]
