"""Tables and charts from run files alone: Markdown, CSV, LaTeX, a bar chart, and the text a terminal shows."""

import csv
import functools
import io
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ohio_bench.report import charts, latex
from ohio_bench.report.aggregate import ENOUGH, PULLS, Aggregate, Board, Choice, Entry, blocks, board, grid
from ohio_bench.report.text import filled, formatted, plain
from ohio_bench.report.text import table as tabled
from ohio_bench.runner.cell import Report
from ohio_bench.runner.table import Table

TRIED = (1, 8, 32, PULLS)  # online evaluations that the table of choices shows


def _blocks(table: Table, listed: list[Entry]) -> str:
    def shown(entry: Entry | None) -> str:
        if entry is None:
            return ""
        ours = f"**{entry.text}**" if entry.best else entry.text
        return ours + (f" *(paper {entry.paper_text}; {entry.difference:+.1f})*" if entry.paper else "")

    return "\n\n".join(
        tabled([plain(x) for x in (title, *names)], [[plain(name), *map(shown, row)] for name, row in lines], None)
        for title, names, lines in blocks(table, listed)
    )


def _markdown(of: Board) -> str:
    table, listed = of.table, of.entries
    learned = [entry for entry in listed if not entry.scripted]
    some = learned[0] if learned else listed[0]
    fewest = min((entry.seeds for entry in learned), default=ENOUGH)
    narrow = f" Intervals of fewer than {ENOUGH} seeds are too narrow." if fewest < ENOUGH else ""
    if fewest == 1:
        narrow = " With one seed, intervals are over test episodes and do not cover other seeds."
    given = {
        "table": table,
        "preset": of.preset,
        "command": f"ohio-jax bench {table.name} --preset {of.preset}",
        "hardware": plain(some.hardware),
        "seeds": some.seeds,
        "plural": "s" * (some.seeds > 1),
        "episodes": some.episodes,
        "narrow": narrow,
        "blocks": _blocks(table, learned),
        "over_all": _over_all(of.aggregates),
        "choices": _choices(of.choices),
        "scripted": _scripted(table, listed),
        "cells": _cells(table, listed),
    }
    return filled("ohio_bench.report", "table", given)


def _scripted(table: Table, listed: list[Entry]) -> str:
    entries = sorted((entry for entry in listed if entry.scripted), key=lambda entry: (entry.row, entry.mean_return))
    if not entries:
        return ""
    names = ["task", "policy", "score", table.unit, "% of the upper bound", *(label for _, label, _ in table.metrics)]
    rows = [[plain(entry.row), plain(entry.column), entry.text, *_details(table, entry)] for entry in entries]
    return f"## Scripted policies and the upper bound, on the same test episodes\n\n{tabled(names, rows, None)}"


def _cells(table: Table, listed: list[Entry]) -> str:
    names = ["data", "method", "rank", "score", "95 % interval", "paper", "difference", table.unit, "% of the upper bound"]
    names += [*(label for _, label, _ in table.metrics), "training, s", "transitions", "hardware"]
    rows = []
    for entry in (entry for _, row in grid(table, listed) for entry in row.values() if entry):
        score = [entry.rank_text, entry.text, f"{entry.low:.1f} to {entry.high:.1f}"]
        theirs = [entry.paper_text, formatted(entry.difference, "+.1f")]
        last = [formatted(entry.train, ".0f"), formatted(entry.trained_on, ",.0f"), plain(entry.hardware)]
        rows.append([plain(entry.row), plain(entry.column), *score, *theirs, *_details(table, entry), *last])
    return tabled(names, rows, None)


def _details(table: Table, entry: Entry) -> list[str]:
    metrics = entry.cell["metrics"]
    means = [f"{factor * np.mean(metrics[name]):,.0f}" if name in metrics else "" for name, _, factor in table.metrics]
    return [f"{entry.mean_return:,.0f}", formatted(entry.of_bound, ".1f"), *means]


def _over_all(found: list[Aggregate]) -> str:
    between = lambda value, low, high, digits: f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
    rows = []
    for of in found:
        fields = [between(of.value[name], of.low[name], of.high[name], 1) for name in ("iqm", "median", "mean", "gap")]
        rows.append([plain(of.column.name), *fields, between(*of.better, 2) if of.better else ""])
    methods = tabled(["method", "IQM", "median", "mean", "gap", "P"], rows, None)
    return filled("ohio_bench.report", "over_all", {"methods": methods}) if found else ""


def _choices(found: list[Choice]) -> str:
    names = ["data", "action interface", "policies", *(f"{count} episode{'s'[: count > 1]}" for count in TRIED)]
    values = lambda of: [f"{of.value[count - 1]:.1f}" for count in TRIED]
    choices = tabled(names, [[plain(of.row), plain(of.interface), str(of.arms), *values(of)] for of in found], None)
    return filled("ohio_bench.report", "choices", {"choices": choices}) if found else ""


def _csv(table: Table, listed: list[Entry]) -> str:
    text = io.StringIO()
    names = ["row", "column", "seeds", "episodes", "score", "spread", "seed_std", "low", "high", "mean_return", "of_bound"]
    writer = csv.writer(text, lineterminator="\n")
    metrics = [name for name, _, _ in table.metrics]
    last = ["paper", "paper_spread", "difference", "first_rank", "last_rank", "train", "seconds", "hardware", "author"]
    writer.writerow([*names, *metrics, *last])
    for entry in listed:
        fields = [getattr(entry, name) for name in names]
        fields = [f"{x:.4f}" if isinstance(x, float) else x for x in fields]
        found = entry.cell["metrics"]
        fields += [f"{np.mean(found[name]):.2f}" if name in found else "" for name in metrics]
        rank = ("", "") if entry.scripted else entry.rank
        fields += [*(entry.paper or ("", "")), formatted(entry.difference, ".4f"), *rank, formatted(entry.train, ".1f")]
        writer.writerow([*fields, f"{entry.seconds:.1f}", entry.hardware, entry.cell.get("author", "")])
    return text.getvalue()


def report(table: Table, results: Path, preset: str) -> Report:
    """`<table>-<preset>.md`, `.csv`, `.tex` and `.png` if there are run files."""
    found = board(table, preset, results)
    learned = [entry for entry in found.entries if not entry.scripted]
    stem, made = results / f"{table.name}-{preset}", {}
    if found.entries:
        made = {".md": _markdown(found).encode(), ".csv": _csv(table, found.entries).encode()}
    if learned:
        made[".tex"] = latex.text(table, preset, learned).encode()
        made[".png"] = (table.chart or functools.partial(charts.bars, table))(found.entries)
    return Report({stem.with_suffix(suffix): content for suffix, content in made.items()}, found)


def as_json(listed: list[Entry]) -> list[dict[str, Any]]:
    """The numbers that `--json` prints."""
    names = ("row", "column", "seeds", "episodes", "score", "spread", "low", "high", "mean_return")
    return [{name: getattr(entry, name) for name in names} for entry in listed]


def show(table: Table, listed: list[Entry], out: TextIO, colors: bool) -> None:
    """Prints the score table, the paper's figures in gray where the terminal has colors."""
    dim, plain = ("\033[2m", "\033[0m") if colors else ("", "")
    found = list(blocks(table, listed))
    first = 2 + max(14, *(len(name) for title, _, lines in found for name in (title, *(name for name, _ in lines))))
    for title, names, lines in found:
        print(f"\n{title:<{first}}" + "".join(f"{name:<35}" for name in names).rstrip(), file=out)
        for name, row in lines:
            shown = f"{name:<{first}}"
            for entry in row:
                ours = f"{entry.text:<13}" if entry else " " * 13
                theirs = f"(paper {entry.paper_text})" if entry and entry.paper else ""
                shown += f"{ours}{dim}{theirs:<22}{plain}"
            print(shown.rstrip(), file=out)
    scripted = sorted((entry for entry in listed if entry.scripted), key=lambda entry: (entry.row, entry.mean_return))
    wide = 2 + max((len(entry.column) for entry in scripted), default=0)
    print(f"\n{'policy':<{first + wide}}{'score':<15}{table.unit:>9}", file=out)
    for entry in scripted:
        print(f"{entry.row:<{first}}{entry.column:<{wide}}{entry.text:<15}{entry.mean_return:>9,.0f}", file=out)
