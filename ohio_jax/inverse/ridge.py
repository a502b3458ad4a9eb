"""The regularised inverse in closed form: least squares with a Gaussian prior around the observed state."""

import jax.numpy as jnp

from ohio_jax.errors import UserError
from ohio_jax.inverse.result import Recovered, explain, shows
from ohio_jax.low_level import Problem, Segment
from ohio_jax.solvers.small import product, solve_definite

WEIGHT = 1e-3  # of the prior, as a share of the mean square of J's columns


def invert(problem: Problem, segment: Segment) -> Recovered:
    """argmin |J goal + r|^2 + w |goal - start|^2, what the paper's early-stopped descent stands for.

    Directions of the goal that hardly show in the state, and would amplify model error, stay near the start.
    Raises UserError, while tracing, for a low level that is not affine in its goal.
    """
    if problem.affine is None:
        raise UserError("inverse 'ridge': expected a low level affine in its goal, found another")
    J, r = problem.affine(segment)
    start = problem.start(segment)
    normal = product(J.T, J)
    prior = WEIGHT * jnp.trace(normal) / start.shape[0] * jnp.eye(start.shape[0], dtype=start.dtype)
    step, _ = solve_definite(normal + prior, -product(J.T, product(J, start) + r))
    goal = problem.project(start + step)
    return explain(problem, segment, goal, shows(problem, segment, goal), judge=True)
