"""Relabelling: one inverse applied to every segment of a dataset, the step from low-level logs to high-level data."""

import functools
import itertools

import jax
import numpy as np

from ohio_jax.data import Trajectories, Transitions
from ohio_jax.errors import UserError, unknown
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.problem import FAILED, UNEXPLAINED, Recovered, Segment
from ohio_jax.progress import progress
from ohio_jax.task import Space, Task

CHUNK = 4096  # segments a compiled call


@functools.partial(jax.jit, static_argnames=("invert", "problem"))
def _invert_all(invert, problem, segments: Segment) -> Recovered:
    return jax.vmap(lambda segment: invert(problem, segment))(segments)


def segment_starts(offset: np.ndarray, steps: int) -> np.ndarray:
    """Int[M], first step of every whole segment of `steps` steps that lies in one episode."""
    return np.concatenate([np.arange(a, b - steps + 1, steps) for a, b in itertools.pairwise(offset)])


def relabel(trajectories: Trajectories, task: Task, space: str, inverse: str) -> Transitions:
    """High-level transitions (s, u, R, s') of a logged dataset (OHIO, Algorithm 1).

    Segments are inverted in chunks under one compiled, vmapped call. A segment ending at a time limit is left out: what
    follows it was never observed. Weight is 0 where the inverse failed, else 1.
    Raises UserError for an unknown space or inverse, an inverse the low level does not offer, a dataset of another task.
    """
    if space not in task.spaces:
        raise unknown(f"action space for {task.name}", space, task.spaces)
    if inverse not in INVERSES:
        raise unknown("inverse", inverse, INVERSES)
    if trajectories.card.get("task") != task.name:
        raise UserError(f"dataset: field card.task: expected {task.name!r}, found {trajectories.card.get('task')!r}")
    chosen: Space = task.spaces[space]
    steps = chosen.steps
    starts = segment_starts(trajectories.offset, steps)
    starts = starts[~trajectories.truncated[starts + steps - 1]]
    if not len(starts):
        raise UserError(f"dataset: expected a segment of {steps} steps before a time limit, found none")

    problem = chosen.problem if chosen.fit is None else chosen.fit(trajectories)
    gather = lambda array, rows: array[rows[:, None] + np.arange(steps)]
    recovered = []
    with progress(f"invert {task.name} {space}", len(starts), "segment") as bar:
        for first in range(0, len(starts), CHUNK):
            rows = starts[first : first + CHUNK]
            # The last chunk is filled up so that every call has one shape and compiles once.
            padded = np.resize(rows, min(CHUNK, len(starts)))
            segments = Segment(*(gather(a, padded) for a in (trajectories.state, trajectories.action, trajectories.next_state)))
            answer = _invert_all(INVERSES[inverse], problem, segments)
            recovered.append({name: np.asarray(value)[: len(rows)] for name, value in answer._asdict().items()})
            bar.update(len(rows))
    found = {name: np.concatenate([part[name] for part in recovered]) for name in Recovered._fields}

    obs_row = trajectories.obs_index[starts]
    last = starts + steps - 1
    failed = found["status"] == FAILED
    card = {
        **{k: v for k, v in trajectories.card.items() if k not in ("format", "kind", "sha256")},
        "space": space,
        "inverse": inverse,
        "steps": steps,
        "source_sha256": trajectories.card.get("sha256"),
        "transitions": len(starts),
        "residual_max": float(found["residual"].max()),
        "unexplained": int((found["status"] == UNEXPLAINED).sum()),
        "failed": int(failed.sum()),
    }
    return Transitions(
        obs=trajectories.obs[obs_row],
        goal=found["goal"].astype(np.float32),
        reward=gather(trajectories.reward, starts).sum(axis=1).astype(np.float32),
        next_obs=trajectories.obs[obs_row + steps],
        discount=(~trajectories.terminated[last]).astype(np.float32),
        weight=(~failed).astype(np.float32),
        status=found["status"].astype(np.int32),
        residual=found["residual"].astype(np.float32),
        episode=trajectories.episode[starts],
        episode_return=trajectories.returns,
        card=card,
    )
