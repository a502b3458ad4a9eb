"""Several low levels of one kind, each state saying which of them acts: logs of a fleet of controllers that are set differently.

- goal, state, action: those of the controller that is mixed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int, Num

from ohio_jax.errors import UserError
from ohio_jax.low_level import Controller, Problem, Segment


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        inner: parameters of the K low levels, stacked.
        controller: what they are parameters of.
        which: state -> `Int[]`, the one that acts there; the same throughout an episode.
    """

    inner: Any
    controller: Controller = struct.field(pytree_node=False)
    which: Callable[[Any], jax.Array] = struct.field(pytree_node=False)

    def at(self, index: Int[Array, ""] | int) -> Any:
        """Parameters of one of them."""
        return jax.tree.map(lambda leaf: leaf[index], self.inner)


def stack(several: list[Any]) -> Any:
    """`Params.inner` of parameters that differ in numbers alone."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *several)


def init(params: Params) -> Any:
    return params.controller.init(params.at(0))


def plan(params: Params, memory: Any, state: Any, goal: Num[Array, "..."]) -> Any:
    return params.controller.plan(params.at(params.which(state)), memory, state, goal)


def act(params: Params, memory: Any, state: Any, goal: Num[Array, "..."]) -> tuple[Num[Array, "..."], Any]:
    return params.controller.act(params.at(params.which(state)), memory, state, goal)


def problem(params: Params) -> Problem:
    """A segment is explained by the low level that acted in it: its context is prepared with that one's parameters.

    Raises:
        UserError: for a low level whose problem does not read its parameters from the context alone.
    """
    own = lambda index: params.controller.problem(params.at(index))
    # Admissible goals are those of all: they cannot depend on a segment.
    first, other = (own(0)._replace(project=None, prepare=None) for _ in range(2))
    if first != other:
        raise UserError("mixture: expected a low level whose problem reads its parameters from the context, found another")

    def prepare(segment: Segment) -> Any:
        mine = own(params.which(jax.tree.map(lambda leaf: leaf[0], segment.state))).prepare
        return segment if mine is None else mine(segment)

    return own(0)._replace(prepare=prepare)
