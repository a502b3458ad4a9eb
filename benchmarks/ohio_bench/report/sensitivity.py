"""The page of `ohio-jax sensitivity`, made of its run files alone."""

from functools import partial
from pathlib import Path

import numpy as np

from ohio_bench.report import sensitivity_cells as runs
from ohio_bench.report.sensitivity_plots import draw_accuracy, draw_cost, draw_learning, draw_noise
from ohio_bench.report.text import filled, machine, number, origin, table
from ohio_bench.runner import store
from ohio_bench.runner.cell import Report
from ohio_bench.runner.freshness import freshness

KINDS = ("recovery", "calibration", "score", "cost")  # of run files, see `ohio_bench.runner.schema`


def kind(name: str) -> str:
    """The kind of a cell's run file, which its name begins with."""
    return name.partition("/")[0]


def load(results: Path, preset: str) -> runs.Found:
    place, check = store.folder("sensitivity", preset, results), partial(store.check_place, "sensitivity", preset)
    return {kind: store.read_all(place / kind, kind, check) for kind in KINDS}


def report(results: Path, preset: str) -> Report:
    """The page and the plots whose cells exist."""
    found = load(results, preset)
    if not any(found.values()):
        return Report({})
    base = results / ("sensitivity" if preset == "cpu" else f"sensitivity-{preset}")
    drawn: dict[str, tuple[Path, bytes]] = {}
    for question, (_, draw, _, _) in QUESTIONS.items():
        picture = draw(found)
        if picture is not None:
            drawn[question] = base.with_name(f"{base.name}-{question}.png"), picture
    fresh = freshness((cell for cells in found.values() for cell in cells), results)
    page = text(found, {question: path for question, (path, _) in drawn.items()}, preset, fresh.text())
    return Report({base.with_suffix(".md"): page.encode(), **dict(drawn.values())}, freshness=fresh)


def power_of(points: np.ndarray) -> float:
    """The exponent p of y ~ x^p that fits points: `Float[N, 2]`."""
    x, y = np.log(points).T
    return float(np.polyfit(x, y, 1)[0])


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def learning(found: runs.Found) -> list[str]:
    steps, cells, shown = runs.learned(found)
    parts, rows = [], []
    for cell in cells:
        medians = [_shown(runs.value(found, cell, name, key), ".2g") for key, _ in runs.MEASURES for name in shown]
        played = [runs.value(found, cell, name, "score") for name in shown]
        model = [runs.belief(cell["config"]), f"{cell['found']['model_error']:.2g}"]
        rows.append([*model, *medians, *(_shown(x, ".1f") for x in played)])
    heads = [f"{what}, {name}" for what in ("error", "true residual", "score") for name in shown]
    if rows:
        parts.append(table([f"model, h = {steps}", "model error", *heads], rows))
    key = shown[-1] if shown else ""
    medians_of = {runs.belief(c["config"]): runs.value(found, c, key, "error_that_shows") for c in cells}
    median = {name: error for name, error in medians_of.items() if error is not None}
    for name, error in median.items():
        if name.startswith("masses"):
            better = [other for other, x in median.items() if other.startswith("learned") and x <= error]
            which = f"from {better[0]} on" if better else "at no share"
            parts.append(f"- {key}: learned models recover actions at least as well as {name} {which} (error {error:.2g}).")
    return parts


def accuracy(found: runs.Found) -> list[str]:
    parts = []
    for noise in runs.values(found["recovery"], "noise"):
        for steps in runs.values(found["recovery"], "steps"):
            cells = runs.pick(found["recovery"], steps=steps, noise=noise)
            if not cells:
                continue
            names = list(cells[0]["found"]["inverses"])
            rows = []
            for cell in cells:
                of = [cell["found"]["inverses"].get(name) for name in names]
                texts = [runs.text(one) if one else "" for one in of]
                rows.append([runs.belief(cell["config"]), f"{cell['found']['model_error']:.2g}", *texts])
            first = cells[0]["found"]
            parts += [
                f"### h = {steps}, torque noise {noise:g}",
                f"{first['directions_that_show']:.2f} of {len(first['spread'])} directions of a high-level action are "
                f"identifiable on average; {100 * first['torques_on_their_bounds']:.1f} % of torques are at their bounds.",
                table(["model", "model error", *names], rows),
            ]
    steepest = []
    for steps in runs.values(runs.pick(found["recovery"], noise=0.0), "steps"):
        for inverse, points in runs.curves(found, steps):
            seen = partial(runs.value, found, inverse=inverse, of="error_that_shows")
            error = np.array([[at, seen(cell)] for at, cell in points if at > runs.LEFT and seen(cell)])
            if len(error) > 2:
                steepest.append((steps, inverse, power_of(error)))
    if steepest:
        parts.append("Exponent with which recovery error grows with model error (least-squares fit of logarithms):")
        lengths = sorted({steps for steps, *_ in steepest})
        by = {(steps, inverse): power for steps, inverse, power in steepest}
        powers = lambda name: [_shown(by.get((h, name)), ".2f") for h in lengths]
        rows = [[name, *powers(name)] for name in dict.fromkeys(name for _, name, _ in steepest)]
        parts.append(table(["inverse", *(f"h = {h}" for h in lengths)], rows))
    return parts


def noise(found: runs.Found) -> list[str]:
    rows = []
    for cell in sorted(found["calibration"], key=lambda c: (c["config"]["steps"], runs.rank(c["config"]), c["config"]["noise"])):
        config = cell["config"]
        for name, of in cell["found"]["estimates"].items():
            numbers = [f"{of[key]:.3g}" for key in ("bias", "slope", "variance", "coverage", "bar")]
            rows.append([f"h = {config['steps']}, {runs.belief(config)}, {config['noise']:g}, {name}", *numbers, runs.text(of)])
    parts = [table(["", "bias", "slope", "variance", "coverage", "bar", "error"], rows)] if rows else []
    cells = [cell for cell in found["score"] if cell["config"]["inverse"] in ("least_squares", "posterior")]
    steps, noises, lines = runs.middle(cells), runs.values(cells, "noise"), {}
    for cell in runs.pick(cells, steps=steps):
        of = lines.setdefault(f"{cell['config']['inverse']}, {runs.belief(cell['config'])}", {})
        of[cell["config"]["noise"]] = f"{cell['found']['score']:.1f} ± {cell['found']['score_deviation']:.1f}"
    rows = [[name, *(of[x] for x in noises)] for name, of in lines.items() if len(of) == len(noises)]
    if rows:
        parts.append(f"Scores, h = {steps}, tested under the same noise; posterior weights transitions:")
        parts.append(table(["", *(f"noise {x:g}" for x in noises)], rows))
    return parts


def growth(found: runs.Found) -> list[str]:
    parts = []
    for platform in runs.values(found["cost"], "platform"):
        for kind in runs.GROWTH:
            cells = runs.grown(found, kind, platform)
            rows, powers = [], {}
            for cell in cells:
                for name, of in cell["found"].items():
                    each = of["temporary"] / of["segments"]
                    powers.setdefault(name, []).append((cell["config"]["size"], 1 / of["rate"]["best"]))
                    rate, compiling = of["rate"], of["compile_seconds"]
                    numbers = (of["segments"], rate["best"], rate["median"], of["temporary"], each, compiling)
                    rows.append([f"{cell['config']['size']}, {name}", *map(number, numbers), f"{of['error']:.2g}"])
            columns = ["segments", "a second, best", "median", "temporary bytes", "a segment", "compile, s", "error"]
            parts += [f"### {platform}: {runs.GROWTH[kind]}", table(["", *columns], rows)] if rows else []
            for name, points in powers.items():
                last = np.array(points[len(points) // 2 :])
                if len(last) > 1:
                    power = power_of(last)
                    parts.append(f"- {name}: seconds a segment grow with exponent {power:.2f} over the upper half of sizes.")
    return parts


# Question -> its title, plot and text, and the kind of cells without which it is not asked.
QUESTIONS = {
    "q1": (
        "How does OHIO with dynamics learned from scratch compare with a given approximate model?",
        draw_learning,
        learning,
        "recovery",
    ),
    "q2": ("How sensitive is OHIO to the accuracy of the dynamics?", draw_accuracy, accuracy, "recovery"),
    "q4": ("How does a stochastic low level affect it?", draw_noise, noise, "calibration"),
    "q5": ("What does the inverse cost, and how does the cost grow with the problem?", draw_cost, growth, "cost"),
}


def text(found: runs.Found, drawn: dict[str, Path], preset: str, stale: str = "") -> str:
    """The page, from run files alone."""
    latest = max((cell for cells in found.values() for cell in cells), key=lambda cell: cell["provenance"]["time"])
    parts = []
    for question, (title, _, make, kind) in QUESTIONS.items():
        if found[kind]:
            parts += [f"## {question.upper()}: {title}"]
            parts += [f"![{question}]({drawn[question].name})"] if question in drawn else []
            parts += make(found)
    warning = "**Quick run: a smoke test, not a measurement.**" if preset == "quick" else ""
    given = {
        "command": f"ohio-jax sensitivity --preset {preset}",
        "source": origin(latest["provenance"]),
        "stale": stale,
        "warning": warning,
        "questions": "\n\n".join(parts),
        "provenance": machine(latest["provenance"]),
    }
    return filled("ohio_bench.report", "sensitivity", {**latest, **given})
