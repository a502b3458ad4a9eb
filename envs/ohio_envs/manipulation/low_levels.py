"""Learned low levels: networks that were taught to follow goals on joints or gripper, on logs of the script with noise.

    python -m ohio_envs.manipulation.low_levels

made `low_levels.npz`; its card says on what and how well.
"""

import functools
import io
import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ohio_envs.manipulation import panda
from ohio_envs.manipulation.simulator import SUBSTEPS
from ohio_jax import files
from ohio_jax.controllers import recurrent

ASSET = "low_levels.npz"
HIDDEN = 64
SPACES: dict[str, Literal["joint", "site"]] = {"hrl_joint": "joint", "hrl_osc": "site"}
# The largest goals the paper allows: joint angles [rad] and velocities [rad/s]; displacement [m] and rotation [rad].
JOINT = {"lift": (0.05, 1.0), "door": (0.07, 1.0)}
SITE = (0.015, 0.05)
BEHAVIOUR, EPISODES, SEED = "noisy-0.3", 64, 2000  # logs of their own: neither those of a table nor its tests


@functools.cache
def load() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(card, arrays by name) of the file kept here; nothing while it is being made for the first time."""
    file = resources.files("ohio_envs.manipulation") / ASSET
    if not file.is_file():
        return {}, {}
    with np.load(io.BytesIO(file.read_bytes())) as content:
        arrays = {name: content[name] for name in content.files}
    return json.loads(str(arrays.pop("card"))), arrays


def blank(scene: str, space: str) -> recurrent.Params:
    """A low level that was taught nothing yet."""
    output = np.repeat(JOINT[scene], 7) if SPACES[space] == "joint" else np.repeat(SITE, 3)
    arm = jax.tree.map(jnp.float32, panda.chain())
    bound = jnp.asarray(panda.TORQUE, jnp.float32)
    return recurrent.Params((), arm, jnp.asarray(output, jnp.float32), bound, SPACES[space], HIDDEN)


def params(scene: str, space: str) -> recurrent.Params:
    """The low level of a space of SPACES, as it was taught."""
    _, arrays = load()
    head = f"{scene}/{space}/"
    weights: dict[str, Any] = {}
    for name, array in arrays.items():
        if name.startswith(head):
            *path, last = name.removeprefix(head).split("/")
            functools.reduce(lambda tree, key: tree.setdefault(key, {}), path, weights)[last] = array
    return replace(blank(scene, space), weights=weights)


def teach(path: Path) -> None:
    """Writes the file anew: logs the script, and teaches every low level on what it did."""
    from ohio_envs import registry
    from ohio_jax.evaluate import collect
    from ohio_jax.low_level import Segment
    from ohio_jax.relabel import segments_of

    config = recurrent.Config()
    arrays: dict[str, Any] = {}
    card: dict[str, Any] = {"behaviour": BEHAVIOUR, "episodes": EPISODES, "seed": SEED, "hidden": HIDDEN, "error": {}}
    for scene in JOINT:
        logs = collect(registry.make(scene), BEHAVIOUR, EPISODES, SEED)
        starts, lengths = segments_of(logs.offset, SUBSTEPS)
        rows = starts[lengths == SUBSTEPS, None] + np.arange(SUBSTEPS)
        segments = Segment(logs.state[rows], logs.action[rows], logs.next_state[rows])
        for space in SPACES:
            taught, error = recurrent.fit(config, jax.random.key(0), blank(scene, space), segments)
            print(f"{scene} {space}: torques are {100 * error:.2f} % of the largest off on held-out segments")
            card["error"][f"{scene}/{space}"] = error
            leaves, _ = jax.tree.flatten_with_path(taught.weights)
            arrays |= {"/".join([scene, space, *(str(key.key) for key in keys)]): np.asarray(leaf) for keys, leaf in leaves}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, card=np.array(json.dumps(card)), **arrays)
    files.write_bytes(path, buffer.getvalue())


if __name__ == "__main__":
    teach(Path(str(resources.files("ohio_envs.manipulation"))) / ASSET)
