"""Franka's Panda with its gripper, in numbers: the arm of robosuite 1.4.1 as its controllers see it.

The links' inertias are robosuite's round figures, and the rotors' are large: no real arm's. Meters, radians, kilograms,
newton meters.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ohio_jax.dynamics.chain import Chain

JOINTS = 7
JOINT_NAMES = tuple(f"joint{i + 1}" for i in range(JOINTS))  # of the XML
BASE = np.array([-0.56, 0.0, 0.912])  # foot of the arm in the world
NOMINAL = np.array([0.0, np.pi / 16, 0.0, -np.pi / 2 - np.pi / 3, 0.0, np.pi - 0.2, np.pi / 4])  # joints before noise, at reset
TORQUE = np.array([80.0, 80.0, 80.0, 80.0, 80.0, 12.0, 12.0])  # largest torques
LOWER = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])  # range of the joints
UPPER = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
ARMATURE = 5.0 / np.arange(1, JOINTS + 1)
DAMPING = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])
FRICTION = 0.1  # of each joint, dry
GRAVITY = np.array([0.0, 0.0, -9.81])

FINGERS = np.array([0.020833, -0.020833])  # where the fingers stand at reset
GRIP_SITE = np.array([0.0, 0.0, 0.097])  # in the gripper


class Body(NamedTuple):
    """A rigid body: place and turn (quaternion w, x, y, z; any length) in its parent, mass, center of mass and inertia.

    Attributes:
        inertia: about the axes that `axes` turns the body's own into.
    """

    place: tuple[float, float, float]
    turn: tuple[float, float, float, float]
    mass: float
    com: tuple[float, float, float]
    inertia: tuple[float, float, float]
    axes: tuple[float, float, float, float] = (1, 0, 0, 0)


LINKS = (
    Body((0, 0, 0.333), (1, 0, 0, 0), 3.0, (0, 0, -0.07), (0.3, 0.3, 0.3)),
    Body((0, 0, 0), (1, -1, 0, 0), 3.0, (0, -0.1, 0), (0.3, 0.3, 0.3)),
    Body((0, -0.316, 0), (1, 1, 0, 0), 2.0, (0.04, 0, -0.05), (0.2, 0.2, 0.2)),
    Body((0.0825, 0, 0), (1, 1, 0, 0), 2.0, (-0.04, 0.05, 0), (0.2, 0.2, 0.2)),
    Body((-0.0825, 0.384, 0), (1, -1, 0, 0), 2.0, (0, 0, -0.15), (0.2, 0.2, 0.2)),
    Body((0, 0, 0), (1, 1, 0, 0), 1.5, (0.06, 0, 0), (0.1, 0.1, 0.1)),
    Body((0.088, 0, 0), (1, 1, 0, 0), 0.5, (0, 0, 0.08), (0.05, 0.05, 0.05)),
)
HAND = Body((0, 0, 0.1065), (0.924, 0, 0, -0.383), 0.5, (0, 0, 0), (0.05, 0.05, 0.05))  # on the last link
GRIPPER = Body((0, 0, 0), (1, 0, 0, -1), 0.3, (0, 0, 0.17), (0.09, 0.07, 0.05), axes=(1, 1, 0, 0))  # on the hand
FINGER = Body((0, 0, 0.0524), (1, 0, 0, 1), 0.1, (0, 0, 0.05), (0.01, 0.01, 0.005))  # two on the gripper, sliding along y
TIPS = tuple(Body((0, y, 0.056), (1, 0, 0, 0), 0.01, (0, 0, 0), (0.01, 0.01, 0.01)) for y in (0.0085, -0.0085))  # on them


def chain() -> Chain:
    """The arm, with hand, gripper and fingers as one body with the last link; leaves in float64.

    Fingers stand where they are at reset: where they slide to moves the mass matrix by less than 1e-3 of itself.
    """
    last = _Lump.of(LINKS[-1])
    hand = (np.array(HAND.place, float), rotation(HAND.turn))
    gripper = _under(hand, GRIPPER)
    last += _Lump.of(HAND).seen(*hand)
    last += _Lump.of(GRIPPER).seen(*gripper)
    for slide, tip in zip(FINGERS, TIPS, strict=True):
        place, turn = _under(gripper, FINGER)
        finger = place + turn[:, 1] * slide, turn
        last += _Lump.of(FINGER).seen(*finger)
        last += _Lump.of(tip).seen(*_under(finger, tip))
    lumps = [*map(_Lump.of, LINKS[:-1]), last]
    return Chain(
        base=BASE,
        offset=np.array([link.place for link in LINKS], float),
        turn=np.stack([rotation(link.turn) for link in LINKS]),
        mass=np.array([lump.mass for lump in lumps]),
        com=np.stack([lump.com for lump in lumps]),
        inertia=np.stack([lump.inertia for lump in lumps]),
        armature=ARMATURE,
        site=gripper[0] + gripper[1] @ GRIP_SITE,
        site_turn=gripper[1],
        gravity=GRAVITY,
    )


def rotation(quaternion: tuple[float, float, float, float]) -> Float64[np.ndarray, "3 3"]:
    """`Float[3, 3]` of a quaternion (w, x, y, z) of any length."""
    w, *v = np.array(quaternion, float) / np.linalg.norm(quaternion)
    cross = np.cross(np.eye(3), v)  # row i: e_i x v, so that cross @ y = v x y
    return np.eye(3) + 2.0 * (w * cross + cross @ cross)


@dataclass(frozen=True)
class _Lump:
    """Rigid bodies as one: inertia about the center of mass, in the axes of the frame that com is in."""

    mass: float
    com: np.ndarray
    inertia: np.ndarray

    @staticmethod
    def of(body: Body) -> "_Lump":
        axes = rotation(body.axes)
        return _Lump(body.mass, np.array(body.com, float), axes @ np.diag(body.inertia) @ axes.T)

    def seen(self, place: np.ndarray, turn: np.ndarray) -> "_Lump":
        """In the frame in which its own stands at `place`, turned by `turn`."""
        return _Lump(self.mass, place + turn @ self.com, turn @ self.inertia @ turn.T)

    def __add__(self, other: "_Lump") -> "_Lump":
        mass = self.mass + other.mass
        com = (self.mass * self.com + other.mass * other.com) / mass
        return _Lump(mass, com, self._about(com) + other._about(com))

    def _about(self, point: np.ndarray) -> np.ndarray:
        away = self.com - point
        return self.inertia + self.mass * (away @ away * np.eye(3) - np.outer(away, away))


def _under(parent: tuple[np.ndarray, np.ndarray], body: Body) -> tuple[np.ndarray, np.ndarray]:
    """(place, turn) of a body in the frame in which its parent has these."""
    place, turn = parent
    return place + turn @ np.array(body.place, float), turn @ rotation(body.turn)
