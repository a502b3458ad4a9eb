"""The environment of robosuite 1.4.1 (Zhu et al. 2020): a Panda arm with a gripper before a scene, under torques.

A step is one sub-step of the physics, 2 ms. A decision lasts five; rewards are given at its end, as robosuite gives them.

What is seen of the world, and what reward is made of, is 2 ms older than the joints, as it is there. Meters, radians, seconds,
newton meters.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_envs.manipulation import panda
from ohio_envs.manipulation.scenes import Scene, Seen, xyzw
from ohio_envs.physics import Bodies, Mjx, Native
from ohio_jax.environment import EnvBase, State

SUBSTEPS = 5  # of a decision
ARM, HAND = panda.JOINTS, panda.JOINTS + 2  # positions of the arm come first, then those of the fingers
JOINT_NOISE = 0.02  # rad, deviation of the joints at reset
GRIP = 0.01  # by which a sub-step moves what the gripper is told, from -1, open, to 1, closed
STROKE = 0.02  # m, half a finger's way
FASTEST = 1e3  # m/s and rad/s: what moves faster has left physics


class Instance(NamedTuple):
    """The exogenous randomness of an episode.

    Attributes:
        joints: `Float[7]`, the arm's at reset.
        place: `Float[7]`, see `Scene.sample_place`.
    """

    joints: jax.Array
    place: jax.Array


class Moment(NamedTuple):
    """The simulator's state.

    Attributes:
        bodies: positions and velocities of arm (7), fingers (2), and the scene's.
        grip: `Float[]`, what the gripper is told, from -1, open, to 1, closed.
        readings: `Float[*]`, of the sensors, before the last sub-step.
        joints: `Float[7]`, the arm's at reset.
        place: `Float[7]` of what is fixed, `Float[0]` where nothing is.
        time: `Int[]`, sub-steps so far.
        solved: `Bool[]`, whether the task ever was.
    """

    bodies: Bodies
    grip: jax.Array
    readings: jax.Array
    joints: jax.Array
    place: jax.Array
    time: jax.Array
    solved: jax.Array


@struct.dataclass
class Manipulation(EnvBase):
    """The environment. Action: `Float[8]`, torques of the joints, and the gripper's command, of which only the sign counts.

    The observation is cosines, sines and velocities of the joints (7, 7, 7), position of the gripper (3), quaternion of the hand
    (x, y, z, w), positions and velocities of the fingers (2, 2), and what the scene shows. Metrics: `success`, 1 at the first
    decision that solves the task; `unstable`, 1 where the physics diverged, which ends the episode in its last finite state.

    Attributes:
        physics: the engine that holds the scene.
        horizon: sub-steps of an episode.
    """

    physics: Native | Mjx
    scene: Scene = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False, default=500 * SUBSTEPS)

    @property
    def observation_size(self) -> int:
        return 3 * ARM + 7 + 4 + self.scene.size

    @property
    def action_size(self) -> int:
        return ARM + 1

    def sample_instance(self, key: PRNGKeyArray) -> Instance:
        joints, place = jax.random.split(key)
        noise = JOINT_NOISE * jax.random.normal(joints, (ARM,))
        return Instance(jnp.asarray(panda.NOMINAL, noise.dtype) + noise, self.scene.sample_place(place))

    def reset_to(self, instance: Instance) -> State:
        """Begins an episode at rest, the gripper half open."""
        joints, place = instance
        scene, fixed = self.scene.begin(place)
        q = jnp.concatenate([joints, jnp.asarray(panda.FINGERS, joints.dtype), scene])
        rest = jnp.zeros(self.physics.velocities, q.dtype)
        bodies, grip, zero = Bodies(q, rest, rest), jnp.zeros_like(q[0]), jnp.zeros_like(q[0])
        # A step that is not taken: what its sensors read is how things stand.
        _, readings = self.physics.step(bodies, control(jnp.zeros(ARM, q.dtype), grip), fixed)
        now = Moment(bodies, grip, readings, joints, fixed, jnp.int32(0), jnp.bool_(False))
        metrics = {"success": zero, "unstable": zero}
        return State(now, self.observe(now), zero, zero, metrics, {"truncation": zero})

    def step(self, state: State, action: Float[Array, "8"]) -> State:
        before: Moment = state.pipeline_state
        grip = jnp.clip(before.grip + GRIP * jnp.sign(action[ARM]), -1.0, 1.0)
        told = control(action[:ARM], grip)
        bodies, readings = self.physics.step(before.bodies, jnp.nan_to_num(told), before.place)
        # Written so that NaN, too, is unstable.
        finite = [jnp.all(jnp.isfinite(x)) for x in (told, bodies.q, readings)]
        stable = jnp.all(jnp.abs(bodies.v) < FASTEST) & jnp.all(jnp.stack(finite))
        bodies, grip, readings = (
            jax.tree.map(lambda new, old: jnp.where(stable, new, old), new, old)
            for new, old in ((bodies, before.bodies), (grip, before.grip), (readings, before.readings))
        )
        time = before.time + 1
        decided = stable & (time % SUBSTEPS == 0)
        judged = self.scene.judge(bodies, self.seen(readings))
        solved = decided & judged.solved
        number = lambda x: jnp.asarray(x, bodies.q.dtype)
        now = Moment(bodies, grip, readings, before.joints, before.place, time, before.solved | solved)
        metrics = {"success": number(solved & ~before.solved), "unstable": number(~stable)}
        return state.replace(
            pipeline_state=now,
            obs=self.observe(now),
            reward=jnp.where(decided, judged.reward, 0.0),
            done=jnp.maximum(state.done, number(~stable)),
            metrics={**state.metrics, **metrics},
            info={**state.info, "truncation": number(time >= self.horizon)},
        )

    def seen(self, readings: Float[Array, "readings"]) -> Seen:
        """The readings by their sensors' names."""
        return {name: readings[first:last] for name, (first, last) in self.physics.sensors}

    def observe(self, now: Moment) -> Float[Array, "{self.observation_size}"]:
        """`Float[observation_size]`."""
        (q, v, _), seen = now.bodies, self.seen(now.readings)
        joints = [jnp.cos(q[:ARM]), jnp.sin(q[:ARM]), v[:ARM]]
        hand = [seen["gripper"], xyzw(seen["hand"]), q[ARM:HAND], v[ARM:HAND]]
        return jnp.concatenate([*joints, *hand, self.scene.observe(now.bodies, seen)])


def control(torques: Float[Array, "7"], grip: Float[Array, ""]) -> Float[Array, "9"]:
    """`Float[9]`, what the actuators are told: torques within their limits, and where the fingers shall be."""
    limit = jnp.asarray(panda.TORQUE, torques.dtype)
    finger = STROKE * (1.0 - grip)
    return jnp.concatenate([jnp.clip(torques, -limit, limit), jnp.stack([finger, -finger])])


def low_level_view(state: State) -> Float[Array, "21"]:
    """`Float[21]`, what controllers see: the joints' angles and velocities, and their angles at reset."""
    now = state.pipeline_state
    return jnp.concatenate([now.bodies.q[:ARM], now.bodies.v[:ARM], now.joints])
