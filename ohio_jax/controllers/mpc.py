"""Linear model-predictive control as low-level policy: at every step the first action of the best plan within bounds.

- goal: `Float[n]`, the state asked for.
- state: `Float[n]`.
- action: `Float[m]`.

The model is linearized at the state of each step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int

from ohio_jax.controllers import closed_loop, stateless
from ohio_jax.low_level import ActionModel, Problem, Segment, StateModel
from ohio_jax.solvers import qp, riccati


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        dynamics: the model (see `ohio_jax.dynamics`) that plans.
        model: the one inverses predict with.
        Q, R, P: `Float[n]`, `Float[m]`, `Float[n]`, diagonals of the costs of state, action and last state.
        bound: `Float[m]`, largest action.
        limit: `Float[n]`, largest goal.
        noise: `Float[n]`, deviation of the reached state.
        horizon: H, steps planned ahead.
        steps: h, steps a goal lasts.
    """

    dynamics: Any
    model: Any
    Q: jax.Array
    R: jax.Array
    P: jax.Array
    bound: jax.Array
    limit: jax.Array
    noise: jax.Array
    horizon: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False)


plan = stateless.plan


def init(params: Params) -> Int[Array, "H m"]:
    """`Int[H, m]`, the active set that the next step starts from."""
    return jnp.zeros((params.horizon, params.R.shape[0]), jnp.int32)


def act(
    params: Params, memory: Int[Array, "H m"], state: Float[Array, "n"], goal: Float[Array, "n"]
) -> tuple[Float[Array, "m"], Int[Array, "H m"]]:
    """`Float[m]`, differentiable in the goal through the optimality conditions; 0 where the state is not finite."""
    best = qp.solve(_program(params, state), state, goal, memory)
    ahead = jnp.concatenate([best.active[1:], best.active[-1:]])
    usable = jnp.all(jnp.isfinite(best.u[0]))
    return jnp.where(usable, best.u[0], 0.0), ahead


class Context(NamedTuple):
    """What a segment says of its low level that no goal changes.

    Attributes:
        start: `Float[n]`, a segment's first state.
        A, B, c: of its h steps, the model that plans, linearized at the logged states.
        state, action: of its h steps, as logged.
        after: `Float[h, n]`, where the logged actions lead.
    """

    params: Params
    start: jax.Array
    A: jax.Array
    B: jax.Array
    c: jax.Array
    state: jax.Array
    action: jax.Array
    after: jax.Array


def prepare(params: Params, segment: Segment) -> Context:
    A, B, c = jax.vmap(params.dynamics.linear)(segment.state)
    after = jax.vmap(lambda A, B, c, x, u: A @ x + B @ u + c)(A, B, c, segment.state, segment.action)
    return Context(params, segment.state[0], A, B, c, segment.state, segment.action, after)


def problem(params: Params) -> Problem:
    """What inverses may know: the states of a segment and, for `action_residual` alone, its actions, as for `lqr`.

    State model: the goal's closed loop in `model`, in units of `noise`. Affine form: the gains of each observed state, without
    bounds. Equal gains at all steps show a goal in as many dimensions as there are actions.

    Action model: each observed state's plan; compared are the optimality conditions of each logged action in its observed
    state, later actions being optimal: off its bounds the slope of the plan's cost must vanish, on one of them it must push
    outward. In actions: slope over curvature.
    """
    return closed_loop.problem(params, prepare, STATE, ACTION)


def _affine(segment: Segment, at: Context) -> tuple[jax.Array, jax.Array]:
    params = at.params
    Q, R, P = (jnp.diag(weight) for weight in (params.Q, params.R, params.P))
    first = lambda A, B, c: jax.tree.map(lambda gain: gain[0], riccati.gains(A, B, c, Q, R, P, params.horizon))
    return closed_loop.affine(jax.vmap(first)(at.A, at.B, at.c), params.model.linear, segment)


def _planned(goal: jax.Array, at: Context) -> jax.Array:
    def step(A, B, c, x):
        return qp.solve(_program_of(at.params, at.params.horizon, A, B, c), x, goal).u[0]

    return jax.vmap(step)(at.A, at.B, at.c, at.state)


def _push(goal: jax.Array, at: Context) -> jax.Array:
    params = at.params

    def step(A, B, c, u, after):
        rest = _program_of(params, params.horizon - 1, A, B, c)
        planned = after[None] if params.horizon == 1 else qp.solve(rest, after, goal).x
        # Costates, back from the last state: what one more unit of the next state costs.
        back = lambda ahead, x: (params.Q * (x - goal) + A.T @ ahead, None)
        costate, _ = jax.lax.scan(back, params.P * (planned[-1] - goal), planned[:-1], reverse=True)
        return -(params.R * u + B.T @ costate) / (params.R + params.P @ jnp.square(B))

    return jax.vmap(step)(at.A, at.B, at.c, at.action, at.after)


STATE = StateModel(closed_loop.predict(init, act), closed_loop.reached, closed_loop.noise, _affine)
ACTION = ActionModel(_planned, closed_loop.effect, closed_loop.bounds, stationarity=_push)


def _program(params: Params, x: jax.Array) -> qp.BoxLQ:
    return _program_of(params, params.horizon, *params.dynamics.linear(x))


def _program_of(params: Params, horizon: int, A: jax.Array, B: jax.Array, c: jax.Array) -> qp.BoxLQ:
    over = lambda y: jnp.broadcast_to(y, (horizon, *y.shape))
    Q, R, P = (jnp.diag(weight) for weight in (params.Q, params.R, params.P))
    return qp.BoxLQ(over(A), over(B), over(c), Q, R, P, -params.bound, params.bound)
