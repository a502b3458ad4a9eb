"""The inverse of logs whose high-level actions are known: the low level's own closed form for what it changes."""

from ohio_jax.errors import UserError
from ohio_jax.inverse.result import Recovered, goal_status, is_identifiable
from ohio_jax.low_level import Prepared, Problem


def invert(problem: Problem, at: Prepared) -> Recovered:
    """The high-level action that was logged, rescaled so that the low level does with it, at the segment's first step, what the
    one that was logged did. UNEXPLAINED where the segment's other steps part.

    Raises:
        UserError: while tracing, for a low level that does not say how.
    """
    if problem.rescaled is None:
        raise UserError("inverse 'rescaled': expected a low level that rescales logged high-level actions, found another")
    goal = problem.project(problem.rescaled(at.segment, at.context))
    return goal_status(problem, at, goal, is_identifiable(problem, at, goal))
