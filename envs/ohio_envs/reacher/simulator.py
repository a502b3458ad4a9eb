"""DeepMind Control's reacher, task hard: a planar arm of two links and a target to touch (Tassa et al. 2018).

The closed form of MuJoCo's step for this model: implicit joint damping, and the soft limit of the wrist as the solution of
its one-dimensional contact problem. Lengths in meters, angles in radians, seconds, newton meters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.environment import EnvBase, State
from ohio_jax.errors import UserError

LINK = 0.12  # m, length of both links
TOUCH = 0.015 + 0.01  # m, radii of target and finger: closer than this is a reward of 1
WRIST = float(np.deg2rad(160.0))  # rad, limit of the second joint
NEAREST, FARTHEST = 0.05, 0.20  # m, of the target from the shoulder


class Body(NamedTuple):
    """Physical constants, leaves of the environment, so that a batch may hold arms of different masses.

    Attributes:
        shoulder, wrist, coupling: kg m^2, of which the mass matrix is made: [[shoulder + wrist + 2 coupling cos q2, wrist +
            coupling cos q2], [wrist + coupling cos q2, wrist]].
        damping: N m s / rad, of each joint.
        gear: N m at an action of 1.
        interval: s, a step.
        limit: 1 / (kg m^2), MuJoCo's inverse inertia of the wrist in its reference pose, which scales how soft its limit is.
    """

    shoulder: jax.Array | float = 7.871365113324346e-4
    wrist: jax.Array | float = 1.8867358279909104e-4
    coupling: jax.Array | float = 2.7394687939303e-4
    damping: jax.Array | float = 0.01
    gear: jax.Array | float = 0.05
    interval: jax.Array | float = 0.02
    limit: jax.Array | float = 20740.54873182

    def heavier(self, factor: float) -> "Body":
        """All masses times `factor`, which scales every inertia."""
        inertias = {name: factor * getattr(self, name) for name in ("shoulder", "wrist", "coupling")}
        return self._replace(**inertias, limit=self.limit / factor)


class Arm(NamedTuple):
    """The simulator's state. q, v: `Float[2]`, joint angles (not wrapped) and velocities; target: `Float[2]`; time: `Int[]`."""

    q: jax.Array
    v: jax.Array
    target: jax.Array
    time: jax.Array


def advance(body: Body, x: Float[Array, "4"], action: Float[Array, "2"]) -> Float[Array, "4"]:
    """One step of the physics: x = (q1, q2, v1, v2), `Float[4]`, and two torques as shares of the gear, clipped to [-1, 1]."""
    q, v = x[:2], x[2:]
    cosine, sine = jnp.cos(q[1]), jnp.sin(q[1])
    off = body.wrist + body.coupling * cosine
    first = body.shoulder + body.wrist + 2.0 * body.coupling * cosine
    coriolis = body.coupling * sine * jnp.stack([-v[1] * (2.0 * v[0] + v[1]), v[0] * v[0]])
    force = body.gear * jnp.clip(action, -1.0, 1.0) - coriolis - body.damping * v
    force = force.at[1].add(_wrist_force(body, first, off, q[1], v[1], force))
    h = body.interval
    v = v + h * _solve(first + h * body.damping, off, body.wrist + h * body.damping, force)
    return jnp.concatenate([q + h * v, v])


def _solve(first: jax.Array, off: jax.Array, last: jax.Array | float, right: jax.Array) -> jax.Array:
    """`Float[2]`, the solution y of [[first, off], [off, last]] y = right."""
    return jnp.stack([last * right[0] - off * right[1], first * right[1] - off * right[0]]) / (first * last - off * off)


def _wrist_force(body: Body, first, off, angle, velocity, force) -> jax.Array:
    """`Float[]`, torque of the wrist's soft limit: MuJoCo's default impedance and reference acceleration, in closed form."""
    side = jnp.where(angle < 0, 1.0, -1.0)
    beyond = side * angle + WRIST  # negative past the limit
    x = jnp.minimum(jnp.abs(beyond) / 0.001, 1.0)
    impedance = 0.9 + 0.05 * jnp.where(x <= 0.5, 2.0 * x * x, 1.0 - 2.0 * (1.0 - x) ** 2)
    constant = jnp.maximum(0.02, 2.0 * body.interval)
    stiffness, damping = 1.0 / (0.95 * constant) ** 2, 2.0 / (0.95 * constant)
    wanted = -damping * side * velocity - stiffness * impedance * beyond
    free = side * _solve(first, off, body.wrist, force)[1]
    inverse_inertia = first / (first * body.wrist - off * off)
    softness = (1.0 - impedance) / impedance * body.limit
    return jnp.where(beyond < 0, side * jnp.maximum(0.0, (wanted - free) / (inverse_inertia + softness)), 0.0)


def finger(q: Float[Array, "2"]) -> Float[Array, "2"]:
    """`Float[2]`, position of the fingertip."""
    both = q[0] + q[1]
    return LINK * jnp.stack([jnp.cos(q[0]) + jnp.cos(both), jnp.sin(q[0]) + jnp.sin(both)])


@struct.dataclass
class Reacher(EnvBase):
    """The environment. Action: `Float[2]`, torques as shares of the gear; reward: 1 while the finger touches the target.

    The observation is `Float[6]`: the joint angles, target minus finger, the joint velocities. Episodes end by the time limit.
    """

    body: Body
    horizon: int = struct.field(pytree_node=False, default=1000)

    @property
    def observation_size(self) -> int:
        return 6

    @property
    def action_size(self) -> int:
        return 2

    def sample_instance(self, key: PRNGKeyArray) -> Float[Array, "4"]:
        """`Float[4]`, an instance: the joint angles at the start, and the target."""
        shoulder, wrist, radius, angle = jax.random.split(key, 4)
        r = jax.random.uniform(radius, minval=NEAREST, maxval=FARTHEST)
        phi = jax.random.uniform(angle, maxval=2.0 * jnp.pi)
        q1 = jax.random.uniform(shoulder, minval=-jnp.pi, maxval=jnp.pi)
        q2 = jax.random.uniform(wrist, minval=-WRIST, maxval=WRIST)
        return jnp.stack([q1, q2, r * jnp.sin(phi), r * jnp.cos(phi)])

    def reset_to(self, instance: Float[Array, "4"]) -> State:
        """Begins an episode at rest. Raises UserError for an instance that is not `Float[4]`."""
        if instance.shape != (4,):
            raise UserError(f"reacher instance: expected an array of shape (4,), found {instance.shape}")
        arm = Arm(instance[:2], jnp.zeros_like(instance[:2]), instance[2:], jnp.int32(0))
        zero = jnp.zeros_like(instance[0])
        return State(arm, _observe(arm), zero, zero, {"touching": zero}, {"truncation": zero})

    def advance(self, x: Float[Array, "4"], action: Float[Array, "2"]) -> Float[Array, "4"]:
        """The physics of one step, see `advance`."""
        return advance(self.body, x, action)

    def step(self, state: State, action: Float[Array, "2"]) -> State:
        arm = state.pipeline_state
        x = self.advance(joints(state), action)
        arm = Arm(x[:2], x[2:], arm.target, arm.time + 1)
        obs = _observe(arm)
        reward = (jnp.linalg.norm(obs[2:4]) <= TOUCH).astype(obs.dtype)
        truncation = (arm.time >= self.horizon).astype(obs.dtype)
        return state.replace(
            pipeline_state=arm,
            obs=obs,
            reward=reward,
            metrics={**state.metrics, "touching": reward},
            info={**state.info, "truncation": truncation},
        )


def joints(state: State) -> Float[Array, "4"]:
    """`Float[4]`, what the low level sees: (q1, q2, v1, v2)."""
    return jnp.concatenate([state.pipeline_state.q, state.pipeline_state.v])


def _observe(arm: Arm) -> jax.Array:
    return jnp.concatenate([arm.q, arm.target - finger(arm.q), arm.v])
