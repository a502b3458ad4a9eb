"""What the arm meets, after robosuite 1.4.1 (Zhu et al. 2020): a cube to lift, or a door with a latch to open.

A scene says where things stand at reset, what is observed of them, and what that is worth. Meters, radians; quaternions are
(w, x, y, z).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_envs.physics import Bodies

TABLE = 0.8  # m, height of the table's top
DROP = 0.01  # m, by which the cube is let fall at reset
SPREAD = 0.03  # m, largest distance of the cube from the middle, along each axis
LIFTED = 0.04  # m, of the cube above the table
REWARDS = 2.25  # what lifting is worth where reaching is worth up to 1 and grasping 0.25

DOOR = (-0.12, -0.35, 1.1)  # m, where the door stands in the mean
DOOR_SPREAD = (0.01, 0.01, 0.0)  # m, and how far off it may be
DOOR_TURN = (-math.pi / 2 - 0.25, -math.pi / 2)  # rad, about the vertical
OPEN = 0.3  # rad, of the hinge

Seen = dict[str, jax.Array]  # readings of the sensors by name, see the scenes' XML


class Judged(NamedTuple):
    """What a moment is worth.

    Attributes:
        reward: `Float[]`.
        solved: `Bool[]`.
    """

    reward: jax.Array
    solved: jax.Array


class Arm(NamedTuple):
    """How the arm differs from the one its controllers know.

    Attributes:
        payload: kg, a ball held where the fingers meet.
        friction: times damping and dry friction of the joints.
    """

    payload: float = 0.0
    friction: float = 1.0


KNOWN = Arm()


@runtime_checkable
class Scene(Protocol):
    """One of the scenes of this folder; hashable."""

    @property
    def arm(self) -> Arm: ...

    @property
    def name(self) -> str:
        """Of the XML."""
        ...

    @property
    def size(self) -> int:
        """Numbers observed."""
        ...

    @property
    def sizes(self) -> dict[str, tuple[float, float, float]]:
        """Of shapes that the XML leaves open, by their names."""
        ...

    def sample_place(self, key: PRNGKeyArray) -> Float[Array, "7"]:
        """`Float[7]`, place and quaternion of the cube at reset, or of the door."""
        ...

    def begin(self, place: Float[Array, "7"]) -> tuple[Float[Array, "free"], Float[Array, "fixed"]]:
        """`Float[*]`, positions at reset after those of arm and fingers; `Float[7]` or `Float[0]`, place of what is fixed."""
        ...

    def observe(self, bodies: Bodies, seen: Seen) -> Float[Array, "{self.size}"]:
        """`Float[size]`."""
        ...

    def judge(self, bodies: Bodies, seen: Seen) -> Judged: ...


def about_vertical(angle: Float[Array, ""]) -> Float[Array, "4"]:
    """`Float[4]`, the quaternion of a turn about the vertical."""
    half, zero = angle / 2, jnp.zeros_like(angle)
    return jnp.stack([jnp.cos(half), zero, zero, jnp.sin(half)])


def xyzw(quaternion: Float[Array, "4"]) -> Float[Array, "4"]:
    """The quaternion in the order in which it is observed."""
    return jnp.roll(quaternion, -1)


def closeness(away: Float[Array, "3"]) -> Float[Array, ""]:
    """`Float[]`, 1 at a distance of 0, falling; away: `Float[3]`, m."""
    return 1.0 - jnp.tanh(10.0 * jnp.linalg.norm(away))


@dataclass(frozen=True)
class Lift:
    """A cube on a table. half: m, half an edge, which robosuite draws from 0.020 to 0.022 once for all episodes."""

    half: float = 0.021
    arm: Arm = KNOWN
    name: str = "lift"
    size: int = 10

    @property
    def sizes(self) -> dict[str, tuple[float, float, float]]:
        return {"cube": (self.half, self.half, self.half)}

    def sample_place(self, key: PRNGKeyArray) -> Float[Array, "7"]:
        where, turn = jax.random.split(key)
        x, y = jax.random.uniform(where, (2,), minval=-SPREAD, maxval=SPREAD)
        angle = jax.random.uniform(turn, maxval=2.0 * jnp.pi)
        z = jnp.full_like(x, TABLE + DROP + self.half)
        return jnp.concatenate([jnp.stack([x, y, z]), about_vertical(angle)])

    def begin(self, place: Float[Array, "7"]) -> tuple[Float[Array, "7"], Float[Array, "0"]]:
        return place, place[:0]

    def observe(self, bodies: Bodies, seen: Seen) -> Float[Array, "{self.size}"]:
        """Position (3) and quaternion (x, y, z, w) of the cube, and the gripper as seen from it (3)."""
        return jnp.concatenate([seen["cube"], xyzw(seen["cube_turn"]), seen["gripper"] - seen["cube"]])

    def judge(self, bodies: Bodies, seen: Seen) -> Judged:
        lifted = seen["cube"][2] > TABLE + LIFTED
        grasped = (seen["touch1"][0] > 0) & (seen["touch2"][0] > 0)
        shaped = (closeness(seen["gripper"] - seen["cube"]) + 0.25 * grasped) / REWARDS
        return Judged(jnp.where(lifted, 1.0, shaped), lifted)


@dataclass(frozen=True)
class Door:
    """A door on a table, held by a latch until its handle is turned down."""

    arm: Arm = KNOWN
    name: str = "door"
    size: int = 14

    @property
    def sizes(self) -> dict[str, tuple[float, float, float]]:
        return {}

    def sample_place(self, key: PRNGKeyArray) -> Float[Array, "7"]:
        where, turn = jax.random.split(key)
        off = jax.random.uniform(where, (3,), minval=-1.0, maxval=1.0)
        angle = jax.random.uniform(turn, minval=DOOR_TURN[0], maxval=DOOR_TURN[1])
        return jnp.concatenate([jnp.array(DOOR) + jnp.array(DOOR_SPREAD) * off, about_vertical(angle)])

    def begin(self, place: Float[Array, "7"]) -> tuple[Float[Array, "2"], Float[Array, "7"]]:
        return jnp.zeros(2, place.dtype), place

    def observe(self, bodies: Bodies, seen: Seen) -> Float[Array, "{self.size}"]:
        """Positions of door and handle (3, 3), as seen from the gripper (3, 3), and angles of hinge and handle (1, 1)."""
        door, handle, gripper = seen["door"], seen["handle"], seen["gripper"]
        return jnp.concatenate([door, handle, door - gripper, handle - gripper, bodies.q[-2:]])

    def judge(self, bodies: Bodies, seen: Seen) -> Judged:
        hinge, handle = bodies.q[-2:]
        turned = jnp.clip(0.25 * jnp.abs(handle) / (jnp.pi / 2), -0.25, 0.25)
        shaped = 0.25 * closeness(seen["handle"] - seen["gripper"]) + turned
        return Judged(jnp.where(hinge > OPEN, 1.0, shaped), hinge > OPEN)
