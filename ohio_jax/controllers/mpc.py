"""Linear model-predictive control as low-level policy: at every step the first action of the best plan within bounds.

goal: Float[n], the state asked for; state: Float[n]; action: Float[m]. The model is linearised at the state of each step.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from ohio_jax.controllers import closed_loop
from ohio_jax.low_level import Problem, Segment, disagreement
from ohio_jax.solvers import qp, riccati


@struct.dataclass
class Params:
    """dynamics: the model (see `ohio_jax.dynamics`) that plans; model: the one inverses predict with.

    Q, R, P: Float[n], Float[m], Float[n], diagonals of the costs of state, action and last state.
    bound: Float[m], largest action; limit: Float[n], largest goal; noise: Float[n], deviation of the reached state.
    horizon: H, steps planned ahead; steps: h, steps a goal lasts.
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


def init(params: Params) -> jax.Array:
    """Int[H, m], the active set that the next step starts from."""
    return jnp.zeros((params.horizon, params.R.shape[0]), jnp.int32)


def plan(params: Params, memory: jax.Array, state: jax.Array, goal: jax.Array) -> jax.Array:
    return memory


def act(params: Params, memory: jax.Array, state: jax.Array, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Float[m], differentiable in the goal through the optimality conditions; 0 where the state is not finite."""
    best = qp.solve(_program(params, state), state, goal, memory)
    ahead = jnp.concatenate([best.active[1:], best.active[-1:]])
    usable = jnp.all(jnp.isfinite(best.u[0]))
    return jnp.where(usable, best.u[0], 0.0), ahead


def problem(params: Params) -> Problem:
    """What inverses may know: the states of a segment and, for `imitation` alone, its actions, as for `lqr`.

    Residual: the state that the goal's closed loop reaches in `model`, less the one observed, in units of `noise`.
    Affine form: the gains of each observed state, without bounds. Equal gains at all steps show a goal in as many dimensions
    as there are actions.
    Imitation: the optimality conditions of each logged action in its observed state, later actions being optimal: off its
    bounds the slope of the plan's cost must vanish, on one of them it must push outward. In actions: slope over curvature.
    """

    def residual(goal: jax.Array, segment: Segment) -> jax.Array:
        end = closed_loop.reached(act, params, init(params), segment.state[0], goal)
        return (end - segment.next_state[-1]) / params.noise

    def affine(segment: Segment) -> tuple[jax.Array, jax.Array]:
        Q, R, P = (jnp.diag(weight) for weight in (params.Q, params.R, params.P))

        def first(x):
            A, B, c = params.dynamics.linear(x)
            return jax.tree.map(lambda gain: gain[0], riccati.gains(A, B, c, Q, R, P, params.horizon))

        return closed_loop.affine(jax.vmap(first)(segment.state), params.model.linear, segment, params.noise)

    def imitation(goal: jax.Array, segment: Segment) -> jax.Array:
        def step(x, u):
            program = _program(params, x)
            A, B = program.A[0], program.B[0]
            after = A @ x + B @ u + program.c[0]
            rest = program._replace(A=program.A[1:], B=program.B[1:], c=program.c[1:])
            planned = after[None] if params.horizon == 1 else qp.solve(rest, after, goal).x
            # Costates, back from the last state: what one more unit of the next state costs.
            back = lambda ahead, x: (params.Q * (x - goal) + A.T @ ahead, None)
            costate, _ = jax.lax.scan(back, params.P * (planned[-1] - goal), planned[:-1], reverse=True)
            push = -(params.R * u + B.T @ costate) / (params.R + params.P @ jnp.square(B))
            return disagreement(u + push, u, params.bound, params.model.linear(x)[1], params.noise)

        return jax.vmap(step)(segment.state, segment.action).reshape(-1)

    return Problem(
        residual=residual,
        start=lambda segment: segment.next_state[-1],
        project=lambda goal: jnp.clip(goal, -params.limit, params.limit),
        observed=lambda segment: segment.next_state[-1],
        affine=affine,
        imitation=imitation,
        width=lambda segment: params.limit,
    )


def _program(params: Params, x: jax.Array) -> qp.Program:
    A, B, c = params.dynamics.linear(x)
    over = lambda y: jnp.broadcast_to(y, (params.horizon, *y.shape))
    Q, R, P = (jnp.diag(weight) for weight in (params.Q, params.R, params.P))
    return qp.Program(over(A), over(B), over(c), Q, R, P, -params.bound, params.bound)
