"""Inverses by first-order descent, as the paper's: Adam, stopped early. Slow, kept for comparison with `least_squares`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from ohio_jax.errors import UserError
from ohio_jax.inverse.analytic import explain
from ohio_jax.inverse.problem import UNIQUE, Problem, Recovered, Segment

RATE, ITERATIONS, EVERY, CHANGE = 1e-2, 1000, 10, 1e-6


def invert(problem: Problem, segment: Segment) -> Recovered:
    """The paper's numerical inverse: Adam on the mean squared residual, from the problem's start."""
    loss = lambda goal: jnp.mean(jnp.square(problem.residual(goal, segment)))
    goal, calm, iterations = descend(loss, problem.start(segment))
    return explain(problem, segment, problem.project(goal), jnp.int32(UNIQUE), calm, iterations, judge=True)


def regularised(problem: Problem, segment: Segment) -> Recovered:
    """The paper's regularised analytical inverse: Adam on |J'(J goal + r)|^2, the residual of the normal equations.

    It has no penalty: starting at the observed state and stopping early is the regularisation. Raises UserError, while
    tracing, for a low level that is not affine in its goal.
    """
    if problem.affine is None:
        raise UserError("inverse 'reg_analytic': expected a low level affine in its goal, found another")
    J, r = problem.affine(segment)
    loss = lambda goal: jnp.sum(jnp.square(J.T @ (J @ goal + r)))
    goal, calm, iterations = descend(loss, problem.start(segment))
    return explain(problem, segment, problem.project(goal), jnp.int32(UNIQUE), calm, iterations, judge=True)


def descend(loss: Callable[[jax.Array], jax.Array], goal: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(goal, Bool[] whether it came to rest, Int[] iterations) of the original's loop.

    Every tenth iteration, from the first, compares the loss with the one ten before; two small changes in a row end it.
    """
    adam = optax.adam(RATE)

    def step(carry):
        goal, memory, before, small, i = carry
        value, slope = jax.value_and_grad(loss)(goal)
        checked = i % EVERY == 0
        small = jnp.where(checked, jnp.where(jnp.abs(before - value) < CHANGE, small + 1, 0), small)
        update, memory = adam.update(slope, memory)
        return goal + update, memory, jnp.where(checked, value, before), small, i + 1

    start = (goal, adam.init(goal), jnp.full((), 1000.0, goal.dtype), jnp.int32(0), jnp.int32(0))
    goal, _, _, small, i = jax.lax.while_loop(lambda c: (c[3] < 2) & (c[4] < ITERATIONS), step, start)
    return goal, small >= 2, i
