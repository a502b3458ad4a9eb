"""A low level that is a linear program, as data for `ohio_jax.inverse.program`."""

import math
from typing import Any, NamedTuple


class LinearProgram(NamedTuple):
    """A low level that is a linear program, as it stood before a logged action (arrays, or numbers where they fit)::

        minimize (cost + price u)'x   subject to   A x = b + B u,  x >= 0,   for the goal u, flattened, least <= u <= most

    Bounds and inequalities are rows with a slack entry, `|.|` is the sum of two entries. A row of zeros in A binds the goal
    alone, as shares that sum to 1. First one objective, then another: their sum, the first times a weight above what a unit of
    it can save in the second. One weight does for all b, since optimal bases are finitely many and b picks among them only.

    Attributes:
        cost: [n].
        A: [m, n].
        b: [m].
        B: [m, g].
        price: [n, g], None if the goal prices nothing. In units in which a millionth is nothing, of entries as of costs.
        action: [...], k numbers, the logged values of the first k entries of x; k may be n.
        slack: [...], of the entries after those, where they follow from the action. Not needed; it spares work.
        goal: `[*goal]`, the one returned where it explains the action; else the nearest to it that does (sum of differences).
        least, most: `[*goal]` or numbers; may be infinite.
    """

    cost: Any
    A: Any
    b: Any
    B: Any
    action: Any
    goal: Any
    slack: Any = ()
    price: Any = None
    least: Any = 0.0
    most: Any = math.inf
