"""The inverse as nonlinear least squares: Levenberg-Marquardt on the residual, for any low level.

::

    minimize |residual(goal)|^2,

or, where entries of the residual count on one side only and so leave directions of the goal open,

::

    minimize k log(|residual(goal)|^2 + k SLACK^2) + |(goal - start) / width|^2,    k entries.

That is the most likely goal where nobody knows how large the noise is: twice the negative logarithm of its posterior, with the
problem's prior on the goal and Jeffreys' on the noise. Where goals explain a segment exactly, it is the one nearest to the
start of those that do; where none does, the last per cents of the residual are not paid for with goals far off.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax import low_level
from ohio_jax.inverse.result import Recovered, goal_status, uniqueness
from ohio_jax.low_level import SLACK, Prepared, Problem, active, active_residual, signed_residual
from ohio_jax.solvers.small import gram, least_squares, product, solve_definite

ITERATIONS = 30
STEP_TOL = 1e-5  # a step shorter than this share of the goal ends the search
COST_TOL = 1e-2  # and so does a step that lowers the squared residual by less than this share
COST_TOL_PRIOR = 3e-3  # or, with a prior, which lets nothing wander, the k-th root of what it makes of it
FD_STEP = 1e-3  # share of the goal by which an entry is moved to see whether it is held
MAX_DAMPING_AT_CONVERGENCE = 1.0  # damping up to which such a step means a minimum; beyond, only that no step down was found
MAX_ACCELERATION_RATIO = 0.5  # share of a step up to which its bend is believed

Function = Callable[[jax.Array], jax.Array]
Signed = Callable[[jax.Array], tuple[jax.Array, jax.Array | None]]  # see `low_level.signed_residual`
Prior = tuple[jax.Array, jax.Array]  # Float[g], Float[g]: where goals lie before anything is seen, and their deviation


class Search(NamedTuple):
    """State of a search.

    Attributes:
        goal: `Float[g]`.
        signed: `Float[k]`, sign: `Int[k]` (see `Signed`) and J: `Float[k, g]`, derivative of `signed`, there.
        damping: `Float[]`.
        ended, converged: `Bool[]`.
        iterations: `Int[]`.
    """

    goal: jax.Array
    signed: jax.Array
    sign: jax.Array | None
    J: jax.Array
    damping: jax.Array
    ended: jax.Array
    converged: jax.Array
    iterations: jax.Array


def invert(problem: Problem, at: Prepared) -> Recovered:
    """The best admissible goal, by a search from the better of the problem's start and its affine answer.

    AMBIGUOUS where the goal explains the segment and some direction of it does not show, as where the low level saturates.
    FAILED only where the segment is not finite.

    Without one-sided entries there is no prior. There the last per cent of a residual that no goal explains is left alone: a
    direction that hardly shows would fit it with goals far off, each nearly as good as the one before; stopped here, it stays
    near the start (Hanke 1997, A regularizing Levenberg-Marquardt scheme, Inverse Problems 13).
    """
    center, prior = low_level.start(problem, at), None
    if problem.likeliest:
        prior = center.reshape(-1), low_level.width(problem, at).reshape(-1)
    end = search(*flat(problem, at), prior, low_level.entries(problem, at))
    goal = end.goal.reshape(center.shape)
    return goal_status(problem, at, goal, uniqueness(problem, at, goal, end.J), end.converged, end.iterations)


def flat(problem: Problem, at: Prepared) -> tuple[Signed, Function, Float[Array, "g"]]:
    """(signed_at, project, start) of the problem, on goals as `Float[g]`; the better of its start and its affine answer."""
    first = low_level.start(problem, at)
    shape = first.shape

    def signed_at(goal: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        signed, sign = signed_residual(problem, goal.reshape(shape), at)
        return (signed, sign) if problem.likeliest else (active_residual(signed, sign), None)

    project = lambda goal: problem.project(goal.reshape(shape)).reshape(-1)
    start = project(first.reshape(-1))
    if low_level.is_affine(problem):
        guess = project(least_squares(*low_level.affine(problem, at))[0])
        of_each = jax.vmap(lambda goal: active_residual(*signed_at(goal)))(jnp.stack([start, guess]))
        mine, theirs = jnp.sum(jnp.square(of_each), axis=1)
        start = jnp.where(theirs < mine, guess, start)
    return signed_at, project, start


def search(
    signed_at: Signed,
    project: Function,
    start: Float[Array, "g"],
    prior: Prior | None = None,
    entries: Float[Array, ""] | None = None,
) -> Search:
    """Levenberg-Marquardt from start: `Float[g]`. A step is taken if it lowers the objective, and the damping falls; else the
    damping rises (Marquardt 1963). A step into nothing finite is not taken. Entries that project holds against the slope stay
    where they are: steps are those of the others (Bertsekas 1982). A step weighs the prior, if there is one, by the noise that
    the residual has come down to.

    One-sided entries make narrow, winding valleys. A step along them is solved for twice, the second time with the entries that
    the first would run into, and is bent as the valley is, by half the residual's second derivative on the way (geodesic
    acceleration: Transtrum and Sethna 2012, arXiv:1201.5885).

    Args:
        entries: see `low_level.entries`.
    """
    (signed, sign), no = jax.eval_shape(signed_at, start), jnp.bool_(False)
    k = len(signed) if entries is None else entries
    least = 0.0 if prior is None else k * SLACK**2
    center, width = (start, jnp.inf) if prior is None else prior

    def look(goal: jax.Array):
        signed, sign = signed_at(goal)
        return signed, (signed, sign)

    squared = lambda signed, sign: jnp.sum(jnp.square(active_residual(signed, sign))) + least
    objective = lambda goal, *seen: squared(*seen) * jnp.exp(jnp.sum(jnp.square((goal - center) / width)) / k)

    def better(old: Search) -> Search:
        first = old.iterations == 0  # nothing is known yet: look at the start itself
        signed = jnp.where(first, 0.0, old.signed)
        weight = squared(signed, old.sign) / k / jnp.square(width)
        back = weight * (old.goal - center)
        slope = jnp.sum(old.J * active_residual(signed, old.sign)[:, None], axis=0) + back
        downhill = old.goal - FD_STEP * (1.0 + jnp.abs(old.goal)) * jnp.sign(slope)
        free = (slope == 0) | (project(downhill) != old.goal)

        def solve(right: jax.Array, expected: jax.Array, back: jax.Array | float = 0.0) -> jax.Array:
            """The damped step that takes `right` off the entries that count where they are `expected`, and `back` off the prior's
            slope; an entry of the goal that is on its edge stays there.
            """
            J = jnp.where(active(expected, old.sign, 0.0)[:, None] & free[None], old.J, 0.0)
            normal = gram(J) + jnp.diag(jnp.where(free, weight, 0.0))
            # Marquardt's scaling; the floor lets directions that do not show yet move once others have.
            diagonal = jnp.maximum(jnp.diagonal(normal), 1e-6 * jnp.max(jnp.diagonal(normal)))
            against = jnp.sum(J * right[:, None], axis=0) + jnp.where(free, back, 0.0)
            return solve_definite(normal + old.damping * jnp.diag(diagonal), -against)[0]

        step = solve(signed, signed, back)
        if old.sign is not None:
            run_into = signed + product(old.J, step)
            step = solve(signed, run_into, back)
            along = lambda goal: jax.jvp(lambda goal: signed_at(goal)[0], (goal,), (step,))[1]
            bend = solve(0.5 * jax.jvp(along, (old.goal,), (step,))[1], run_into)
            step += jnp.where(jnp.sum(jnp.square(bend)) <= MAX_ACCELERATION_RATIO**2 * jnp.sum(jnp.square(step)), bend, 0.0)
        goal = project(old.goal + step)

        J, (after, sign) = jax.jacfwd(look, has_aux=True)(goal)
        before, now = objective(old.goal, old.signed, old.sign), objective(goal, after, sign)
        lower = first | (now < before)
        # Far or near, the goal no longer matters: where it is not unique it could wander for ever.
        level = (now <= before) & (before - now <= (COST_TOL if prior is None else COST_TOL_PRIOR) * before)
        still = jnp.max(jnp.abs(goal - old.goal)) <= STEP_TOL * (1.0 + jnp.max(jnp.abs(goal)))
        tiny = ~first & (level | still)
        new = old._replace(goal=goal, signed=after, sign=sign, J=J)
        kept = jax.tree.map(functools.partial(jnp.where, lower), new, old)
        return kept._replace(
            damping=jnp.clip(old.damping * jnp.where(lower, 0.1, 10.0), 1e-12, 1e8),
            ended=tiny | ~jnp.all(jnp.isfinite(kept.signed)),
            converged=tiny & (old.damping <= MAX_DAMPING_AT_CONVERGENCE),
            iterations=old.iterations + 1,
        )

    begin = Search(
        goal=start,
        signed=jnp.full(signed.shape, jnp.inf, start.dtype),
        sign=None if sign is None else jnp.zeros(sign.shape, sign.dtype),
        J=jnp.zeros((*signed.shape, *start.shape), start.dtype),
        damping=jnp.full((), 1e-2, start.dtype),
        ended=no,
        converged=no,
        iterations=jnp.int32(0),
    )
    end = jax.lax.while_loop(lambda now: ~now.ended & (now.iterations <= ITERATIONS), better, begin)
    return end._replace(J=jnp.where(active(end.signed, end.sign)[:, None], end.J, 0.0))
