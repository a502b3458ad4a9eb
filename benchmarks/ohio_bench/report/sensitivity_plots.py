"""The plots of `ohio-jax sensitivity`, one a question."""

from typing import Any

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


def draw_learning(found: runs.Found) -> bytes | None:
    """Q1: recovery error, residual and score against the share of the logs a model was learned from."""
    steps, cells, inverses = runs.learned(found)
    if not inverses:
        return None
    made, axes = figure(1, 3)
    share = lambda cell: 100 * cell["config"]["belief"]["share"]
    measures = (*runs.MEASURES, ("score", "score"))
    for axis, (of, label) in zip(axes[0], measures, strict=True):
        known = [(cell, inverse, runs.value(found, cell, inverse, of)) for cell in cells for inverse in inverses]
        known = [point for point in known if point[2] is not None]
        for i, inverse in enumerate(inverses):
            points = [(share(cell), height) for cell, name, height in known if name == inverse and share(cell)]
            axis.plot(*zip(*points, strict=True) if points else ([], []), "o-", color=f"C{i}", label=f"{inverse}, learned")
        for cell, inverse, height in known:
            if inverse == inverses[-1] and not share(cell):
                name = runs.belief(cell["config"])
                axis.axhline(height, color="black" if name == "true" else "0.6", linestyle="--", linewidth=1)
                axis.annotate(name, (1.0, height), xycoords=("axes fraction", "data"), fontsize=7, va="center")
        scale = "linear" if of == "score" else "log"
        axis.set(xscale="log", xlabel="share of the logs learned from, %", yscale=scale, ylabel=label)
    axes[0, 0].legend(fontsize=8)
    return png(made, f"Q1: learned models beside given ones (dashed, {inverses[-1]}), h = {steps}, medians")


def draw_accuracy(found: runs.Found) -> bytes | None:
    """Q2: recovery error and score against model error; a line an inverse, a panel a segment length."""
    lengths = runs.values(runs.pick(found["recovery"], noise=0.0), "steps")
    if not lengths:
        return None
    made, axes = figure(2, len(lengths), sharex=True, sharey="row")
    for column, steps in enumerate(lengths):
        top, bottom = axes[:, column]
        for i, (inverse, points) in enumerate(runs.curves(found, steps)):
            for style, learned in ((".-", False), ("x--", True)):
                kind = [(max(at, runs.LEFT), cell) for at, cell in points if bool(cell["config"]["belief"]["share"]) == learned]
                of = lambda what, kind=kind, inverse=inverse: [(at, runs.value(found, cell, inverse, what)) for at, cell in kind]
                error = zip(*of("error_that_shows"), strict=True) if kind else ([], [])
                top.loglog(*error, style, color=f"C{i}", label=None if learned else inverse)
                scored = [point for point in of("score") if point[1] is not None]
                if scored:
                    bottom.plot(*zip(*scored, strict=True), style, color=f"C{i}")
        top.set_title(f"h = {steps}")
        bottom.set_xlabel("error of a predicted step, share of its change")
    axes[0, 0].set_ylabel(runs.MEASURES[0][1])
    axes[1, 0].set_ylabel("score")
    axes[0, -1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return png(
        made,
        f"Q2: sensitivity to model error, medians, no noise (dots: masses, the true ones at {runs.LEFT:g}; crosses: learned)",
    )


def draw_noise(found: runs.Found) -> bytes | None:
    """Q4: shrinkage, calibration and score against torque noise, with the true model."""
    cells = [cell for cell in found["calibration"] if runs.rank(cell["config"]) == (0.0, 0.0)]
    steps = runs.middle(found["score"]) if found["score"] else runs.middle(cells)
    cells = sorted(runs.pick(cells, steps=steps), key=lambda cell: cell["config"]["noise"])
    if not cells:
        return None
    noises = [cell["config"]["noise"] for cell in cells]
    panels = (
        ("slope", "recovered on true action, slope", 1.0),
        ("variance", "variance of error over its error bar", 1.0),
        ("coverage", "errors within 95 % error bars", 0.95),
    )
    made, axes = figure(1, 4)
    for axis, (key, label, ideal) in zip(axes[0], panels, strict=False):
        for i, name in enumerate(cells[0]["found"]["estimates"]):
            heights = [cell["found"]["estimates"].get(name, {}).get(key, float("nan")) for cell in cells]
            axis.plot(noises, heights, "o-", color=f"C{i}", label=name)
        axis.axhline(ideal, color="black", linestyle="--", linewidth=1)
        axis.set(xscale="log", xlabel="torque noise, share of the gear", ylabel=label)
    axes[0, 1].set_yscale("log")
    models = {runs.belief(cell["config"]): cell["config"]["belief"] for cell in found["score"]}
    for inverse, style in (("least_squares", "o-"), ("posterior", "s--")):
        for color, (name, model) in zip(("C0", "C3"), models.items(), strict=False):
            played = runs.pick(found["score"], steps=steps, inverse=inverse, belief=model)
            points = sorted((cell["config"]["noise"], cell["found"]["score"]) for cell in played)
            if len(points) > 1:
                axes[0, 3].plot(*zip(*points, strict=True), style, color=color, label=f"{inverse}, {name}")
    axes[0, 3].set(xlabel="torque noise, share of the gear", ylabel="score")
    for axis in (axes[0, 0], axes[0, 3]):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
    return png(made, f"Q4: a stochastic low level, h = {steps}, true model in the first three")


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
                sizes = [size for size, _ in rows]
                time = [1e6 / row["rate"]["best"] for _, row in rows]
                memory = [max(row["temporary"], 1) / row["segments"] for _, row in rows]
                axes[0, column].loglog(sizes, time, style, color=f"C{i}", label=f"{name}, {platform}")
                axes[1, column].loglog(sizes, memory, style, color=f"C{i}")
        axes[1, column].set_xlabel(runs.GROWTH[kind])
    axes[0, 0].set_ylabel("microseconds a segment")
    axes[1, 0].set_ylabel("temporary bytes a segment")
    axes[0, 0].legend(fontsize=8)
    return png(made, "Q5: what an inverse costs")
