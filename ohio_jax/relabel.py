"""Relabeling: one inverse applied to every segment of a dataset, the step from low-level logs to high-level data."""

import functools
import itertools
from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Int

from ohio_jax import mesh
from ohio_jax.data import Trajectories, Transitions
from ohio_jax.errors import UserError, short, unknown
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.result import Recovered
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem, Segment
from ohio_jax.progress import progress
from ohio_jax.task import ActionInterface, Task, check_trajectories, check_transitions

CHUNK = 4096  # segments a compiled call, on each device
LANES = 64  # segments side by side on a CPU: what they touch stays in its cache; accelerators take whole chunks
FEW = {"least_squares": 8, "posterior": 8, "implicit": 8}  # where a slow one, searching several times as long, holds up the rest
LARGEST_LOSS = 0.2  # of the original's filter
FEWEST = 16  # segments of weight above 0 that must be left, or half of all where these are fewer than twice as many


def lanes(inverse: str) -> int:
    """How many segments an inverse takes side by side."""
    return CHUNK if mesh.is_wide() else FEW.get(inverse, LANES)


def invert_all(inverse: str, problem: Problem, segments: Segment) -> Recovered:
    """An inverse of so many segments, compiled, leading axis M, a multiple of the number of devices they are spread over.

    Args:
        inverse: name in INVERSES; it and the problem are static. No device waits for another's iterations.
    """
    return _inverted(inverse, problem, lanes(inverse), segments)


@functools.partial(jax.jit, static_argnames=("inverse", "problem", "side_by_side"))
def _inverted(inverse: str, problem: Problem, side_by_side: int, segments: Segment) -> Recovered:
    invert = lambda segment: INVERSES[inverse](problem, segment)
    some = lambda segments: jax.lax.map(invert, segments, batch_size=side_by_side)
    over = mesh.over(mesh.devices())
    return jax.shard_map(some, mesh=over, in_specs=mesh.EACH, out_specs=mesh.EACH, check_vma=False)(segments)


Found = dict[str, np.ndarray]  # the fields of `Recovered`, leading axis M


def _posterior(found: Found) -> np.ndarray:
    """The segment's likelihood at its goal, over 1 + its goal's variance as a share of what goals vary anyway.

    The second is the inverse-variance weight of a noisy label (Aitken 1936): the actor's own spread, taken to be that of
    all recovered goals, and the label's. Spreads are read off quantiles and medians, which a few far goals do not move.
    """
    usable = found["status"] != FAILED
    flat = lambda x: x.reshape(len(x), -1)
    goal, variance = flat(found["goal"]), np.square(flat(found["deviation"]))
    low, high = np.quantile(goal[usable], (0.16, 0.84), axis=0)
    anyway = np.square((high - low) / 2) + np.median(variance[usable], axis=0)
    share = np.divide(variance, anyway, out=np.zeros_like(variance), where=anyway > 0)
    return np.exp(found["log_likelihood"]) / (1.0 + share.mean(axis=1))


# How much a learner trusts a transition, by what its inverse said of it; 0 for what failed, whichever is chosen.
WEIGHTS: dict[str, Callable[[Found], np.ndarray]] = {
    "keep": lambda found: np.ones(len(found["status"])),
    "drop": lambda found: found["status"] == UNIQUE,
    "original": lambda found: found["loss"] <= LARGEST_LOSS,  # of numerical and reg_analytic; it kept all of analytic's
    "posterior": _posterior,  # likelihood of the segment and precision of its goal
}


def chunk_size(segments: int, devices: int) -> int:
    """Segments a compiled call, on all devices: one of few sizes, so that data sets share programs, with little to fill up."""
    least = min(LANES, CHUNK)
    sizes = [devices * least * 2**k for k in range((CHUNK // least).bit_length())]
    in_all = lambda size: -(-segments // size) * size
    return max((size for size in sizes if in_all(size) <= 1.25 * segments), default=sizes[0])


def segments_of(offset: Int[np.ndarray, "offsets"], steps: int) -> tuple[Int[np.ndarray, "M"], Int[np.ndarray, "M"]]:
    """(`Int[M]` first step, `Int[M]` length) of every segment: `steps` steps from an episode's start on, fewer where it ends."""
    starts = np.concatenate([np.arange(a, b, steps) for a, b in itertools.pairwise(offset)])
    ends = offset[np.searchsorted(offset, starts, side="right")]
    return starts, np.minimum(ends - starts, steps)


def relabel(trajectories: Trajectories, task: Task, interface: str, inverse: str, weights: str | None = None) -> Transitions:
    """High-level transitions (s, u, R, s') of a logged dataset (OHIO, Algorithm 1).

    Segments are inverted in chunks under one compiled, vmapped call, spread over all devices. One that is cut short, by a true
    end or a time limit, is a segment of the steps that were taken, as `HighLevelEnv.step` would have made it.

    The task may have other settings than the one that was logged: goals are then those of its own low level.

    Args:
        weights: a name in WEIGHTS; None is `posterior` for the inverse of that name and `keep` for others. Weight is 0 where the
            inverse failed or a number of the segment is not finite; what is not finite there is made so, and status is FAILED.

    Raises:
        UserError: for an unknown interface, inverse or weights, an inverse the low level does not offer, a dataset of another
            task or of other sizes than the task and its low level have, and where fewer segments than FEWEST
            and than half of all keep a weight above 0.
    """
    weights = weights or ("posterior" if inverse == "posterior" else "keep")
    if interface not in task.interfaces:
        raise unknown(f"action interface for {task.name}", interface, task.interfaces)
    if inverse not in INVERSES:
        raise unknown("inverse", inverse, INVERSES)
    if weights not in WEIGHTS:
        raise unknown("weights", weights, WEIGHTS)
    if trajectories.card.get("task") != task.name:
        raise UserError(f"dataset: field card.task: expected {task.name!r}, found {short(trajectories.card.get('task'))}")
    check_trajectories(trajectories, task, interface)
    chosen: ActionInterface = task.interfaces[interface]
    steps = chosen.steps
    starts, lengths = segments_of(trajectories.offset, steps)
    last, every = starts + lengths - 1, np.arange(steps)
    taken, whole = every < lengths[:, None], bool((lengths == steps).all())

    problem = chosen.problem if chosen.fit is None else chosen.fit(trajectories)
    # Where a step was not taken stands the last one that was, see `Segment`.
    gather = lambda array, rows: array[np.minimum(starts[rows, None] + every, last[rows, None])]
    logged, recovered = (trajectories.state, trajectories.action, trajectories.next_state), []
    with progress(f"invert {task.name} {interface}", len(starts), "segment") as bar:
        chunk = chunk_size(len(starts), len(mesh.devices()))
        for first in range(0, len(starts), chunk):
            rows = np.arange(first, min(first + chunk, len(starts)))
            # The last chunk is filled up so that every call has one shape and compiles once.
            padded = np.resize(rows, chunk)
            segments = Segment(*(gather(x, padded) for x in logged), mask=None if whole else taken[padded])
            answer = mesh.gather(invert_all(inverse, problem, segments))
            recovered.append({name: value[: len(rows)] for name, value in answer._asdict().items()})
            bar.update(len(rows))
    found = {name: np.concatenate([part[name] for part in recovered]) for name in Recovered._fields}

    obs_row = trajectories.obs_index[starts]
    usable = np.logical_and.reduceat(trajectories.finite, starts)
    found["status"] = np.where(usable, found["status"], FAILED)
    count = lambda status: int((found["status"] == status).sum())
    failed = found["status"] == FAILED
    if failed.all():
        raise UserError(f"dataset: expected segments of finite numbers, found none that inverse {inverse!r} could use")
    weight = np.where(failed, 0.0, WEIGHTS[weights](found)).astype(np.float32)
    fewest, left = min(FEWEST, -(-len(weight) // 2)), np.count_nonzero(weight)
    if left < fewest:
        counts = f"{count(AMBIGUOUS)} ambiguous, {count(UNEXPLAINED)} unexplained, {count(FAILED)} failed"
        raise UserError(
            f"dataset: expected at least {fewest} segments of weight above 0 under weights {weights!r}, found {left} of"
            f" {len(weight)} ({counts})"
        )

    def number(x: np.ndarray) -> np.ndarray:
        """A weight of 0 times NaN is NaN: what a learner reads of a failed segment must be numbers."""
        x = x.astype(np.float32)
        return np.where(failed.reshape(-1, *[1] * (x.ndim - 1)) & ~np.isfinite(x), np.float32(0), x)

    card = {
        **{k: v for k, v in trajectories.card.items() if k not in ("format", "kind", "sha256", "sha256_v1")},
        "settings": task.settings,
        "interface": interface,
        "inverse": inverse,
        "weights": weights,
        "steps": steps,
        "source_sha256": trajectories.digest,
        "source_sha256_v1": trajectories.card.get("sha256_v1"),
        "transitions": len(starts),
        "cut_short": int((lengths < steps).sum()),
        "residual_max": float(found["residual"][~failed].max()),
        "weight_mean": float(weight.mean()),
        "ambiguous": count(AMBIGUOUS),
        "unexplained": count(UNEXPLAINED),
        "failed": count(FAILED),
    }
    with np.errstate(over="ignore", invalid="ignore"):  # said of what is not failed by the check
        transitions = Transitions(
            obs=number(trajectories.obs[obs_row]),
            action=found["goal"].astype(np.float32),
            reward=number(np.where(taken, gather(trajectories.reward, np.arange(len(starts))), 0).sum(axis=1)),
            next_obs=number(trajectories.obs[obs_row + lengths]),
            elapsed=lengths.astype(np.int32),
            terminal=trajectories.terminated[last],
            weight=weight,
            status=found["status"].astype(np.int32),
            residual=np.nan_to_num(found["residual"]).astype(np.float32),
            episode=trajectories.episode[starts],
            episode_return=trajectories.returns,
            card=card,
        )
    transitions.check("dataset")
    check_transitions(transitions, task, interface)
    return transitions
