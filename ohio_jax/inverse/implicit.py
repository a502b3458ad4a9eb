"""The inverse that imitates: the goal whose low-level actions, in the logged states, are the logged actions.

For a low level that is itself an optimization problem the derivative of its actions with respect to the goal comes from its
optimality conditions (see `ohio_jax.solvers.qp`). An action on a bound says only on which side the goal lies.
"""

from ohio_jax.errors import UserError
from ohio_jax.inverse import least_squares
from ohio_jax.inverse.result import Recovered
from ohio_jax.low_level import Prepared, Problem


def invert(problem: Problem, at: Prepared) -> Recovered:
    """Levenberg-Marquardt on the action model, from the problem's start; residual and status are about actions. It needs no model
    of the world.

    AMBIGUOUS where the goal explains the actions and they leave some direction of it open, as where all are on their bounds.
    UNEXPLAINED where they are not this low level's.

    Raises:
        UserError: while tracing, for a low level without an action model.
    """
    if problem.action is None:
        raise UserError("inverse 'implicit': expected a low level that compares its actions with logged ones, found another")
    return least_squares.invert(problem._replace(residual="action", action=problem.action._replace(affine=None)), at)
