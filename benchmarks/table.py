"""What a results table is made of, and the loop that fills it: one run file a cell, run what is missing, then render."""

import functools
import hashlib
import itertools
import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from ohio_envs import registry

from benchmarks.executors import Executor, here
from ohio_jax import data, mesh
from ohio_jax.collect import collect
from ohio_jax.errors import UserError, unknown
from ohio_jax.evaluate import evaluate_learner, evaluate_policy
from ohio_jax.files import alone, write_json
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.task import Task
from ohio_jax.training.hdpo import hdpo
from ohio_jax.training.loop import Trained
from ohio_jax.training.offline import fingerprint, train
from ohio_jax.training.plan import Plan

RESULTS = Path("results")
WORK = Path(".work")  # datasets and checkpoints: large, and made again by the same command
KEPT = 2  # of what lies there; raised where what an older version left must not be taken up

FIELDS = ("row", "column", "config", "reference", "command", "returns", "metrics", "seconds", "provenance")  # of every run file

Paper = tuple[float, float]  # mean and standard deviation as published


@dataclass(frozen=True)
class Row:
    """A dataset: a behaviour policy on a task. `paper` holds the published score of a column, by (family, learner).

    made: settings of the task in which the data are made, where they are not those in which policies are tested.
    unforeseen: whether nobody knows what differs between the two, so that every column is learned where the data come from.
    """

    name: str
    task: str
    settings: tuple[tuple[str, str], ...]
    behaviour: str
    paper: dict[tuple[str, str], Paper]
    made: tuple[tuple[str, str], ...] | None = None
    unforeseen: bool = False

    @property
    def home(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """Task and settings that the data come from."""
        return self.task, self.settings if self.made is None else self.made

    @property
    def place(self) -> str:
        """What comes before the first hyphen of the name: the city, whose scripted policies all its rows share."""
        return self.name.split("-")[0]


@dataclass(frozen=True)
class Column:
    """A method: a learner on an action space. `family` groups columns and finds the paper's figure.

    weights: how much the learner trusts each transition, see `ohio_jax.relabel`; None: the inverse's own choice.
    carried: whether it is learned in the task the data come from and carried over to the row's, unaware of what differs.
    """

    family: str
    space: str
    inverse: str
    learner: str
    weights: str | None = None
    carried: bool = False

    @property
    def name(self) -> str:
        return f"{self.family} {self.learner.upper()}"


@dataclass(frozen=True)
class Preset:
    """How much work: rows, seeds and budgets. `plans` holds one training plan for each (space, learner).

    columns: those of the table, unless some are named here.
    hdpo: how the policy of that name is trained through the smooth simulator, for a table that shows one.
    """

    rows: tuple[Row, ...]
    plans: dict[tuple[str, str], Plan]
    data_episodes: int
    test_episodes: int
    data_seed: int = 1000
    test_seed: int = 10
    policies: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    hdpo: Plan | None = None


@dataclass(frozen=True)
class Table:
    """A results table. `presets` are functions so that only the chosen one looks for its files.

    tasks: the tasks whose training plans are this table's.
    note: what a reader must know to read it; printed under the table.
    """

    name: str
    title: str
    tasks: tuple[str, ...]
    columns: tuple[Column, ...]
    presets: dict[str, Any]
    note: str
    metrics: tuple[tuple[str, str, float], ...]  # (metric, label, factor) of the chart beside the score
    unit: str  # what a return is
    blocks: Literal["method", "learner"] = "method"  # what is printed as one block
    low_levels: dict[str, str] = field(default_factory=dict)  # action space -> what a reader knows its low level by
    chart: Callable[[list[Any]], bytes] | None = None  # entries -> PNG, in place of the bars

    def preset(self, name: str) -> Preset:
        if name not in self.presets:
            raise unknown(f"preset of {self.name}", name, self.presets)
        return self.presets[name]()


def plans(
    spaces: Iterable[str],
    configs: dict[str, Any],
    seeds: int,
    hidden: int,
    updates: dict[str, int],
    decay: bool,
    batch: int = 256,
) -> dict[tuple[str, str], Plan]:
    """One training plan for each (space, learner).

    configs, updates: of each learner. decay: the actors' rates fall to zero over the updates, as short budgets need it.
    """
    out = {}
    for space, (learner, config) in itertools.product(spaces, configs.items()):
        amount = updates[learner]
        config = replace(config, decay=float(amount)) if decay else config
        out[space, learner] = Plan(learner, config, hidden, amount, batch, min(1000, amount), seeds)
    return out


def slug(*words: str) -> str:
    """A file's name, without what some file systems refuse."""
    return ".".join(re.sub(r"[^a-z0-9_.+-]+", "-", word.lower()).strip("-") for word in words)


def short_hash(config: dict[str, Any]) -> str:
    """Of a file or folder of `WORK`."""
    return hashlib.sha256(json.dumps([KEPT, config], sort_keys=True).encode()).hexdigest()[:12]


def folder(table: Table, preset: str, results: Path = RESULTS) -> Path:
    return results / "runs" / table.name / preset


def read_cell(path: Path) -> dict[str, Any] | None:
    """A run file, or None if there is none. Raises UserError if it is damaged."""
    if not path.exists():
        return None
    try:
        cell = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: expected a run file, found damage ({error}); delete it to run the cell again") from error
    missing = [name for name in FIELDS if not isinstance(cell, dict) or name not in cell]
    if missing:
        raise UserError(f"{path}: expected field {missing[0]!r} of a run file, found none; delete it to run the cell again")
    return cell


def is_of(kept: Any, wanted: Any, joined: dict[str, Any] | None = None) -> bool:
    """Whether a run with the configuration `kept` is one of `wanted`. A field that a learner's Config has gained since counts as
    its default, with which nothing changed.

    joined: values that fields missing in `kept` may have.
    """
    if not isinstance(kept, dict) or not isinstance(wanted, dict):
        return kept == wanted
    defaults = {"config": asdict(LEARNERS[wanted["learner"]].Config())} if wanted.get("learner") in LEARNERS else {}
    alike = {name: is_of(value, wanted[name], defaults.get(name)) for name, value in kept.items() if name in wanted}
    gained = {name: value for name, value in wanted.items() if name not in kept}
    return len(alike) == len(kept) and all(alike.values()) and gained.items() <= (joined or {}).items()


def dataset(task: Task, behaviour: str, episodes: int, seed: int) -> data.Trajectories:
    """What a scripted policy logged: from the work folder if it is there, else collected and kept."""
    identity = {"task": task.name, "settings": task.settings, "behaviour": behaviour, "episodes": episodes, "seed": seed}
    path = WORK / "data" / f"{slug(task.name, behaviour)}.{short_hash(identity)}.npz"
    with alone(path):
        if mesh.leads() and not path.exists():
            parts = path.with_suffix(".parts")
            data.save(path, collect(task, behaviour, episodes, seed, parts))
            shutil.rmtree(parts)
    return _logs(path.absolute())


@functools.lru_cache(maxsize=4)
def _logs(path: Path) -> data.Trajectories:
    """Read once for all columns of a row, which also lets what is learned from them be learned once."""
    return data.load(path, "trajectories")


def labelled(
    task: Task, logged: data.Trajectories, space: str, inverse: str = "analytic", weights: str | None = None
) -> data.Transitions:
    """The transitions that an inverse makes of what `dataset` gave; kept, since several learners learn from them."""
    identity = {"logs": logged.card["sha256"], "settings": task.settings, "space": space, "inverse": inverse, "weights": weights}
    path = WORK / "data" / f"{slug(task.name, logged.card['behaviour'], space, inverse)}.{short_hash(identity)}.npz"
    with alone(path):
        if mesh.decide(mesh.leads() and not path.exists()):
            data.save(path, relabel(logged, task, space, inverse, weights))
    return data.load(path, "transitions")


def cells(table: Table, preset: Preset, only: Iterable[str] = ()) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every cell as (name, its row, column and configuration, function that runs it), scripted policies first.

    only: of no other rows than these, and of their places.
    """
    rows = tuple(row for row in preset.rows if not only or row.name in only)
    first = {row.place: row.home for row in reversed(preset.rows)}  # where a place's policies play, whichever rows are chosen
    homes = {row.place: first[row.place] for row in rows}
    keys = dict.fromkeys([*(key for row in rows for key in ((row.task, row.settings), row.home)), *homes.values()])
    tasks = {key: registry.make(key[0], dict(key[1])) for key in keys}
    test = {"test_seed": preset.test_seed, "test_episodes": preset.test_episodes}
    for place, key in homes.items():
        for policy in preset.policies:
            config = {"task": key[0], "settings": tasks[key].settings, "policy": policy, **test}
            head = {"row": place, "column": policy, "config": config, "reference": asdict(tasks[key].reference)}
            yield slug(place, "policy", policy), head, functools.partial(_run_policy, tasks[key], policy, preset)
        if preset.hdpo:
            config = {"task": key[0], "settings": tasks[key].settings, "policy": "hdpo", "plan": preset.hdpo.as_json(), **test}
            head = {"row": place, "column": "hdpo", "config": config, "reference": asdict(tasks[key].reference)}
            yield slug(place, "policy", "hdpo"), head, functools.partial(_run_hdpo, tasks[key], preset.hdpo, preset, config)
    for column, row in itertools.product(preset.columns or table.columns, rows):
        task, home, plan = tasks[row.task, row.settings], tasks[row.home], preset.plans[column.space, column.learner]
        config = {
            "task": task.name,
            "settings": task.settings,
            "behaviour": row.behaviour,
            "data_seed": preset.data_seed,
            "data_episodes": preset.data_episodes,
            "space": column.space,
            "inverse": column.inverse,
            **({} if column.weights is None else {"weights": column.weights}),
            **({} if row.made is None else {"made": home.settings, "carried": column.carried or row.unforeseen}),
            "plan": plan.as_json(),
            **test,
        }
        head = {"row": row.name, "column": column.name, "config": config, "reference": asdict(task.reference)}
        name = slug(row.name, column.family, column.learner)
        yield name, head, functools.partial(_run_learner, task, home, row, column, plan, preset)


def _run_policy(task: Task, policy: str, preset: Preset) -> dict[str, Any]:
    start = time.monotonic()
    played = jax.tree.map(np.asarray, evaluate_policy(task, policy, preset.test_episodes, preset.test_seed))
    return {
        "returns": [played.returns.tolist()],
        "metrics": {name: [value.tolist()] for name, value in played.metrics.items()},
        "seconds": {"evaluate": time.monotonic() - start},
    }


def _run_hdpo(task: Task, plan: Plan, preset: Preset, config) -> dict[str, Any]:
    """Trained on smooth quantities, tested on the task as it is."""
    smooth = registry.make(task.name, {**task.settings, "smooth": 1})
    directory = WORK / "train" / f"{slug(task.name, 'hdpo')}.{short_hash(config)}"
    with alone(directory):
        trained = hdpo(plan, smooth, "ohio", directory)
    return _test(task, "ohio", plan, trained, preset)


def _test(task: Task, space: str, plan: Plan, trained: Trained, preset: Preset) -> dict[str, Any]:
    """What the policies earn on the test episodes, and how they were learnt."""
    start = time.monotonic()
    played = evaluate_learner(task, space, LEARNERS[plan.learner], trained.states, preset.test_episodes, preset.test_seed)
    played = jax.tree.map(np.asarray, played)
    thin = max(1, len(next(iter(trained.curve.values()), [])) // 100)
    return {
        "returns": played.returns.tolist(),
        "metrics": {name: value.tolist() for name, value in played.metrics.items()},
        "curve": {name: value[::thin].tolist() for name, value in trained.curve.items()},
        "seconds": {**trained.seconds, "evaluate": time.monotonic() - start},
    }


def _run_learner(task: Task, home: Task, row: Row, column: Column, plan: Plan, preset: Preset) -> dict[str, Any]:
    """home: the task the data come from."""
    clock = [time.monotonic()]
    lap = lambda: clock.append(time.monotonic()) or clock[-1] - clock[-2]
    logged = dataset(home, row.behaviour, preset.data_episodes, preset.data_seed)
    seconds = {"collect": lap()}
    learned_in = home if column.carried or row.unforeseen else task
    transitions = labelled(learned_in, logged, column.space, column.inverse, column.weights)
    seconds["invert"] = lap()
    # Rows that share what is learned share its folder, and the second finds it finished.
    identity = fingerprint(plan, learned_in, column.space, transitions)
    directory = WORK / "train" / f"{slug(task.name, row.behaviour, column.family, column.learner)}.{short_hash(identity)}"
    with alone(directory):
        trained = train(plan, learned_in, column.space, transitions, directory)
    tested = _test(task, column.space, plan, trained, preset)
    return {"data": transitions.card, **tested, "seconds": {**seconds, **tested["seconds"]}}


def run(
    table: Table, preset_name: str, only: list[str] | None = None, results: Path = RESULTS, execute: Executor = here
) -> list[Path]:
    """Runs every cell whose run file is missing or was made with another configuration; returns all their paths.

    only: run no other rows than these. execute: where, see `benchmarks.executors`. A killed call goes on where it stopped:
    finished cells from their run files, the cell in work from its checkpoint.
    """
    preset, only = table.preset(preset_name), only or []
    for name in only:
        if name not in {row.name for row in preset.rows}:
            raise unknown(f"row of {table.name} in preset {preset_name}", name, [row.name for row in preset.rows])
    command = f"ohio-jax bench {table.name} --preset {shlex.quote(preset_name)}"
    paths, heads, missing = {}, {}, []
    for name, head, work in cells(table, preset, only):
        config = json.loads(json.dumps(head["config"]))
        paths[name] = folder(table, preset_name, results) / f"{name}.json"
        heads[name] = {"table": table.name, "preset": preset_name, **head, "command": command, "config": config}
        kept = read_cell(paths[name]) if mesh.leads() else None
        if mesh.decide(kept is None or not is_of(kept["config"], config)):
            missing.append((name, config, work))
    for name, outcome in execute(missing, functools.partial(configured, table, preset, only)):
        write_json(paths[name], {**heads[name], **outcome})
    mesh.meet()
    return list(paths.values())


def configured(table: Table, preset: Preset, only: Iterable[str]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """The cells as an executor takes them."""
    for name, head, work in cells(table, preset, only):
        yield name, head["config"], work
