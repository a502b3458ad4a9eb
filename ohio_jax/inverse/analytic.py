"""The inverse in closed form: the low level's own (OHIO's routing inverse), or least squares where it is affine in the goal."""

import jax
import jax.numpy as jnp

from ohio_jax.errors import UserError
from ohio_jax.inverse.problem import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem, Recovered, Segment
from ohio_jax.solvers.small import least_squares

INDEPENDENT = 1e-5  # smallest pivot at which a direction of the goal still shows in float32


def invert(problem: Problem, segment: Segment) -> Recovered:
    """Evaluates the closed form. Raises UserError, while tracing, for a low level without one.

    An affine low level's answer is projected onto the admissible goals; it is AMBIGUOUS where some direction of the goal
    leaves no trace, and UNEXPLAINED where the low level itself, bounds included, would have ended elsewhere.
    """
    if problem.closed_form is not None:
        return explain(problem, segment, *problem.closed_form(segment))
    if problem.affine is None:
        raise UserError("inverse 'analytic': expected a low level with a closed form, found one without")
    goal, pivot = least_squares(*problem.affine(segment))
    return explain(problem, segment, problem.project(goal), identified(pivot), judge=True)


def identified(pivot: jax.Array) -> jax.Array:
    """Int[], UNIQUE or AMBIGUOUS, from the smallest pivot of the normal equations."""
    return jnp.where(pivot > INDEPENDENT, UNIQUE, AMBIGUOUS)


def explain(
    problem: Problem,
    segment: Segment,
    goal: jax.Array,
    status: jax.Array,
    converged: jax.Array | bool = True,
    iterations: jax.Array | int = 0,
    judge: bool = False,
) -> Recovered:
    """An inverse's answer; FAILED where its goal is not finite.

    judge: call a unique answer UNEXPLAINED if its residual is above the problem's tolerance.
    """
    residual = jnp.linalg.norm(problem.residual(goal, segment))
    finite = jnp.all(jnp.isfinite(goal))
    if judge:
        status = jnp.where((status == UNIQUE) & ~(residual < problem.tolerance), UNEXPLAINED, status)
    return Recovered(
        goal=goal,
        residual=residual,
        log_likelihood=-0.5 * jnp.square(residual),
        converged=finite & converged,
        iterations=jnp.asarray(iterations, jnp.int32),
        status=jnp.where(finite, status, FAILED).astype(jnp.int32),
    )
