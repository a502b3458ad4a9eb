"""Run files as claims compare them: statistics of each run of our own cells, see `ohio_bench.report.claims`."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np

from ohio_bench.report import entries, finetune, policies
from ohio_bench.report.claims import Evidence, Measured
from ohio_bench.runner import tune
from ohio_bench.runner.freshness import Declared, Sources
from ohio_bench.runner.table import Table
from ohio_jax import scores


def of_table(table: Table, results: Path, preset: str) -> Evidence:
    """The cells of a results table: `score`, and the table's metrics in the units that it shows; none of what was not trained."""
    factors, out = {name: factor for name, _, factor in table.metrics}, {}
    sources = Sources(results, tune.declares(table, preset, results))
    for cell in (cell for cell in entries.load(table, preset, results) if "author" not in cell):
        name, plan = f"{cell['row']} {cell['column']}", cell["config"].get("plan", {})
        if "untrained" in cell:
            out[cell["row"], cell["column"]] = _measured(sources, cell, name, {}, plan, None)
            continue
        reference, metrics = cell["reference"], cell["metrics"]
        values = {name: factors[name] * np.mean(of, axis=1) for name, of in metrics.items() if name in factors}
        values["score"] = scores.normalize(cell["returns"], reference["zero"], reference["full"]).mean(axis=1)
        out[cell["row"], cell["column"]] = _measured(sources, cell, name, values, plan, policies.outcome_of(cell))
    return out


def of_finetuning(results: Path, preset: str, declared: Declared) -> Evidence:
    """The cells of fine-tuning, a column for each interface and method: scores `before`, `while` and `after`, and `gain`."""
    sources, out = Sources(results, declared), {}
    for cell in finetune.load(results, preset):
        run, plan = finetune.run_of(cell), cell["config"]["online"]["plan"]
        values = {"before": run.start, "while": run.last, "after": run.end, "gain": run.end - run.start}
        out[run.domain, run.name] = _measured(sources, cell, f"{run.domain} {run.name}", values, plan, None)
    return out


def _measured(
    sources: Sources, cell: dict[str, Any], name: str, values: dict[str, np.ndarray], plan: dict[str, Any], policy: Hashable
) -> Measured:
    config, runs, first = cell["config"], len(next(iter(values.values()), [])), plan.get("first_seed", 0)
    learned = "policy" not in config
    return Measured(
        name=name,
        values=values,
        seeds=tuple(range(first, first + runs)) if learned else (),
        tests=entries.part(config, entries.TESTS),
        data=[entries.part(config, entries.DATA), *policies.logs_of(cell)] if learned else None,
        policy=policy or name,
        updates=plan.get("updates"),
        stale=sources.state(cell) == "stale",
    )
