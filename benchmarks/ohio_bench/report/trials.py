"""The page of a table's trials, the best marked, with what twice the updates change; and what the table's page says of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ohio_bench.report.text import between, filled, plain, table
from ohio_bench.runner import tune
from ohio_bench.runner.cell import Report
from ohio_bench.runner.freshness import Sources, freshness
from ohio_bench.runner.table import Table
from ohio_bench.runner.trials import TRIALS
from ohio_jax import scores

HEAD = ("trial", "score", "of each run")


def report(declared: Table, results: Path, preset: str) -> Report:
    """`selection/<table>-<preset>.md` if something was tried."""
    found = tune.every_record(declared, preset, results)
    if not found:
        return Report({})
    made, parts, shown = declared.preset(preset), [], set[str]()
    sources = Sources(results, lambda cell: f"{cell['group']}.{cell['number']}" in shown)
    best = {of.group.name: of.number for of in tune.chosen(declared, made, preset, results)}
    for group in tune.groups(declared, made):
        known = replace(made, best=best)
        tried = tune.tried(declared, known, group)
        of = [found.get(f"{group.name}.{number}") for number in range(len(tried))]
        played = [cell if tune.is_of(cell, known, group, plan) else None for cell, (_, plan) in zip(of, tried, strict=True)]
        shown |= {f"{group.name}.{number}" for number, cell in enumerate(played) if cell}
        rows = [
            _line(changes, cell, number == best.get(group.name))
            for number, ((changes, _), cell) in enumerate(zip(tried, played, strict=True))
            if cell or number < TRIALS
        ]
        title = f"## {plain(group.column.family)} {group.learner.upper()} on {plain(group.row.name)}, for every {group.kind}"
        missing = played[:TRIALS].count(None)
        more = f"Missing: {missing} of {TRIALS} trials; until all are there, the declared plan is used." if missing else ""
        twice = _twice(played[best[group.name]], played[TRIALS]) if group.name in best else ""
        stale = sources.freshness(filter(None, played)).text()
        parts += [title, table(HEAD, rows), *filter(None, [more, twice, stale])]
    fresh = sources.freshness(found.values())
    given = {"title": declared.title, "name": declared.called, "preset": preset, "trials": TRIALS, "runs": tune.RUNS}
    given |= {"episodes": made.test_episodes, "stale": fresh.text(), "groups": "\n\n".join(parts)}
    text = filled("ohio_bench.report", "trials", given)
    return Report({results / tune.PLACE / f"{declared.name}-{preset}.md": text.encode()}, freshness=fresh)


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
