"""The regularized inverse in closed form: least squares with a Gaussian prior around the observed state."""

import jax.numpy as jnp

from ohio_jax import low_level
from ohio_jax.errors import UserError
from ohio_jax.inverse.result import Recovered, goal_status, is_identifiable
from ohio_jax.low_level import Prepared, Problem
from ohio_jax.solvers.small import product, solve_definite

WEIGHT = 1e-3  # of the prior, as a share of the mean square of J's columns


def invert(problem: Problem, at: Prepared) -> Recovered:
    """`argmin |J goal + r|^2 + w |goal - start|^2`, what the paper's early-stopped descent stands for.

    Directions of the goal that hardly show in the state, and would amplify model error, stay near the start.

    Raises:
        UserError: while tracing, for a low level that is not affine in its goal.
    """
    if not low_level.is_affine(problem):
        raise UserError("inverse 'ridge': expected a low level affine in its goal, found another")
    J, r = low_level.affine(problem, at)
    start = low_level.start(problem, at)
    normal = product(J.T, J)
    prior = WEIGHT * jnp.trace(normal) / start.shape[0] * jnp.eye(start.shape[0], dtype=start.dtype)
    step, _ = solve_definite(normal + prior, -product(J.T, product(J, start) + r))
    goal = problem.project(start + step)
    return goal_status(problem, at, goal, is_identifiable(problem, at, goal))
