"""A linear-quadratic regulator as low-level policy (the paper's Reacher): feedback gains toward a goal in joint space.

- goal: `Float[n]`, the state asked for, in the state's units.
- state: `Float[n]`.
- action: `Float[m]`, within bounds.

Gains are computed where a goal is given, at the state of that moment, and kept for the h steps the goal lasts.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.controllers import closed_loop
from ohio_jax.low_level import ActionModel, Problem, Segment, StateModel
from ohio_jax.solvers import riccati
from ohio_jax.solvers.small import product


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        dynamics: the model (see `ohio_jax.dynamics`) whose linearization gives the gains.
        model: the one inverses predict with.
        Q, R, P: `Float[n]`, `Float[m]`, `Float[n]`, diagonals of the costs of state, action and last state.
        bound: `Float[m]`, largest action.
        limit: `Float[n]`, largest goal.
        noise: `Float[n]`, deviation of the reached state.
        steps: `h`.
        drift: whether gains and closed form know the part of the dynamics that moves by itself. The original's do not.
    """

    dynamics: Any
    model: Any
    Q: jax.Array
    R: jax.Array
    P: jax.Array
    bound: jax.Array
    limit: jax.Array
    noise: jax.Array
    steps: int = struct.field(pytree_node=False)
    drift: bool = struct.field(pytree_node=False, default=True)


class Memory(NamedTuple):
    """What the low level carries between steps.

    Attributes:
        gains: of the current goal.
        t: `Int[]`, steps since it was given.
    """

    gains: riccati.Gains
    t: jax.Array


def init(params: Params) -> Memory:
    n, m = params.Q.shape[0], params.R.shape[0]
    empty = riccati.Gains(jnp.zeros((params.steps, m, n)), jnp.zeros((params.steps, m, n + 1)))
    return Memory(empty, jnp.int32(0))


def plan(params: Params, memory: Memory, state: Float[Array, "n"], goal: Float[Array, "n"]) -> Memory:
    """The gains of a new goal, from the dynamics at the state it is given in."""
    return Memory(_gains(params, params.dynamics, state), jnp.int32(0))


def act(params: Params, memory: Memory, state: Float[Array, "n"], goal: Float[Array, "n"]) -> tuple[Float[Array, "m"], Memory]:
    """`Float[m]`, the gains' action clipped to the bound."""
    t = jnp.minimum(memory.t, params.steps - 1)
    wanted = _wanted(memory.gains.K[t], memory.gains.k[t], state, goal)
    return jnp.clip(wanted, -params.bound, params.bound), memory._replace(t=memory.t + 1)


class Context(NamedTuple):
    """What a segment says that no goal changes.

    Attributes:
        start: `Float[n]`, the state a goal is given in.
        gains: of the h steps it lasts.
        state: `Float[h, n]`, the logged ones.
    """

    params: Params
    start: jax.Array
    gains: riccati.Gains
    state: jax.Array


def prepare(params: Params, segment: Segment) -> Context:
    return Context(params, segment.state[0], _gains(params, params.dynamics, segment.state[0]), segment.state)


def problem(params: Params) -> Problem:
    """What inverses may know. Its residual sees states, not actions: any policy's data can be explained.

    State model: where the goal's clipped feedback leads in `model`, in units of `noise`; its affine form is without clipping,
    and with `model` linearized at the observed states (OHIO, section 4.1).

    Action model: the feedback before clipping, in the observed states.
    """
    return closed_loop.problem(params, prepare, STATE, ACTION)


def _predict(goal: jax.Array, at: Context) -> jax.Array:
    def step(x, gain):
        u = jnp.clip(_wanted(gain.K, gain.k, x, goal), -at.params.bound, at.params.bound)
        after = at.params.model.step(x, u)
        return after, after

    # Unrolled, the model at the first state, which no goal changes, is evaluated once for all iterations of an inverse.
    return jax.lax.scan(step, at.start, at.gains, unroll=min(at.params.steps, 5))[1]


def _affine(segment: Segment, at: Context) -> tuple[jax.Array, jax.Array]:
    return closed_loop.affine(at.gains, lambda x: _linear(at.params, at.params.model, x), segment)


def _unclipped(goal: jax.Array, at: Context) -> jax.Array:
    return jax.vmap(lambda gain, x: _wanted(gain.K, gain.k, x, goal))(at.gains, at.state)


STATE = StateModel(_predict, closed_loop.reached, closed_loop.noise, _affine)
ACTION = ActionModel(_unclipped, closed_loop.effect, closed_loop.bounds)


def _linear(params: Params, model: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    A, B, c = model.linear(x)
    return A, B, c if params.drift else jnp.zeros_like(c)


def _gains(params: Params, model: Any, x: jax.Array) -> riccati.Gains:
    A, B, c = _linear(params, model, x)
    found = riccati.gains(A, B, c, jnp.diag(params.Q), jnp.diag(params.R), jnp.diag(params.P), params.steps)
    return found if params.drift else found._replace(k=jnp.zeros_like(found.k))


def _wanted(K: jax.Array, k: jax.Array, state: jax.Array, goal: jax.Array) -> jax.Array:
    """`Float[m]`, before clipping."""
    return product(K, state - goal) + product(k[:, :-1], goal) + k[:, -1]
