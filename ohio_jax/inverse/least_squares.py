"""The inverse as nonlinear least squares: Levenberg-Marquardt on the residual, for any low level."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ohio_jax.inverse.analytic import explain, identified
from ohio_jax.inverse.problem import FAILED, Problem, Recovered, Segment
from ohio_jax.solvers.small import least_squares, solve_definite

ITERATIONS = 30
CALM = 1e-5  # a step shorter than this share of the goal ends the search


class _Search(NamedTuple):
    """goal: Float[g]; residual: Float[k] and J: Float[k, g] there; damping: Float[]; calm: Bool[]; iterations: Int[]."""

    goal: jax.Array
    residual: jax.Array
    J: jax.Array
    damping: jax.Array
    calm: jax.Array
    iterations: jax.Array


def invert(problem: Problem, segment: Segment) -> Recovered:
    """Minimises |residual(goal)|^2 over admissible goals, from the better of the problem's start and its affine answer.

    A step is taken if it lowers the residual, and the damping falls; else the damping rises (Marquardt 1963). AMBIGUOUS
    where some direction of the goal does not show in the residual, as where the low level saturates. FAILED only where
    the segment is not finite.
    """
    shape = problem.start(segment).shape
    residual = lambda goal: problem.residual(goal.reshape(shape), segment)
    project = lambda goal: problem.project(goal.reshape(shape)).reshape(-1)
    jacobian = jax.jacfwd(residual)

    def squared(goal):
        return jnp.sum(jnp.square(residual(goal)))

    start = project(problem.start(segment).reshape(-1))
    if problem.affine is not None:
        guess = project(least_squares(*problem.affine(segment))[0])
        start = jnp.where(squared(guess) < squared(start), guess, start)

    def better(search: _Search) -> _Search:
        normal = search.J.T @ search.J
        # Marquardt's scaling; the floor lets directions that do not show yet move once others have.
        diagonal = jnp.maximum(jnp.diagonal(normal), 1e-6 * jnp.max(jnp.diagonal(normal)))
        step, _ = solve_definite(normal + search.damping * jnp.diag(diagonal), -search.J.T @ search.residual)
        goal = project(search.goal + step)
        after = residual(goal)
        lower = jnp.sum(jnp.square(after)) < jnp.sum(jnp.square(search.residual))
        size = jnp.max(jnp.abs(goal - search.goal))
        calm = (size <= CALM * (1.0 + jnp.max(jnp.abs(goal)))) | ~jnp.all(jnp.isfinite(after))
        choose = lambda new, old: jnp.where(lower, new, old)
        goal = choose(goal, search.goal)
        damping = jnp.clip(search.damping * jnp.where(lower, 0.1, 10.0), 1e-12, 1e8)
        return _Search(goal, choose(after, search.residual), jacobian(goal), damping, calm, search.iterations + 1)

    begin = _Search(start, residual(start), jacobian(start), jnp.full((), 1e-3, start.dtype), jnp.bool_(False), jnp.int32(0))
    end = jax.lax.while_loop(lambda search: ~search.calm & (search.iterations < ITERATIONS), better, begin)
    _, pivot = solve_definite(end.J.T @ end.J, jnp.zeros_like(end.goal))
    usable = jnp.all(jnp.isfinite(end.residual))
    goal = jnp.where(usable, end.goal, jnp.nan).reshape(shape)
    return explain(problem, segment, goal, jnp.where(usable, identified(pivot), FAILED), end.calm, end.iterations, judge=True)
