"""Corruption of datasets, to see what learners lose to it: the random protocol of robust IQL (Yang et al. 2024).

One field of a part of the rows is spoilt. An observation, a next observation, an action or a goal gets noise of the field's
own size in each number; a reward is replaced. Actions are spoilt in the logs, before an inverse sees them; `label` spoils
what an inverse recovered, and is for learners what a wrong inverse is.
"""

from dataclasses import replace

import numpy as np

from ohio_jax.data import KINDS, Dataset, Trajectories
from ohio_jax.errors import UserError, unknown

# What is spoilt: (kind of dataset, field).
FIELDS = {
    "observation": ("transitions", "obs"),
    "action": ("trajectories", "action"),
    "reward": ("transitions", "reward"),
    "next_observation": ("transitions", "next_obs"),
    "label": ("transitions", "goal"),
}
LARGEST_REWARD = 30.0  # of a replaced reward, in deviations: the protocol's number, for tasks whose rewards deviate by about 1


def corrupt(dataset: Dataset, kind: str, rate: float = 0.3, scale: float = 1.0, seed: int = 0) -> Dataset:
    """The dataset with one field of `rate` of its rows spoilt.

    kind: a name in FIELDS. Noise is uniform within `scale` deviations of each number over the dataset, rewards become uniform
    within `LARGEST_REWARD scale` deviations of zero; whole numbers stay whole, within those logged. An episode's return
    follows its rewards. The card says what was done.
    Raises UserError for an unknown kind, a dataset of another kind than it spoils, a rate outside [0, 1], a negative scale.
    """
    if kind not in FIELDS:
        raise unknown("corruption", kind, FIELDS)
    wanted, name = FIELDS[kind]
    if not isinstance(dataset, KINDS[wanted]):
        found = "trajectories" if isinstance(dataset, Trajectories) else "transitions"
        raise UserError(f"corruption {kind}: expected {wanted}, found {found}")
    if not 0.0 <= rate <= 1.0:
        raise UserError(f"corruption: rate: expected a share from 0 to 1, found {rate}")
    if not scale >= 0.0:
        raise UserError(f"corruption: scale: expected no less than 0, found {scale}")

    values, rng = getattr(dataset, name), np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(values), round(rate * len(values)), replace=False))
    uniform = rng.uniform(-1.0, 1.0, (len(rows), *values.shape[1:]))
    noise = scale * np.std(values, axis=0, dtype=np.float64)[None] * uniform
    spoilt = LARGEST_REWARD * noise if kind == "reward" else values[rows] + noise
    if values.dtype.kind in "iu":
        spoilt = np.clip(np.rint(spoilt), values.min(axis=0)[None], values.max(axis=0)[None])
    new = values.copy()
    new[rows] = spoilt.astype(values.dtype)

    changes = {name: new}
    if not isinstance(dataset, Trajectories) and kind == "reward":
        gained = np.bincount(dataset.episode, new - values, len(dataset.episode_return))
        changes["episode_return"] = dataset.episode_return + gained
    done = {"kind": kind, "rate": rate, "scale": scale, "seed": seed}
    card = {**dataset.card, "corruption": [*dataset.card.get("corruption", []), done]}
    return replace(dataset, card=card, **changes)
