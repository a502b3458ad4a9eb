"""Inverses by first-order descent, as the paper's: Adam, stopped early. Slow, kept for comparison with `least_squares`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ohio_jax import low_level
from ohio_jax.errors import UserError
from ohio_jax.inverse import cross_entropy
from ohio_jax.inverse.result import Recovered, goal_status, is_identifiable
from ohio_jax.low_level import Prepared, Problem, executed_action, residual
from ohio_jax.solvers.small import product

RATE, ITERATIONS, EVERY, CHANGE = 1e-2, 1000, 10, 1e-6
# Of `matching`: its rate falls to a hundredth every STAGE; it ends once PATIENCE iterations in a row gained less than GAIN, or
# below ENOUGH [N^2 m^2].
STAGE, LONGEST, PATIENCE, GAIN, ENOUGH = 2000, 10_000, 20, 1e-3, 1e-4
LARGE = 100.0  # N^2 m^2, loss from which on the original searches again, by the cross-entropy method

Start = Callable[[Problem, Prepared], jax.Array]  # where a descent begins


def invert(problem: Problem, at: Prepared) -> Recovered:
    """The paper's numerical inverse: Adam on the mean squared residual, from the problem's start."""
    count = low_level.entries(problem, at)

    def loss(goal: jax.Array) -> jax.Array:
        off = residual(problem, goal, at)
        return jnp.sum(jnp.square(off)) / (off.size if count is None else count)

    return _descend(loss, problem, at)


def regularized(problem: Problem, at: Prepared) -> Recovered:
    """The paper's regularized analytical inverse: Adam on `|J'(J goal + r)|^2`, the residual of the normal equations.

    It has no penalty: starting at the observed state and stopping early is the regularization.

    Raises:
        UserError: while tracing, for a low level that is not affine in its goal.
    """
    if not low_level.is_affine(problem):
        raise UserError("inverse 'reg_analytic': expected a low level affine in its goal, found another")
    J, r = low_level.affine(problem, at)
    normal, right = product(J.T, J), product(J.T, r)
    return _descend(lambda goal: jnp.sum(jnp.square(product(normal, goal) + right)), problem, at)


def released_start(problem: Problem, at: Prepared) -> Float[Array, "*goal"]:
    """The original's start, a small rotation, since its derivative at 0 is NaN; ours is not."""
    return _with_first(low_level.start(problem, at), _released(problem)[0])


def logged_start(problem: Problem, at: Prepared) -> Float[Array, "*goal"]:
    """The original's other start, the high-level action that was logged."""
    if problem.logged is None:
        raise UserError("inverse 'gradient': expected a low level whose high-level actions were logged, found another")
    return problem.logged(at.segment)


def matching(problem: Problem, at: Prepared, last: bool = False, start: Start = low_level.start, cem: bool = False) -> Recovered:
    """The paper's inverse of manipulation: Adam on the squared distance of actions as executed, a mean over their entries and a
    sum over the steps. A saturated action has no slope.

    Args:
        last: compat; returns the last goal, as the original does whose best one is the same object, and not the best.
        cem: compat; where no goal of the descent has a loss below LARGE, what the original's cross-entropy method finds is
            returned instead.

    Raises:
        UserError: while tracing, for a low level without an action model, and for one of which the original has no such start.
    """
    if problem.action is None:
        raise UserError("inverse 'gradient': expected a low level that says how it acts in logged states, found another")
    steps = jax.tree.leaves(at.segment.action)[0].shape[0]
    loss = lambda goal: steps * jnp.mean(jnp.square(executed_action(problem, goal, at)))
    adam = optax.adam(optax.exponential_decay(RATE, STAGE, 0.01, staircase=True))

    def step(carry):
        goal, memory, best, least, stalled, i = carry
        value, slope = jax.value_and_grad(loss)(goal)
        stalled = jnp.where(least - value >= GAIN, 0, stalled + 1)
        best, least = jnp.where(value < least, goal, best), jnp.minimum(value, least)
        update, memory = adam.update(slope, memory)
        return goal + update, memory, best, least, stalled, i + 1

    def going(carry):
        *_, least, stalled, i = carry
        return (stalled <= PATIENCE) & (least >= ENOUGH) & (i < LONGEST)

    begin = start(problem, at)
    far = jnp.full((), jnp.inf, begin.dtype)
    first = (begin, adam.init(begin), begin, far, jnp.int32(0), jnp.int32(0))
    goal, _, best, least, stalled, iterations = jax.lax.while_loop(going, step, first)
    goal, converged = goal if last else best, (stalled > PATIENCE) | (least < ENOUGH)
    if cem:
        mean, large = low_level.start(problem, at), least >= LARGE
        deviation = _with_first(jnp.zeros_like(mean), _released(problem)[1])
        found = cross_entropy.search_as_released(loss, mean, deviation, large)
        goal, least = jnp.where(large, found.goal, goal), jnp.where(large, found.loss, least)
        converged, iterations = jnp.where(large, found.converged, converged), iterations + found.iterations
    goal = problem.project(goal)
    return goal_status(problem, at, goal, is_identifiable(problem, at, goal), converged, iterations, loss=least)


def _released(problem: Problem) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if problem.released is None:
        raise UserError("inverse 'gradient': expected a low level that the original searches, found another")
    return problem.released


def _with_first(goal: jax.Array, numbers: tuple[float, ...]) -> jax.Array:
    """The goal with other first entries."""
    return goal.at[: len(numbers)].set(jnp.array(numbers, goal.dtype))


def _descend(loss: Callable[[jax.Array], jax.Array], problem: Problem, at: Prepared) -> Recovered:
    """The original's loop. Every tenth iteration, from the first, compares the loss with the one ten before; two small
    changes in a row end it. The loss returned is, as there, the one before the last step.
    """
    adam = optax.adam(RATE)

    def step(carry):
        goal, memory, before, small, i, _ = carry
        value, slope = jax.value_and_grad(loss)(goal)
        checked = i % EVERY == 0
        small = jnp.where(checked, jnp.where(jnp.abs(before - value) < CHANGE, small + 1, 0), small)
        update, memory = adam.update(slope, memory)
        return goal + update, memory, jnp.where(checked, value, before), small, i + 1, value

    def going(carry):
        *_, before, small, i, _ = carry
        return (small < 2) & (i < ITERATIONS) & jnp.isfinite(before)

    start = low_level.start(problem, at)
    far = jnp.full((), 1000.0, start.dtype)
    first = (start, adam.init(start), far, jnp.int32(0), jnp.int32(0), far)
    goal, _, _, small, iterations, value = jax.lax.while_loop(going, step, first)
    goal = problem.project(goal)
    status = is_identifiable(problem, at, goal)
    return goal_status(problem, at, goal, status, small >= 2, iterations, loss=value)
