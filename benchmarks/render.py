"""Tables and charts from run files alone: Markdown, CSV, a bar chart, and the text a terminal shows."""

import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.table import RESULTS, Row, Table, folder, read_cell
from ohio_jax import scores
from ohio_jax.files import write_bytes, write_text
from ohio_jax.task import Reference


@dataclass(frozen=True)
class Entry:
    """One cell as the table shows it.

    score: mean over seeds and episodes; spread: standard deviation over all of them, the paper's statistic.
    low, high: 95 % bootstrap interval of the mean, over training seeds (scripted policies: over episodes).
    of_bound: percent of the full-information bound, NaN if unknown.
    """

    row: str
    column: str
    seeds: int
    episodes: int
    score: float
    spread: float
    seed_std: float
    low: float
    high: float
    mean_return: float
    of_bound: float
    paper: tuple[float, float] | None
    seconds: float
    cell: dict[str, Any]

    @property
    def text(self) -> str:
        return f"{self.score:.1f} ± {self.spread:.1f}"

    @property
    def paper_text(self) -> str:
        shown = lambda x: f"{x:.1f}" if x == round(x, 1) else f"{x:g}"  # one digit, or all that were published
        return " ± ".join(map(shown, self.paper)) if self.paper else ""


def load(table: Table, preset: str, results: Path = RESULTS) -> list[dict[str, Any]]:
    """The run files of a table, in order of their names."""
    found = [read_cell(path) for path in sorted(folder(table, preset, results).glob("*.json"))]
    return [cell for cell in found if cell is not None]


def entries(table: Table, preset: str, cells: list[dict[str, Any]]) -> list[Entry]:
    """One Entry a cell. The bound comes from the oracle cell of the same city."""
    rows = {row.name: row for row in table.preset(preset).rows}
    bounds = {cell["row"]: float(np.mean(cell["returns"])) for cell in cells if cell["column"] == "oracle"}
    out = []
    for cell in cells:
        returns = np.asarray(cell["returns"], np.float64)
        place = cell["row"].split("-")[0]
        reference = Reference(**cell["reference"])
        score = np.asarray(scores.normalise(returns, reference.zero, reference.full))
        # Of a learner: how its mean would move with other training seeds. Of a scripted policy: with other episodes.
        runs = score.mean(axis=1) if len(score) > 1 else score[0]
        low, high = scores.interval(jax.random.key(0), runs[:, None])
        row: Row | None = rows.get(cell["row"])
        family, _, learner = cell["column"].rpartition(" ")
        out.append(
            Entry(
                row=cell["row"],
                column=cell["column"],
                seeds=len(returns),
                episodes=returns.shape[1],
                score=float(score.mean()),
                spread=float(score.std()),
                seed_std=float(score.mean(axis=1).std()),
                low=float(low),
                high=float(high),
                mean_return=float(returns.mean()),
                of_bound=100 * float(returns.mean()) / bounds[place] if place in bounds else float("nan"),
                paper=row.paper.get((family, learner.lower())) if row else None,
                seconds=float(sum(cell["seconds"].values())),
                cell=cell,
            )
        )
    return out


def _grid(table: Table, listed: list[Entry]):
    """Rows of learned cells in order of declaration: (row name, {column name: Entry})."""
    names = list(dict.fromkeys(entry.row for entry in listed if entry.row not in places(listed)))
    order = {row.name: i for preset in table.presets.values() for i, row in enumerate(preset().rows)}
    names.sort(key=lambda name: order.get(name, len(order)))
    by = {(entry.row, entry.column): entry for entry in listed}
    return [(name, {column.name: by.get((name, column.name)) for column in table.columns}) for name in names]


def places(listed: list[Entry]) -> list[str]:
    """Rows that hold scripted policies (one for each city)."""
    return list(dict.fromkeys(entry.row for entry in listed if "policy" in entry.cell["config"]))


def _blocks(table: Table, listed: list[Entry]) -> Iterator[tuple[str, list[str], list[tuple[str, list[Entry | None]]]]]:
    """What is printed as one block: (title, its columns' names, its lines as (name, entries)).

    With many datasets a method is a block, datasets are its lines and learners its columns; with many methods a learner is
    a block, methods are its lines and datasets its columns.
    """
    grid = _grid(table, listed)
    used = [column for column in table.columns if any(row[column.name] for _, row in grid)]
    distinct = lambda field: list(dict.fromkeys(getattr(column, field) for column in used))
    if table.blocks == "method":
        for family in distinct("family"):
            columns = [column for column in used if column.family == family]
            lines = [(name, [row[column.name] for column in columns]) for name, row in grid]
            yield family, [column.learner.upper() for column in columns], lines
    else:
        for learner in distinct("learner"):
            columns = [column for column in used if column.learner == learner]
            lines = [(column.family, [row[column.name] for _, row in grid]) for column in columns]
            yield learner.upper(), [name for name, _ in grid], lines


def _head(*names: str) -> list[str]:
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def _lines(table: Table, listed: list[Entry], cell_text) -> list[str]:
    out = []
    for title, columns, lines in _blocks(table, listed):
        out += _head(title, *columns)
        out += [f"| {name} | " + " | ".join(map(cell_text, row)) + " |" for name, row in lines]
        out.append("")
    return out


def _markdown(table: Table, preset: str, listed: list[Entry]) -> str:
    def cell_text(entry: Entry | None) -> str:
        if entry is None:
            return ""
        return entry.text + (f" *(paper {entry.paper_text})*" if entry.paper else "")

    learned = [entry for entry in listed if "policy" not in entry.cell["config"]]
    some = learned[0] if learned else listed[0]
    hardware = some.cell["provenance"]["hardware"]
    labels = [label for _, label, _ in table.metrics]
    lines = [
        f"# {table.title}, preset `{preset}`",
        "",
        f"Made by `{some.cell['command']}` on {hardware['cpu']} ({hardware['cores']} cores), {hardware['device']}; "
        f"{some.seeds} training seeds, {some.episodes} test episodes each. "
        "Each cell: mean ± standard deviation over episodes and seeds; the paper's figure beside it.",
        "",
        table.note,
        "",
        *_lines(table, learned, cell_text),
        "## Scripted policies and the bound, on the same test episodes",
        "",
        *_head("place", "policy", "score", table.unit, "of the bound, %", *labels),
    ]
    for entry in sorted((e for e in listed if "policy" in e.cell["config"]), key=lambda e: (e.row, e.mean_return)):
        lines.append(_detail(table, entry, [entry.row, entry.column]))
    lines += [
        "",
        "## Every cell",
        "",
        *_head("data", "method", "score", "95 % interval", table.unit, "of the bound, %", *labels, "seconds"),
    ]
    for _, row in _grid(table, listed):
        for entry in filter(None, row.values()):
            interval = f"{entry.low:.1f} to {entry.high:.1f}"
            lines.append(_detail(table, entry, [entry.row, entry.column], interval) + f" {entry.seconds:.0f} |")
    return "\n".join(lines) + "\n"


def _detail(table: Table, entry: Entry, head: list[str], interval: str | None = None) -> str:
    fields = [*head, entry.text, *([interval] if interval else []), f"{entry.mean_return:,.0f}"]
    fields.append("" if np.isnan(entry.of_bound) else f"{entry.of_bound:.1f}")
    metrics = entry.cell["metrics"]
    fields += [f"{factor * np.mean(metrics[name]):,.0f}" if name in metrics else "" for name, _, factor in table.metrics]
    return "| " + " | ".join(fields) + " |"


def _csv(table: Table, listed: list[Entry]) -> str:
    text = io.StringIO()
    names = ["row", "column", "seeds", "episodes", "score", "spread", "seed_std", "low", "high", "mean_return", "of_bound"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *(name for name, _, _ in table.metrics), "paper", "paper_spread", "seconds"])
    for entry in listed:
        numbers = [getattr(entry, name) for name in names]
        numbers = [f"{x:.4f}" if isinstance(x, float) else x for x in numbers]
        metrics = entry.cell["metrics"]
        means = [f"{np.mean(metrics[name]):.2f}" if name in metrics else "" for name, _, _ in table.metrics]
        writer.writerow([*numbers, *means, *(entry.paper or ("", "")), f"{entry.seconds:.1f}"])
    return text.getvalue()


def _chart(table: Table, listed: list[Entry]) -> bytes:
    """Bars of return and of each metric, a panel each, grouped by row; scripted behaviour is a dashed line."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    grid = _grid(table, listed)
    panels = [("return", table.unit), *((name, label) for name, label, _ in table.metrics)]
    value = lambda e, name: e.mean_return if name == "return" else float(np.mean(e.cell["metrics"][name]))
    figure, axes = plt.subplots(len(panels), 1, figsize=(10, 3 * len(panels)), sharex=True, squeeze=False)
    width = 0.8 / len(table.columns)
    palette = plt.get_cmap("tab20c")
    families = list(dict.fromkeys(column.family for column in table.columns))
    for axis, (name, label) in zip(axes[:, 0], panels, strict=True):
        for i, column in enumerate(table.columns):
            shade = (families.index(column.family) * 4 + i % 3) % 20
            heights = [value(row[column.name], name) if row[column.name] else 0.0 for _, row in grid]
            axis.bar(np.arange(len(grid)) + i * width, heights, width, label=column.name, color=palette(shade))
        for x, (_, row) in enumerate(grid):
            some = next(entry for entry in row.values() if entry)
            behaviour = some.cell["config"]["behaviour"]
            for entry in listed:
                if entry.row == some.row.split("-")[0] and entry.column == behaviour:
                    height = value(entry, name)
                    axis.hlines(height, x - width / 2, x + 0.8 - width / 2, "black", "dashed", linewidth=1)
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xticks(np.arange(len(grid)) + 0.4 - width / 2, [name for name, _ in grid])
    axes[0, 0].legend(ncols=len(families), fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(0, 1.45))
    figure.suptitle(f"{table.title} (dashed: the behaviour policy that made the data)", y=1.02)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return buffer.getvalue()


def write(table: Table, preset: str, results: Path = RESULTS) -> list[Entry]:
    """Writes `<table>-<preset>.md`, `.csv` and `.png` from the run files; returns the entries."""
    cells = load(table, preset, results)
    if not cells:
        return []
    listed = entries(table, preset, cells)
    stem = results / f"{table.name}-{preset}"
    write_text(stem.with_suffix(".md"), _markdown(table, preset, listed))
    write_text(stem.with_suffix(".csv"), _csv(table, listed))
    if any("policy" not in entry.cell["config"] for entry in listed):
        write_bytes(stem.with_suffix(".png"), _chart(table, listed))
    return listed


def show(table: Table, listed: list[Entry], out=sys.stdout) -> None:
    """Prints the score table, the paper's figures in grey where the terminal has colours."""
    dim, plain = ("\033[2m", "\033[0m") if out.isatty() else ("", "")
    blocks = list(_blocks(table, listed))
    first = 2 + max(14, *(len(name) for title, _, lines in blocks for name in (title, *(name for name, _ in lines))))
    for title, columns, lines in blocks:
        print(f"\n{title:<{first}}" + "".join(f"{column:<35}" for column in columns).rstrip(), file=out)
        for name, row in lines:
            line = f"{name:<{first}}"
            for entry in row:
                ours = f"{entry.text:<13}" if entry else " " * 13
                theirs = f"(paper {entry.paper_text})" if entry and entry.paper else ""
                line += f"{ours}{dim}{theirs:<22}{plain}"
            print(line.rstrip(), file=out)
    print(f"\n{'policy':<{first + 10}}{'score':<15}{table.unit:>9}", file=out)
    for entry in sorted((e for e in listed if "policy" in e.cell["config"]), key=lambda e: (e.row, e.mean_return)):
        print(f"{entry.row:<{first}}{entry.column:<10}{entry.text:<15}{entry.mean_return:>9,.0f}", file=out)
