"""Goals as displacements: any low level whose goals are states, asked for the state at which a goal is given plus the goal.

- goal: `Float[n]`, a displacement in the state's units.
- state: `Float[n]`.
- action: that of the low level.

A policy need not learn where it is, only where to go: no goal depends on how often a joint has turned.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.low_level import Controller, LinearProgram, Problem, Segment


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        params, controller: the low level.
        limit: `Float[n]`, the largest displacement.
    """

    params: Any
    limit: jax.Array
    controller: Controller = struct.field(pytree_node=False)


class Memory(NamedTuple):
    """What the low level carries between steps.

    Attributes:
        memory: of the low level.
        origin: `Float[n]`, the state in which the current goal was given.
    """

    memory: Any
    origin: jax.Array


def init(params: Params) -> Memory:
    return Memory(params.controller.init(params.params), jnp.zeros_like(params.limit))


def plan(params: Params, memory: Memory, state: Float[Array, "n"], goal: Float[Array, "n"]) -> Memory:
    """The low level's plan for the state asked for."""
    return Memory(params.controller.plan(params.params, memory.memory, state, state + goal), state)


def act(params: Params, memory: Memory, state: Float[Array, "n"], goal: Float[Array, "n"]) -> tuple[Float[Array, "m"], Memory]:
    action, inner = params.controller.act(params.params, memory.memory, state, memory.origin + goal)
    return action, memory._replace(memory=inner)


def problem(params: Params) -> Problem:
    """The low level's problem with goals counted from the segment's first state."""
    inner: Problem = params.controller.problem(params.params)

    def origin(segment: Segment) -> jax.Array:
        """Goals of the low level may themselves be displacements."""
        return segment.state[0] if inner.origin is None else segment.state[0] + inner.origin(segment)

    def program(segment: Segment, context: Any) -> LinearProgram:
        """The low level's, with the goals that a displacement within its limit asks for."""
        assert inner.program is not None
        p, at = inner.program(segment, context), origin(segment)
        return p._replace(least=jnp.maximum(p.least, at - params.limit), most=jnp.minimum(p.most, at + params.limit))

    return inner._replace(
        project=lambda goal: jnp.clip(goal, -params.limit, params.limit),
        origin=origin,
        closed_form=None,
        program=None if inner.program is None else program,
        width=lambda segment, context: params.limit,
    )
