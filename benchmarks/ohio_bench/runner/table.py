"""What a results table is made of, and its cells: scripted policies, then each method on each dataset."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

from ohio_envs import datasets, plans, registry

from ohio_bench.runner import methods, store
from ohio_bench.runner.cell import Cell, preset_of
from ohio_bench.runner.schema import check_name, named
from ohio_bench.runner.store import slug
from ohio_bench.runner.trials import Trials
from ohio_jax import limits
from ohio_jax.errors import UserError, short, unknown
from ohio_jax.inverse import INVERSES
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import WEIGHTS
from ohio_jax.streams import Test
from ohio_jax.task import Task
from ohio_jax.training.plan import Plan

KIND = "cell"  # of run files, see `ohio_bench.runner.schema`
ROUNDING = 1e-4  # of sums in float32, relative

Paper = tuple[float, float]  # mean and standard deviation as published
Settings = dict[str, Any]
Acting = Literal["mean", "sample"]


@dataclass(frozen=True)
class Row:
    """A data set to learn from, and where what was learned is tested. `paper` holds published scores, by (family, learner).

    Attributes:
        data_set: name in `ohio_envs.datasets.RECIPES`.
        changes: settings of the task in which policies are tested, where they are not those of the data.
        unforeseen: whether nobody knows what differs between the two, so that every column is learned where the data come from.
    """

    name: str
    data_set: str
    paper: dict[tuple[str, str], Paper] = field(default_factory=dict)
    changes: Settings | None = None
    unforeseen: bool = False

    def __post_init__(self):
        check_name("row", self.name)

    @property
    def recipe(self) -> datasets.Recipe:
        return datasets.recipe(self.data_set)

    @property
    def task(self) -> str:
        return self.recipe.task

    @property
    def settings(self) -> Settings:
        """Of the task in which policies are tested."""
        return self.recipe.settings if self.changes is None else self.changes

    @property
    def behavior_policy(self) -> str:
        return self.recipe.behavior_policy

    @property
    def instance_family(self) -> str:
        """What comes before the first hyphen of the name: the city, whose scripted policies all its rows share."""
        return self.name.split("-")[0]


@dataclass(frozen=True)
class Column:
    """A method: a learner on an action interface. `family` groups columns and finds the paper's figure.

    Attributes:
        weights: how much the learner trusts each transition, see `ohio_jax.relabel`; None: the inverse's own choice.
        zero_shot: whether it is learned in the task the data come from and transferred to the row's, unaware of what differs.
        acting: how policies are played in tests, by their mean actions or by samples.
        ahead: decisions that transitions look ahead, see `ohio_jax.training.plan.Plan`.
        config: fields of the learner's Config in which it differs from the preset's plan.
    """

    family: str
    interface: str
    inverse: str
    learner: str
    weights: str | None = None
    zero_shot: bool = False
    acting: Acting = "mean"
    ahead: int = 1
    config: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self):
        check_name("column", self.name)
        if self.acting not in get_args(Acting):
            raise unknown(f"acting of column {short(self.name)}", self.acting, get_args(Acting))
        _check_tuple(f"column {short(self.name)}: field config", self.config, tuple)
        if not all(len(pair) == 2 and isinstance(pair[0], str) for pair in self.config):
            raise UserError(
                f"column {short(self.name)}: field config: expected pairs of name and value, found {short(self.config)}"
            )

    @property
    def name(self) -> str:
        return f"{self.family} {self.learner.upper()}"


@dataclass(frozen=True)
class Preset:
    """How much work: rows, runs and budgets. `plans` holds one training plan for each (interface, learner), and for each (task,
    interface, learner) that has another.

    Attributes:
        runs: of a learned cell; run r has a training seed and a data set of its own.
        test_episodes: the first ones of `streams.Test()`.
        data_episodes: only the first so many of a data set's.
        columns: those of the table, unless some are named here.
        hdpo: how the policy of that name is trained through the smooth simulator, for a table that shows one.
        tuned_as: the preset by whose trials the plans are chosen, where it is not this one.
        best: of a table's trials, the number of the best one of each group whose trials are all there, see `runner.tune`.
        selection: "tuned" and the digest of its records for each (interface, learner) whose plan was chosen by trials.
        dearest: names of columns whose cells are run first, since nothing cheaper replaces them, those of one instance family
            before those of the next, and scripted policies last. Without: policies, then column by column.
    """

    rows: tuple[Row, ...]
    plans: dict[tuple[str, ...], Plan]
    runs: int
    test_episodes: int
    data_episodes: int | None = None
    policies: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    hdpo: Plan | None = None
    dearest: tuple[str, ...] = ()
    tuned_as: str = ""
    best: dict[str, int] = field(default_factory=dict)
    selection: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self):
        for name, kind in (("rows", Row), ("policies", str), ("columns", Column), ("dearest", str)):
            _check_tuple(f"preset: field {name}", getattr(self, name), kind)
        if not isinstance(self.plans, dict):
            raise UserError(f"preset: field plans: expected a dict, found {short(self.plans)}")
        for key, plan in self.plans.items():
            if not (isinstance(plan, Plan) and isinstance(key, tuple) and key[-1:] == (plan.learner,)):
                found = plan.learner if isinstance(plan, Plan) else type(plan).__name__
                raise UserError(f"preset: field plans: expected a Plan of its learner at {short(key)}, found {found}")
        limits.check("preset: field runs", self.runs, limits.BUDGETS["seeds"])
        limits.check("preset: field test_episodes", self.test_episodes, limits.BUDGETS["episodes"])
        if self.data_episodes is not None:
            limits.check("preset: field data_episodes", self.data_episodes, limits.BUDGETS["episodes"])

    def learned(self, columns: Iterable[Column], rows: Iterable[Row]) -> list[tuple[Column, Row]]:
        """Those of each cell that learns, in the order in which they are run."""
        pairs, families = [(column, row) for column in columns for row in rows], [row.instance_family for row in self.rows]
        if not self.dearest:
            return pairs
        place = {name: i for i, name in enumerate(self.dearest)}
        return sorted(pairs, key=lambda pair: (families.index(pair[1].instance_family), place.get(pair[0].name, len(place))))


@dataclass(frozen=True)
class Table:
    """A results table. `presets` are functions so that only the chosen one looks for its files.

    Attributes:
        note: what a reader must know to read it; printed under the table.
        each_step: `returns` and fields like `metrics.touching`, of which a low-level step gives at most 1.
        shares: fields that are at most 1 an episode.
        trials: by which plans are chosen, see `ohio_bench.runner.tune`.
        tuned_by: the table of the same domain by whose trials the plans of this one are chosen.
        origin: of a table from elsewhere, `module:`, by which commands find it.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    presets: dict[str, Any]
    note: str
    metrics: tuple[tuple[str, str, float], ...]  # (metric, label, factor) of the chart beside the score
    unit: str  # what a return is
    blocks: Literal["method", "learner"] = "method"  # what is printed as one block
    low_levels: dict[str, str] = field(default_factory=dict)  # action interface -> what a reader knows its low level by
    each_step: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    chart: Callable[[list[Any]], bytes] | None = None  # entries -> PNG, in place of the bars
    trials: Trials | None = None
    tuned_by: "Table | None" = None
    origin: str = ""

    preset = preset_of

    def __post_init__(self):
        _check_tuple(f"table {short(self.name)}: field columns", self.columns, Column)
        if not isinstance(self.presets, dict) or not all(map(callable, self.presets.values())):
            raise UserError(f"table {short(self.name)}: field presets: expected functions by name, found {short(self.presets)}")
        if not isinstance(self.trials, Trials | None):
            raise UserError(f"table {short(self.name)}: field trials: expected Trials, found {short(self.trials)}")
        _check_tuple(f"table {short(self.name)}: field metrics", self.metrics, tuple)
        for of in self.metrics:
            if len(of) != 3 or not all(isinstance(word, str) for word in of[:2]) or not isinstance(of[2], int | float):
                expected = "a metric, its label and a factor"
                raise UserError(f"table {short(self.name)}: field metrics: expected {expected}, found {short(of)}")
        for name in (self.name, *self.presets):  # of folders
            if not isinstance(name, str) or slug(name) != name or name in ("", ".", "..", "submitted"):
                expected = "a name of a table or preset in small letters, digits and _ . + -"
                raise UserError(f"table {short(self.name)}: expected {expected}, found {short(name)}")

    @property
    def called(self) -> str:
        """What commands find it by."""
        return self.origin or self.name


def with_learner(table: Table, preset: str, learner: str) -> Table:
    """The table with one learner of LEARNERS alone in one preset, by its own plans or those of the tasks.

    Of columns that then have one name, the first is kept, or the one that has this learner already.
    """
    made = table.preset(preset)
    has = vars(LEARNERS[learner].Config())
    config = lambda column: tuple((name, value) for name, value in column.config if name in has)
    listed, named = made.columns or table.columns, dict[str, Column]()
    for column in sorted(listed, key=lambda column: column.learner != learner):
        of = replace(column, learner=learner, config=config(column))
        named.setdefault(of.name, of)
    columns = tuple(dict.fromkeys(named[replace(column, learner=learner).name] for column in listed))
    budget = {(column.interface, learner): plans.find(made.plans, column.interface, learner) for column in columns}
    grid = {name: trials for name, trials in table.trials.grid.items() if name == learner} if table.trials else {}
    alone = table.trials and replace(table.trials, grid=grid)
    return replace(changed(table, preset, replace(made, columns=columns, plans=made.plans | budget)), trials=alone)


def with_runs(table: Table, preset: str, runs: int) -> Table:
    """The table with another number of runs a cell in one preset."""
    return changed(table, preset, replace(table.preset(preset), runs=runs))


def changed(table: Table, preset: str, made: Preset) -> Table:
    """The table with another content of one preset."""
    return replace(table, presets={**table.presets, preset: lambda: made})


def cells(table: Table, preset: Preset, names: Iterable[str]) -> Iterator[Cell]:
    """The cells of the rows of these names, and the scripted policies of their places, in the preset's order."""
    rows = tuple(row for row in preset.rows if row.name in set(names))
    # Where a family's policies play, whichever rows are chosen.
    first = {row.instance_family: datasets.task_of(row.data_set) for row in reversed(preset.rows)}
    homes = {row.instance_family: first[row.instance_family] for row in rows}
    scripted = list(_scripted(preset, homes))
    tasks = functools.cache(lambda name, changes: registry.make(name, dict(changes)))
    yield from () if preset.dearest else scripted
    for column, row in preset.learned(preset.columns or table.columns, rows):
        home = datasets.task_of(row.data_set)
        task = home if row.changes is None else tasks(row.task, tuple(row.changes.items()))
        yield _learned_cell(preset, column, row, task, home)
    yield from scripted if preset.dearest else ()


def _scripted(preset: Preset, tasks: dict[str, Task]) -> Iterator[Cell]:
    """The cells of scripted policies in the tasks of these places."""
    for place, task in tasks.items():
        for policy, plan in _policies(preset).items():
            known = (*task.policies, *(["oracle"] if task.bound is not None else []))
            if plan is None and policy not in known:
                raise unknown(f"policy of {task.name}", policy, known)
            config = _scripted_config(preset, policy, task.name, task.settings)
            play = functools.partial(methods.hdpo, task, plan) if plan else functools.partial(methods.policy, task)
            yield Cell(slug(place, "policy", policy), config, functools.partial(play, config), _head(place, policy, task))


def _policies(preset: Preset) -> dict[str, Plan | None]:
    """Scripted policies by name, each with the plan by which it is trained, if it is."""
    trained = {"hdpo": replace(preset.hdpo, seeds=preset.runs)} if preset.hdpo else {}
    return {**dict.fromkeys(preset.policies), **trained}


def _scripted_config(preset: Preset, policy: str, task: str, settings: Settings) -> dict[str, Any]:
    plan = _policies(preset)[policy]
    more = {"plan": plan.as_json()} if plan else {}
    return {"task": task, "settings": settings, "policy": policy, **more, **_test(preset)}


def _learned_cell(preset: Preset, column: Column, row: Row, task: Task, home: Task) -> Cell:
    """The cell of a method on a row. home: the task its data come from."""
    check_column(column)
    config = {**training_config(preset, column, row, task.settings), **_test(preset)}
    learn = functools.partial(methods.learned, task, home, plan_of(preset, column, row), config, words_of(column, row))
    head = {
        **_head(row.name, column.name, task),
        "selection": preset.selection.get((column.interface, column.learner), "declared"),
    }
    return Cell(slug(row.name, column.family, column.learner), config, learn, head)


def check_column(column: Column) -> None:
    """Raises UserError for an inverse or weights that are in no registry, before anything is run."""
    for kind, name, known in (("inverse", column.inverse, INVERSES), ("weights", column.weights or "keep", WEIGHTS)):
        if name not in known:
            raise unknown(f"{kind} of column {short(column.name)}", name, known)


def training_config(preset: Preset, column: Column, row: Row, settings: Settings) -> dict[str, Any]:
    """The configuration of a method on a row, but for the episodes on which it is played. settings: of the task played in."""
    return {
        "task": row.task,
        "settings": settings,
        "data_set": row.data_set,
        **({} if preset.data_episodes is None else {"data_episodes": preset.data_episodes}),
        "interface": column.interface,
        "inverse": column.inverse,
        **({} if column.weights is None else {"weights": column.weights}),
        **({} if row.changes is None else {"zero_shot": column.zero_shot or row.unforeseen}),
        **({} if column.acting == "mean" else {"acting": column.acting}),
        "plan": plan_of(preset, column, row).as_json(),
    }


def as_declared(table: Table, preset: Preset, cell: dict[str, Any]) -> bool:
    """Whether a run file has the configuration that its cell has today.

    No task is made for it, which may need files: of settings, those that the row names are compared. Of a learner that the preset
    does not have, one from elsewhere, all but the plan is compared.
    """
    config, listed = cell["config"], preset.columns or table.columns
    settings = config["settings"]
    if "policy" in config:
        row = next((row for row in preset.rows if row.instance_family == cell["row"]), None)
        if row is None or cell["column"] not in _policies(preset):
            return False
        named, wanted = row.recipe.settings, _scripted_config(preset, cell["column"], row.task, settings)
    else:
        column = next((column for column in listed if column.name == cell["column"]), None)
        row = next((row for row in preset.rows if row.name == cell["row"]), None)
        learner, more = config["plan"]["learner"], {}
        if column is None and learner not in {column.learner for column in listed}:
            column = next((column for column in listed if replace(column, learner=learner).name == cell["column"]), None)
            more = {"plan": config["plan"]}
        if column is None or row is None:
            return False
        named, wanted = row.settings, {**training_config(preset, column, row, settings), **_test(preset), **more}
    return all(settings.get(name) == value for name, value in named.items()) and store.same(config, store.plain(wanted))


def words_of(column: Column, row: Row) -> tuple[str, ...]:
    """Of the names of checkpoints. Rows that share what is learned share its folders, and the second finds it finished."""
    return row.task, row.behavior_policy, column.family, column.learner


def plan_of(preset: Preset, column: Column, row: Row) -> Plan:
    """The training plan of a method on a row, of as many seeds as a cell has runs.

    Raises:
        UserError: for a field of the column's that its learner's Config has not, and for a bad value.
    """
    if column.learner not in LEARNERS:
        raise unknown(f"learner of column {short(column.name)}", column.learner, LEARNERS)
    found = plans.find(preset.plans, column.interface, column.learner, row.task)
    ahead = found.ahead if column.ahead == 1 else column.ahead
    for name, _ in column.config:
        if name not in vars(found.config):
            raise unknown(f"field of {column.learner}'s Config in column {short(column.name)}", name, vars(found.config))
    plan = replace(found, seeds=preset.runs, ahead=ahead, config=found.config.replace(**dict(column.config)))
    try:
        plan.check()
    except UserError as error:
        raise UserError(f"column {short(column.name)}: {error}") from error
    return plan


def check_limits(table: Table, cell: dict[str, Any]) -> None:
    """Raises UserError for a return or a metric of a run file above what the table's tasks allow."""
    horizon = cell["config"]["settings"].get("horizon")
    steps = table.each_step if isinstance(horizon, int | float) else ()
    for name, most in {**dict.fromkeys(table.shares, 1), **dict.fromkeys(steps, horizon)}.items():
        values = {"returns": cell.get("returns", [[0.0]]), **named(cell, "metrics")}.get(name, [[0.0]])
        if (found := max(map(max, values))) > most * (1 + ROUNDING):
            raise UserError(f"field {name}: expected at most {most} an episode, found {found:g}")


def _check_tuple(place: str, value: Any, kind: type) -> None:
    """Raises UserError unless this is a tuple of such things; a text, for one, is no tuple of texts."""
    if not isinstance(value, tuple) or not all(isinstance(of, kind) for of in value):
        raise UserError(f"{place}: expected a tuple of {kind.__name__}, found {short(value)}")


def _test(preset: Preset) -> dict[str, Any]:
    return {"test_stream": Test().name, "test_episodes": preset.test_episodes}


def _head(row: str, column: str, task: Task) -> dict[str, Any]:
    return {"row": row, "column": column, "reference": asdict(task.reference)}
