"""The plots of `ohio-jax sensitivity`, one a question."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ohio_bench.report import plots
from ohio_bench.report import sensitivity_cells as runs


def figure(rows: int, columns: int, **options: Any) -> Any:
    made, axes = plots.subplots(rows, columns, (4.2 * columns, 3.4 * rows), **options)
    for axis in axes.flat:
        axis.grid(True, which="both", alpha=0.25)
    return made, axes


def png(made: Any, title: str) -> bytes:
    made.suptitle(title)
    made.tight_layout()
    return plots.png(made)


def line(axis: Any, points: Iterable[tuple[float, runs.Values]], style: str, **options: Any) -> None:
    """Means over runs with their intervals, of points that have a value."""
    known = [(at, runs.mean(of), runs.half_width(of)) for at, of in points if runs.mean(of) is not None]
    x, y, half = zip(*known, strict=True) if known else ((), (), ())
    axis.errorbar(x, y, yerr=half, fmt=style, capsize=2, elinewidth=1, **options)


def draw_learning(found: runs.Found) -> bytes | None:
    """Q1: recovery error, residual and score against the share of the logs a model was learned from."""
    steps, cells, inverses = runs.learned(found)
    if not inverses:
        return None
    made, axes = figure(1, 3)
    exact = [cell for cell in cells if not cell["config"]["belief"]["noise"]]
    share = lambda cell: 100 * cell["config"]["belief"]["share"]
    for axis, (of, label) in zip(axes[0], (*runs.MEASURES, ("score", "score")), strict=True):
        for i, inverse in enumerate(inverses):
            points = [(share(cell), runs.measure(found, cell, inverse, of)) for cell in exact if share(cell)]
            line(axis, points, "o-", color=f"C{i}", label=f"{inverse}, learned")
        for cell in exact:
            name, height = runs.belief(cell["config"]), runs.mean(runs.measure(found, cell, inverses[-1], of))
            if height is not None and (name == "true" or name.startswith("masses")):
                axis.axhline(height, color="black" if name == "true" else "0.6", linestyle="--", linewidth=1)
                axis.annotate(name, (1.0, height), xycoords=("axes fraction", "data"), fontsize=7, va="center")
        scale = "linear" if of == "score" else "log"
        axis.set(xscale="log", xlabel="share of the logs learned from, %", yscale=scale, ylabel=label)
    axes[0, 0].legend(fontsize=8)
    return png(made, f"Q1: learned models beside given ones (dashed, {inverses[-1]}), h = {steps}, medians, 95 % intervals")


# Which models a curve of Q2 is made of -> its style.
MODELS = {"masses": ".-", "gear": "^-", "damping": "v-", "learned": "x--", "A and B": "+:"}


def of_kind(config: dict[str, Any]) -> str:
    """Name in MODELS; the true one is where the masses begin."""
    of = config["belief"]
    return ("A and B" if of["noise"] else "learned") if of["share"] else of["quantity"]


def draw_accuracy(found: runs.Found) -> bytes | None:
    """Q2: recovery error and score against model error; a panel a segment length, and one each of other domains' quantities."""
    lengths, told = runs.values(runs.pick(found["recovery"], noise=0.0), "steps"), runs.told(found)
    told = {name: cells for name, cells in told.items() if len(cells) > 1}
    if not lengths and not told:
        return None
    made, axes = figure(2, max(len(lengths) + len(told), 1))
    for column, steps in enumerate(lengths):
        top, bottom = axes[:, column]
        for i, (inverse, points) in enumerate(runs.curves(found, steps)):
            for kind, style in MODELS.items():
                own = [(max(at, runs.LEFT), cell) for at, cell in points if of_kind(cell["config"]) == kind]
                of = lambda what, own=own, inverse=inverse: [(at, runs.measure(found, cell, inverse, what)) for at, cell in own]
                line(top, of("error_that_shows"), style, color=f"C{i}", label=inverse if kind == "masses" else None)
                line(bottom, of("score"), style, color=f"C{i}")
        top.set(title=f"reacher, h = {steps}", xscale="log", yscale="log", ylabel=runs.MEASURES[0][1])
        bottom.set(xlabel="error of a predicted step, share of its change", xscale="log", ylabel="score")
        top.legend(fontsize=6)
    for column, ((domain, quantity), cells) in enumerate(told.items(), len(lengths)):
        for axis, of in zip(axes[:, column], ("error_that_shows", "true_residual"), strict=True):
            for i, inverse in enumerate(runs.inverses(cells[0])):
                points = [(cell["config"]["factor"], runs.each(cell, inverse, of)) for cell in cells]
                line(axis, points, "o-", color=f"C{i}", label=inverse)
            axis.set(
                xlabel=f"factor of {quantity}", ylabel=dict(runs.MEASURES)[of].replace("dynamics, standard", "model, standard")
            )
        axes[0, column].set_title(domain)
        axes[0, column].legend(fontsize=6)
    where = f"dots: masses, the true ones at {runs.LEFT:g}; triangles: gear, damping; crosses: learned; plus: noise on A and B"
    return png(made, f"Q2: sensitivity to model error, medians, no noise ({where})")


def draw_noise(found: runs.Found) -> bytes | None:
    """Q4: shrinkage, calibration and score against torque noise, with the true model."""
    cells = [cell for cell in found["calibration"] if runs.belief(cell["config"]) == "true"]
    steps = runs.middle(found["score"]) if found["score"] else runs.middle(cells)
    cells = sorted(runs.pick(cells, steps=steps), key=lambda cell: cell["config"]["noise"])
    if not cells:
        return None
    panels = (
        ("slope", "recovered on true action, slope", 1.0),
        ("variance", "variance of error over its error bar", 1.0),
        ("coverage", "errors within 95 % error bars", 0.95),
    )
    made, axes = figure(1, 4)
    for axis, (key, label, ideal) in zip(axes[0], panels, strict=False):
        for i, name in enumerate(cells[0]["found"]["runs"][0]):
            points = [(c["config"]["noise"], [run[name][key] for run in c["found"]["runs"] if name in run]) for c in cells]
            line(axis, points, "o-", color=f"C{i}", label=name)
        axis.axhline(ideal, color="black", linestyle="--", linewidth=1)
        axis.set(xscale="log", xlabel="torque noise, share of the gear", ylabel=label)
    axes[0, 1].set_yscale("log")
    played = [cell for cell in runs.pick(found["score"], steps=steps) if runs.belief(cell["config"]) == "true"]
    for style, inverse in zip(("o-", "s--"), ("least_squares", "posterior"), strict=True):
        points = sorted((cell["config"]["noise"], cell["found"]["scores"]) for cell in runs.pick(played, inverse=inverse))
        if len(points) > 1:
            line(axes[0, 3], points, style, label=inverse)
    axes[0, 3].set(xlabel="torque noise, share of the gear", ylabel="score")
    for axis in (axes[0, 0], axes[0, 3]):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
    return png(made, f"Q4: a stochastic low level, h = {steps}, true model, 95 % intervals")


def draw_cost(found: runs.Found) -> bytes | None:
    """Q5: microseconds and bytes a segment against what grows; a line an inverse and platform."""
    kinds = [kind for kind in runs.GROWTH if runs.pick(found["cost"], kind=kind)]
    if not kinds:
        return None
    made, axes = figure(2, len(kinds), sharey="row")
    for column, kind in enumerate(kinds):
        for style, platform in zip(("o-", "s--"), runs.values(found["cost"], "platform"), strict=False):
            cells = runs.grown(found, kind, platform)
            names = list(dict.fromkeys(name for cell in cells for name in cell["found"]))
            for i, name in enumerate(names):
                rows = [(cell["config"]["size"], cell["found"][name]) for cell in cells if name in cell["found"]]
                label = f"{name}, {platform}"
                line(
                    axes[0, column],
                    [(size, [1e6 / x for x in row["rates"]]) for size, row in rows],
                    style,
                    color=f"C{i}",
                    label=label,
                )
                line(
                    axes[1, column],
                    [(size, [max(row["temporary"], 1) / row["segments"]]) for size, row in rows],
                    style,
                    color=f"C{i}",
                )
        axes[1, column].set(xlabel=runs.GROWTH[kind], xscale="log", yscale="log")
        axes[0, column].set(xscale="log", yscale="log")
    axes[0, 0].set_ylabel("microseconds a segment")
    axes[1, 0].set_ylabel("temporary bytes a segment")
    axes[0, 0].legend(fontsize=8)
    return png(made, "Q5: what an inverse costs")


def draw_controllers(found: runs.Found) -> bytes | None:
    """C1: recovery error of every inverse under every controller that offers what it asks for."""
    cells = found["controller"]
    names = list(dict.fromkeys(name for cell in cells for name in runs.inverses(cell)))
    if not cells:
        return None
    error = np.full((len(cells), len(names)), np.nan)
    for i, cell in enumerate(cells):
        for name in runs.inverses(cell):
            seen = runs.mean(runs.each(cell, name, "error_that_shows"))
            error[i, names.index(name)] = np.nan if seen is None else np.log10(max(seen, 10.0**LEAST))
    made, axes = plots.subplots(1, 1, (1.5 + 0.55 * len(names), 1.5 + 0.35 * len(cells)))
    image = axes[0, 0].imshow(error, cmap="viridis_r", vmin=LEAST, vmax=0.0, aspect="auto")
    axes[0, 0].set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=7)
    axes[0, 0].set_yticks(range(len(cells)), [cell["config"]["controller"] for cell in cells], fontsize=7)
    made.colorbar(image, label="decimal logarithm of the median error")
    return png(made, "C1: every controller, every inverse")


LEAST = -6  # decimal logarithm of the smallest error that colors tell apart
