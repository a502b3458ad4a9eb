"""A recurrent network as low-level policy: hierarchical RL whose low level is learned too (OHIO, ICLR 2025, HRL baselines).

::

    h_j = LSTM(h_{j-1}, [sin q, cos q, v, (p, R,) goal / output]),   torque = clip(bound (W h_j + w), -bound, bound)

It knows nothing of an arm's dynamics but what logs show, and nothing of another controller's gains. One step of the network is
taken for each low-level step, from rest where a goal is given.

- goal: `Float[2 n + 1]`, change of joint angles [rad] and velocities [rad/s] over the steps that it lasts ("joint"), or
  `Float[7]`, displacement [m] and rotation vector [rad] of the arm's site ("site"); and the gripper's command.
- state: `Float[3 n]`, joint angles and velocities, and the angles at reset, which are not used.
- action: `Float[n + 1]`.
"""

import functools
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.controllers import torques
from ohio_jax.controllers.osc import vector_of
from ohio_jax.dynamics.chain import Chain, frames, pose
from ohio_jax.errors import UserError
from ohio_jax.low_level import AMBIGUOUS, UNEXPLAINED, UNIQUE, Problem, Segment, StateModel, active_residual, sign_of
from ohio_jax.networks.recurrent import Carry, Recurrent
from ohio_jax.solvers.small import product


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        weights: of the network.
        chain: the arm.
        output: `Float[g - 1]`, largest goal, entry by entry.
        bound: `Float[n]`, largest torques.
        by: what goals speak of.
        hidden: width of the network.
        replays: compat, for goals that last so many steps: each step shows the network all steps since the goal was given once
            more, on top of what it remembers of them; 0 for one step each.
    """

    weights: Any
    chain: Chain
    output: Any
    bound: Any
    by: Literal["joint", "site"] = struct.field(pytree_node=False)
    hidden: int = struct.field(pytree_node=False)
    replays: int = struct.field(pytree_node=False, default=0)

    @property
    def network(self) -> Recurrent:
        return Recurrent(self.hidden, len(self.bound))


class Memory(NamedTuple):
    """What the low level carries between steps.

    Attributes:
        carry: the network's.
        seen: `Float[replays, k]`, inputs since the goal was given.
        steps: `Int[]`, how many.
    """

    carry: Carry
    seen: jax.Array
    steps: jax.Array


def init(params: Params) -> Memory:
    n = len(params.bound)
    inputs = 3 * n + (12 if params.by == "site" else 0) + len(params.output)
    return Memory(params.network.rest(), jnp.zeros((params.replays, inputs)), jnp.int32(0))


def plan(params: Params, memory: Memory, state: Float[Array, "n"], goal: Float[Array, "g"]) -> Memory:
    return jax.tree.map(jnp.zeros_like, memory)


def act(params: Params, memory: Memory, state: Float[Array, "n"], goal: Float[Array, "g"]) -> tuple[Float[Array, "m"], Memory]:
    """`Float[n + 1]`; differentiable in the goal, its slope 0 in torques that are clipped."""
    x = inputs_of(params, state, goal)
    if params.replays:
        seen = memory.seen.at[memory.steps].set(x)
        again = lambda carry, x: params.network.apply(params.weights, carry, x)
        carry, out, steps = memory.carry, jnp.zeros(len(params.bound)), memory.steps + 1
        for i in range(params.replays):  # those that were not yet seen change nothing
            new = again(carry, seen[i])
            carry, out = jax.tree.map(lambda a, b, i=i: jnp.where(i < steps, a, b), new, (carry, out))
        memory = Memory(carry, seen, steps)
    else:
        carry, out = params.network.apply(params.weights, memory.carry, x)
        memory = memory._replace(carry=carry)
    return torques.action(out * params.bound, params.bound, goal), memory


def inputs_of(params: Params, state: Float[Array, "n"], goal: Float[Array, "g"]) -> Float[Array, "k"]:
    """`Float[k]`, what the network sees."""
    q, v, _ = torques.split(state)
    parts = [jnp.sin(q), jnp.cos(q), v]
    if params.by == "site":
        position, rotation = pose(params.chain, frames(params.chain, q))
        parts += [position, rotation.reshape(-1)]
    return jnp.concatenate([*parts, torques.inside(goal, params.output)[:-1] / params.output])


def reached(params: Params, segment: Segment) -> Float[Array, "g"]:
    """`Float[g]`, the change over a segment that a goal would speak of, and the command."""
    before, after = segment.state[0], segment.next_state[-1]
    if params.by == "joint":
        moved = (after - before)[: len(params.output)]
    else:
        at = [pose(params.chain, frames(params.chain, torques.split(state)[0])) for state in (before, after)]
        (position, rotation), (later, turned) = at
        moved = jnp.concatenate([later - position, vector_of(product(turned, rotation.T))])
    return jnp.concatenate([moved, torques.command(segment)])


class Context(NamedTuple):
    """What a segment says that no goal changes.

    Attributes:
        reached: `Float[g]`, see `reached`.
        observed: `Float[g]`, the same within the range of goals.
    """

    params: Params
    reached: jax.Array
    observed: jax.Array


def prepare(params: Params, segment: Segment) -> Context:
    goal = reached(params, segment)
    return Context(params, goal, torques.inside(goal, params.output))


def problem(params: Params) -> Problem:
    """What inverses may know: a goal says what is to be reached, so it is read off what was, whatever the network would do.

    Closed form and `observed`: the change over the segment, at the range's edge and UNEXPLAINED where it lies outside; and the
    command. State model: what is reached is the goal, in hundredths of the range.
    """
    return Problem(
        project=lambda goal: torques.inside(goal, params.output),
        start=_observed,
        state=STATE,
        prepare=functools.partial(prepare, params),
        closed_form=_closed_form,
        observed=_observed,
        width=_range,
    )


def _closed_form(segment: Segment, at: Context) -> tuple[jax.Array, jax.Array]:
    # A goal is the change over all of its steps: that over fewer tells little of it.
    status = jnp.where(jnp.all(segment.taken), UNIQUE, AMBIGUOUS)
    return at.observed, jnp.where(jnp.all(at.observed == at.reached), status, UNEXPLAINED)


def _observed(segment: Segment, at: Context) -> jax.Array:
    return at.observed


def _range(segment: Segment, at: Context) -> jax.Array:
    return jnp.append(at.params.output, 1.0)


STATE = StateModel(
    predict=lambda goal, at: goal[None],
    observed=lambda segment, at: at.reached,
    scale=lambda segment, at: torques.NOISE * _range(segment, at),
)


@dataclass(frozen=True)
class Config:
    """How a network is taught.

    Attributes:
        updates, batch: Adam's steps and segments in each.
        rate: its rate at first, falling to zero.
        held_out: share of the segments that it never sees.
    """

    updates: int = 10_000
    batch: int = 256
    rate: float = 3e-3
    held_out: float = 0.1


def fit(config: Config, key: PRNGKeyArray, params: Params, segments: Segment) -> tuple[Params, float]:
    """Teaches the network to give the torques logged in M segments of h steps, on goals read off them.

    Args:
        segments: whole ones, leaves [M, h, ...].
        params: with any weights. Segments that are not finite are left out.

    Returns:
        (params with its weights, root mean square error on held-out segments as a share of the largest torque, saturated ones
        one-sided).

    Raises:
        UserError: for fewer others than a batch and the held out.
    """
    rows = np.all([np.isfinite(leaf).all(axis=(1, 2)) for leaf in segments[:3]], axis=0)
    segments = Segment(*(np.asarray(leaf, np.float32)[rows] for leaf in segments[:3]))
    held_out = int(config.held_out * rows.sum())
    if held_out < 1 or rows.sum() - held_out < config.batch:
        raise UserError(f"low level: expected {config.batch} segments and some to hold out, found {rows.sum()} that are finite")
    weights, error = _fit(config, held_out, key, params, segments)
    return replace(params, weights=weights), float(error)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(config: Config, held_out: int, key: jax.Array, params: Params, segments: Segment) -> tuple[Any, jax.Array]:
    for_split, for_start, for_batches = jax.random.split(key, 3)
    order = jax.random.permutation(for_split, len(segments.action))
    network = params.network
    bound = params.bound

    def seen(segment: Segment) -> jax.Array:
        goal = prepare(params, segment).observed
        return jax.vmap(lambda state: inputs_of(params, state, goal))(segment.state)

    inputs = jax.lax.map(seen, segments, batch_size=256)  # once: they hold the arm's kinematics

    def errors(weights, row: jax.Array) -> jax.Array:
        step: Any = lambda carry, x: network.apply(weights, carry, x)
        _, out = jax.lax.scan(step, network.rest(), inputs[row])
        torque = segments.action[row][:, :-1]
        most = jnp.broadcast_to(bound, torque.shape)
        signed = (out * most - torque) / (torques.NOISE * most)
        return torques.NOISE * active_residual(signed, sign_of(torque, -most, most))

    def loss(weights, rows):
        return jnp.mean(jnp.square(jax.vmap(functools.partial(errors, weights))(rows)))

    adam = optax.adam(optax.cosine_decay_schedule(config.rate, config.updates))

    def update(carry, key):
        weights, memory = carry
        rows = order[jax.random.randint(key, (config.batch,), held_out, len(order))]
        step, memory = adam.update(jax.grad(loss)(weights, rows), memory)
        return (optax.apply_updates(weights, step), memory), None

    weights = network.init(for_start, network.rest(), inputs[0, 0])
    (weights, _), _ = jax.lax.scan(update, (weights, adam.init(weights)), jax.random.split(for_batches, config.updates))
    return weights, jnp.sqrt(loss(weights, order[:held_out]))
