"""The inverse as nonlinear least squares: Levenberg-Marquardt on the residual, for any low level."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ohio_jax.inverse.analytic import explain, identified
from ohio_jax.inverse.problem import Problem, Recovered, Segment
from ohio_jax.solvers.small import least_squares, product, solve_definite

ITERATIONS = 30
CALM = 1e-5  # a step shorter than this share of the goal ends the search
FLAT = 1e-2  # and so does a step that lowers the squared residual by less than this share
ASIDE = 1e-3  # share of the goal by which an entry is moved to see whether it is held
FIRM = 1.0  # damping up to which such a step means a minimum; beyond, only that no step down was found

Function = Callable[[jax.Array], jax.Array]


class Search(NamedTuple):
    """goal: Float[g]; residual: Float[k] and J: Float[k, g] there; damping: Float[]; ended, calm: Bool[]; iterations: Int[]."""

    goal: jax.Array
    residual: jax.Array
    J: jax.Array
    damping: jax.Array
    ended: jax.Array
    calm: jax.Array
    iterations: jax.Array


def invert(problem: Problem, segment: Segment) -> Recovered:
    """Minimises |residual(goal)|^2 over admissible goals, from the better of the problem's start and its affine answer.

    AMBIGUOUS where some direction of the goal does not show in the residual, as where the low level saturates. FAILED only
    where the segment is not finite.

    The last per cent of a residual that no goal explains is left alone. A direction that hardly shows would fit it with goals far
    off, each nearly as good as the one before; stopped here, it stays near the start (Hanke 1997, A regularizing
    Levenberg-Marquardt scheme, Inverse Problems 13).
    """
    end = search(*flat(problem, segment))
    goal = end.goal.reshape(problem.start(segment).shape)
    return explain(problem, segment, goal, identified(end.J), end.calm, end.iterations, judge=True)


def flat(problem: Problem, segment: Segment) -> tuple[Function, Function, jax.Array]:
    """(residual, project, start) of the problem, on goals as Float[g]; the better of its start and its affine answer."""
    shape = problem.start(segment).shape
    residual = lambda goal: problem.residual(goal.reshape(shape), segment)
    project = lambda goal: problem.project(goal.reshape(shape)).reshape(-1)
    start = project(problem.start(segment).reshape(-1))
    if problem.affine is not None:
        guess = project(least_squares(*problem.affine(segment))[0])
        first, second = jnp.sum(jnp.square(jax.vmap(residual)(jnp.stack([start, guess]))), axis=1)
        start = jnp.where(second < first, guess, start)
    return residual, project, start


def search(residual: Function, project: Function, start: jax.Array) -> Search:
    """Levenberg-Marquardt from start: Float[g]. A step is taken if it lowers the residual, and the damping falls; else the
    damping rises (Marquardt 1963). A step into nothing finite is not taken. Entries that project holds against the slope stay
    where they are: steps are those of the others (Bertsekas 1982)."""
    look = jax.jacfwd(lambda goal: (residual(goal),) * 2, has_aux=True)

    def better(old: Search) -> Search:
        first = old.iterations == 0  # nothing is known yet: look at the start itself
        slope = product(old.J.T, jnp.where(first, 0.0, old.residual))
        normal = product(old.J.T, old.J)
        curvature = jnp.diagonal(normal)
        downhill = old.goal - ASIDE * (1.0 + jnp.abs(old.goal)) * jnp.sign(slope)
        free = (slope == 0) | (project(downhill) != old.goal)
        normal, slope = jnp.where(free[:, None] & free[None, :], normal, 0.0), jnp.where(free, slope, 0.0)
        # Marquardt's scaling; the floor lets directions that do not show yet move once others have.
        diagonal = jnp.maximum(curvature, 1e-6 * jnp.max(curvature))
        step, _ = solve_definite(normal + old.damping * jnp.diag(diagonal), -slope)
        goal = project(old.goal + step)
        J, after = look(goal)
        before, now = jnp.sum(jnp.square(old.residual)), jnp.sum(jnp.square(after))
        lower = first | (now < before)
        # Far or near, the goal no longer matters: where it is not unique it could wander for ever.
        level = (now <= before) & (before - now <= FLAT * before)
        tiny = ~first & (level | (jnp.max(jnp.abs(goal - old.goal)) <= CALM * (1.0 + jnp.max(jnp.abs(goal)))))
        goal, after, J = (jnp.where(lower, *pair) for pair in ((goal, old.goal), (after, old.residual), (J, old.J)))
        damping = jnp.clip(old.damping * jnp.where(lower, 0.1, 10.0), 1e-12, 1e8)
        ended = tiny | ~jnp.all(jnp.isfinite(after))
        return Search(goal, after, J, damping, ended, tiny & (old.damping <= FIRM), old.iterations + 1)

    size, no = jax.eval_shape(residual, start).shape, jnp.bool_(False)
    unknown = jnp.full(size, jnp.inf, start.dtype), jnp.zeros((*size, *start.shape), start.dtype)
    begin = Search(start, *unknown, jnp.full((), 1e-2, start.dtype), no, no, jnp.int32(0))
    return jax.lax.while_loop(lambda now: ~now.ended & (now.iterations <= ITERATIONS), better, begin)
