"""Where a goal takes a low level within a model of its world: as it is, and as if it never met a bound."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.low_level import ActionModel, Problem, Segment, StateModel
from ohio_jax.solvers.riccati import Gains
from ohio_jax.solvers.small import product

Act = Callable[[Any, Any, jax.Array, jax.Array], tuple[jax.Array, Any]]


class Context(NamedTuple):
    """What a segment says that no goal changes.

    Attributes:
        params: of the low level.
        start: `Float[n]`, the segment's first state.
    """

    params: Any
    start: jax.Array


def prepare(params: Any, segment: Segment) -> Context:
    return Context(params, segment.state[0])


def predict(init: Callable[[Any], Any], act: Act) -> Callable[[jax.Array, Any], jax.Array]:
    """`StateModel.predict` of a low level whose contexts are like `Context`: `params.steps` steps in `params.model`."""

    def predicted(goal: jax.Array, at: Any) -> jax.Array:
        def step(carry, _):
            x, memory = carry
            u, memory = act(at.params, memory, x, goal)
            after = at.params.model.step(x, u)
            return (after, memory), after

        return jax.lax.scan(step, (at.start, init(at.params)), None, at.params.steps)[1]

    return predicted


def problem(params: Any, prepare: Callable[[Any, Segment], Any], state: StateModel, action: ActionModel | None) -> Problem:
    """The problem of matching where a segment led; prepare(params, segment) -> context, like `Context`."""
    return Problem(
        project=lambda goal: jnp.clip(goal, -params.limit, params.limit),
        start=reached,
        state=state,
        action=action,
        residual="state",
        prepare=functools.partial(prepare, params),
        observed=reached,
        width=limit,
    )


def reached(segment: Segment, at: Any) -> Float[Array, "n"]:
    """`Float[n]`, where the segment ended; read as the goal as well, where goals are states."""
    return segment.next_state[-1]


def noise(segment: Segment, at: Any) -> Float[Array, "n"]:
    """`StateModel.scale`."""
    return at.params.noise


def limit(segment: Segment, at: Any) -> Float[Array, "g"]:
    """`Problem.width`."""
    return jnp.asarray(at.params.limit)


def bounds(unclipped: Float[Array, "h m"], at: Any) -> tuple[Float[Array, "m"], Float[Array, "m"]]:
    """`ActionModel.bounds`."""
    return -at.params.bound, at.params.bound


def effect(segment: Segment, at: Any) -> Float[Array, "h m"]:
    """`ActionModel.scale`: the deviation of an action whose effect on the next state of the model deviates by `noise`."""
    B = jax.vmap(lambda x: at.params.model.linear(x)[1])(segment.state)
    return 1.0 / jnp.linalg.norm(B / at.params.noise[None, :, None], axis=1)


def affine(gains: Gains, linear: Callable, segment: Segment) -> tuple[Float[Array, "h n n"], Float[Array, "h n"]]:
    """(J: `Float[h, n, n]`, r: `Float[h, n]`), `StateModel.affine` of feedback, in a model linearized at the observed states.

    Args:
        gains: of each of the segment's h steps.
        linear: `linear(x) -> (A, B, c)`. OHIO, section 4.1.
    """

    def step(carry, at):
        effect, x = carry  # the state predicted: effect @ goal + x
        gain, seen = at
        A, B, c = linear(seen)
        forward = product(B, gain.k[:, :-1] - gain.K)
        closed = A + product(B, gain.K)
        now = product(closed, effect) + forward, product(closed, x) + product(B, gain.k[:, -1]) + c
        return now, now

    start = segment.state[0]
    nothing = jnp.zeros((start.shape[0],) * 2, start.dtype)
    return jax.lax.scan(step, (nothing, start), (gains, segment.state))[1]
