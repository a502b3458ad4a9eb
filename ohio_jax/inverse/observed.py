"""The inverse that sees states but no actions: the state that was reached is what the goal asked for."""

from ohio_jax import low_level
from ohio_jax.errors import UserError
from ohio_jax.inverse.result import Recovered, goal_status, is_identifiable
from ohio_jax.low_level import Prepared, Problem


def invert(problem: Problem, at: Prepared) -> Recovered:
    """Reads the goal off the reached state; UNEXPLAINED where the low level, given that goal, would end elsewhere.

    Raises:
        UserError: while tracing, for a low level whose goals states do not show.
    """
    if problem.observed is None:
        raise UserError("inverse 'observed': expected a low level whose goals show in the state, found one without")
    goal = low_level.observed(problem, at)
    return goal_status(problem, at, goal, is_identifiable(problem, at, goal))
