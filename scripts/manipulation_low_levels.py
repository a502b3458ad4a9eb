"""Makes `low_levels.npz`, the learned low levels of Lift and Door: taught to follow goals on logs of the script with noise.

`python -m scripts.manipulation_low_levels` makes it anew. The one shipped is older than the stream its noise is drawn from now.
"""

from importlib import resources
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from ohio_envs import registry
from ohio_envs.manipulation import low_levels
from ohio_envs.manipulation.simulator import SUBSTEPS

from ohio_jax import files
from ohio_jax.collect import collect
from ohio_jax.controllers import recurrent
from ohio_jax.low_level import Segment
from ohio_jax.relabel import segments_of

BEHAVIOR, EPISODES, SEED = "noisy-0.3", 64, 2000  # logs of their own: neither those of a table nor its tests


def teach(path: Path) -> None:
    """Writes the file anew: logs the script, and teaches every low level on what it did."""
    config = recurrent.Config()
    arrays: dict[str, Any] = {}
    card: dict[str, Any] = {
        "behavior_policy": BEHAVIOR,
        "episodes": EPISODES,
        "seed": SEED,
        "hidden": low_levels.HIDDEN,
        "error": {},
    }
    for scene in low_levels.JOINT:
        logs = collect(registry.make(scene), BEHAVIOR, EPISODES, SEED)
        starts, lengths = segments_of(logs.offset, SUBSTEPS)
        rows = starts[lengths == SUBSTEPS, None] + np.arange(SUBSTEPS)
        segments = Segment(logs.state[rows], logs.action[rows], logs.next_state[rows])
        for interface in low_levels.INTERFACES:
            taught, error = recurrent.fit(config, jax.random.key(0), low_levels.blank(scene, interface), segments)
            print(f"{scene} {interface}: torques are {100 * error:.2f} % of the largest off on held-out segments")
            card["error"][f"{scene}/{interface}"] = error
            arrays |= flatten_dict({scene: {interface: jax.tree.map(np.asarray, taught.weights)}}, sep="/")
    files.write_npz(path, card, arrays)


if __name__ == "__main__":
    teach(Path(str(resources.files("ohio_envs.manipulation"))) / low_levels.ASSET)
