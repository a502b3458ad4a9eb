"""Learned low levels: networks that were taught to follow goals on joints or gripper, on logs of the script with noise.

`scripts/manipulation_low_levels.py` made `low_levels.npz`; its card says on what and how well.
"""

import functools
from dataclasses import replace
from importlib import resources
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from ohio_envs.manipulation import panda
from ohio_jax.controllers import recurrent
from ohio_jax.files import read_npz

ASSET = "low_levels.npz"
HIDDEN = 64
INTERFACES: dict[str, Literal["joint", "site"]] = {"hrl_joint": "joint", "hrl_osc": "site"}
# The largest goals the paper allows: joint angles [rad] and velocities [rad/s]; displacement [m] and rotation [rad].
JOINT = {"lift": (0.05, 1.0), "door": (0.07, 1.0)}
SITE = (0.015, 0.05)


@functools.cache
def load() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(card, arrays by name) of the file kept here; nothing while it is being made for the first time."""
    file = resources.files("ohio_envs.manipulation") / ASSET
    return read_npz(file.read_bytes()) if file.is_file() else ({}, {})


def blank(scene: str, interface: str) -> recurrent.Params:
    """A low level that was taught nothing yet."""
    output = np.repeat(JOINT[scene], 7) if INTERFACES[interface] == "joint" else np.repeat(SITE, 3)
    arm = jax.tree.map(jnp.float32, panda.chain())
    bound = jnp.asarray(panda.TORQUE, jnp.float32)
    return recurrent.Params((), arm, jnp.asarray(output, jnp.float32), bound, INTERFACES[interface], HIDDEN)


def params(scene: str, interface: str) -> recurrent.Params:
    """The low level of an interface of INTERFACES, as it was taught."""
    _, arrays = load()
    head = f"{scene}/{interface}/"
    own = {name.removeprefix(head): array for name, array in arrays.items() if name.startswith(head)}
    return replace(blank(scene, interface), weights=unflatten_dict(own, sep="/"))
