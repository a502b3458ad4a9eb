"""Logs of a policy, scripted or trained, step by low-level step."""

import contextlib
import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax import __version__, data, limits, precision
from ohio_jax.environment import State
from ohio_jax.errors import UserError
from ohio_jax.files import UNIQUE, check_replaceable
from ohio_jax.learners import LEARNERS
from ohio_jax.progress import progress
from ohio_jax.rollout import POLICY, Act, BehaviorPolicy, StepwiseHierarchy, episode_keys, horizon_scan, learned, scripted_policy
from ohio_jax.task import Task
from ohio_jax.training.checkpoint import tree_digest

CHUNK = 64  # episodes a compiled call: large enough to be fast, small enough for progress and resume
KEPT = re.compile(rf"\.?\d{{6,}}-\d{{6,}}\.npz(\.{UNIQUE}\.part)?")  # of a finished chunk, or of half of one


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


def collect(task: Task, policy: str | BehaviorPolicy, episodes: int, seed: int, parts: Path | None = None) -> data.Trajectories:
    """Logs a policy, scripted (its name) or trained (see `trained_policy`), step by low-level step.

    Episodes are played in chunks; with a folder `parts` each finished chunk is kept there until all are done, so a killed call
    goes on where it stopped and ends with the same data.

    Raises:
        UserError: for an unknown policy, or a number of episodes beyond its bounds in `ohio_jax.limits`.
    """
    who = scripted_policy(task, policy) if isinstance(policy, str) else policy
    precision.check()
    limits.check("episodes", episodes, limits.BUDGETS["episodes"])
    identity = _identity(task, who, seed)
    instances, keys = task.instances(seed, episodes), episode_keys(seed, episodes)

    def chunks() -> Iterator[data.Trajectories]:
        with progress(f"collect {task.name} {who.name}", episodes, "episode") as bar:
            for start in range(0, episodes, CHUNK):
                stop = min(start + CHUNK, episodes)
                part = None if parts is None else Path(parts) / f"{start:06d}-{stop:06d}.npz"
                chunk = _kept(part, identity)
                if chunk is None:
                    # The last chunk is filled up with its last episode, so that every call has one shape and compiles once.
                    rows = np.minimum(np.arange(start, start + min(CHUNK, episodes)), stop - 1)
                    played = jax.tree.map(lambda x, rows=rows: x[rows], (instances, keys))
                    logged = _log(who.env, who.act, who.params, task.controller_obs, task.next_controller_obs, *played)
                    chunk = _trajectories(*jax.tree.map(lambda x, kept=stop - start: x[:kept], logged))
                    if part is not None:
                        data.save(part, replace(chunk, card=identity))
                yield chunk
                bar.update(stop - start)

    whole = data.concatenate(chunks(), {})
    card = {
        **identity,
        "episodes": episodes,
        "code": __version__,
        "return_mean": float(np.mean(whole.returns)),
        "return_std": float(np.std(whole.returns)),
        "quality": data.quality(whole.returns, task.reference.zero, task.reference.full),
        "coverage": data.coverage(whole.obs[whole.obs_index], whole.action),
    }
    return replace(whole, card=card)


def collect_to(path: str | Path, task: Task, policy: str | BehaviorPolicy, episodes: int, seed: int) -> data.Trajectories:
    """As `collect`, into a file. A killed call leaves its finished chunks in a hidden folder beside it, and the same one goes on.

    Raises:
        UserError: also where the file exists and is not what an earlier such call wrote, of whatever number of episodes.
    """
    path = Path(path)
    who = scripted_policy(task, policy) if isinstance(policy, str) else policy
    check_replaceable(path, {**_identity(task, who, seed), "kind": "trajectories", "corruption": None})
    parts = parts_of(path)
    trajectories = collect(task, who, episodes, seed, parts)
    data.save(path, trajectories)
    for part in parts.iterdir():
        if KEPT.fullmatch(part.name):
            part.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else keeps files there
        parts.rmdir()
    return trajectories


def parts_of(path: Path) -> Path:
    """The folder of the chunks that `collect_to` keeps until the file is whole; a call killed just after that leaves some."""
    return path.with_name(f".{path.name}.parts")


def _identity(task: Task, who: BehaviorPolicy, seed: int) -> dict[str, Any]:
    """What makes two calls the same run, but for how far they go."""
    head = {"task": task.name, "settings": task.settings, "behavior_policy": who.name}
    return {**head, "seed": seed, "stream": POLICY, **who.card}


def _kept(part: Path | None, identity: dict[str, Any]) -> data.Trajectories | None:
    """The chunk an earlier, killed call left, if it is of the same run."""
    if part is None:
        return None
    try:
        chunk = data.load(part, "trajectories")
    except UserError:  # none, or one that this program did not write
        return None
    return chunk if all(chunk.card.get(key) == value for key, value in identity.items()) else None
