"""The same reacher on MuJoCo's own steps in JAX (MJX): the task `reacher` with another simulator. Needs the extra `mujoco`.

`reacher.xml` holds the model of DeepMind Control's reacher. The closed form of `simulator` is many times faster and agrees
with it to rounding; this variant is for those who want to see their MuJoCo models in the same place.
"""

from dataclasses import replace
from importlib import resources
from typing import Any

import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_envs.physics import Bodies, Mjx, on_mjx
from ohio_envs.reacher.simulator import Reacher
from ohio_envs.reacher.task import reacher
from ohio_jax.extras import imported
from ohio_jax.task import Task


def model() -> Any:
    """The compiled `mujoco.MjModel`. Raises UserError without MuJoCo."""
    asset = resources.files("ohio_envs.reacher") / "reacher.xml"
    return imported("mujoco", "mujoco").MjModel.from_xml_string(asset.read_text())


def physics() -> Any:
    """The `mjx.Model`, a pytree.

    The wrist's limit is the only constraint, which few iterations of the solver solve: its loops are cut short.

    Raises:
        UserError: without MJX.
    """
    return on_mjx(model(), iterations=3, searches=4)


def advance(body: Any, x: Float[Array, "4"], action: Float[Array, "2"]) -> Float[Array, "4"]:
    """One `mjx.step` from x = (q1, q2, v1, v2), `Float[4]`, with two torques as shares of the gear. body: `mjx.Model`."""
    q, v = x[:2], x[2:]
    after, _ = Mjx(body, (), 2).step(Bodies(q, v, jnp.zeros_like(v)), action, jnp.zeros(0))
    return jnp.concatenate([after.q, after.v])


@struct.dataclass
class MujocoReacher(Reacher):
    """The environment: `Reacher` with body: `mjx.Model`."""

    body: Any

    @property
    def backend(self) -> str:
        return "mjx"

    def advance(self, x: Float[Array, "4"], action: Float[Array, "2"]) -> Float[Array, "4"]:
        return advance(self.body, x, action)


def reacher_mjx(settings: dict[str, Any]) -> Task:
    """`reacher-mjx`: the task `reacher` on MJX. Raises UserError for a bad setting, or without MuJoCo."""
    same = reacher(settings)
    return replace(same, name="reacher-mjx", env=MujocoReacher(physics(), same.env.horizon))
