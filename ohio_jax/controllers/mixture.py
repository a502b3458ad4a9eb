"""Several low levels of one kind, each state saying which of them acts: logs of a fleet of controllers that are set differently.

goal, state, action: those of the controller that is mixed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from ohio_jax.low_level import Controller, Problem, Segment


@struct.dataclass
class Params:
    """inner: parameters of the K low levels, stacked; controller: what they are parameters of.

    which: state -> Int[], the one that acts there; the same throughout an episode.
    """

    inner: Any
    controller: Controller = struct.field(pytree_node=False)
    which: Callable[[Any], jax.Array] = struct.field(pytree_node=False)

    def at(self, index: jax.Array | int) -> Any:
        """Parameters of one of them."""
        return jax.tree.map(lambda leaf: leaf[index], self.inner)


def stack(several: list[Any]) -> Any:
    """`Params.inner` of parameters that differ in numbers alone."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *several)


def init(params: Params) -> Any:
    return params.controller.init(params.at(0))


def plan(params: Params, memory: Any, state: Any, goal: jax.Array) -> Any:
    return params.controller.plan(params.at(params.which(state)), memory, state, goal)


def act(params: Params, memory: Any, state: Any, goal: jax.Array) -> tuple[jax.Array, Any]:
    return params.controller.act(params.at(params.which(state)), memory, state, goal)


def problem(params: Params) -> Problem:
    """A segment is explained by the low level that acted in it; offers what the controller's own problem does.

    A prepared segment's state is (which, the state as the controller's problem prepares it).
    """
    own = lambda index: params.controller.problem(params.at(index))

    def prepare(segment: Segment) -> Segment:
        index = params.which(jax.tree.map(lambda leaf: leaf[0], segment.state))
        ready = own(index).prepare
        return segment._replace(state=(index, (segment if ready is None else ready(segment)).state))

    def of_segment(name: str) -> Any:
        """The function of the controller's problem that reads a segment last."""

        def function(*args):
            *goal, segment = args
            index, state = segment.state
            return getattr(own(index), name)(*goal, segment._replace(state=state))

        return None if getattr(own(0), name) is None else function

    # Admissible goals are those of all: they cannot depend on a segment.
    mine = {"project": own(0).project, "prepare": prepare, "tolerance": own(0).tolerance}
    return Problem(**mine, **{name: of_segment(name) for name in Problem._fields if name not in mine})
