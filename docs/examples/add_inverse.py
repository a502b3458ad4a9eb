"""An inverse of one's own: the sum of absolute residuals, which a few actions that were not the low level's do not move."""

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax import low_level
from ohio_jax.controllers import pd
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES, on_logged_segments
from ohio_jax.inverse.result import Recovered, goal_status, jacobian_rank_status
from ohio_jax.low_level import Prepared, Problem, Segment
from ohio_jax.relabel import invert_all
from ohio_jax.solvers.small import least_squares, product

ROUNDS = 30
SMALLEST = 1e-3  # deviations below which a residual weighs no more


def invert(problem: Problem, at: Prepared) -> Recovered:
    """argmin sum |J goal + r| by iteratively reweighted least squares: each row weighs one over its last residual.

    Raises UserError, while tracing, for a low level that is not affine in its goal.
    """
    if not low_level.is_affine(problem):
        raise UserError("inverse 'robust': expected a low level affine in its goal, found another")
    J, r = low_level.affine(problem, at)

    def again(goal, _):
        weight = 1.0 / jnp.sqrt(jnp.maximum(jnp.abs(product(J, goal) + r), SMALLEST))
        return least_squares(weight[:, None] * J, weight * r)[0], None

    goal, _ = jax.lax.scan(again, least_squares(J, r)[0], None, ROUNDS)
    return goal_status(problem, at, problem.project(goal), jacobian_rank_status(J), iterations=ROUNDS)


INVERSES["robust"] = on_logged_segments(invert)  # in the suite: a line in `ohio_jax.inverse._INVERSES`

if __name__ == "__main__":
    two = lambda x: np.full(2, x, np.float32)
    low = pd.Params(kp=two(5.0), kd=two(0.5), bound=two(100.0), limit=two(3.0), noise=two(0.05))
    random = np.random.default_rng(0)
    asked = random.uniform(-2, 2, (512, 2)).astype(np.float32)
    state = random.normal(size=(512, 6, 4)).astype(np.float32)  # six steps a segment: two angles, two velocities
    act = lambda x, goal: pd.act(low, (), x, goal)[0]
    action = np.array(jax.vmap(jax.vmap(act, (0, None)))(state, asked))
    action[:, 2] = random.uniform(-20, 20, (512, 2))  # one step in six, somebody's hand was on the stick
    segments = Segment(state, action, state)

    error = {}
    for name in ("analytic", "robust"):
        found = invert_all(name, pd.problem(low), segments)
        error[name] = float(np.median(np.abs(found.goal - asked)))
        print(f"{name:<10} median error {error[name]:.1e} rad")
    assert error["robust"] < 1e-3 < 0.1 < error["analytic"]
