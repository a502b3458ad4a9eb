"""The inverse in closed form: the low level's own (OHIO's routing inverse), or least squares where it is affine in the goal."""

from ohio_jax import low_level
from ohio_jax.errors import UserError
from ohio_jax.inverse.result import Recovered, goal_status, jacobian_rank_status
from ohio_jax.low_level import Prepared, Problem
from ohio_jax.solvers.small import least_squares


def invert(problem: Problem, at: Prepared) -> Recovered:
    """Evaluates the closed form.

    An affine low level's answer is projected onto the admissible goals; it is AMBIGUOUS where some direction of the goal
    leaves no trace, and UNEXPLAINED where the low level itself, bounds included, would have ended elsewhere.

    Raises:
        UserError: while tracing, for a low level without one.
    """
    if problem.closed_form is not None:
        return goal_status(problem, at, *low_level.closed_form(problem, at))
    if not low_level.is_affine(problem):
        raise UserError("inverse 'analytic': expected a low level with a closed form, found one without")
    J, r = low_level.affine(problem, at)
    goal, _ = least_squares(J, r)
    return goal_status(problem, at, problem.project(goal), jacobian_rank_status(J))
