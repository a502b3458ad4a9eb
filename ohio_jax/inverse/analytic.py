"""The inverse in closed form: the low level's own (OHIO's routing inverse), or least squares where it is affine in the goal."""

import jax
import jax.numpy as jnp

from ohio_jax.errors import UserError
from ohio_jax.inverse.problem import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem, Recovered, Segment
from ohio_jax.solvers.small import least_squares, product, solve_definite

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
    J, r = problem.affine(segment)
    goal, _ = least_squares(J, r)
    return explain(problem, segment, problem.project(goal), identified(J), judge=True)


def identified(J: jax.Array) -> jax.Array:
    """Int[], UNIQUE or AMBIGUOUS: whether every direction of the goal shows in a residual with derivative J: Float[k, g]."""
    _, pivot = solve_definite(product(J.T, J), jnp.zeros(J.shape[1], J.dtype))
    return jnp.where(pivot > INDEPENDENT, UNIQUE, AMBIGUOUS)


def shows(problem: Problem, segment: Segment, goal: jax.Array) -> jax.Array:
    """Int[], UNIQUE or AMBIGUOUS at this goal: a low level that saturates there would end alike for others nearby.

    A low level with a closed form is taken to be UNIQUE: its counts hide most small changes.
    """
    if problem.closed_form is not None:
        return jnp.int32(UNIQUE)
    return identified(jax.jacfwd(lambda y: problem.residual(y.reshape(goal.shape), segment))(goal.reshape(-1)))


def explain(
    problem: Problem,
    segment: Segment,
    goal: jax.Array,
    status: jax.Array,
    converged: jax.Array | bool = True,
    iterations: jax.Array | int = 0,
    judge: bool = False,
    deviation: jax.Array | float = 0.0,
    loss: jax.Array | float = 0.0,
) -> Recovered:
    """An inverse's answer; FAILED where the segment's states, the goal or its residual are not finite.

    judge: call a unique answer UNEXPLAINED if its residual is above the problem's tolerance.
    """
    residual = jnp.linalg.norm(problem.residual(goal, segment))
    if judge:
        status = jnp.where((status == UNIQUE) & ~(residual < problem.tolerance), UNEXPLAINED, status)
    parts = (goal, residual, segment.state, segment.next_state)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(parts)]))
    residual = jnp.where(finite, residual, jnp.inf)
    return Recovered(
        # Not NaN even where it failed: a learner multiplies its loss there by a weight of 0.
        goal=jnp.where(finite, goal, problem.project(jnp.zeros_like(goal))),
        residual=residual,
        log_likelihood=-0.5 * jnp.square(residual),
        converged=finite & converged,
        iterations=jnp.asarray(iterations, jnp.int32),
        status=jnp.where(finite, status, FAILED).astype(jnp.int32),
        deviation=jnp.where(finite, deviation, jnp.zeros_like(goal)),
        loss=jnp.where(finite, loss, jnp.zeros_like(residual)),
    )
