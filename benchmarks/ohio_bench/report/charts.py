"""The charts of tables: bars, and maps over two gains."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ohio_bench.report import plots
from ohio_bench.report.entries import Entry, columns, grid
from ohio_bench.runner.table import Table
from ohio_jax import scores


def bars(table: Table, listed: list[Entry]) -> bytes:
    """Bars of return and of each metric, a panel each, grouped by row, with every run and the 95 % t interval over runs.

    Scripted behavior is a dashed line; hollow bars hold the policy of another bar.
    """
    from matplotlib import colormaps

    rows = grid(table, listed)
    panels = [("return", table.unit), *((name, label) for name, label, _ in table.metrics)]
    factors = {name: factor for name, _, factor in table.metrics}
    most = {name: factors[name] if f"metrics.{name}" in table.shares else np.inf for name in factors}

    def of_runs(e: Entry, name: str) -> np.ndarray:
        played = e.cell["returns"] if name == "return" else e.cell["metrics"].get(name, [[np.nan]])
        return factors.get(name, 1.0) * np.mean(played, axis=1)

    value = lambda e, name: float(np.mean(of_runs(e, name)))
    shown = columns(table, listed)
    width = 0.8 / len(shown)
    inches = max(10.0, 0.1 * len(rows) * len(shown))
    size = (inches, 3 * len(panels) + 1)
    figure, axes = plots.subplots(len(panels), 1, size, sharex=True, layout="constrained")
    families = list(dict.fromkeys(column.family for column in shown))
    learners = list(dict.fromkeys(column.learner for column in shown))
    # A color for each family, paler from learner to learner.
    palette = colormaps["tab10" if len(families) <= 10 else "tab20"]
    color = lambda column: (palette(families.index(column.family)), 1.0 - 0.7 * learners.index(column.learner) / len(learners))
    for axis, (name, label) in zip(axes[:, 0], panels, strict=True):
        for i, column in enumerate(shown):
            found = [row[column.name] for _, row in rows]
            heights = [value(entry, name) if entry else 0.0 for entry in found]
            filled = [color(column) if entry is None or entry.same is None else "none" for entry in found]
            place, text = np.arange(len(rows)) + i * width, plots.plain(column.name)
            axis.bar(place, heights, width, color=filled, edgecolor=color(column), linewidth=0.5)
            axis.bar(place[:1], 0.0, width, label=text, color=color(column))  # for the legend, though the first bar be hollow
            for x, entry in zip(place, found, strict=True):
                if entry is not None and entry.same is None:
                    _runs(axis, x, of_runs(entry, name), most.get(name, np.inf))
        for x, (_, row) in enumerate(rows):
            some = next(entry for entry in row.values() if entry)
            behavior = some.behavior_policy
            for entry in listed:
                if entry.row == some.row.split("-")[0] and entry.column == behavior:
                    height = value(entry, name)
                    axis.hlines(height, x - width / 2, x + 0.8 - width / 2, "black", "dashed", linewidth=1)
        axis.set_ylabel(label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xticks(np.arange(len(rows)) + 0.4 - width / 2, [plots.plain(name) for name, _ in rows])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=int(inches / 2.8), fontsize=8, frameon=False, loc="outside lower center")
    hollow = "; hollow: the policy of another bar" if any(entry.same for entry in listed) else ""
    figure.suptitle(f"{table.title} (dots: runs; lines: 95 % t intervals; dashed: behavior policy{hollow})")
    return plots.png(figure)


def _runs(axis: Any, x: float, runs: np.ndarray, most: float) -> None:
    """Every run as a dot, over the t interval of their mean; most: where the line of a share ends, as it does at 0."""
    low, high = np.clip(scores.t_interval(runs), 0.0 if np.isfinite(most) else -np.inf, most)
    if np.isfinite(low) and np.isfinite(high):
        axis.vlines(x, low, high, "black", linewidth=0.8)
    axis.scatter(np.full(len(runs), x), runs, s=4, color="white", edgecolors="black", linewidths=0.4, zorder=3)


def maps(names: Sequence[str], kp: Sequence[float], zeta: Sequence[float], listed: list[Entry]) -> bytes:
    """PNG: scores over two gains, a line of maps for each scene: both methods of these names, and what the second gains.

    Rows are called <scene>-<kp>-<zeta>.
    """
    score = {(entry.row, entry.column): entry.score for entry in listed}
    scenes = [scene for scene in ("Lift", "Door") if any(row.startswith(scene) for row, _ in score)]
    figure, axes = plots.subplots(len(scenes), 3, (11, 3.4 * len(scenes)))
    for scene, line in zip(scenes, axes, strict=True):
        of = {name: np.array([[score.get((f"{scene}-{k:g}-{z:g}", name), np.nan) for z in zeta] for k in kp]) for name in names}
        shown = {**of, "OHIO minus logged": of[names[1]] - of[names[0]]}
        for axis, (name, values) in zip(line, shown.items(), strict=True):
            less = name not in of
            low, high, colors = (-100, 100, "RdBu") if less else (0, 100, "viridis")
            dark = (lambda value: abs(value) > 60) if less else (lambda value: value < 60)
            axis.imshow(values, vmin=low, vmax=high, cmap=colors, origin="lower")
            for (i, j), value in np.ndenumerate(values):
                if np.isfinite(value):
                    axis.text(j, i, f"{value:z.0f}", ha="center", va="center", color="white" if dark(value) else "black")
            axis.set_xticks(range(len(zeta)), [f"{z:g}" for z in zeta])
            axis.set_yticks(range(len(kp)), [f"{k:g}" for k in kp])
            axis.set_title(f"{scene}: {name}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("damping ratio of position")
    for axis in axes[:, 0]:
        axis.set_ylabel("stiffness of rotation")
    figure.tight_layout()
    return plots.png(figure)
