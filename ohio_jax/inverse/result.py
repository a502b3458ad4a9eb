"""What an inverse says of a segment: the high-level action that explains it, how well, and whether another would as well."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ohio_jax import low_level
from ohio_jax.low_level import (
    AMBIGUOUS,
    FAILED,
    UNEXPLAINED,
    UNIQUE,
    ActionModel,
    Prepared,
    Problem,
    active,
    model_of,
    residual,
    signed_residual,
)
from ohio_jax.solvers.small import product, solve_definite

INDEPENDENT = 1e-5  # smallest pivot at which a direction of the goal still shows in float32
APART = 2.0  # tolerances by which the residuals of two goals should differ that are told apart


class Recovered(NamedTuple):
    """The goal an inverse found.

    Attributes:
        goal: `Float[goal]`, always finite; where FAILED, the projection of zero.
        residual: `Float[]`, norm of the whitened residual at the goal; inf where FAILED.
        log_likelihood: `Float[]`, minus half the squared residual (up to a constant).
        converged: `Bool[]`.
        iterations: `Int[]`.
        status: `Int[]`, one of the codes in `ohio_jax.low_level`.
        deviation: `Float[goal]`, posterior standard deviation of each entry; 0 from inverses that give a point, and where FAILED.
        loss: `Float[]`, what the paper's descents minimized, before their last step; its filter reads it. 0 from other inverses.
    """

    goal: jax.Array
    residual: jax.Array
    log_likelihood: jax.Array
    converged: jax.Array
    iterations: jax.Array
    status: jax.Array
    deviation: jax.Array
    loss: jax.Array


def without_inactive_bounds(
    problem: Problem, at: Prepared, goal: Float[Array, "*goal"], J: Float[Array, "k g"]
) -> Float[Array, "k g"]:
    """`Float[k, g]`, J, the residual's derivative at the goal, without the entries that say nothing there: those that count on
    one side alone, as of actions on their bounds, and are off by no more than is explained. Goals on their other side explain as
    much, however near to the bound a prior, or a search that comes from inside, has left this one.
    """
    signed, sign = signed_residual(problem, goal, at)
    return J if sign is None else jnp.where(active(signed, sign, problem.tolerance)[:, None], J, 0.0)


def jacobian_rank_status(J: Float[Array, "k g"]) -> Int[Array, ""]:
    """`Int[]`, UNIQUE or AMBIGUOUS: whether every direction of the goal shows in a residual with derivative J: `Float[k, g]`, of
    entries that say something (see `without_inactive_bounds`).
    """
    _, pivot = solve_definite(product(J.T, J), jnp.zeros(J.shape[1], J.dtype))
    return jnp.where(pivot > INDEPENDENT, UNIQUE, AMBIGUOUS)


def uniqueness(problem: Problem, at: Prepared, goal: Float[Array, "*goal"], J: Float[Array, "k g"]) -> Int[Array, ""]:
    """`Int[]`, UNIQUE or AMBIGUOUS: whether the goal, at which the residual has derivative J: `Float[k, g]`, is the only one.

    A derivative does not tell that a low level saturates from this goal on, which is where a search that comes from inside ends.
    Of actions on their bounds one side counts (see `without_inactive_bounds`). Of states, and of actions as executed, nothing
    like that is known: there each entry of the goal is moved, up and down, as far as leads to a residual of `APART` tolerances if
    J holds, and where one such goal explains the segment all the same the goal is AMBIGUOUS.
    """
    model = model_of(problem)
    if isinstance(model, ActionModel) and model.execute is None:
        return jacobian_rank_status(without_inactive_bounds(problem, at, goal, J))
    # Each action rounds for itself: it is one of them that has to move so far.
    size = functools.partial(jnp.linalg.norm, ord=jnp.inf if isinstance(model, ActionModel) else None)

    def explains(entry: jax.Array) -> jax.Array:
        per_unit = size(product(J, entry))
        far = APART * problem.tolerance / jnp.where(per_unit > 0, per_unit, jnp.inf)
        other = problem.project(goal + (far * entry).reshape(goal.shape))  # which may keep it near
        expected = size(product(J, (other - goal).reshape(-1)))
        off = jnp.linalg.norm(residual(problem, other, at))
        return (expected > 0.75 * APART * problem.tolerance) & (off < problem.tolerance)

    entries = jnp.eye(J.shape[1], dtype=J.dtype)
    others = jax.vmap(explains)(jnp.concatenate([entries, -entries]))
    return jnp.where(jnp.any(others), AMBIGUOUS, jacobian_rank_status(J))


def is_identifiable(problem: Problem, at: Prepared, goal: Float[Array, "*goal"]) -> Int[Array, ""]:
    """UNIQUE or AMBIGUOUS at this goal: a low level that saturates there would end alike for others nearby.

    A low level with a closed form judges that itself, from its actions; one whose residual is of states, which may be all that an
    inverse looks at, is taken to be UNIQUE: its counts hide most small changes.
    """
    if problem.closed_form is not None:
        if model_of(problem) is not problem.action:
            return jnp.int32(UNIQUE)
        return jnp.where(low_level.closed_form(problem, at)[1] == AMBIGUOUS, AMBIGUOUS, UNIQUE)
    J = jax.jacfwd(lambda y: signed_residual(problem, y.reshape(goal.shape), at)[0])(goal.reshape(-1))
    return uniqueness(problem, at, goal, J)


def goal_status(
    problem: Problem,
    at: Prepared,
    goal: Float[Array, "*goal"],
    status: Int[Array, ""],
    converged: Bool[Array, ""] | bool = True,
    iterations: Int[Array, ""] | int = 0,
    deviation: Float[Array, "*goal"] | float = 0.0,
    loss: Float[Array, ""] | float = 0.0,
) -> Recovered:
    """An inverse's answer; FAILED where the segment's states, the goal or its residual are not finite.

    The residual is judged first: above the problem's tolerance the segment is UNEXPLAINED, whatever the status given. So
    AMBIGUOUS is what the goal explains, and others as well.
    """
    off, segment = jnp.linalg.norm(residual(problem, goal, at)), at.segment
    status = jnp.where(off < problem.tolerance, status, UNEXPLAINED)
    parts = (goal, off, segment.state, segment.next_state)
    finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(parts)]))
    off = jnp.where(finite, off, jnp.inf)
    return Recovered(
        # Not NaN even where it failed: a learner multiplies its loss there by a weight of 0.
        goal=jnp.where(finite, goal, problem.project(jnp.zeros_like(goal))),
        residual=off,
        log_likelihood=-0.5 * jnp.square(off),
        converged=finite & converged,
        iterations=jnp.asarray(iterations, jnp.int32),
        status=jnp.where(finite, status, FAILED).astype(jnp.int32),
        deviation=jnp.where(finite, deviation, jnp.zeros_like(goal)),
        loss=jnp.where(finite, loss, jnp.zeros_like(off)),
    )
