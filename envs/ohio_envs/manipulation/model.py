"""The scenes as MuJoCo's models, out of this folder's XML, and the engines that step them."""

import functools
from importlib import resources
from typing import Any

from ohio_envs import physics
from ohio_envs.manipulation import panda
from ohio_envs.manipulation.scenes import Scene
from ohio_jax.extras import imported

BALL = 0.4 * 0.03**2  # m^2, inertia of a payload, a ball of 3 cm, by its mass
ITERATIONS, SEARCHES = 4, 8  # of MJX's solver and of its line search


def model(scene: Scene) -> Any:
    """The compiled `mujoco.MjModel` of a `Scene`. Raises UserError without MuJoCo."""
    mujoco = imported("mujoco", "mujoco")
    folder = resources.files("ohio_envs.manipulation")
    text, arm = (folder / f"{scene.name}.xml").read_text(), (folder / "panda.xml").read_bytes()
    spec = mujoco.MjSpec.from_string(text, {"panda.xml": arm})
    for name, size in scene.sizes.items():
        spec.geom(name).size = size
    for joint in panda.JOINT_NAMES:
        spec.joint(joint).frictionloss *= scene.arm.friction
        spec.joint(joint).damping *= scene.arm.friction
    if scene.arm.payload:
        ball = spec.body("right_gripper").add_body(name="payload", pos=panda.GRIP_SITE, ipos=[0, 0, 0], explicitinertial=True)
        ball.mass, ball.inertia = scene.arm.payload, [scene.arm.payload * BALL] * 3
    return spec.compile()


@functools.cache
def engine(backend: str, scene: Scene) -> physics.Native | physics.Mjx:
    """The same object for the same `Scene`, so that compiled programs are shared.

    Args:
        backend: "c" or "mjx".

    Raises:
        UserError: without MuJoCo, or without MJX where that is asked for.
    """
    return physics.engine(backend, model(scene), ITERATIONS, SEARCHES)
