"""The page and the four plots of `ohio-jax sensitivity`, made of its run files alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import figures
from benchmarks.speed.pages import number, table
from ohio_jax.errors import UserError
from ohio_jax.files import write_bytes, write_text

KINDS = ("recovery", "calibration", "score", "cost")
MIDDLE = 1  # the median among `recovery.QUANTILES`
LEFT = 1e-4  # where the true model stands on a logarithmic axis of model error
Found = dict[str, list[dict[str, Any]]]  # run files by kind


def folder(results: Path, preset: str) -> Path:
    return results / "runs" / "sensitivity" / preset


def stem(results: Path, preset: str) -> Path:
    return results / ("sensitivity" if preset == "cpu" else f"sensitivity-{preset}")


def read(path: Path) -> dict[str, Any]:
    """A run file. Raises UserError if it is damaged."""
    try:
        cell = json.loads(path.read_text())
        missing = {"config", "found", "provenance"} - set(cell)
        if missing:
            raise ValueError(f"no field {min(missing)!r}")
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: expected a run file, found damage ({error}); delete it to run the cell again") from error
    return cell


def load(results: Path, preset: str) -> Found:
    return {kind: [read(path) for path in sorted((folder(results, preset) / kind).glob("*.json"))] for kind in KINDS}


def write(results: Path, preset: str) -> list[Path]:
    """Writes the page and the plots whose cells exist; returns their paths, the page first."""
    found = load(results, preset)
    if not any(found.values()):
        return []
    base, drawn = stem(results, preset), {}
    for question, (_, draw) in QUESTIONS.items():
        picture = draw(found)
        if picture is not None:
            drawn[question] = base.with_name(f"{base.name}-{question}.png")
            write_bytes(drawn[question], picture)
    write_text(base.with_suffix(".md"), text(found, drawn, preset))
    return [base.with_suffix(".md"), *drawn.values()]


# --- Reading cells --------------------------------------------------------------------------------------------------


def belief(config: dict[str, Any]) -> str:
    """How a model is called on the page."""
    share, factor = config["belief"]["share"], config["belief"]["factor"]
    if share:
        return f"learned, {100 * share:g} %"
    return "true" if factor == 1 else f"masses {100 * (factor - 1):+g} %"


def rank(config: dict[str, Any]) -> tuple[float, float]:
    """True first, then masses, then learned models by share."""
    share, factor = config["belief"]["share"], config["belief"]["factor"]
    return share, 0.0 if factor == 1 else factor


def pick(cells: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Cells of this configuration, in order of `rank` where they have a belief."""
    chosen = [cell for cell in cells if all(cell["config"].get(key) == value for key, value in wanted.items())]
    return sorted(chosen, key=lambda cell: rank(cell["config"])) if chosen and "belief" in chosen[0]["config"] else chosen


def values(cells: list[dict[str, Any]], key: str) -> list[Any]:
    return sorted({cell["config"][key] for cell in cells})


def middle(cells: list[dict[str, Any]]) -> int:
    """The segment length that most cells are of; 0 if there are none."""
    lengths = [cell["config"]["steps"] for cell in cells]
    return max(set(lengths), key=lengths.count, default=0)


def score_of(found: Found, like: dict[str, Any], inverse: str) -> float | None:
    same = {key: like[key] for key in ("belief", "steps", "noise")}
    cells = pick(found["score"], **same, inverse=inverse)
    return cells[0]["found"]["score"] if cells else None


def curves(found: Found, steps: int) -> Iterator[tuple[str, list[tuple[float, dict[str, Any], dict[str, Any]]]]]:
    """For each inverse, points (model error, cell's configuration, numbers) in order of model error, without noise."""
    cells = sorted(pick(found["recovery"], steps=steps, noise=0.0), key=lambda cell: cell["found"]["model_error"])
    for inverse in cells[0]["found"]["inverses"] if cells else ():
        yield inverse, [(cell["found"]["model_error"], cell["config"], cell["found"]["inverses"][inverse]) for cell in cells]


# --- Plots ----------------------------------------------------------------------------------------------------------


def figure(rows: int, columns: int, **options: Any) -> Any:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    made, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 3.4 * rows), squeeze=False, **options)
    for axis in axes.flat:
        axis.grid(True, which="both", alpha=0.25)
    return made, axes


def png(made: Any) -> bytes:

    made.tight_layout()
    return figures.png(made)


MEASURES = (
    ("error_that_shows", "recovery error, spreads of goals"),
    ("true_residual", "residual in the true world, deviations"),
)


def draw_learning(found: Found) -> bytes | None:
    """Q1: recovery error, residual and score against the share of the logs a model was learned from."""
    steps = middle(found["recovery"]) if not found["score"] else middle(found["score"])
    cells = pick(found["recovery"], steps=steps, noise=0.0)
    if not cells:
        return None
    made, axes = figure(1, 3)
    inverses = [name for name in ("analytic", "ridge", "least_squares") if name in cells[0]["found"]["inverses"]]
    last = inverses[-1]
    for axis, of in zip(axes[0], (*(key for key, _ in MEASURES), "score"), strict=True):

        def value(cell, inverse, of=of):
            if of == "score":
                return score_of(found, cell["config"], inverse)
            return cell["found"]["inverses"][inverse][of][MIDDLE]

        given = [(belief(cell["config"]), value(cell, last)) for cell in cells if not cell["config"]["belief"]["share"]]
        learned = [cell for cell in cells if cell["config"]["belief"]["share"]]
        for i, inverse in enumerate(inverses):
            points = [(100 * cell["config"]["belief"]["share"], value(cell, inverse)) for cell in learned]
            points = [point for point in points if point[1] is not None]
            axis.plot(*zip(*points, strict=True) if points else ([], []), "o-", color=f"C{i}", label=f"{inverse}, learned")
        for name, height in given:
            if height is not None:
                axis.axhline(height, color="black" if name == "true" else "0.6", linestyle="--", linewidth=1)
                axis.annotate(name, (1.0, height), xycoords=("axes fraction", "data"), fontsize=7, va="center")
        axis.set_xscale("log")
        axis.set_xlabel("share of the logs learned from, %")
    for axis, (_, label) in zip(axes[0], MEASURES, strict=False):
        axis.set(yscale="log", ylabel=label)
    axes[0, 2].set_ylabel("score")
    axes[0, 0].legend(fontsize=8)
    made.suptitle(f"Q1: learned models beside given ones (dashed, {last}), h = {steps}, medians")
    return png(made)


def draw_accuracy(found: Found) -> bytes | None:
    """Q2: recovery error and score against model error; a line an inverse, a panel a segment length."""
    lengths = values(pick(found["recovery"], noise=0.0), "steps")
    if not lengths:
        return None
    made, axes = figure(2, len(lengths), sharex=True, sharey="row")
    for column, steps in enumerate(lengths):
        top, bottom = axes[:, column]
        for i, (inverse, points) in enumerate(curves(found, steps)):
            for style, learned in ((".-", False), ("x--", True)):
                kind = [point for point in points if (point[1]["belief"]["share"] > 0) == learned]
                x = [max(error, LEFT) for error, *_ in kind]
                y = [numbers["error_that_shows"][MIDDLE] for *_, numbers in kind]
                top.loglog(x, y, style, color=f"C{i}", label=None if learned else inverse)
                scored = [(at, score_of(found, config, inverse)) for at, (_, config, _) in zip(x, kind, strict=True)]
                scored = [point for point in scored if point[1] is not None]
                if scored:
                    bottom.plot(*zip(*scored, strict=True), style, color=f"C{i}")
        top.set_title(f"h = {steps}")
        bottom.set_xlabel("error of a predicted step, share of its change")
    axes[0, 0].set_ylabel(MEASURES[0][1])
    axes[1, 0].set_ylabel("score")
    axes[0, -1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    made.suptitle(
        f"Q2: sensitivity to model error, medians, no noise (dots: masses, the true ones at {LEFT:g}; crosses: learned)"
    )
    return png(made)


def draw_noise(found: Found) -> bytes | None:
    """Q4: shrinkage, calibration and score against torque noise, with the true model."""
    cells = [cell for cell in found["calibration"] if rank(cell["config"]) == (0.0, 0.0)]
    if not cells:
        return None
    steps = middle(found["score"]) if found["score"] else middle(cells)
    cells = sorted(pick(cells, steps=steps), key=lambda cell: cell["config"]["noise"])
    noises = [cell["config"]["noise"] for cell in cells]
    panels = (
        ("slope", "recovered on true goal, slope", 1.0),
        ("variance", "variance of error over its bar", 1.0),
        ("coverage", "errors within 95 % bars", 0.95),
    )
    made, axes = figure(1, 4)
    for axis, (key, label, ideal) in zip(axes[0], panels, strict=False):
        for i, name in enumerate(cells[0]["found"]["estimates"]):
            axis.plot(noises, [cell["found"]["estimates"][name][key] for cell in cells], "o-", color=f"C{i}", label=name)
        axis.axhline(ideal, color="black", linestyle="--", linewidth=1)
        axis.set(xscale="log", xlabel="torque noise, share of the gear", ylabel=label)
    axes[0, 1].set_yscale("log")
    for inverse, style in (("least_squares", "o-"), ("posterior", "s--")):
        for colour, model in zip(("C0", "C3"), dict.fromkeys(belief(cell["config"]) for cell in found["score"]), strict=False):
            points = sorted(
                (cell["config"]["noise"], cell["found"]["score"])
                for cell in pick(found["score"], steps=steps, inverse=inverse)
                if belief(cell["config"]) == model
            )
            if len(points) > 1:
                axes[0, 3].plot(*zip(*points, strict=True), style, color=colour, label=f"{inverse}, {model}")
    axes[0, 3].set(xlabel="torque noise, share of the gear", ylabel="score")
    for axis in (axes[0, 0], axes[0, 3]):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7)
    made.suptitle(f"Q4: a stochastic low level, h = {steps}, true model in the first three")
    return png(made)


GROWTH = {
    "segments": "segments a call",
    "horizon": "steps a segment, h",
    "dimension": "entries of a goal",
    "regions": "regions of the city",
}


def draw_cost(found: Found) -> bytes | None:
    """Q5: microseconds and bytes a segment against what grows; a line an inverse and platform."""
    kinds = [kind for kind in GROWTH if pick(found["cost"], kind=kind)]
    if not kinds:
        return None
    made, axes = figure(2, len(kinds), sharey="row")
    for column, kind in enumerate(kinds):
        for style, platform in zip(("o-", "s--"), values(found["cost"], "platform"), strict=False):
            cells = sorted(pick(found["cost"], kind=kind, platform=platform), key=lambda cell: cell["config"]["size"])
            names = list(dict.fromkeys(name for cell in cells for name in cell["found"]))
            for i, name in enumerate(names):
                rows = [(cell["config"]["size"], cell["found"][name]) for cell in cells if name in cell["found"]]
                sizes = [size for size, _ in rows]
                time = [1e6 / row["rate"]["best"] for _, row in rows]
                memory = [max(row["temporary"], 1) / row["segments"] for _, row in rows]
                axes[0, column].loglog(sizes, time, style, color=f"C{i}", label=f"{name}, {platform}")
                axes[1, column].loglog(sizes, memory, style, color=f"C{i}")
        axes[1, column].set_xlabel(GROWTH[kind])
    axes[0, 0].set_ylabel("microseconds a segment")
    axes[1, 0].set_ylabel("temporary bytes a segment")
    axes[0, 0].legend(fontsize=8)
    made.suptitle("Q5: what an inverse costs")
    return png(made)


# --- Tables and findings --------------------------------------------------------------------------------------------


def power_of(points: np.ndarray) -> float:
    """The exponent p of y ~ x^p that fits points: Float[N, 2]."""
    x, y = np.log(points).T
    return float(np.polyfit(x, y, 1)[0])


def learning(found: Found) -> list[str]:
    steps = middle(found["score"] or found["recovery"])
    parts, rows = [], []
    cells = pick(found["recovery"], steps=steps, noise=0.0)
    shown = [name for name in ("analytic", "ridge", "least_squares") if cells and name in cells[0]["found"]["inverses"]]
    for cell in cells:
        of = cell["found"]["inverses"]
        row = [belief(cell["config"]), f"{cell['found']['model_error']:.2g}"]
        for key, _ in MEASURES:
            row += [f"{of[name][key][MIDDLE]:.2g}" for name in shown]
        found_scores = (score_of(found, cell["config"], name) for name in shown)
        rows.append([*row, *("" if x is None else f"{x:.1f}" for x in found_scores)])
    heads = [f"{what}, {name}" for what in ("error", "true residual", "score") for name in shown]
    if rows:
        parts.append(table([f"model, h = {steps}", "model error", *heads], rows))
    key = shown[-1] if shown else ""
    median = {belief(c["config"]): c["found"]["inverses"][key]["error_that_shows"][MIDDLE] for c in cells}
    for name, error in median.items():
        if name.startswith("masses"):
            better = [other for other, x in median.items() if other.startswith("learned") and x <= error]
            which = f"from {better[0]} on" if better else "at no share"
            parts.append(f"- {key}: learned models recover goals at least as well as {name} {which} (error {error:.2g}).")
    return parts


def accuracy(found: Found) -> list[str]:
    parts = []
    for noise in values(found["recovery"], "noise"):
        for steps in values(found["recovery"], "steps"):
            cells = pick(found["recovery"], steps=steps, noise=noise)
            if not cells:
                continue
            names = list(cells[0]["found"]["inverses"])
            rows = []
            for cell in cells:
                of = [cell["found"]["inverses"][name] for name in names]
                cell_of = lambda x: f"{x['error_that_shows'][MIDDLE]:.2g} ({x['error'][MIDDLE]:.2g})"
                rows.append([belief(cell["config"]), f"{cell['found']['model_error']:.2g}", *map(cell_of, of)])
            first = cells[0]["found"]
            parts += [
                f"### h = {steps}, torque noise {noise:g}",
                f"{first['directions_that_show']:.2f} of {len(first['spread'])} directions of a goal show on average; "
                f"{100 * first['torques_on_their_bounds']:.1f} % of torques are on their bounds.",
                table(["model", "model error", *names], rows),
            ]
    steepest = []
    for steps in values(pick(found["recovery"], noise=0.0), "steps"):
        for inverse, points in curves(found, steps):
            error = np.array([[max(at, LEFT), numbers["error_that_shows"][MIDDLE]] for at, _, numbers in points if at > LEFT])
            if len(error) > 2:
                steepest.append((steps, inverse, power_of(error)))
    if steepest:
        parts.append("Power of the model's error that recovery error grows with (least squares fit of logarithms):")
        lengths = sorted({steps for steps, *_ in steepest})
        by = {(steps, inverse): power for steps, inverse, power in steepest}
        rows = [[name, *(f"{by[h, name]:.2f}" for h in lengths)] for name in dict.fromkeys(name for _, name, _ in steepest)]
        parts.append(table(["inverse", *(f"h = {h}" for h in lengths)], rows))
    return parts


def noise(found: Found) -> list[str]:
    rows = []
    for cell in sorted(found["calibration"], key=lambda c: (c["config"]["steps"], rank(c["config"]), c["config"]["noise"])):
        config = cell["config"]
        for name, of in cell["found"]["estimates"].items():
            numbers = [f"{of[key]:.3g}" for key in ("bias", "slope", "variance", "coverage", "bar")]
            shows = f"{of['error_that_shows'][MIDDLE]:.2g} ({of['error'][MIDDLE]:.2g})"
            rows.append([f"h = {config['steps']}, {belief(config)}, {config['noise']:g}, {name}", *numbers, shows])
    parts = [table(["", "bias", "slope", "variance", "coverage", "bar", "error"], rows)] if rows else []
    cells = [cell for cell in found["score"] if cell["config"]["inverse"] in ("least_squares", "posterior")]
    noises = values(cells, "noise") if cells else []
    lines = {}
    for cell in pick(cells, steps=middle(cells)) if cells else []:
        of = lines.setdefault((cell["config"]["inverse"], belief(cell["config"])), {})
        of[cell["config"]["noise"]] = f"{cell['found']['score']:.1f} ± {cell['found']['score_deviation']:.1f}"
    lines = {key: of for key, of in lines.items() if len(of) == len(noises)}
    if lines:
        parts.append(f"Scores, h = {middle(cells)}, played under the same noise; posterior weighs transitions:")
        rows = [[", ".join(key), *(of[x] for x in noises)] for key, of in lines.items()]
        parts.append(table(["", *(f"noise {x:g}" for x in noises)], rows))
    return parts


def growth(found: Found) -> list[str]:
    parts = []
    for platform in values(found["cost"], "platform") if found["cost"] else []:
        for kind in GROWTH:
            cells = sorted(pick(found["cost"], kind=kind, platform=platform), key=lambda cell: cell["config"]["size"])
            rows, powers = [], {}
            for cell in cells:
                for name, of in cell["found"].items():
                    each = of["temporary"] / of["segments"]
                    powers.setdefault(name, []).append((cell["config"]["size"], 1 / of["rate"]["best"]))
                    rows.append(
                        [
                            f"{cell['config']['size']}, {name}",
                            *map(number, (of["segments"], of["rate"]["best"], of["rate"]["median"])),
                            *(number(x) for x in (of["temporary"], each, of["compile_seconds"])),
                            f"{of['error']:.2g}",
                        ]
                    )
            if not rows:
                continue
            columns = ["segments", "a second, best", "median", "temporary bytes", "a segment", "compile, s", "goal error"]
            parts += [f"### {platform}: {GROWTH[kind]}", table(["", *columns], rows)]
            for name, points in powers.items():
                last = np.array(points[len(points) // 2 :])
                if len(last) > 1:
                    power = power_of(last)
                    parts.append(f"- {name}: seconds a segment grow with the power {power:.2f} over the upper half of sizes.")
    return parts


QUESTIONS = {
    "q1": ("How does OHIO do when the dynamics are learned from scratch, beside a given approximate model?", draw_learning),
    "q2": ("How sensitive is it to the accuracy of the dynamics?", draw_accuracy),
    "q4": ("What if the low level is stochastic?", draw_noise),
    "q5": ("What does the inverse cost for large problems, and how does it grow?", draw_cost),
}
TABLES = {"q1": (learning, "recovery"), "q2": (accuracy, "recovery"), "q4": (noise, "calibration"), "q5": (growth, "cost")}
NOTE = (
    "Reacher under LQR. Goals are known: those that the closed form with true dynamics finds in the expert's logs at h = 5, in "
    "another order, asked for in states of those logs and executed on the true arm. `error`: root mean square of recovered "
    "less true goal in units of the goals' spread, over the directions that show (a change by one spread moves the reached "
    "state by more than a deviation of the noise); in brackets over all entries. `true residual`: how far the recovered "
    "goal would end from the observed state in the true world, in deviations. Medians over segments. `model error`: of a "
    "predicted step, as a share of the deviation of a step's change. Learned models make the same number of gradient steps "
    "at every share. Scores: behaviour cloning of goals relabelled with the expert's logs; noise is normal, on every torque, "
    "a share of the gear, in logs, segments and tests alike. Calibration: `slope` of recovered on true goals, `variance` of "
    "errors over their bars (1 is honest), `coverage` of 95 % bars, `bar` in spreads."
)


def text(found: Found, drawn: dict[str, Path], preset: str) -> str:
    """The page, from run files alone."""
    latest = max((cell for cells in found.values() for cell in cells), key=lambda cell: cell["provenance"]["time"])
    source, machine = latest["provenance"], latest["provenance"]["hardware"]
    parts = [
        "# Sensitivity of the inverses",
        f"Made by `{latest['command']}` on {machine['cpu']}, {machine['cores']} cores; JAX on {machine['devices']} x "
        f"{machine['device']}. {source['time']}, revision {source['revision'] or 'unknown'}"
        f"{' with changes' if source['dirty'] else ''}, JAX {source['versions']['jax']}; load average {machine['load'][0]}.",
        NOTE,
    ]
    if preset == "quick":
        parts.append("**Quick run: a smoke test, not a measurement.**")
    for question, (title, _) in QUESTIONS.items():
        make, kind = TABLES[question]
        if found[kind]:
            parts += [f"## {question.upper()}: {title}"]
            parts += [f"![{question}]({drawn[question].name})"] if question in drawn else []
            parts += make(found)
    return "\n\n".join(parts) + "\n"
