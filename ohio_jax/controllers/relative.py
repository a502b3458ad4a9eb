"""Goals as displacements: any low level whose goals are states, asked for the state at which a goal is given plus the goal.

goal: Float[n], a displacement in the state's units; state: Float[n]; action: that of the low level.
A policy need not learn where it is, only where to go: no goal depends on how often a joint has turned.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from ohio_jax.low_level import Controller, Problem, Program, Segment


@struct.dataclass
class Params:
    """params, controller: the low level; limit: Float[n], the largest displacement."""

    params: Any
    limit: jax.Array
    controller: Controller = struct.field(pytree_node=False)


class Memory(NamedTuple):
    """memory: of the low level; origin: Float[n], the state in which the current goal was given."""

    memory: Any
    origin: jax.Array


def init(params: Params) -> Memory:
    return Memory(params.controller.init(params.params), jnp.zeros_like(params.limit))


def plan(params: Params, memory: Memory, state: jax.Array, goal: jax.Array) -> Memory:
    """The low level's plan for the state asked for."""
    return Memory(params.controller.plan(params.params, memory.memory, state, state + goal), state)


def act(params: Params, memory: Memory, state: jax.Array, goal: jax.Array) -> tuple[jax.Array, Memory]:
    action, inner = params.controller.act(params.params, memory.memory, state, memory.origin + goal)
    return action, memory._replace(memory=inner)


def problem(params: Params) -> Problem:
    """The low level's problem with goals counted from the segment's first state."""
    inner: Problem = params.controller.problem(params.params)
    place = lambda goal, segment: segment.state[0] + goal
    clip = lambda goal: jnp.clip(goal, -params.limit, params.limit)

    def displaced(read):
        return None if read is None else lambda segment: read(segment) - segment.state[0]

    def at(judge):
        return None if judge is None else lambda goal, segment: judge(place(goal, segment), segment)

    def affine(segment: Segment) -> tuple[jax.Array, jax.Array]:
        assert inner.affine is not None
        J, r = inner.affine(segment)
        return J, r + J @ segment.state[0]

    def program(segment: Segment) -> Program:
        assert inner.program is not None
        p, origin = inner.program(segment), segment.state[0]
        return p._replace(
            cost=p.cost if p.price is None else p.cost + p.price @ origin,
            b=p.b + p.B @ origin,
            goal=p.goal - origin,
            least=jnp.maximum(p.least - origin, -params.limit),
            most=jnp.minimum(p.most - origin, params.limit),
        )

    return inner._replace(
        residual=lambda goal, segment: inner.residual(place(goal, segment), segment),
        start=lambda segment: inner.start(segment) - segment.state[0],
        project=clip,
        closed_form=None,
        observed=displaced(inner.observed),
        width=lambda segment: params.limit,
        affine=None if inner.affine is None else affine,
        imitation=at(inner.imitation),
        program=None if inner.program is None else program,
    )
