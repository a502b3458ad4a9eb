"""Every experiment by name: the results tables, fine-tuning and sensitivity, all filled by `ohio_bench.runner.run`."""

import functools
from dataclasses import replace

from ohio_bench.experiments import finetune, gains, manipulation, reacher, routing, sensitivity, supply_chain
from ohio_bench.report import evidence, markdown, trials
from ohio_bench.report.claims import Claim
from ohio_bench.runner import table, tune
from ohio_bench.runner.cell import Experiment
from ohio_bench.runner.table import Table
from ohio_jax.errors import UserError, short, unknown
from ohio_jax.learners import outside

OF = (routing, supply_chain, reacher, manipulation, gains)
TABLES: dict[str, Table] = {of.TABLE.name: of.TABLE for of in OF}


def of_table(declared: Table, claims: tuple[Claim, ...] = ()) -> Experiment:
    """A results table as the runner takes it: its groups are its rows. claims: what is claimed of its methods.

    Raises:
        UserError: for claims that are no tuple of Claim.
    """
    if not isinstance(claims, tuple) or not all(isinstance(of, Claim) for of in claims):
        raise UserError(f"table {declared.name}: claims: expected a tuple of Claim, found {short(claims)}")
    return Experiment(
        name=declared.name,
        command=f"bench {declared.called}",
        kind=lambda name: table.KIND,
        group="row",
        groups=lambda preset: [row.name for row in preset.rows],
        cells=functools.partial(table.cells, declared),
        report=functools.partial(markdown.report, declared),
        presets=declared.presets,
        claims=claims,
        measured=functools.partial(evidence.of_table, declared),
        settled=functools.partial(tune.settled, declared),
    )


def trials_of(declared: Table) -> Experiment:
    """The trials of a results table as the runner takes them: its groups are learners and kinds."""
    return Experiment(
        name=declared.name,
        command=f"tune {declared.called}",
        kind=lambda name: tune.KIND,
        group="learner and kind",
        groups=functools.partial(tune.names, declared),
        cells=functools.partial(tune.cells, declared),
        report=functools.partial(trials.report, declared),
        presets=declared.presets,
        settled=functools.partial(tune.with_best, declared),
        place=tune.PLACE,
    )


EXPERIMENTS: dict[str, Experiment] = {
    **{of.TABLE.name: of_table(of.TABLE, getattr(of, "CLAIMS", ())) for of in OF},
    **{of.EXPERIMENT.name: of.EXPERIMENT for of in (finetune, sensitivity)},
}
# Those of the paper in the order of `bench all`, which an hour of an accelerator goes through: what a CPU is slowest at first.
ALL = ("routing", "finetune", "supply-chain", "manipulation", "reacher")


def join(name: str) -> str:
    """The name of an experiment, as it is; or `module:`, whose TABLE, with its CLAIMS if it has any, joins the others.

    Raises:
        UserError: for a module that cannot be imported or has no table, and for a table whose name is taken.
    """
    module, sign, more = name.partition(":")
    if not sign:
        return name
    if more:
        raise UserError(f"table {short(name)}: expected module: alone, found a name after it")
    found = outside.imported(module, f"table {short(name)}")
    if not isinstance(declared := getattr(found, "TABLE", None), Table):
        raise UserError(f"table {short(name)}: expected a module with a Table TABLE, found {type(declared).__name__}")
    declared = replace(declared, origin=f"{module}:")
    if declared.name in EXPERIMENTS and getattr(TABLES.get(declared.name), "origin", "") != declared.origin:
        raise UserError(f"table {short(name)}: expected a name that is free, found {declared.name!r} taken")
    TABLES[declared.name], EXPERIMENTS[declared.name] = declared, of_table(declared, getattr(found, "CLAIMS", ()))
    return declared.name


def table_of(name: str) -> Table:
    """A table by its name, or one from elsewhere, see `join`. Raises UserError for an unknown name."""
    if (joined := join(name)) not in TABLES:
        raise unknown("table", name, [*TABLES, "module:"])
    return TABLES[joined]
