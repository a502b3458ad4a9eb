"""Nonlinear model-predictive control as low-level policy: at every step the first action of the best plan within bounds.

- goal: `Float[n]`, the state asked for.
- state: `Float[n]`.
- action: `Float[m]`.

The model is taken as it is, not linearized as by `mpc`.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.controllers import closed_loop
from ohio_jax.controllers.mpc import Params
from ohio_jax.low_level import Problem, StateModel
from ohio_jax.solvers import ilqr


def init(params: Params) -> Float[Array, "H m"]:
    """`Float[H, m]`, the actions that the next step's search starts from."""
    return jnp.zeros((params.horizon, params.R.shape[0]), params.R.dtype)


def plan(params: Params, memory: Float[Array, "H m"], state: Float[Array, "n"], goal: Float[Array, "n"]) -> Float[Array, "H m"]:
    """The start of a new goal's search: always the same, for which local optimum it finds must not depend on goals before."""
    return init(params)


def act(
    params: Params, memory: Float[Array, "H m"], state: Float[Array, "n"], goal: Float[Array, "n"]
) -> tuple[Float[Array, "m"], Float[Array, "H m"]]:
    """`Float[m]`, differentiable in the goal through the optimality conditions; 0 where the state is not finite."""
    Q, R, P = (jnp.diag(weight) for weight in (params.Q, params.R, params.P))
    best = ilqr.solve(ilqr.OptimalControl(params.dynamics, Q, R, P, -params.bound, params.bound), state, goal, memory)
    u = jnp.where(jnp.all(jnp.isfinite(best.u)), best.u, 0.0)
    return u[0], jnp.concatenate([u[1:], u[-1:]])


def problem(params: Params) -> Problem:
    """As for `mpc`, with the states of this closed loop; it offers no comparison of actions."""
    return closed_loop.problem(params, closed_loop.prepare, STATE, None)


STATE = StateModel(closed_loop.predict(init, act), closed_loop.reached, closed_loop.noise)

__all__ = ["Params", "act", "init", "plan", "problem"]
