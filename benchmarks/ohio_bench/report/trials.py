"""The page of a table's trials, the best marked, with what twice the updates change; and what the table's page says of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ohio_bench.report.text import between, filled, plain, table
from ohio_bench.runner import references, store, tune
from ohio_bench.runner.cell import Report
from ohio_bench.runner.freshness import Sources, freshness
from ohio_bench.runner.table import Table, with_learner
from ohio_bench.runner.trials import TRIALS, Trial
from ohio_jax import scores
from ohio_jax.learners import LEARNERS
from ohio_jax.training.plan import Plan

HEAD = ("trial", "score", "of each run")


def report(declared: Table, results: Path, preset: str) -> Report:
    """`selection/<table>-<preset>.md` if something was tried."""
    found = tune.every_record(declared, preset, results)
    if not found:
        return Report({})
    references.check(store.folder(declared.name, preset, results, tune.PLACE), found.values(), tune.file_name, results)
    made, parts = declared.preset(preset), []
    groups = [of for each in _tables(declared, preset, found.values()) for of in _groups(each, preset, found, results)]
    shown = {tune.file_name(cell) for _, _, played, _ in groups for cell in played if cell}
    sources = Sources(results, lambda cell: tune.file_name(cell) in shown or _is_unknown(cell))
    for group, tried, played, best in groups:
        rows = [
            _line(changes, cell, number == best)
            for number, ((changes, _), cell) in enumerate(zip(tried, played, strict=True))
            if cell or number < TRIALS
        ]
        title = f"## {plain(group.column.family)} {group.learner.upper()} on {plain(group.row.name)}, for every {group.kind}"
        missing = played[:TRIALS].count(None)
        more = f"Missing: {missing} of {TRIALS} trials; until all are there, the declared plan is used." if missing else ""
        twice = _twice(played[best], played[TRIALS]) if best is not None else ""
        stale = sources.freshness(filter(None, played)).text()
        parts += [title, table(HEAD, rows), *filter(None, [more, twice, stale])]
    fresh = sources.freshness(found.values())
    given = {"title": declared.title, "name": declared.called, "preset": preset, "trials": TRIALS, "runs": tune.RUNS}
    given |= {"episodes": made.test_episodes, "stale": fresh.text(), "groups": "\n\n".join(parts)}
    text = filled("ohio_bench.report", "trials", given)
    return Report({results / tune.PLACE / f"{declared.name}-{preset}.md": text.encode()}, freshness=fresh)


def _tables(declared: Table, preset: str, records: Iterable[dict[str, Any]]) -> list[Table]:
    """The table, and that of each learner which was tried without a column of its own, see `ohio-jax tune --learner`."""
    columns = declared.preset(preset).columns or declared.columns
    tried = {cell["config"]["plan"]["learner"] for cell in records} - {column.learner for column in columns}
    return [declared, *(with_learner(declared, preset, learner) for learner in sorted(tried & LEARNERS.keys()))]


def _is_unknown(cell: dict[str, Any]) -> bool:
    """Whether its learner is from elsewhere and not imported, so that nobody can say what is declared of it."""
    plan = cell["config"]["plan"]
    return "learner_from" in plan and plan["learner"] not in LEARNERS


def _groups(
    declared: Table, preset: str, found: dict[str, dict[str, Any]], results: Path
) -> list[tuple[tune.Group, list[tuple[Trial, Plan]], list[dict[str, Any] | None], int | None]]:
    """(group, its trials, the run file of each or None, the number of the best where all are there)."""
    made, out = tune.with_best(declared, declared.preset(preset), preset, results), []
    for group in tune.groups(declared, made):
        tried = tune.tried(declared, made, group)
        of = [found.get(f"{group.name}.{number}") for number in range(len(tried))]
        played = [cell if tune.is_of(cell, made, group, plan) else None for cell, (_, plan) in zip(of, tried, strict=True)]
        out.append((group, tried, played, made.best.get(group.name)))
    return out


def note(declared: Table, preset: str, cells: list[dict[str, Any]], results: Path) -> str:
    """How the plans of a table's learned cells were chosen, and if by trials that are stale or gone; "" if nothing was tried."""
    judge, chosen = declared.tuned_by or declared, [cell["selection"] for cell in cells if "selection" in cell]
    preset, groups = declared.preset(preset).tuned_as or preset, dict[str, dict[str, dict[str, Any]]]()
    for name, cell in tune.records(judge, preset, results).items():
        groups.setdefault(cell["group"], {})[name] = cell
    by = {f"tuned {tune.digest(of)}": list(of.values()) for of in groups.values()}
    tuned = [how for how in chosen if how != "declared"]
    if not (tuned or by):
        return ""
    gone = sum(how not in by for how in tuned)
    said = [
        f"Plans of {len(tuned)} of {len(chosen)} learned cells were chosen by [trials]({tune.PLACE}/{judge.name}-{preset}.md)"
        f"{'' if len(tuned) == len(chosen) else '; the others are as declared'}.",
        f"{gone} of them by trials that are no longer there." if gone else "",
        freshness((cell for how in sorted({*tuned} & by.keys()) for cell in by[how]), results).text(),
    ]
    return " ".join(filter(None, said))


def _runs(cell: dict[str, Any]) -> np.ndarray:
    """`Float[R]`, mean score of each run."""
    reference = cell["reference"]
    return scores.normalize(cell["returns"], reference["zero"], reference["full"]).mean(axis=1)


def _twice(best: dict[str, Any] | None, longer: dict[str, Any] | None) -> str:
    """What twice the updates change; nothing where there is nothing to compare."""
    if not best or not longer or "diverged" in best or "diverged" in longer:
        return ""
    found = scores.paired(_runs(longer), _runs(best))
    difference = between(found.effect, found.low, found.high)
    return f"The last line is the best trial with twice the updates, which is not chosen: {difference} over the best."


def _line(changes: dict[str, Any], cell: dict[str, Any] | None, best: bool) -> list[str]:
    name = plain(", ".join(f"{field} {value}" for field, value in changes.items()) or "as declared")
    if cell is None or "diverged" in cell:
        return [name, "" if cell is None else "diverged", ""]
    runs = _runs(cell)
    score = f"{np.mean(runs):.1f}"
    return [name, f"**{score}**" if best else score, ", ".join(f"{run:.1f}" for run in runs)]
