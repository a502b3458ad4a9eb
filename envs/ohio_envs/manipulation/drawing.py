"""Pictures of the arm at work, from the side: its links as sticks, and what it has before it."""

from typing import Any

import numpy as np

from ohio_envs.manipulation import panda
from ohio_envs.manipulation.scenes import OPEN, TABLE
from ohio_envs.manipulation.simulator import ARM, Manipulation, Moment


def draw(env: Manipulation, axes: Any, now: Moment) -> None:
    """One moment: the cube seen along y, green once lifted; the door seen from above, its handle green once it is open."""
    seen = {name: np.asarray(now.readings[first:last]) for name, (first, last) in env.physics.sensors}
    q = np.asarray(now.bodies.q)
    SIDES[env.scene.name](axes, _links(q[:ARM], seen["gripper"]), seen, q)
    axes.set(xticks=[], yticks=[], aspect="equal")


def _links(joints: np.ndarray, tip: np.ndarray) -> np.ndarray:
    """`Float[9, 3]`, foot, links and gripper in the world."""
    place, turn = panda.BASE, np.eye(3)
    points = [place]
    for link, angle in zip(panda.LINKS, joints, strict=True):
        place = place + turn @ np.array(link.place, float)
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = turn @ panda.rotation(link.turn) @ np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        points.append(place)
    return np.array([*points, tip])


def _lift(axes: Any, links: np.ndarray, seen: dict[str, np.ndarray], q: np.ndarray) -> None:
    from matplotlib.patches import Rectangle

    _sticks(axes, links[:, 0], links[:, 2], q)
    x, _, z = seen["cube"]
    axes.add_patch(Rectangle((x - 0.021, z - 0.021), 0.042, 0.042, color="tab:green" if z > TABLE + 0.04 else "tab:red"))
    axes.axhline(TABLE, color="0.6", linewidth=2)
    axes.set(xlim=(-0.7, 0.3), ylim=(0.72, 1.72))


def _door(axes: Any, links: np.ndarray, seen: dict[str, np.ndarray], q: np.ndarray) -> None:
    _sticks(axes, links[:, 0], links[:, 1], q)
    hinge, door, latch, handle = (seen[name] for name in ("hinge", "door", "latch", "handle"))
    far = 2.0 * door - hinge
    axes.plot([hinge[0], far[0]], [hinge[1], far[1]], color="tab:brown", linewidth=4)
    color = "tab:green" if q[-2] > OPEN else "tab:red"
    axes.plot([latch[0], handle[0]], [latch[1], handle[1]], color=color, linewidth=3)
    axes.set(xlim=(-0.7, 0.3), ylim=(-0.6, 0.4))


def _sticks(axes: Any, across: np.ndarray, up: np.ndarray, q: np.ndarray) -> None:
    axes.plot(across, up, color="0.2", linewidth=3, marker="o", markersize=3, solid_capstyle="round")
    wide = q[ARM] - q[ARM + 1]  # m, between the fingers
    axes.plot(across[-1:], up[-1:], marker="o", markersize=3 + 60 * wide, markerfacecolor="none", color="0.2")


SIDES = {"lift": _lift, "door": _door}
