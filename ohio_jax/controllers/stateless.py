"""What low levels without a memory share: nothing to carry from step to step, nothing to prepare for a new goal."""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Num


class Context(NamedTuple):
    """What their models know of a segment. params: of the low level; state: what it saw in the one step, or in each."""

    params: Any
    state: jax.Array


def init(params: Any) -> Any:
    """See `ohio_jax.low_level.Controller`."""
    return ()


def plan(params: Any, memory: Any, state: Num[Array, "..."], goal: Num[Array, "..."]) -> Any:
    """See `ohio_jax.low_level.Controller`."""
    return memory
