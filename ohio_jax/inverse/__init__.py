"""Inverses, one a file: `invert(problem, segment) -> Recovered`, the goal that explains a logged segment.

Files have them for segments that are prepared (see `ohio_jax.low_level`); INVERSES, of segments as logged. None
raises inside a
batch: what is ambiguous or failed says so in its status, which becomes a weight of the transition.
"""

import functools
from collections.abc import Callable

from ohio_jax import low_level
from ohio_jax.inverse import (
    analytic,
    cross_entropy,
    gradient,
    implicit,
    least_squares,
    observed,
    posterior,
    program,
    rescaled,
    ridge,
)
from ohio_jax.inverse.result import Recovered
from ohio_jax.low_level import Prepared, Problem, Segment

Inverse = Callable[[Problem, Segment], Recovered]


def on_logged_segments(invert: Callable[[Problem, Prepared], Recovered]) -> Inverse:
    """The inverse, of segments as logged; it is `__wrapped__`."""

    @functools.wraps(invert)
    def of_logged(problem: Problem, segment: Segment) -> Recovered:
        return invert(problem, low_level.prepare(problem, segment))

    return of_logged


_INVERSES: dict[str, Callable[[Problem, Prepared], Recovered]] = {
    "analytic": analytic.invert,
    "reg_analytic": gradient.regularized,
    "ridge": ridge.invert,
    "numerical": gradient.invert,
    "gradient": gradient.matching,
    "gradient_compat": functools.partial(gradient.matching, last=True),
    "gradient_compat_cem": functools.partial(gradient.matching, last=True, cem=True),
    "gradient_released": functools.partial(gradient.matching, last=True, start=gradient.released_start, cem=True),
    "gradient_released_best": functools.partial(gradient.matching, start=gradient.released_start, cem=True),
    "gradient_released_no_cem": functools.partial(gradient.matching, last=True, start=gradient.released_start),
    "gradient_logged": functools.partial(gradient.matching, last=True, start=gradient.logged_start, cem=True),
    "gradient_logged_no_cem": functools.partial(gradient.matching, last=True, start=gradient.logged_start),
    "least_squares": least_squares.invert,
    "cross_entropy": cross_entropy.invert,
    "observed": observed.invert,
    "rescaled": rescaled.invert,
    "implicit": implicit.invert,
    "posterior": posterior.invert,
    "program": program.invert,
}
INVERSES = {name: on_logged_segments(invert) for name, invert in _INVERSES.items()}

__all__ = ["INVERSES"]
