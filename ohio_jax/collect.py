"""Logs of a policy, scripted or trained, step by low-level step."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax import __version__, data, limits, precision
from ohio_jax.data import parts
from ohio_jax.environment import State
from ohio_jax.files import check_replaceable
from ohio_jax.learners import LEARNERS
from ohio_jax.progress import progress
from ohio_jax.rollout import POLICY, Act, BehaviorPolicy, StepwiseHierarchy, episode_keys, horizon_scan, learned, scripted_policy
from ohio_jax.task import Task
from ohio_jax.training.checkpoint import tree_digest

CHUNK = 64  # episodes a compiled call: large enough to be fast, small enough for progress and resume


def trained_policy(task: Task, interface: str, learner: str, state: Any, deterministic: bool = True) -> BehaviorPolicy:
    """A trained policy of one seed; learner: name in LEARNERS; state: the agent's, see `ohio_jax.agent`."""
    env = StepwiseHierarchy(task.high_level(interface), task.interfaces[interface].spec.shape)
    card = {"deterministic": deterministic, "policy_sha256": tree_digest(state)}
    return BehaviorPolicy(f"{interface} {learner}", env, learned(LEARNERS[learner], deterministic), state, card)


@functools.partial(jax.jit, static_argnames=("act", "view", "reached"))
def _log(env, act: Act, params, view, reached, instances, keys):
    def record(before: State, action, after: State):
        return {
            "obs": before.obs,
            "next_obs": after.obs,
            "state": view(before),
            "next_state": reached(after),
            "action": after.info.get("action", action),  # of a learned policy `action` is a goal, see `StepwiseHierarchy`
            "reward": after.reward,
            "terminated": after.done > 0,
            "truncated": (after.info["truncation"] > 0) & (after.done == 0),
            "alive": jnp.maximum(before.done, before.info["truncation"]) == 0,
        }

    def episode(instance, key):
        first, steps = horizon_scan(env, act, params, instance, key, record)
        return first.reward, steps

    return jax.vmap(episode)(instances, keys)


def _trajectories(first_reward, steps: dict[str, Any]) -> data.Trajectories:
    """Drops what lies behind an episode's end and flattens [E, T, ...] to [N, ...]."""
    steps = {name: np.asarray(value) for name, value in steps.items()}
    alive = np.logical_and.accumulate(steps.pop("alive"), axis=1)  # an end is one, whatever the simulator goes on to say
    lengths = alive.sum(axis=1)
    obs = np.concatenate([steps["obs"], steps["next_obs"][:, -1:]], axis=1)
    last = np.take_along_axis(steps["next_obs"], (lengths - 1)[:, None, None], axis=1)
    rows = [np.concatenate([obs[e, :length], last[e]]) for e, length in enumerate(lengths)]
    flat = {name: value[alive] for name, value in steps.items() if name not in ("obs", "next_obs")}
    return data.Trajectories(
        obs=np.concatenate(rows).astype(np.float32),
        first_reward=np.asarray(first_reward),
        offset=np.concatenate([[0], np.cumsum(lengths)]),
        card={},
        **flat,
    )


def collect(task: Task, policy: str | BehaviorPolicy, episodes: int, seed: int) -> data.Trajectories:
    """Logs a policy, scripted (its name) or trained (see `trained_policy`), step by low-level step.

    Raises:
        UserError: for an unknown policy, or a number of episodes beyond its bounds in `ohio_jax.limits`.
    """
    who = scripted_policy(task, policy) if isinstance(policy, str) else policy
    whole = data.concatenate(_chunks(task, who, episodes, seed), {})
    return replace(whole, card=_card(task, who, seed, whole))


def collect_to(
    path: str | Path,
    task: Task,
    policy: str | BehaviorPolicy,
    episodes: int,
    seed: int,
    first: int = 0,
    lanes: int | None = None,
) -> data.Trajectories:
    """As `collect`, into a file, or into a folder of logs that need not fit into memory (see `ohio_jax.data.storage`).

    Episodes are played in chunks, each of which is kept in a hidden folder beside the path until all are done: a killed call goes
    on where it stopped and ends with the same data.

    Args:
        first: number of the seed's first episode that is played.
        lanes: how many are played at once, by default `CHUNK`, or all if they are fewer. The last bits of an episode may depend
            on it, and on nothing else of a call.

    Raises:
        UserError: also where the path exists and is not what an earlier such call wrote, of whatever number of episodes.
    """
    path = Path(path)
    who = scripted_policy(task, policy) if isinstance(policy, str) else policy
    who = who._replace(card={**who.card, "first_episode": first}) if first else who
    check_replaceable(path, {**_identity(task, who, seed), "kind": "trajectories", "corruption": None})
    kept = parts.folder(path)
    columns = data.columns(_chunks(task, who, episodes, seed, kept, first, lanes))
    data.write(path, data.Trajectories, columns, functools.partial(_card, task, who, seed))
    parts.remove(kept)
    return data.load(path, "trajectories")


def _chunks(
    task: Task,
    who: BehaviorPolicy,
    episodes: int,
    seed: int,
    kept: Path | None = None,
    first: int = 0,
    lanes: int | None = None,
) -> Iterator[data.Trajectories]:
    """The logs, `lanes` episodes at a time; with a folder, kept there, and taken from there where an earlier call left them."""
    precision.check()
    limits.check("episodes", episodes, limits.BUDGETS["episodes"])
    lanes = min(CHUNK, episodes) if lanes is None else lanes
    drawn = task.instances(seed, first + episodes), episode_keys(seed, first + episodes)
    instances, keys = jax.tree.map(lambda x: x[first:], drawn)
    with progress(f"collect {task.name} {who.name}", episodes, "episode") as bar:
        for start in range(0, episodes, lanes):
            stop = min(start + lanes, episodes)

            def play(start: int = start, stop: int = stop) -> data.Trajectories:
                # The last chunk is filled up with its last episode, so that every call has one shape and compiles once.
                rows = np.minimum(np.arange(start, start + lanes), stop - 1)
                played = jax.tree.map(lambda x: x[rows], (instances, keys))
                logged = _log(who.env, who.act, who.params, task.controller_obs, task.next_controller_obs, *played)
                return _trajectories(*jax.tree.map(lambda x: x[: stop - start], logged))

            yield play() if kept is None else _taken_up(parts.place(kept, start, stop), _identity(task, who, seed), play)
            bar.update(stop - start)


def _taken_up(part: Path, identity: dict[str, Any], play: Callable[[], data.Trajectories]) -> data.Trajectories:
    """The chunk an earlier, killed call of the same run left, else a new one that is left for the next."""
    if not parts.is_kept(part, identity):
        parts.keep(part, identity, play().arrays)
    return data.Trajectories(card=identity, **parts.read(part))


def _card(task: Task, who: BehaviorPolicy, seed: int, whole: data.Trajectories) -> dict[str, Any]:
    returns, reference = whole.returns, task.reference
    return {
        **_identity(task, who, seed),
        "episodes": len(returns),
        "code": __version__,
        "return_mean": float(np.mean(returns)),
        "return_std": float(np.std(returns)),
        "quality": data.quality(returns, reference.zero, reference.full),
        "coverage": data.coverage(whole.obs, whole.action, whole.obs_index),
    }


def _identity(task: Task, who: BehaviorPolicy, seed: int) -> dict[str, Any]:
    """What makes two calls the same run, but for how far they go."""
    head = {"task": task.name, "settings": task.settings, "behavior_policy": who.name}
    return {**head, "seed": seed, "stream": POLICY, **who.card}
