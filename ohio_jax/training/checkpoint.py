"""A training run as an object: which it is, how far it has come, and the directory that keeps both.

In the directory `run.json` says which run it is, `checkpoint/` is Orbax's and notes the digest of what `run.json` said.
"""

import contextlib
import functools
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from ohio_jax import mesh, precision, reading
from ohio_jax.errors import UserError, brief, short, unknown
from ohio_jax.files import reason, try_output, write_json
from ohio_jax.task import Task
from ohio_jax.training.plan import Plan, initial_agents
from ohio_jax.training.sharding import SeedSharding

FORMAT = 7  # of a directory; raised when what an older one holds can no longer be used
KINDS = {"task": str, "settings": dict, "interface": str, "plan": dict, "extended": list}  # of what `run.json` may hold
LARGEST = 16 * 2**20  # bytes of `run.json`
ANEW = "train anew in another directory"


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
        UserError: for an invalid plan, float64, and if the directory holds another run, is damaged, or an older version's.
    """

    def __init__(self, title: str, plan: Plan, identity: dict[str, Any], directory: Path | None = None):
        precision.check()
        plan.check()
        self.title, self.plan = title, plan
        self.progress, self.seeds = Progress(), SeedSharding(plan.seeds)
        self.directory = None if directory is None else Path(directory).absolute()
        if self.directory is not None:
            self._identity = json.loads(json.dumps({**identity, "plan": plan.as_json(), "format": FORMAT}))
            self._extended()
            try_output(self.directory / "run.json")

    def _extended(self) -> list[int]:
        """The updates of the shorter runs that this one goes on from. Raises UserError if the directory holds another run."""
        assert self.directory is not None
        described = self.directory / "run.json"
        others = (self.directory / "checkpoint").exists()  # asked first: another process may be making both
        if not described.exists():
            if others:
                raise UserError(f"{self.directory}: expected a new folder or a run's, found checkpoint without run.json; {ANEW}")
            return []
        found = read_run(self.directory)
        extended = found.pop("extended", [])
        if _goes_on(found, self._identity):
            return [*extended, found["plan"]["updates"]]
        if other := "; ".join(
            f"field {name}: expected {brief(a)}, found {brief(b)}" for name, a, b in _differences(self._identity, found)
        ):
            raise UserError(f"{described}: {other}; give another directory")
        return extended

    @functools.cached_property
    def _writer(self):
        """Orbax's. The directory becomes this run's now that there is something to keep: one that fails before leaves it free."""
        assert self.directory is not None
        extended = {"extended": found} if (found := self._extended()) else {}
        write_json(self.directory / "run.json", {**self._identity, **extended})
        return _manager(self.directory)

    @property
    def finished(self) -> bool:
        """Whether the directory holds the end of the run."""
        return self.directory is not None and _newest(self.directory) == self.plan.updates

    def save(self, states: Any) -> None:
        """Writes the whole carry; Orbax renames the finished folder, so a kill leaves the older checkpoint."""
        import orbax.checkpoint as ocp

        note = {**self.progress._asdict(), "sha256": tree_digest(states), "run": _run_digest(self._identity)}
        args = ocp.args.Composite(states=ocp.args.StandardSave(_entries(states)), note=ocp.args.JsonSave(note))
        assert self.directory is not None
        writer = self._writer
        try:
            with _unlogged():
                writer.save(self.progress.done, args=args)
        except Exception as error:  # Orbax raises many kinds, of a disk that is full as well
            if mesh.is_main_process():
                for half in (self.directory / "checkpoint").glob("*.orbax-checkpoint-tmp"):
                    shutil.rmtree(half, ignore_errors=True)
            found = f"{self.directory}: checkpoint {self.progress.done}: expected to write it, found: {reason(error)}"
            raise UserError(f"{found}; the same command goes on from the one before") from error

    def restore(self, states: Any) -> Any:
        """The newest checkpoint, whose progress becomes the run's; what was given if there is none."""
        if self.directory is None or (step := _newest(self.directory)) is None:
            return states
        if step > self.plan.updates:
            raise UserError(f"{self.directory}: expected checkpoints up to {self.plan.updates}, found {step}; {ANEW}")
        states, self.progress, _ = _restore(self.directory, step, jax.tree.map(np.asarray, states))
        logging.info("resuming %s at update %d", self.directory, step)
        return states


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Keeps Orbax from logging, traceback by traceback, the errors that it then raises; unless the user asked to hear more."""
    before = logging.get_verbosity()
    if before <= logging.WARNING:
        logging.set_verbosity(logging.FATAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _goes_on(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether one is the other run for more updates, over which its schedule falls; not of runs that gather their own data."""
    before, after = (run.get("plan", {}).get("updates") for run in (found, wanted))
    if "online" in wanted or not isinstance(before, int) or before >= after:
        return False
    old, new = ({**run, "plan": {**run["plan"], "updates": 0, "block": 0}} for run in (found, wanted))
    for run, updates in ((old, before), (new, after)):
        config = run["plan"].get("config")
        # Falls over all of them, however many there are.
        if isinstance(config, dict) and config.get("actor_lr_decay_steps") == updates:
            run["plan"]["config"] = {**config, "actor_lr_decay_steps": "updates"}
    return old == new


def _differences(wanted: Any, found: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, wanted, found) of whatever differs between two runs."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in {**wanted, **found}:
            yield from _differences(wanted.get(key), found.get(key), f"{name}.{key}".lstrip("."))
    elif wanted != found:
        yield name, wanted, found


def _manager(directory: Path, writes: bool = True):
    """Orbax's, which removes what a killed writer left half-done."""
    import orbax.checkpoint as ocp  # slow to import, and not needed to train in memory

    options = ocp.CheckpointManagerOptions(
        max_to_keep=1, enable_async_checkpointing=False, create=writes, cleanup_tmp_directories=writes
    )
    folder = directory / "checkpoint"
    reading.check_path(folder)
    if folder.exists() and not folder.is_dir():  # which Orbax takes for an empty one
        raise UserError(f"{folder}: expected a folder of checkpoints, found a file; {ANEW}")
    return ocp.CheckpointManager(folder, options=options)


def _newest(directory: Path) -> int | None:
    """Number of the newest checkpoint there."""
    return _manager(directory, writes=False).latest_step()


def _restore(directory: Path, step: int, like: Any) -> tuple[Any, Progress, str]:
    """(states, progress, digest of the run that saved them)."""
    import orbax.checkpoint as ocp

    args = ocp.args.Composite(states=ocp.args.StandardRestore(_entries(like)), note=ocp.args.JsonRestore())
    try:
        kept: Any = _manager(directory, writes=False).restore(step, args=args)
        note = dict(kept.note)
        saved, run = note.pop("sha256"), note.pop("run")
        progress = Progress(**{**note, "curve": tuple(note["curve"])})
        states = jax.tree.map(lambda empty, read: empty if read is None else read, like, kept.states)
        found = tree_digest(states)
    except (PermissionError, MemoryError):  # of which the checkpoint is not to blame
        raise
    except Exception as error:  # Orbax raises many kinds for what it did not write, or what is damaged
        found = f"{type(error).__name__}: {brief(error)}"
        raise UserError(f"{directory}: checkpoint {step} cannot be read ({found}); {ANEW}") from error
    if (found, progress.done) != (saved, step):
        raise UserError(
            f"{directory}: checkpoint {step}: expected the checksum and the number that were saved, found others; {ANEW}"
        )
    return states, progress, run


def _entries(tree: Any) -> Any:
    """Without the arrays that have no entry, which Orbax cannot write: a scene without bodies to place has some."""
    return jax.tree.map(lambda x: x if np.size(x) else None, tree)


def not_finite(tree: Any) -> str | None:
    """The first leaf with a NaN or infinite value; None: there is none."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if np.issubdtype(np.asarray(leaf).dtype, np.floating) and not np.isfinite(leaf).all():
            return jax.tree_util.keystr(path).lstrip(".")
    return None


def tree_digest(tree: Any) -> str:
    """SHA-256 over the leaves of a pytree, in order."""
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


def _run_digest(run: dict[str, Any]) -> str:
    """SHA-256 of what `run.json` says of a run, but for the shorter ones that it goes on from."""
    said = {name: value for name, value in run.items() if name != "extended"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read_run(directory: str | Path) -> dict[str, Any]:
    """`run.json` of a training directory. Raises UserError if there is none, it is damaged, or an older version's."""
    described = Path(directory) / "run.json"
    if not described.exists():
        raise UserError(f"{Path(directory)}: expected a training directory, found no run.json")
    run = reading.parse_json(described, reading.content(described, LARGEST))
    found = run.get("format") if isinstance(run, dict) else None
    if found != FORMAT:
        made = f"it is of another version; {ANEW}"
        raise UserError(f"{described}: field format: expected {FORMAT}, found {short(found)}; {made}")
    for name, kind in KINDS.items():
        if not isinstance(run.get(name, kind()), kind):
            raise UserError(f"{described}: field {name}: expected {kind.__name__}, found {short(run[name])}")
    return run


def load_policy(directory: str | Path, make_task: Callable[[str, dict[str, Any]], Task]) -> tuple[Task, str, Plan, Any]:
    """A trained run: (task, interface, plan, agents stacked over seeds).

    make_task(name, settings) builds the task.

    Raises:
        UserError: if the directory is no finished run.
    """
    run, described = read_run(directory), Path(directory) / "run.json"
    missing = [name for name in ("task", "settings", "interface", "plan") if name not in run]
    if missing:
        raise UserError(f"{described}: expected field {missing[0]!r}, found none")
    task = make_task(run["task"], run["settings"])
    try:
        plan = Plan.of_json(run["plan"])
    except UserError as error:
        raise UserError(f"{described}: {error}") from error
    if run["interface"] not in task.interfaces:
        raise unknown(f"action interface in {described}", run["interface"], task.interfaces)
    directory = Path(directory).absolute()
    step = _newest(directory)
    if step is None or step != plan.updates:
        raise UserError(f"{directory}: expected a finished run of {plan.updates} updates, found {step}")
    like = jax.tree.map(np.asarray, initial_agents(plan, task, run["interface"])[0])
    states, _, noted = _restore(directory, step, like)
    if noted != _run_digest(run):
        raise UserError(f"{described}: expected what checkpoint {step} was trained by, found another run; {ANEW}")
    if where := not_finite(states):
        raise UserError(f"{directory}: checkpoint {step}: expected finite weights, found others in {where}; {ANEW}")
    return task, run["interface"], plan, states
