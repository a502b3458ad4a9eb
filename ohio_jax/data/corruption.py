"""Corruption of datasets, to see what learners lose to it: the protocols of robust IQL (Yang et al. 2024).

One field of a part of the rows is spoiled. An observation, a next observation, or an action, low-level or high-level, gets
noise of the field's own size in each number; a reward is replaced. Actions are spoiled in the logs, before an inverse sees
them; `label` spoils what an inverse recovered, and is for learners what a wrong inverse is. Noise is random, or the worst that
a trained learner
knows of: what its critics value least.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ohio_jax import limits
from ohio_jax.agent import Agent
from ohio_jax.data.arrays import finite_rows
from ohio_jax.data.storage import KINDS, Dataset
from ohio_jax.data.trajectories import Trajectories
from ohio_jax.data.transitions import Transitions
from ohio_jax.errors import UserError, unknown

# What is spoiled: (kind of dataset, field).
FIELDS = {
    "observation": ("transitions", "obs"),
    "action": ("trajectories", "action"),
    "reward": ("transitions", "reward"),
    "next_observation": ("transitions", "next_obs"),
    "label": ("transitions", "action"),
}
LARGEST_REWARD = 30.0  # of a replaced reward, in deviations: the protocol's number, for tasks whose rewards deviate by about 1
STEPS, STEP = 100, 0.01  # of Adam in search of the worst noise, and their size as a share of the largest: the protocol's
ROWS = 1024  # searched for at a time


class Adversary(NamedTuple):
    """A learner with critics, a module of LEARNERS, and the agent it became in training, of one seed."""

    learner: Any
    agent: Agent


def corrupt(
    dataset: Dataset, kind: str, rate: float = 0.3, scale: float = 1.0, seed: int = 0, adversary: Adversary | None = None
) -> Dataset:
    """The dataset with one field of `rate` of its rows spoiled.

    Args:
        kind: a name in FIELDS. Noise is uniform within `scale` deviations of each number over the dataset, rewards become uniform
            within `LARGEST_REWARD scale` deviations of zero; whole numbers stay whole, within those logged. An episode's return
            follows its rewards. The card says what was done.
        adversary: noise is then, within the same bounds, what its critics value least: Q(s + noise, u), Q(s, u + noise), or Q(s'
            + noise, pi(s' + noise)); rewards are turned around, times `scale`.

    Raises:
        UserError: for an unknown kind, a dataset of another kind than it spoils, a rate, scale or seed beyond its bounds in
            `ohio_jax.limits`, and for an adversary without critics, of other sizes than the dataset, or asked about actions in
            logs.
    """
    if kind not in FIELDS:
        raise unknown("corruption", kind, FIELDS)
    wanted, name = FIELDS[kind]
    if not isinstance(dataset, KINDS[wanted]):
        found = "trajectories" if isinstance(dataset, Trajectories) else "transitions"
        raise UserError(f"corruption {kind}: expected {wanted}, found {found}")
    for what, number in {"rate": rate, "scale": scale, "seed": seed}.items():
        limits.check(f"corruption: {what}", number, limits.BUDGETS[what])
    if adversary is not None:
        _check(dataset, kind, adversary)

    values, rng = np.asarray(getattr(dataset, name)), np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(values), round(rate * len(values)), replace=False))
    share = rng.uniform(-1.0, 1.0, (len(rows), *values.shape[1:]))
    finite = finite_rows(values)  # all of them but for logs that were read with `allow_nan`
    largest = scale * np.std(values if finite.all() else values[finite], axis=0, dtype=np.float64)[None]
    if kind == "reward":
        spoiled = LARGEST_REWARD * largest * share if adversary is None else -scale * values[rows]
    else:
        if isinstance(dataset, Transitions) and adversary is not None:
            share = _worst(adversary, kind, dataset, rows, share, largest)
        spoiled = values[rows] + largest * share
    if values.dtype.kind in "iu":
        spoiled = np.clip(np.rint(spoiled), values.min(axis=0)[None], values.max(axis=0)[None])
    new = values.copy()
    new[rows] = spoiled.astype(values.dtype)

    changes = {name: new}
    if not isinstance(dataset, Trajectories) and kind == "reward":
        gained = np.bincount(dataset.episode, new - values, len(dataset.episode_return))
        changes["episode_return"] = dataset.episode_return + gained
    card = {**dataset.card, "corruption": record(dataset, kind, rate, scale, seed, adversary)}
    return replace(dataset, card=card, **changes)


def record(
    dataset: Dataset, kind: str, rate: float, scale: float, seed: int, adversary: Adversary | None = None
) -> list[dict[str, Any]]:
    """The card's field `corruption` of what `corrupt` makes of the same: what was done to the dataset before, then this."""
    done = {"kind": kind, "rate": rate, "scale": scale, "seed": seed, "source_sha256": dataset.digest}
    done |= {} if adversary is None else {"adversarial": True}
    return [*dataset.card.get("corruption", []), done]


def _check(dataset: Dataset, kind: str, adversary: Adversary) -> None:
    if not isinstance(dataset, Transitions):
        raise UserError(f"corruption {kind}: expected transitions for an adversary, found trajectories; spoil labels instead")
    state, preprocess = adversary.agent
    if not hasattr(state, "critic"):
        raise UserError("corruption: adversary: expected a learner with critics, found one without")
    expected = preprocess.observation_size, *state.spec.action.shape
    found = (dataset.obs.shape[1], *dataset.action.shape[1:])
    if found != expected:
        raise UserError(f"corruption: adversary: expected one of observations and actions of sizes {found}, found {expected}")


def _worst(
    adversary: Adversary, kind: str, dataset: Transitions, rows: np.ndarray, start: np.ndarray, largest: np.ndarray
) -> np.ndarray:
    """The noise that critics value least, as shares of the largest, within [-1, 1]: by Adam from `start`.

    Args:
        rows: `Int[N]`.
        start: `Float[N, *field]`, as is what returns.
        largest: `Float[1, *field]`, in the field's unit.
    """
    (state, preprocess), learner = adversary.agent, adversary.learner
    bound = jnp.asarray(largest, jnp.float32)

    def value(share, obs, action, next_obs):
        noise = bound * share
        if kind == "observation":
            obs = obs + noise
        elif kind == "label":
            action = action + noise
        else:
            obs = next_obs + noise
            action = adversary.agent.act(learner, obs, jax.random.key(0), True)
        q = state.spec.critics(state.critic.params, preprocess(obs), state.spec.action.project(action))
        return jnp.sum(jnp.min(q, axis=0))

    adam = optax.adam(STEP)

    @jax.jit
    def search(share, *row):
        def step(carry, _):
            share, memory = carry
            change, memory = adam.update(jax.grad(value)(share, *row), memory)
            return (jnp.clip(share + change, -1.0, 1.0), memory), None

        return jax.lax.scan(step, (share, adam.init(share)), length=STEPS)[0][0]

    found = []
    for first in range(0, len(start), ROWS):
        # The last rows are filled up so that every call has one shape and compiles once.
        part = np.resize(np.arange(first, min(first + ROWS, len(start))), min(ROWS, len(start)))
        given = (np.asarray(x[rows[part]], np.float32) for x in (dataset.obs, dataset.action, dataset.next_obs))
        found.append(np.asarray(search(np.asarray(start[part], np.float32), *given))[: len(start) - first])
    return np.concatenate(found) if found else start
