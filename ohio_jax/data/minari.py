"""Minari: other projects' logs as ours, and our datasets as any offline learner reads them. Needs the extra `minari`.

Minari keeps datasets by name under $MINARI_DATASETS_PATH. What it has no place for travels with each episode in its infos
(row t beside observation t, so a value that comes with a step stands one row below it) and the card in its metadata.
"""

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ohio_jax import data
from ohio_jax.data import arrays as forms
from ohio_jax.errors import UserError, brief, short
from ohio_jax.extras import imported
from ohio_jax.task import Task

BEFORE, AFTER = ("state",), ("next_state", "elapsed", "status", "residual", "weight")  # rows of infos: t for step t, or t + 1


def export(dataset: data.Dataset, name: str, **about: Any) -> Any:
    """Writes a dataset into Minari's store and returns the `MinariDataset`.

    Trajectories keep low-level actions; `load` gives them back. Transitions become what other libraries train on: high-level
    actions, and an episode for every run of transitions that follow one another.

    Args:
        name: "name-v0" or "namespace/name-v0".
        **about: further metadata: author, author_email, code_permalink.

    Raises:
        UserError: if the name is taken, or none that Minari allows.
    """
    gymnasium, minari = imported("minari", "gymnasium"), imported("minari", "minari")
    _named(minari, name, exists=False)
    low_level = isinstance(dataset, data.Trajectories)
    action = dataset.action
    # Unbounded: bounds are the task's business, and the data only show what happened.
    box = lambda x: gymnasium.spaces.Box(-np.inf, np.inf, x.shape[1:], x.dtype)
    whole = lambda x: gymnasium.spaces.Box(np.iinfo(x.dtype).min, np.iinfo(x.dtype).max, x.shape[1:], x.dtype)
    with warnings.catch_warnings():
        # Minari warns of every piece of metadata left out, a Gymnasium environment among them.
        warnings.simplefilter("ignore", UserWarning)
        written = minari.create_dataset_from_buffers(
            name,
            [_buffer(minari, dataset, steps) for steps in _episodes(dataset)],
            observation_space=box(dataset.obs),
            action_space=(whole if action.dtype.kind == "i" else box)(action),
            algorithm_name=dataset.card.get("behavior_policy"),
            description=f"{dataset.card.get('task')}: {'low-level actions' if low_level else 'recovered high-level actions'}",
            requirements=["ohio-jax"],
            **about,
        )
    written.storage.update_metadata({"ohio_jax_card": json.dumps(dataset.card)})
    return written


def load(name: str, task: Task, state: Callable[[Any], np.ndarray] | None = None, allow_nan: bool = False) -> data.Trajectories:
    """Reads a Minari dataset from its local store as low-level logs of a task.

    Args:
        state: for datasets of other projects, `state(episode) -> [T + 1, k]`, what the task's low level sees beside each
            observation of a Minari episode; the row after a step is taken for what its action made of it.
        allow_nan: see `data.from_arrays`, whose messages count rows over all episodes.

    Raises:
        UserError: if there is no such dataset, or it does not fit the task.
    """
    minari = imported("minari", "minari")
    _named(minari, name, exists=True)
    source = minari.load_dataset(name)
    try:
        card = json.loads(source.storage.metadata.get("ohio_jax_card", "{}"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{name}: field ohio_jax_card: expected JSON, found {brief(error)}") from error
    forms.check_card(name, card)
    if card.get("task", task.name) != task.name:
        raise UserError(f"{name}: field card.task: expected {task.name!r}, found {short(card['task'])}")
    episodes = list(source.iterate_episodes())
    logged = [_steps(name, task, episode, state) for episode in episodes]
    if not logged:
        raise UserError(f"{name}: expected at least 1 episode, found none")
    for episode, steps in zip(episodes, logged, strict=True):
        for field in ("state", "next_state", "action"):
            forms.check_alike(f"{name}: episode {episode.id}", "the first", logged[0][field], field, steps[field])
    arrays: dict[str, Any] = {field: np.concatenate([steps[field] for steps in logged]) for field in logged[0]}
    card = {"task": task.name, "settings": task.settings, "behavior_policy": name, **card}
    whole = data.from_arrays(**arrays, card=card, allow_nan=allow_nan, where=name)
    first_reward, starts = np.zeros_like(whole.first_reward), np.cumsum([0, *(len(steps["reward"]) for steps in logged[:-1])])
    earned = [np.float32(np.ravel((episode.infos or {}).get("first_reward", 0.0))[0]) for episode in episodes]
    first_reward[np.searchsorted(whole.offset, starts)] = earned
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite in it
        whole = replace(whole, reward=whole.reward.astype(np.float32), first_reward=first_reward)
    whole.check(name)
    return whole


def _named(minari, name: str, exists: bool) -> None:
    try:
        found = name in minari.list_local_datasets()
        minari.dataset.minari_dataset.parse_dataset_id(name)
    except ValueError as error:
        raise UserError(f"Minari dataset: expected a name like 'name-v0', found {name!r}") from error
    if found != exists:
        raise UserError(f"{name}: {'no such Minari dataset here' if exists else 'a Minari dataset of that name exists'}")


def _episodes(dataset: data.Dataset) -> list[np.ndarray]:
    """Steps of each episode: all of a trajectory, or runs of transitions of which each starts where the last one ended."""
    steps = np.arange(len(dataset.reward))
    if isinstance(dataset, data.Trajectories):
        return np.split(steps, dataset.offset[1:-1])
    follows = (dataset.episode[1:] == dataset.episode[:-1]) & (dataset.obs[1:] == dataset.next_obs[:-1]).all(axis=1)
    return np.split(steps, 1 + np.flatnonzero(~follows))


def _buffer(minari, dataset: data.Dataset, steps: np.ndarray):
    """One episode as Minari's."""
    if isinstance(dataset, data.Trajectories):
        rows = dataset.obs_index[steps]
        obs = dataset.obs[np.append(rows, rows[-1] + 1)]
        action, terminated = dataset.action[steps], dataset.terminated[steps]
        truncated = dataset.truncated[steps] & ~terminated
        first_reward = dataset.first_reward[dataset.episode[steps[0]]]
    else:
        obs = np.concatenate([dataset.obs[steps], dataset.next_obs[steps[-1:]]])
        action, terminated = dataset.action[steps], dataset.terminal[steps]
        # Where a run of transitions stops without an end, nothing is known of what followed.
        truncated = ~terminated & (steps == steps[-1])
        first_reward = np.float32(0)
    infos = {"first_reward": np.full(len(obs), first_reward)}
    for name in (*BEFORE, *AFTER):
        if hasattr(dataset, name):
            value = getattr(dataset, name)[steps]
            infos[name] = np.concatenate([value, value[-1:]] if name in BEFORE else [value[:1], value])
    return minari.data_collector.EpisodeBuffer(
        observations=obs,
        actions=action,
        rewards=dataset.reward[steps],
        terminations=terminated,
        truncations=truncated,
        infos=infos,
    )


def _steps(name: str, task: Task, episode, state: Callable[[Any], np.ndarray] | None) -> dict[str, np.ndarray]:
    """One episode of Minari's as `data.from_arrays` has it; its last step is an end whatever Minari says."""
    where, steps = f"{name}: episode {episode.id}", len(episode.rewards)
    expected = (steps + 1, task.env.observation_size)
    if np.shape(episode.observations) != expected:
        raise UserError(
            f"{where}: field observations: expected an array of shape {expected}, found {_form(episode.observations)}"
        )
    if not isinstance(episode.actions, np.ndarray):
        raise UserError(f"{where}: field actions: expected an array, found {_form(episode.actions)}")
    infos = episode.infos or {}
    if state is not None:
        before = after = np.atleast_1d(np.asarray(state(episode)))
    elif "state" in infos and "next_state" in infos:
        before, after = np.asarray(infos["state"]), np.asarray(infos["next_state"])
    else:
        raise UserError(f"{where}: field infos: expected state and next_state, or the argument `state`, found {sorted(infos)}")
    truncated = np.array(episode.truncations)
    truncated[-1:] = True
    found = {
        "obs": episode.observations[:-1],
        "next_obs": episode.observations[1:],
        "action": episode.actions,
        "reward": np.asarray(episode.rewards),
        "terminated": np.asarray(episode.terminations),
        "truncated": truncated,
        "state": before[:-1],
        "next_state": after[1:],
    }
    for field, array in found.items():
        if len(array) != steps or not steps:
            raise UserError(f"{where}: field {field}: expected {steps or 'at least 1'} rows, one a step, found {len(array)}")
    return found


def _form(values: Any) -> str:
    """The shape of an array, or what else Minari may hold (dict, tuple, list)."""
    return str(values.shape) if isinstance(values, np.ndarray) else type(values).__name__
