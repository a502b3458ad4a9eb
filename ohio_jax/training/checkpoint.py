"""A training run as an object: which it is, how far it has come, and the directory that keeps both.

In the directory `run.json` says which run it is, `checkpoint/` is Orbax's.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from ohio_jax.errors import UserError
from ohio_jax.files import write_json
from ohio_jax.task import Task
from ohio_jax.training.plan import Plan, initial_agents
from ohio_jax.training.sharding import SeedSharding

FORMAT = 5  # of a directory; raised when what an older one holds can no longer be used


class Progress(NamedTuple):
    """How far a run has come: done, updates; curve: metrics of each block, lists over seeds; seconds: wall time."""

    done: int = 0
    curve: tuple[dict[str, list[float]], ...] = ()
    compile_seconds: float = 0.0
    train_seconds: float = 0.0

    def after(self, updates: int, metrics: dict[str, list[float]], compiling: float, training: float) -> "Progress":
        """One more block."""
        seconds = self.compile_seconds + compiling, self.train_seconds + training
        return Progress(self.done + updates, (*self.curve, metrics), *seconds)


class Run:
    """One training run.

    Args:
        title: what is shown while it trains.
        plan: what it learns, and how long.
        identity: what else makes two runs the same run, as JSON has it.
        directory: where it is kept; None: in memory alone.

    Attributes:
        progress: how far it has come, 0 until `restore`.
        seeds: where they lie.

    Raises:
        UserError: if the directory holds another run, is damaged, or an older version's.
    """

    def __init__(self, title: str, plan: Plan, identity: dict[str, Any], directory: Path | None = None):
        self.title, self.plan = title, plan
        self.progress, self.seeds = Progress(), SeedSharding(plan.seeds)
        self.directory = None if directory is None else Path(directory).absolute()
        if self.directory is not None:
            self._claim(self.directory, {**identity, "plan": plan.as_json(), "format": FORMAT})
            self._manager = _manager(self.directory)

    @staticmethod
    def _claim(directory: Path, identity: dict[str, Any]) -> None:
        described, wanted = directory / "run.json", json.loads(json.dumps(identity))
        if not described.exists():
            directory.mkdir(parents=True, exist_ok=True)
            write_json(described, wanted)
            return
        found = read_run(directory)
        extended = found.pop("extended", [])
        if _goes_on(found, wanted):
            write_json(described, {**wanted, "extended": [*extended, found["plan"]["updates"]]})
            return
        if other := "; ".join(f"field {name}: expected {a}, found {b}" for name, a, b in _differences(wanted, found)):
            raise UserError(f"{described}: {other}; give another directory")

    @property
    def finished(self) -> bool:
        """Whether the directory holds the end of the run."""
        return self.directory is not None and self._manager.latest_step() == self.plan.updates

    def save(self, states: Any) -> None:
        """Writes the whole carry; Orbax renames the finished folder, so a kill leaves the older checkpoint."""
        import orbax.checkpoint as ocp

        note = {**self.progress._asdict(), "sha256": tree_digest(states)}
        args = ocp.args.Composite(states=ocp.args.StandardSave(states), note=ocp.args.JsonSave(note))
        self._manager.save(self.progress.done, args=args)

    def restore(self, states: Any) -> Any:
        """The newest checkpoint, whose progress becomes the run's; what was given if there is none."""
        step = None if self.directory is None else self._manager.latest_step()
        if step is None:
            return states
        states, self.progress = _restore(self._manager, step, jax.tree.map(np.asarray, states), self.directory)
        logging.info("resuming %s at update %d", self.directory, step)
        return states


def _goes_on(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether one is the other run for more updates, over which its schedule falls; not of runs that gather their own data."""
    old, new = ({**run, "plan": {**run["plan"], "updates": 0, "block": 0}} for run in (found, wanted))
    for run, updates in ((old, found["plan"]["updates"]), (new, wanted["plan"]["updates"])):
        config = run["plan"]["config"]
        if config.get("actor_lr_decay_steps") == updates:  # falls over all of them, however many there are
            run["plan"]["config"] = {**config, "actor_lr_decay_steps": "updates"}
    return "online" not in wanted and old == new and found["plan"]["updates"] < wanted["plan"]["updates"]


def _differences(wanted: Any, found: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, wanted, found) of whatever differs between two runs."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in {**wanted, **found}:
            yield from _differences(wanted.get(key), found.get(key), f"{name}.{key}".lstrip("."))
    elif wanted != found:
        yield name, wanted, found


def _manager(directory: Path):
    import orbax.checkpoint as ocp  # slow to import, and not needed to train in memory

    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    return ocp.CheckpointManager(directory / "checkpoint", options=options)


def _restore(manager, step: int, like: Any, directory: Path | None) -> tuple[Any, Progress]:
    import orbax.checkpoint as ocp

    args = ocp.args.Composite(states=ocp.args.StandardRestore(like), note=ocp.args.JsonRestore())
    try:
        kept = manager.restore(step, args=args)
    except Exception as error:  # Orbax raises many kinds for a damaged folder
        raise UserError(
            f"{directory}: checkpoint {step} cannot be read ({type(error).__name__}); delete the folder to start anew"
        ) from error
    note = dict(kept.note)
    if tree_digest(kept.states) != note.pop("sha256"):
        raise UserError(f"{directory}: checkpoint {step}: checksum differs from the one saved; delete the folder")
    return kept.states, Progress(**{**note, "curve": tuple(note["curve"])})


def tree_digest(tree: Any) -> str:
    """SHA-256 over the leaves of a pytree, in order."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


def read_run(directory: str | Path) -> dict[str, Any]:
    """`run.json` of a training directory. Raises UserError if there is none, it is damaged, or an older version's."""
    described = Path(directory) / "run.json"
    try:
        run = json.loads(described.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{directory}: expected a training directory, found no run.json") from error
    except ValueError as error:
        raise UserError(f"{described}: expected JSON, found {error}") from error
    found = run.get("format") if isinstance(run, dict) else None
    if found != FORMAT:
        made = "it is of another version; train anew in another directory"
        raise UserError(f"{described}: field format: expected {FORMAT}, found {found}; {made}")
    return run


def load_policy(directory: str | Path, make_task: Callable[[str, dict[str, Any]], Task]) -> tuple[Task, str, Plan, Any]:
    """A trained run: (task, interface, plan, agents stacked over seeds).

    make_task(name, settings) builds the task.

    Raises:
        UserError: if the directory is no finished run.
    """
    run = read_run(directory)
    missing = [name for name in ("task", "settings", "interface", "plan") if name not in run]
    if missing:
        raise UserError(f"{directory}/run.json: expected field {missing[0]!r}, found none")
    task = make_task(run["task"], run["settings"])
    plan = Plan.of_json(run["plan"])
    directory = Path(directory).absolute()
    manager = _manager(directory)
    step = manager.latest_step()
    if step is None or step != plan.updates:
        raise UserError(f"{directory}: expected a finished run of {plan.updates} updates, found {step}")
    like = jax.tree.map(np.asarray, initial_agents(plan, task, run["interface"])[0])
    return task, run["interface"], plan, _restore(manager, step, like, directory)[0]
