"""Inverses, one a file: `invert(problem, segment) -> Recovered`, the goal that explains a logged segment."""

from ohio_jax.inverse import analytic, observed

INVERSES = {"analytic": analytic.invert, "observed": observed.invert}

__all__ = ["INVERSES"]
