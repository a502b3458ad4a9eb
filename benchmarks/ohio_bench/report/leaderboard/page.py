"""The page of the leaderboard: one HTML file that needs no network, made of run files alone.

`page.html`, `page.css`, `draw.js` and `page.js` beside this module are what it is made of; numbers and texts go into one JSON
element, from which the script draws everything.
"""

import hashlib
import html
import json
import math
import shlex
from base64 import b64encode
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from ohio_envs import datasets

from ohio_bench.report import aggregate, finetune
from ohio_bench.report.aggregate import Aggregate, Board, improvement
from ohio_bench.report.entries import ENOUGH, Entry, grid, method
from ohio_bench.report.marked import Found, ending, sentence, title
from ohio_bench.report.policies import cards
from ohio_bench.runner.store import slug
from ohio_bench.runner.table import Table
from ohio_jax.coverage import collapsing, coverage
from ohio_jax.errors import counted
from ohio_jax.relabel import FEWEST

SHOWN = sorted({round(2 ** (k / 2)) for k in range(2 * int(math.log2(aggregate.PULLS)) + 1)})  # pulls of a curve of choices
CURVE = 50  # points of a learning curve that are shown
DIGITS = 6  # of every number on the page


def tidy(value: Any) -> Any:
    """Nested numbers with `DIGITS` significant digits as JSON holds them; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): tidy(of) for key, of in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [tidy(of) for of in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def curve(cell: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Metric -> mean, lowest and highest of all runs at `CURVE` points or fewer."""
    out = {}
    for name, values in cell.get("curve", {}).items():
        found = np.asarray(values, np.float64)
        found = found.reshape(len(found), -1)[:: max(1, math.ceil(len(found) / CURVE))]
        if found.size:
            out[name] = tidy(np.stack([found.mean(axis=1), found.min(axis=1), found.max(axis=1)]))
    return out


def _id(table: Table, preset: str, entry: Entry) -> str:
    return f"{'submitted' if 'author' in entry.cell else 'board'}/{table.name}/{preset}/{slug(entry.row, entry.column)}"


def cell_of(table: Table, preset: str, entry: Entry, same: Entry | None) -> dict[str, Any]:
    """What the page knows of an entry. same: the one that is shown for its policy."""
    cell, config = entry.cell, entry.cell["config"]
    interface = config.get("interface", "")
    metrics = [
        (label, factor * np.mean(cell["metrics"][name])) for name, label, factor in table.metrics if name in cell["metrics"]
    ]
    of = lambda *names: {name: getattr(entry, name) for name in names}
    numbers = {
        **of("score", "spread"),
        "interval": [entry.low, entry.high],
        **of("paper", "difference", "mean_return", "of_bound"),
    }
    numbers |= {**of("runs", "success"), "seconds": cell["seconds"], "metrics": metrics}
    return {
        "id": _id(table, preset, entry),
        "method": f"{entry.column} (scripted)" if entry.scripted else entry.column,
        "row": entry.row,
        "task": config["task"],
        "preset": preset,
        "learner": "scripted" if entry.scripted else method(cell)[1].upper(),
        "low": table.low_levels.get(interface, interface),
        "interface": interface,
        **{name: config.get(name, "") for name in ("inverse", "weights")},
        **of("scripted", "best"),
        "rank": entry.rank if entry.rank[0] else None,
        **of("seeds", "paper_text", "marks"),
        "collapsed": entry.collapsed.tolist(),
        "same": same and {"id": _id(table, preset, same), "text": entry.same_text},
        **of("episodes", "hardware"),
        **tidy(numbers),
        "curve": curve(cell),
        "updates": config.get("plan", {}).get("updates", 1),
        "config": config,
        "data": tidy(cards(cell)),
        "command": "\n".join([cell["command"], *cell.get("steps", [])]),
        "provenance": {key: cell["provenance"].get(key) for key in ("time", "revision", "dirty", "versions")},
        **{name: cell.get(name) for name in ("author", "source")},
    }


def _aggregate(table: Table, of: Aggregate) -> dict[str, Any]:
    numbers = {name: [of.value[name], of.low[name], of.high[name]] for name in aggregate.SUMMARY}
    interface = of.column.interface
    head = {"name": of.column.name, "low": table.low_levels.get(interface, interface), "flat": interface == "end_to_end"}
    head["policies"] = f"{of.policies} on {of.table.shape[1]}"
    return {**head, **tidy({**numbers, "better": of.better, "profile": of.profile})}


def ordered(board: Board) -> list[Entry]:
    """Dataset by dataset as the table has them, the highest score first; scripted policies last."""
    order = {name: i for i, (name, _) in enumerate(grid(board.table, board.entries))}
    return sorted(board.entries, key=lambda entry: (order.get(entry.row, len(order)), entry.row, -entry.score))


def table_of(of: Board) -> dict[str, Any]:
    """What the page knows of a table over all its data."""
    pulls = [count - 1 for count in SHOWN]
    return {
        "key": f"{of.table.name}-{of.preset}",
        "title": of.table.title,
        "preset": of.preset,
        "note": " ".join(filter(None, (of.freshness.text(), _untrained(of), of.table.note))),
        "thresholds": tidy(aggregate.THRESHOLDS),
        "aggregates": [_aggregate(of.table, one) for one in of.aggregates],
        "improvement": tidy(improvement(of.aggregates)),
        "pulls": SHOWN,
        "choices": [{"row": c.row, "interface": c.interface, "arms": c.arms, "value": tidy(c.value[pulls])} for c in of.choices],
    }


def _untrained(of: Board) -> str:
    """Which cells have no score, and why."""
    found = [f"{entry.column} on {entry.row} ({entry.left})" for entry in of.untrained]
    return f"Not trained, with the transitions that were left (expected {FEWEST}): {', '.join(found)}." if found else ""


def finetuned(results: Path, preset: str, stale: str) -> dict[str, Any]:
    """What the page knows of fine-tuning, of which there are run files. stale: how many of them are, in words."""
    cells = finetune.load(results, preset)
    key, some = f"finetune-{preset}", cells[0]["config"]
    stale = f"{stale} " if stale else ""
    return {
        "key": key,
        "title": "Offline-to-online fine-tuning",
        "preset": preset,
        "note": (
            f"{stale}Mean and 95 % t interval over {counted(some['offline']['seeds'], 'run')}. Before and after: "
            f"{counted(some['test_episodes'], 'test episode')}, with the mean action. While learning: the last tenth of the "
            "episodes, with sampled actions. Updates: gradient updates online. Infeasible requests and units above storage: "
            f"means while learning. Made by `ohio-jax finetune --preset {preset}`."
        ),
        "files": [["figure", f"{key}.png"], ["table", f"{key}.md"], ["curves", f"{key}.csv"]],
        "runs": [_finetuned(run) for run in map(finetune.run_of, cells)],
    }


def _finetuned(run: finetune.Run) -> dict[str, Any]:
    numbers = {when: finetune.summary(of) for when, of in (("before", run.start), ("during", run.last), ("after", run.end))}
    violations = {finetune.VIOLATIONS[name]: np.mean(of) for name, of in run.violations.items()}
    head = {"domain": run.domain, "method": run.name, "behavior_policy": run.behavior_policy, "updates": run.updates}
    return tidy({**head, **numbers, "violations": violations})


def sets(boards: Iterable[Board]) -> list[dict[str, Any]]:
    """A card for each data set, from the first cell of ours that learned from it."""
    out = {}
    for board in boards:
        for entry in ordered(board):
            found, reference = cards(entry.cell), entry.cell["reference"]
            if not found or "author" in entry.cell or entry.row in out:
                continue
            card, config = found[0], entry.cell["config"]  # a card has the settings under which actions were recovered
            name, before = config.get("data_set"), config.get("data_settings", config["settings"])
            logged = datasets.RECIPES[name].settings if name in datasets.RECIPES else before
            settings = ",".join(f"{key}={value}" for key, value in logged.items())
            words = ["ohio-jax", "collect", card["task"], "--policy", card["behavior_policy"]]
            words += ["--episodes", str(card["episodes"]), "--seed", str(card["seed"])]
            words += [*(["--set", settings] if settings else []), "--out", f"{slug(entry.row)}.npz"]
            words = ["ohio-jax", "data", "make", name] if name else words
            numbers = {name: card.get(name) for name in ("episodes", "return_mean", "return_std", "quality", "coverage")}
            out[entry.row] = {
                "row": entry.row,
                "task": card["task"],
                "settings": settings,
                "behavior_policy": card["behavior_policy"],
                "source_sha256": card.get("source_sha256"),
                "reference": f"{reference['zero']:,g} and {reference['full']:,g}: {reference['how']}",
                "command": shlex.join(words),
                **tidy(numbers),
            }
    return list(out.values())


def _cells(board: Board) -> Iterator[dict[str, Any]]:
    by = {(entry.row, entry.column): entry for entry in board.entries}
    for entry in ordered(board):
        yield cell_of(board.table, board.preset, entry, by[entry.same] if entry.same else None)


def _runs(boards: list[Board]) -> set[int]:
    """Numbers of runs of cells that have an interval over them."""
    return {entry.seeds for board in boards for entry in board.entries if entry.seeds > 1}


def claimed(found: Found, boards: list[Board], fine_tuned: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Claims about the tables that are shown, in words."""
    shown = {(board.table.name, board.preset) for board in boards} | {("finetune", of["preset"]) for of in fine_tuned}
    families = [(name, family) for name, of in found.items() for preset, family in of.items() if (name, preset) in shown]
    return [{"title": title(name), "text": f"{sentence(of)} {ending(of)}"} for name, family in families for of in family]


def text(boards: list[Board], fine_tuned: list[dict[str, Any]], files: list[str], found: Found) -> str:
    """The page. fine_tuned: of `finetuned`. files: other pages beside it, for its foot. found: every claim."""
    content = {
        "claims": claimed(found, boards, fine_tuned),
        "finetuned": fine_tuned,
        "tables": [table_of(board) for board in boards],
        "cells": [cell for board in boards for cell in _cells(board)],
        "sets": sets(boards),
        "collapse": [[runs, round(100 * coverage(collapsing, runs))] for runs in sorted({*_runs(boards), ENOUGH, 2 * ENOUGH})],
    }
    part = lambda name: resources.files("ohio_bench.report.leaderboard").joinpath(name).read_text(encoding="utf-8")
    style, script = part("page.css"), part("draw.js") + part("page.js")
    source = lambda content: f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
    policy = f"default-src 'none'; script-src {source(script)}; style-src {source(style)}; img-src data:; base-uri 'none'"
    links = (f' <a href="{html.escape(name)}">{html.escape(name)}</a>' for name in files)
    # "<" only ever stands inside strings of the JSON: escaped, no text can end the element or open another.
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return Template(part("page.html")).substitute(
        policy=policy, style=style, script=script, data=data, files=",".join(links) or " none"
    )


def path(results: Path, quick: bool) -> Path:
    """Quick runs are smoke tests and have a page of their own."""
    return results / ("index-quick.html" if quick else "index.html")
