"""Tables and charts from run files alone: Markdown, CSV, LaTeX, a bar chart, and the text a terminal shows."""

import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ohio_bench.report import charts, latex, learned_from, policies
from ohio_bench.report.aggregate import PULLS, Aggregate, Board, Choice, board
from ohio_bench.report.entries import ENOUGH, Entry, Shown, Untrained, blocks, grid
from ohio_bench.report.text import between, filled, formatted, plain
from ohio_bench.report.text import table as tabled
from ohio_bench.runner.cell import Report
from ohio_bench.runner.table import Table
from ohio_jax.coverage import collapsing, coverage
from ohio_jax.errors import counted
from ohio_jax.relabel import FEWEST
from ohio_jax.scores import FALL

TRIED = (1, 8, 32, PULLS)  # online evaluations that the table of choices shows


def _blocks(table: Table, listed: Sequence[Shown]) -> str:
    def shown(entry: Shown | None) -> str:
        if not isinstance(entry, Entry):
            return plain(entry.text) if isinstance(entry, Untrained) else ""
        if entry.same is not None:
            ours = f"= {plain(entry.same_text)}"
        else:
            ours = f"**{entry.text}**" if entry.best else entry.text
            ours += entry.marks + ("" if entry.success is None else f"; {entry.success:.0f} %")
        return ours + (f" *(paper {entry.paper_text}; {entry.difference:+.1f})*" if entry.paper else "")

    return "\n\n".join(
        tabled([plain(x) for x in (title, *names)], [[plain(name), *map(shown, row)] for name, row in lines], None)
        for title, names, lines in blocks(table, listed)
    )


def _markdown(of: Board) -> str:
    table, listed = of.table, of.entries
    learned = [entry for entry in listed if not entry.scripted]
    every: list[Shown] = [*learned, *of.untrained]
    some = [*every, *listed][0]
    plan, tests = some.cell["config"].get("plan", {}), some.cell["config"].get("test_episodes", 0)
    runs = learned[0].seeds if learned else plan.get("seeds", 1)
    given = {
        "table": table,
        "preset": of.preset,
        "command": f"ohio-jax bench {table.called} --preset {of.preset}",
        "hardware": plain(some.hardware),
        "runs": counted(runs, "run"),
        "episodes": counted(learned[0].episodes if learned else tests, "test episode"),
        "stale": of.freshness.text(),
        "selection": of.selection,
        "legend": _legend(learned, bool(of.untrained)),
        "blocks": _blocks(table, every),
        "shared": _shared(table, learned),
        "over_all": _over_all(of.aggregates),
        "choices": _choices(of.choices),
        "scripted": _scripted(table, listed),
        "learned_from": learned_from.section(table, every),
        "cells": _cells(table, [*listed, *of.untrained]),
    }
    return filled("ohio_bench.report", "table", given)


def _legend(learned: list[Entry], untrained: bool) -> str:
    """What marks mean, and the coverage of intervals of so many runs."""
    counts = sorted({*(entry.seeds for entry in learned), ENOUGH, 2 * ENOUGH} - {1})
    covered = ", ".join(f"{100 * coverage(collapsing, runs):.0f} % of cells of {runs} runs" for runs in counts)
    said = [
        "After the semicolon: episodes with success." if any(entry.success is not None for entry in learned) else "",
        "*= X*: the same policy as in the cell of X, which holds its numbers." if any(entry.same for entry in learned) else "",
        f"†: fewer than {ENOUGH} runs." if any(entry.seeds < ENOUGH for entry in learned) else "",
        f"‡: a run collapsed: it scores less than half of the cell's median, and at least {FALL:g} below it."
        if any(entry.collapsed.any() for entry in learned)
        else "",
        f"*not trained*: a run has fewer than {FEWEST} transitions of weight above 0." if untrained else "",
        "Cells of one run have no interval and no rank." if any(entry.seeds < 2 for entry in learned) else "",
        "No interval has its nominal coverage if runs collapse: if one run in ten does, 95 % t intervals cover the mean in "
        f"{covered} (simulated).",
    ]
    return " ".join(filter(None, said))


def _shared(table: Table, learned: list[Entry]) -> str:
    """Which policies play several data sets; those of several methods on one are in the table."""
    rows: dict[Any, list[Entry]] = {}
    for line in (line for _, line in grid(table, learned)):
        for entry in filter(None, line.values()):
            if (policy := policies.policy_of(entry.cell)) is not None:
                rows.setdefault((policy, entry.column), []).append(entry)
    sets: dict[tuple[str, ...], list[str]] = {}
    for found in rows.values():
        if len(found) > 1:
            sets.setdefault(tuple(entry.row for entry in found), []).append(found[0].column)
    lines = [f"- {plain(', '.join(names))}: {plain('; '.join(methods))}" for names, methods in sets.items()]
    return filled("ohio_bench.report", "shared", {"lines": "\n".join(lines)}) if lines else ""


def _scripted(table: Table, listed: list[Entry]) -> str:
    entries = sorted((entry for entry in listed if entry.scripted), key=lambda entry: (entry.row, entry.mean_return))
    if not entries:
        return ""
    names = ["task", "policy", "score", *_labels(table)]
    rows = [[plain(entry.row), plain(entry.column), entry.text, *_details(table, entry)] for entry in entries]
    return f"## Scripted policies and the upper bound, on the same test episodes\n\n{tabled(names, rows, None)}"


def _cells(table: Table, listed: Sequence[Shown]) -> str:
    labels = _labels(table)
    names = [
        "data",
        "method",
        "rank",
        "score",
        *labels,
        "95 % interval",
        "each run",
        "paper",
        "difference",
        "updates",
        "training, s",
        "hardware",
    ]
    rows = []
    for entry in (entry for _, row in grid(table, listed) for entry in row.values() if entry):
        head = [plain(entry.row), plain(entry.column), entry.rank_text if isinstance(entry, Entry) else ""]
        if not isinstance(entry, Entry) or entry.same is not None:
            said = f"= {plain(entry.same_text)}" if isinstance(entry, Entry) else plain(getattr(entry, "text", ""))
            rows.append([*head, said, *[""] * (len(names) - 4)])
            continue
        each = ", ".join(f"{run:.1f}" + "‡" * bool(fell) for run, fell in zip(entry.runs, entry.collapsed, strict=True))
        theirs = [entry.paper_text, formatted(entry.difference, "+.1f")]
        last = [f"{entry.cell['config']['plan']['updates']:,}", formatted(entry.train, ".0f"), plain(entry.hardware)]
        score = [entry.text + "†" * ("†" in entry.marks), *_details(table, entry)]
        rows.append([*head, *score, entry.interval_text, each, *theirs, *last])
    return tabled(names, rows, None)


def _ordered(table: Table) -> list[tuple[str, str, float]]:
    """The metrics, success first: it stands next to the score."""
    return sorted(table.metrics, key=lambda metric: metric[0] != "success")


def _labels(table: Table) -> list[str]:
    """The heads of `_details`."""
    first, last = [
        [label for name, label, _ in _ordered(table) if (name == "success") == is_success] for is_success in (True, False)
    ]
    return [*first, table.unit, "% of the upper bound", *last]


def _details(table: Table, entry: Entry) -> list[str]:
    """Success if there is one, return, % of the upper bound, other metrics."""
    metrics = entry.cell["metrics"]
    means = {name: f"{factor * np.mean(metrics[name]):,.0f}" if name in metrics else "" for name, _, factor in _ordered(table)}
    first = [means.pop("success")] if "success" in means else []
    return [*first, f"{entry.mean_return:,.0f}", formatted(entry.of_bound, ".1f"), *means.values()]


def _over_all(found: list[Aggregate]) -> str:
    rows = []
    for of in found:
        fields = [between(of.value[name], of.low[name], of.high[name]) for name in ("iqm", "median", "mean", "gap")]
        count = f"{of.policies} on {of.table.shape[1]}"
        rows.append([plain(of.column.name), count, *fields, between(*of.better, 2) if of.better else ""])
    methods = tabled(["method", "policies on data sets", "IQM", "median", "mean", "gap", "P"], rows, None)
    return filled("ohio_bench.report", "over_all", {"methods": methods}) if found else ""


def _choices(found: list[Choice]) -> str:
    names = ["data", "action interface", "policies", *(f"{count} episode{'s'[: count > 1]}" for count in TRIED)]
    values = lambda of: [f"{of.value[count - 1]:.1f}" for count in TRIED]
    choices = tabled(names, [[plain(of.row), plain(of.interface), str(of.arms), *values(of)] for of in found], None)
    return filled("ohio_bench.report", "choices", {"choices": choices}) if found else ""


def _csv(table: Table, listed: list[Entry], untrained: Sequence[Untrained]) -> str:
    text = io.StringIO()
    names = ["row", "column", "seeds", "episodes", "score", "spread", "seed_std", "low", "high", "mean_return", "of_bound"]
    writer = csv.writer(text, lineterminator="\n")
    metrics = [name for name, _, _ in table.metrics]
    last = ["paper", "paper_spread", "difference", "first_rank", "last_rank", "train", "seconds", "hardware", "author"]
    last += ["runs", "collapsed", "same_row", "same_column"]
    whole = [*names, *metrics, *last, "untrained"]
    writer.writerow(whole)
    for entry in listed:
        fields = [getattr(entry, name) for name in names]
        fields = [("" if np.isinf(x) else f"{x:.4f}") if isinstance(x, float) else x for x in fields]
        found = entry.cell["metrics"]
        fields += [f"{np.mean(found[name]):.2f}" if name in found else "" for name in metrics]
        rank = entry.rank if entry.rank[0] else ("", "")
        fields += [*(entry.paper or ("", "")), formatted(entry.difference, ".4f"), *rank, formatted(entry.train, ".1f")]
        fields += [f"{entry.seconds:.1f}", entry.hardware, entry.cell.get("author", "")]
        collapsed = "" if entry.scripted else int(entry.collapsed.sum())
        writer.writerow([*fields, " ".join(f"{run:.4f}" for run in entry.runs), collapsed, *(entry.same or ("", "")), ""])
    for entry in untrained:
        writer.writerow([entry.row, entry.column, *[""] * (len(whole) - 3), entry.text])
    return text.getvalue()


def report(table: Table, results: Path, preset: str) -> Report:
    """`<table>-<preset>.md`, `.csv`, `.tex` and `.png` if there are run files."""
    found = board(table, preset, results)
    learned = [entry for entry in found.entries if not entry.scripted]
    stem, made = results / f"{table.name}-{preset}", {}
    if found.shown:
        made = {".md": _markdown(found).encode(), ".csv": _csv(table, found.entries, found.untrained).encode()}
    if learned:
        made[".tex"] = latex.text(table, preset, [*learned, *found.untrained]).encode()
        made[".png"] = (table.chart or functools.partial(charts.bars, table))(found.entries)
    return Report({stem.with_suffix(suffix): content for suffix, content in made.items()}, found, found.freshness)


def as_json(listed: Sequence[Shown]) -> list[dict[str, Any]]:
    """What `--json` prints of cells."""
    names = ("row", "column", "seeds", "episodes", "score", "spread", "low", "high", "mean_return")
    number = lambda value: None if isinstance(value, float) and np.isinf(value) else value
    said = lambda entry: names if isinstance(entry, Entry) else ("row", "column", "text")
    return [{name: number(getattr(entry, name)) for name in said(entry)} for entry in listed]


def show(table: Table, listed: Sequence[Shown], out: TextIO, colors: bool) -> None:
    """Prints the score table, the paper's figures in gray where the terminal has colors."""
    dim, plain = ("\033[2m", "\033[0m") if colors else ("", "")
    found = list(blocks(table, listed))
    first = 2 + max([14, *(len(name) for title, _, lines in found for name in (title, *(name for name, _ in lines)))])
    for title, names, lines in found:
        print(f"\n{title:<{first}}" + "".join(f"{name:<43}" for name in names).rstrip(), file=out)
        for name, row in lines:
            shown = f"{name:<{first}}"
            for entry in row:
                if not isinstance(entry, Entry):
                    shown += f"{entry.text if isinstance(entry, Untrained) else '':<43}"
                    continue
                success = f"; {entry.success:.0f} %" if entry.success is not None else ""
                theirs = f"(paper {entry.paper_text})" if entry.paper else ""
                shown += f"{entry.text + entry.marks + success:<21}{dim}{theirs:<22}{plain}"
            print(shown.rstrip(), file=out)
    scripted = [entry for entry in listed if isinstance(entry, Entry) and entry.scripted]
    scripted.sort(key=lambda entry: (entry.row, entry.mean_return))
    wide = 2 + max((len(entry.column) for entry in scripted), default=0)
    print(f"\n{'policy':<{first + wide}}{'score':<15}{table.unit:>9}", file=out)
    for entry in scripted:
        print(f"{entry.row:<{first}}{entry.column:<{wide}}{entry.text:<15}{entry.mean_return:>9,.0f}", file=out)
