"""What cells have in common: recovered actions and trained policies, kept in the work folder for the next cell, and tests.

What other code made is not taken up: names of files and folders follow from the sources as well, see `ohio_bench.runner.source`.
"""

import contextlib
import functools
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ohio_envs import datasets, registry

from ohio_bench.runner import source
from ohio_bench.runner.cell import RESULTS
from ohio_bench.runner.store import short_hash, slug
from ohio_jax import data, mesh
from ohio_jax.data import parts
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.files import file_lock, write_bytes
from ohio_jax.labels import label_errors
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.streams import Selection, Stream, Test, require
from ohio_jax.task import Task
from ohio_jax.training.hdpo import hdpo
from ohio_jax.training.loop import Trained
from ohio_jax.training.offline import fingerprint, train
from ohio_jax.training.plan import Plan


@dataclass(frozen=True)
class WorkFolder:
    """Recovered actions and checkpoints, large and made again by the same command; and how a cell is to work with them.

    Attributes:
        path: the folder.
        since: what is older than this (of `time.time`) is made again.
        deadline: by when training is to end.
    """

    path: Path = RESULTS / ".work"
    since: float = 0.0
    deadline: Deadline = NEVER

    @contextlib.contextmanager
    def kept(self, name: str) -> Iterator[Path]:
        """A file or training directory of the folder, while nobody else makes it; not there if it is older than `since`."""
        path = self.path / name
        with file_lock(path):
            described = path / "run.json" if path.is_dir() else path
            if mesh.is_main_process() and described.exists() and described.stat().st_mtime < self.since:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            parts.remove(parts.folder(path), before=self.since)
            mesh.barrier()
            yield path

    def dataset(self, name: str, data_seed: int, episodes: int | None = None) -> data.Trajectories:
        """What a named data set holds to train on, see `ohio_envs.datasets`, which keeps it for all work folders."""
        path = datasets.make(name, data_seed, "train", episodes, sources=source.of_data_set(name))
        return _logs(path, path.stat().st_mtime_ns)

    def labeled(
        self, task: Task, logged: data.Trajectories, interface: str, inverse: str = "analytic", weights: str | None = None
    ) -> data.Transitions:
        """The transitions that an inverse makes of what `dataset` gave; kept, since several learners learn from them."""
        identity = {
            "logs": logged.digest,
            "settings": task.settings,
            "interface": interface,
            "inverse": inverse,
            "weights": weights,
            "sources": source.named(task=task.name, inverse=inverse),
        }
        name = slug(task.name, logged.card["behavior_policy"], interface, inverse)
        with self.kept(f"data/{name}.{short_hash(identity)}.npz") as path:
            if mesh.broadcast_bool(mesh.is_main_process() and not path.exists()):
                data.save(path, relabel(logged, task, interface, inverse, weights))
        return data.load(path, "transitions")

    def label_errors(
        self, task: Task, interface: str, logged: data.Trajectories, transitions: data.Transitions, home: Task
    ) -> dict[str, float]:
        """Errors of the actions of `labeled` in a task, see `ohio_jax.labels`; kept for all learners."""
        place = {"settings": task.settings, "interface": interface, "home": home.settings}
        identity = {**place, "transitions": transitions.digest, "weights": transitions.card["weights"]}
        identity["sources"] = source.named(task=task.name, inverse=transitions.card["inverse"])
        name = slug(task.name, logged.card["behavior_policy"], interface, transitions.card["inverse"], "labels")
        with self.kept(f"data/{name}.{short_hash(identity)}.json") as path:
            if mesh.broadcast_bool(mesh.is_main_process() and not path.exists()):
                write_bytes(path, json.dumps(label_errors(task, interface, logged, transitions, home)).encode())
            mesh.barrier()
            return json.loads(path.read_text(encoding="utf-8"))

    def trained(self, plan: Plan, task: Task, interface: str, transitions: data.Transitions, words: tuple[str, ...]) -> Trained:
        """Policies learned from transitions: once, then found again by whoever asks for the same. words: of the folder's name."""
        by = source.named(task=task.name, learner=plan.learner)
        identity = {**fingerprint(plan, task, interface, transitions), "sources": by}
        with self.kept(f"train/{slug(*words)}.{short_hash(identity)}") as directory:
            return train(plan, task, interface, transitions, directory, deadline=self.deadline)

    def trained_hdpo(self, plan: Plan, task: Task, interface: str) -> Trained:
        """Policies learned through the simulator whose quantities are smooth, likewise."""
        smooth = registry.make(task.name, {**task.settings, "smooth": 1})
        identity = {"task": task.name, "settings": smooth.settings, "interface": interface, "plan": plan.as_json()}
        identity["sources"] = source.named(task=task.name, learner=plan.learner, policy="hdpo")
        with self.kept(f"train/{slug(task.name, 'hdpo')}.{short_hash(identity)}") as directory:
            return hdpo(plan, smooth, interface, directory, deadline=self.deadline)


@functools.lru_cache(maxsize=64)  # of which hardly more than rewards are in memory
def _logs(path: Path, made: int) -> data.Trajectories:
    """Read once for all columns of a row, which also lets what is learned from them be learned once."""
    return data.load(path, "trajectories")


def each_run(plan: Plan) -> list[Plan]:
    """The plan of each run: one training seed, which is the data seed as well."""
    return [replace(plan, seeds=1, first_seed=plan.first_seed + run) for run in range(plan.seeds)]


def joined(runs: Sequence[Trained]) -> Trained:
    """Several runs as one, in whose arrays the seeds of the first come first."""
    states = jax.tree.map(lambda *x: np.concatenate(x), *[run.states for run in runs])
    curve = {name: np.concatenate([run.curve[name] for run in runs], axis=1) for name in runs[0].curve}
    return Trained(states, curve, {name: sum(run.seconds[name] for run in runs) for name in runs[0].seconds})


def tested(
    task: Task, interface: str, plan: Plan, trained: Trained, episodes: int, stream: Test, deterministic: bool = True
) -> dict[str, Any]:
    """What the policies earn on the test episodes, and how they were learned. Raises TypeError for another stream."""
    return _played(task, interface, plan, trained, episodes, require(stream, Test), deterministic)


def tried(
    task: Task, interface: str, plan: Plan, trained: Trained, episodes: int, stream: Selection, deterministic: bool = True
) -> dict[str, Any]:
    """The same on the episodes by which something is chosen. Raises TypeError for another stream."""
    return _played(task, interface, plan, trained, episodes, require(stream, Selection), deterministic)


def _played(
    task: Task, interface: str, plan: Plan, trained: Trained, episodes: int, stream: Stream, deterministic: bool
) -> dict[str, Any]:
    start = time.monotonic()
    played = evaluate_learner(task, interface, LEARNERS[plan.learner], trained.states, episodes, stream.seed, deterministic)
    played = jax.tree.map(np.asarray, played)
    thin = max(1, len(next(iter(trained.curve.values()), [])) // 100)
    return {
        "returns": played.returns.tolist(),
        "metrics": {name: value.tolist() for name, value in played.metrics.items()},
        "curve": {name: value[::thin].tolist() for name, value in trained.curve.items()},
        "seconds": {**trained.seconds, "evaluate": time.monotonic() - start},
    }
