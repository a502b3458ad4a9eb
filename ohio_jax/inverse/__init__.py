"""Inverses, one a file: `invert(problem, segment) -> Recovered`, the goal that explains a logged segment."""

from ohio_jax.inverse import analytic, cross_entropy, gradient, implicit, least_squares, observed, posterior, program, ridge

INVERSES = {
    "analytic": analytic.invert,
    "reg_analytic": gradient.regularised,
    "ridge": ridge.invert,
    "numerical": gradient.invert,
    "least_squares": least_squares.invert,
    "cross_entropy": cross_entropy.invert,
    "observed": observed.invert,
    "implicit": implicit.invert,
    "posterior": posterior.invert,
    "program": program.invert,
}

__all__ = ["INVERSES"]
