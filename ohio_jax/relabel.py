"""Relabeling: one inverse applied to every segment of a dataset, the step from low-level logs to high-level data."""

import functools
import itertools
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Int

from ohio_jax import data, mesh, precision
from ohio_jax.data import Trajectories, Transitions, parts
from ohio_jax.errors import TooFewError, UserError, short, unknown
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.result import Recovered
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem, Segment
from ohio_jax.progress import progress
from ohio_jax.task import ActionInterface, Task, check_trajectories, check_transitions

Update = Callable[[int], Any]  # is told how many more segments are done

CHUNK = 4096  # segments a compiled call, on each device
LANES = 64  # segments side by side on a CPU: what they touch stays in its cache; accelerators take whole chunks
# Where a slow one, searching several times as long, holds up the rest.
FEW = dict.fromkeys(("least_squares", "posterior", "implicit", *(name for name in INVERSES if name.startswith("gradient"))), 8)
PART = 1 << 16  # segments that are kept together until all are done: seconds to minutes of work
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


Found = Callable[[str], np.ndarray]  # a field of `Recovered` or of `Transitions` for all segments, leading axis M


def _posterior(found: Found) -> np.ndarray:
    """The segment's likelihood at its goal, over 1 + its goal's variance as a share of what goals vary anyway.

    The second is the inverse-variance weight of a noisy label (Aitken 1936): the actor's own spread, taken to be that of
    all recovered goals, and the label's. Spreads are read off quantiles and medians, which a few far goals do not move.
    """
    usable = found("status") != FAILED
    flat = lambda x: x.reshape(len(x), -1)
    goal, variance = flat(found("action")), np.square(flat(found("deviation")))
    low, high = np.quantile(goal[usable], (0.16, 0.84), axis=0)
    anyway = np.square((high - low) / 2) + np.median(variance[usable], axis=0)
    share = np.divide(variance, anyway, out=np.zeros_like(variance), where=anyway > 0)
    return np.exp(found("log_likelihood")) / (1.0 + share.mean(axis=1))


# How much a learner trusts a transition, by what its inverse said of it; 0 for what failed, whichever is chosen.
WEIGHTS: dict[str, Callable[[Found], np.ndarray]] = {
    "keep": lambda found: np.ones(len(found("status"))),
    "drop": lambda found: found("status") == UNIQUE,
    "original": lambda found: found("loss") <= LARGEST_LOSS,  # of numerical and reg_analytic; it kept all of analytic's
    "posterior": _posterior,  # likelihood of the segment and precision of its goal
}


def default_weights(inverse: str) -> str:
    """Name in WEIGHTS of what an inverse's transitions are weighted by unless another is asked for."""
    return "posterior" if inverse == "posterior" else "keep"


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


class Relabeling(NamedTuple):
    """An inverse of every segment of a data set, see `relabeling`.

    Attributes:
        problem: what the inverse is told of the low level.
        steps: of a whole segment.
        whole: whether no segment is cut short.
        chunk: segments a compiled call.
        parts: (first, stop) episodes that are inverted one part after another.
        source: digest of the logs.
    """

    logs: Trajectories
    task: Task
    interface: str
    inverse: str
    problem: Problem
    steps: int
    whole: bool
    chunk: int
    parts: list[tuple[int, int]]
    source: str

    def identity(self, first: int, stop: int) -> dict[str, Any]:
        """What makes a part the same wherever and whenever it is made."""
        made = {"source_sha256": self.source, "settings": self.task.settings, "interface": self.interface}
        return {**made, "inverse": self.inverse, "episodes": [first, stop]}


def relabeling(trajectories: Trajectories, task: Task, interface: str, inverse: str) -> Relabeling:
    """Looks at what `relabel` is given, and inverts nothing yet. Raises UserError as it does."""
    precision.check()
    check_names(task, interface, inverse)
    if trajectories.card.get("task") != task.name:
        raise UserError(f"dataset: field card.task: expected {task.name!r}, found {short(trajectories.card.get('task'))}")
    check_trajectories(trajectories, task, interface)
    chosen: ActionInterface = task.interfaces[interface]
    problem = chosen.problem if chosen.fit is None else chosen.fit(trajectories)
    length = np.diff(trajectories.offset)
    segments = np.cumsum(-(-length // chosen.steps))
    chunk = chunk_size(int(segments[-1]), len(mesh.devices()))
    last = np.flatnonzero(np.diff((segments - 1) // PART, append=-1))  # episodes of the parts
    parts = [*itertools.pairwise([0, *(last + 1).tolist()])]
    whole = not np.any(length % chosen.steps)
    return Relabeling(trajectories, task, interface, inverse, problem, chosen.steps, whole, chunk, parts, trajectories.digest)


def recovered(of: Relabeling, first: int, stop: int, update: Update = lambda segments: None) -> dict[str, np.ndarray]:
    """What the segments of the episodes first .. stop-1 become: arrays of `Transitions`, but for weights and returns, and what
    weights are made of, see WEIGHTS.

    Segments are inverted in chunks under one compiled, vmapped call, spread over all devices. One that is cut short, by a true
    end or a time limit, is a segment of the steps that were taken, as `HighLevelEnv.step` would have made it.
    """
    logs, every = of.logs.episodes(first, stop), np.arange(of.steps)
    starts, lengths = segments_of(logs.offset, of.steps)
    last, taken = starts + lengths - 1, every < lengths[:, None]
    # Where a step was not taken stands the last one that was, see `Segment`.
    gather = lambda array, rows: array[np.minimum(starts[rows, None] + every, last[rows, None])]
    answers = []
    for begin in range(0, len(starts), of.chunk):
        rows = np.arange(begin, min(begin + of.chunk, len(starts)))
        # The last chunk is filled up so that every call has one shape and compiles once.
        padded = np.resize(rows, of.chunk)
        logged = (gather(x, padded) for x in (logs.state, logs.action, logs.next_state))
        answer = invert_all(of.inverse, of.problem, Segment(*logged, mask=None if of.whole else taken[padded]))
        answers.append({name: value[: len(rows)] for name, value in mesh.gather(answer)._asdict().items()})
        update(len(rows))
    found = {name: np.concatenate([answer[name] for answer in answers]) for name in Recovered._fields}
    usable = np.logical_and.reduceat(logs.finite, starts)
    status = np.where(usable, found["status"], FAILED).astype(np.int32)

    def number(x: np.ndarray) -> np.ndarray:
        """A weight of 0 times NaN is NaN: what a learner reads of a failed segment must be numbers."""
        x = x.astype(np.float32)
        return np.where((status == FAILED).reshape(-1, *[1] * (x.ndim - 1)) & ~np.isfinite(x), np.float32(0), x)

    row = logs.obs_index[starts]
    with np.errstate(over="ignore", invalid="ignore"):  # said of what is not failed by the check
        return {
            "obs": number(logs.obs[row]),
            "action": found["goal"].astype(np.float32),
            "reward": number(np.where(taken, gather(logs.reward, np.arange(len(starts))), 0).sum(axis=1)),
            "next_obs": number(logs.obs[row + lengths]),
            "elapsed": lengths.astype(np.int32),
            "terminal": logs.terminated[last],
            "status": status,
            "residual": np.nan_to_num(found["residual"]).astype(np.float32),
            "episode": logs.episode[starts] + first,
            **{name: found[name] for name in ("deviation", "log_likelihood", "loss")},
        }


def joined(of: Relabeling, made: list[dict[str, Any]], weights: str | None) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """(arrays of `Transitions`, part by part, card) of what `recovered` made of all parts.

    In memory at once are a few numbers of each segment; high-level actions only where weights are made of them.
    """
    weights = _weights(weights, of.inverse)
    found = functools.cache(lambda name: np.concatenate([part[name] for part in made]))
    status, elapsed = found("status"), found("elapsed")
    count = lambda code: int((status == code).sum())
    failed = status == FAILED
    if failed.all():
        raise UserError(f"dataset: expected segments of finite numbers, found none that inverse {of.inverse!r} could use")
    weight = np.where(failed, 0.0, WEIGHTS[weights](found)).astype(np.float32)
    left = int(np.count_nonzero(weight))
    card = {
        **{k: v for k, v in of.logs.card.items() if k not in ("format", "kind", "sha256", "sha256_v1")},
        "settings": of.task.settings,
        "interface": of.interface,
        "inverse": of.inverse,
        "weights": weights,
        "steps": of.steps,
        "source_sha256": of.source,
        "source_sha256_v1": of.logs.card.get("sha256_v1"),
        "transitions": len(weight),
        "trained_on": left,
        "cut_short": int((elapsed < of.steps).sum()),
        "residual_max": float(found("residual")[~failed].max()),
        "weight_mean": float(weight.mean()),
        "ambiguous": count(AMBIGUOUS),
        "unexplained": count(UNEXPLAINED),
        "failed": count(FAILED),
    }
    if left < (fewest := min(FEWEST, -(-len(weight) // 2))):
        counts = f"{count(AMBIGUOUS)} ambiguous, {count(UNEXPLAINED)} unexplained, {count(FAILED)} failed"
        raise TooFewError(
            f"dataset: expected at least {fewest} segments of weight above 0 under weights {weights!r}, found {left} of"
            f" {len(weight)} ({counts})",
            [card],
        )
    names = [field.name for field in fields(Transitions) if field.name in made[0]]
    arrays = {name: [part[name] for part in made] for name in names}
    return arrays | {"weight": [weight], "episode_return": [of.logs.returns]}, card


def relabel(trajectories: Trajectories, task: Task, interface: str, inverse: str, weights: str | None = None) -> Transitions:
    """High-level transitions (s, u, R, s') of a logged dataset (OHIO, Algorithm 1), in memory.

    The task may have other settings than the one that was logged: goals are then those of its own low level.

    Args:
        weights: a name in WEIGHTS; None: `default_weights`. Weight is 0 where the inverse failed or a number of the segment is
            not finite; what is not finite there is made so, and status is FAILED.

    Raises:
        UserError: for an unknown interface, inverse or weights, an inverse the low level does not offer, a dataset of another
            task or of other sizes than the task and its low level have.
        TooFewError: where fewer segments than FEWEST and than half of all keep a weight above 0.
    """
    _weights(weights, inverse)
    of = relabeling(trajectories, task, interface, inverse)
    with _progress(of) as bar:
        part = recovered(of, 0, len(of.logs.offset) - 1, bar.update)
    arrays, card = joined(of, [part], weights)
    transitions = Transitions(card=card, **{name: np.concatenate(each) for name, each in arrays.items()})
    transitions.check("dataset")
    check_transitions(transitions, task, interface)
    return transitions


def relabel_to(
    path: str | Path, trajectories: Trajectories, task: Task, interface: str, inverse: str, weights: str | None = None
) -> Transitions:
    """As `relabel`, into a file, or into a folder of transitions that need not fit into memory (see `ohio_jax.data.storage`).

    Parts of PART segments are kept in a hidden folder beside the path until all are done: a killed call goes on where it stopped,
    also with the parts that others made (`relabel_part`), and ends with the same data.
    """
    path = Path(path)
    kept = parts.folder(path)
    _weights(weights, inverse)
    of = relabeling(trajectories, task, interface, inverse)

    def described(transitions: Transitions) -> dict[str, Any]:
        check_transitions(transitions, task, interface)
        return card

    try:
        with _progress(of) as bar:
            for first, stop in of.parts:
                relabel_part(kept, of, first, stop, bar.update)
        mesh.barrier()  # the first process has written all of them
        arrays, card = joined(of, [parts.read(parts.place(kept, *part)) for part in of.parts], weights)
        data.write(path, Transitions, arrays, described)
        mesh.barrier()
    except UserError:
        parts.remove(kept)  # of no use: what they are made of, or for, has to change
        raise
    parts.remove(kept)
    return data.load(path, "transitions")


def relabel_part(kept: Path, of: Relabeling, first: int, stop: int, update: Update = lambda segments: None) -> None:
    """Keeps what the episodes first .. stop-1 become, unless it is there; any number of processes may make different parts."""
    path, identity = parts.place(kept, first, stop), of.identity(first, stop)
    if mesh.broadcast_bool(mesh.is_main_process() and not parts.is_kept(path, identity)):
        parts.keep(path, identity, recovered(of, first, stop, update))
    else:
        update(int(np.sum(-(-np.diff(of.logs.offset[first : stop + 1]) // of.steps))))


def check_names(task: Task, interface: str, inverse: str, weights: str | None = None) -> None:
    """Raises UserError for what `relabel` does not know."""
    if interface not in task.interfaces:
        raise unknown(f"action interface for {task.name}", interface, task.interfaces)
    if inverse not in INVERSES:
        raise unknown("inverse", inverse, INVERSES)
    _weights(weights, inverse)


def _weights(name: str | None, inverse: str) -> str:
    if name is None:
        return default_weights(inverse)
    if name not in WEIGHTS:
        raise unknown("weights", name, WEIGHTS)
    return name


def _progress(of: Relabeling):
    segments = int(np.sum(-(-np.diff(of.logs.offset) // of.steps)))
    return progress(f"invert {of.task.name} {of.interface}", segments, "segment")
