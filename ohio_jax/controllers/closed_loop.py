"""Where a goal takes a low level within a model of its world: as it is, and as if it never met a bound."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ohio_jax.low_level import Segment
from ohio_jax.solvers.riccati import Gains
from ohio_jax.solvers.small import product

Act = Callable[[Any, Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


def reached(act: Act, params: Any, memory: Any, start: jax.Array, goal: jax.Array) -> jax.Array:
    """Float[n], the state after `params.steps` steps of `act` in `params.model`, from start: Float[n]."""

    def step(carry, _):
        x, memory = carry
        u, memory = act(params, memory, x, goal)
        return (params.model.step(x, u), memory), None

    return jax.lax.scan(step, (start, memory), None, params.steps)[0][0]


def affine(gains: Gains, linear: Callable, segment: Segment, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(J: Float[n, n], r: Float[n]), `Problem.affine` of feedback without bounds, in a model linearised at the observed states.

    gains: of each of the segment's h steps; linear(x) -> (A, B, c); noise: Float[n]. OHIO, section 4.1.
    """

    def step(carry, at):
        effect, x = carry  # the state predicted: effect @ goal + x
        gain, seen = at
        A, B, c = linear(seen)
        forward = product(B, gain.k[:, :-1] - gain.K)
        closed = A + product(B, gain.K)
        return (product(closed, effect) + forward, product(closed, x) + product(B, gain.k[:, -1]) + c), None

    start = segment.state[0]
    nothing = jnp.zeros((start.shape[0],) * 2, start.dtype)
    (effect, x), _ = jax.lax.scan(step, (nothing, start), (gains, segment.state))
    return effect / noise[:, None], (x - segment.next_state[-1]) / noise
