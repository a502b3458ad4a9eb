"""The inverse in closed form, for low levels that have one (OHIO's routing inverse, for instance)."""

import jax
import jax.numpy as jnp

from ohio_jax.errors import UserError
from ohio_jax.inverse.problem import FAILED, Problem, Recovered, Segment


def invert(problem: Problem, segment: Segment) -> Recovered:
    """Evaluates the problem's closed form. Raises UserError, while tracing, if it has none."""
    if problem.closed_form is None:
        raise UserError("inverse 'analytic': expected a low level with a closed form, found one without")
    return explain(problem, segment, *problem.closed_form(segment))


def explain(problem: Problem, segment: Segment, goal: jax.Array, status: jax.Array) -> Recovered:
    """The answer of an inverse that does not iterate; FAILED where its goal is not finite."""
    residual = jnp.linalg.norm(problem.residual(goal, segment))
    finite = jnp.all(jnp.isfinite(goal))
    return Recovered(
        goal=goal,
        residual=residual,
        log_likelihood=-0.5 * jnp.square(residual),
        converged=finite,
        iterations=jnp.int32(0),
        status=jnp.where(finite, status, FAILED).astype(jnp.int32),
    )
