"""The page of `ohio-jax sensitivity`, made of its run files alone."""

from functools import partial
from pathlib import Path

import numpy as np

from ohio_bench.report import sensitivity_cells as runs
from ohio_bench.report.sensitivity_plots import draw_accuracy, draw_controllers, draw_cost, draw_learning, draw_noise
from ohio_bench.report.text import filled, machine, number, origin, table
from ohio_bench.runner import store
from ohio_bench.runner.cell import Report
from ohio_bench.runner.freshness import Declared, freshness
from ohio_jax.errors import UserError

KINDS = ("recovery", "calibration", "score", "domain", "controller", "cost")  # of run files, see `ohio_bench.runner.schema`


def kind(name: str) -> str:
    """The kind of a cell's run file, which its name begins with."""
    return name.partition("/")[0]


def load(results: Path, preset: str) -> runs.Found:
    """The run files. Raises UserError for a damaged one, and for two of one configuration."""
    place, check = store.folder("sensitivity", preset, results), partial(store.check_place, "sensitivity", preset)
    found = {kind: store.read_all(place / kind, kind, check) for kind in KINDS}
    for kind, cells in found.items():
        first: dict[str, Path] = {}
        for path, cell in zip(sorted((place / kind).glob("*.json")), cells, strict=True):
            if (other := first.setdefault(store.digest(cell["config"]), path)) != path:
                raise UserError(f"{path}: expected another configuration than that of {other.name}, found the same")
    return found


def report(results: Path, preset: str, declared: Declared) -> Report:
    """The page and the plots whose cells exist. declared: see `ohio_bench.runner.freshness`."""
    found = load(results, preset)
    if not any(found.values()):
        return Report({})
    base = results / ("sensitivity" if preset == "cpu" else f"sensitivity-{preset}")
    drawn: dict[str, tuple[Path, bytes]] = {}
    for question, (_, draw, _, _) in QUESTIONS.items():
        picture = draw(found)
        if picture is not None:
            drawn[question] = base.with_name(f"{base.name}-{question}.png"), picture
    fresh = freshness((cell for cells in found.values() for cell in cells), results, declared)
    page = text(found, {question: path for question, (path, _) in drawn.items()}, preset, fresh.text())
    return Report({base.with_suffix(".md"): page.encode(), **dict(drawn.values())}, freshness=fresh)


def power_of(points: np.ndarray) -> float:
    """The exponent p of y ~ x^p that fits points: `Float[N, 2]`."""
    x, y = np.log(points).T
    return float(np.polyfit(x, y, 1)[0])


def learning(found: runs.Found) -> list[str]:
    steps, cells, shown = runs.learned(found)
    parts, rows = [], []
    for cell in cells:
        medians = [runs.shown(runs.measure(found, cell, name, key)) for key, _ in runs.MEASURES for name in shown]
        played = [runs.shown(runs.measure(found, cell, name, "score"), ".1f") for name in shown]
        rows.append([runs.belief(cell["config"]), f"{runs.model_error(cell):.2g}", *medians, *played])
    heads = [f"{what}, {name}" for what in ("error", "true residual", "score") for name in shown]
    if rows:
        parts.append(table([f"model, h = {steps}", "model error", *heads], rows))
    key = shown[-1] if shown else ""
    medians_of = {runs.belief(c["config"]): runs.mean(runs.measure(found, c, key, "error_that_shows")) for c in cells}
    median = {name: error for name, error in medians_of.items() if error is not None}
    for name, error in median.items():
        if not name.startswith(("true", "learned")):
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
            names, first = runs.inverses(cells[0]), cells[0]["found"]["runs"]
            rows = []
            for cell in cells:
                texts = [runs.text(cell, name) if name in runs.inverses(cell) else "" for name in names]
                rows.append([runs.belief(cell["config"]), f"{runs.model_error(cell):.2g}", *texts])
            of = lambda key, first=first: np.mean([run[key] for run in first])
            parts += [
                f"### Reacher, h = {steps}, torque noise {noise:g}",
                f"{of('directions_that_show'):.2f} of {len(first[0]['spread'])} directions of a high-level action are "
                f"identifiable on average; {100 * of('torques_on_their_bounds'):.1f} % of torques are at their bounds.",
                table(["model", "model error", *names], rows),
            ]
    steepest = []
    for steps in runs.values(runs.pick(found["recovery"], noise=0.0), "steps"):
        for inverse, points in runs.curves(found, steps):
            seen = [(at, runs.mean(runs.each(cell, inverse, "error_that_shows"))) for at, cell in points]
            error = np.array([point for point in seen if point[0] > runs.LEFT and point[1]])
            if len(error) > 2:
                steepest.append((steps, inverse, power_of(error)))
    if steepest:
        parts.append("Exponent with which recovery error grows with model error (least-squares fit of logarithms):")
        lengths = sorted({steps for steps, *_ in steepest})
        by = {(steps, inverse): power for steps, inverse, power in steepest}
        powers = lambda name: [f"{by[h, name]:.2f}" if (h, name) in by else "" for h in lengths]
        rows = [[name, *powers(name)] for name in dict.fromkeys(name for _, name, _ in steepest)]
        parts.append(table(["inverse", *(f"h = {h}" for h in lengths)], rows))
    return parts + elsewhere(found)


def elsewhere(found: runs.Found) -> list[str]:
    """Wrong models of other domains."""
    parts = []
    for (domain, quantity), cells in runs.told(found).items():
        rows = []
        for cell in cells:
            for name in runs.inverses(cell):
                numbers = [runs.shown(runs.each(cell, name, key)) for key in ("error_that_shows", "error", "true_residual")]
                unexplained = runs.shown(runs.share(cell, name, "unexplained", "failed"), ".3g")
                most = max(x for x in runs.each(cell, name, "change") if x is not None)
                change = f"{most:.2g}" if most else "none"
                rows.append(
                    [f"{cell['config']['factor']:g}, {name}", f"{runs.model_error(cell):.2g}", *numbers, unexplained, change]
                )
        heads = ["model error", "error", "all entries", "true residual", "unexplained, %", "largest change of an answer"]
        parts += [f"### {domain.capitalize()}: {quantity} wrong by a factor", table(["factor, inverse", *heads], rows)]
    return parts


def noise(found: runs.Found) -> list[str]:
    rows = []
    for cell in sorted(found["calibration"], key=lambda c: (c["config"]["steps"], runs.rank(c["config"]), c["config"]["noise"])):
        config, each = cell["config"], cell["found"]["runs"]
        for name in each[0]:
            numbers = [runs.shown([run[name][key] for run in each], ".3g") for key in CALIBRATION]
            errors = [run[name]["error_that_shows"] for run in each]
            last = runs.shown([error and error[runs.MEDIAN] for error in errors])
            rows.append([f"h = {config['steps']}, {runs.belief(config)}, {config['noise']:g}, {name}", *numbers, last])
    parts = [table(["", *CALIBRATION, "error"], rows)] if rows else []
    cells = [cell for cell in found["score"] if runs.belief(cell["config"]) == "true"]
    noises, lines = runs.values(cells, "noise"), {}
    for cell in cells:
        lines.setdefault(cell["config"]["inverse"], {})[cell["config"]["noise"]] = runs.shown(cell["found"]["scores"], ".1f")
    rows = [[name, *(of[x] for x in noises)] for name, of in lines.items() if len(of) == len(noises)]
    if rows and len(noises) > 1:
        parts.append("Scores, true model, tested under the same noise; posterior weights transitions:")
        parts.append(table(["", *(f"noise {x:g}" for x in noises)], rows))
    return parts


CALIBRATION = ("bias", "slope", "variance", "coverage", "bar")


def growth(found: runs.Found) -> list[str]:
    parts = []
    for platform in runs.values(found["cost"], "platform"):
        for kind in runs.GROWTH:
            cells = runs.grown(found, kind, platform)
            rows, powers = [], {}
            for cell in cells:
                for name, of in cell["found"].items():
                    powers.setdefault(name, []).append((cell["config"]["size"], 1 / np.mean(of["rates"])))
                    numbers = map(number, (of["temporary"], of["temporary"] / of["segments"], of["compile_seconds"]))
                    rate = f"{number(np.mean(of['rates']))} ± {number(runs.half_width(of['rates']))}"
                    rows.append(
                        [f"{cell['config']['size']}, {name}", number(of["segments"]), rate, *numbers, runs.shown(of["errors"])]
                    )
            columns = ["segments", "a second", "temporary bytes", "a segment", "compile, s", "error"]
            parts += [f"### {platform}: {runs.GROWTH[kind]}", table(["", *columns], rows)] if rows else []
            for name, points in powers.items():
                last = np.array(points[len(points) // 2 :])
                if len(last) > 1:
                    power = power_of(last)
                    parts.append(f"- {name}: seconds a segment grow with exponent {power:.2f} over the upper half of sizes.")
    return parts


def controllers(found: runs.Found) -> list[str]:
    """C1: one table."""
    rows = []
    for cell in found["controller"]:
        seen = np.mean([run["directions_that_show"] for run in cell["found"]["runs"]])
        of = f"{cell['config']['controller']} ({seen:.1f} of {len(cell['found']['runs'][0]['spread'])})"
        for name in runs.inverses(cell):
            errors = [runs.shown(runs.each(cell, name, "error_that_shows", at)) for at in (runs.MEDIAN, runs.LAST)]
            status = [runs.shown(runs.share(cell, name, status), ".3g") for status in ("unique", "ambiguous", "unexplained")]
            rate = number(runs.mean(runs.each(cell, name, "rate")))
            count = number(cell["found"]["runs"][0]["inverses"][name]["segments"])
            rows.append([of, name, *errors, *status, rate, count])
    heads = ["error, median", "95 %", "unique, %", "ambiguous, %", "unexplained, %", "segments a second", "segments a run"]
    return [table(["controller (identifiable directions)", "inverse", *heads], rows, 2)]


# Question -> its title, plot and text, and the kinds of cells without any of which it is not asked.
QUESTIONS = {
    "q1": (
        "How does OHIO with dynamics learned from scratch compare with a given approximate model?",
        draw_learning,
        learning,
        ("recovery",),
    ),
    "q2": ("How sensitive is OHIO to the accuracy of the dynamics?", draw_accuracy, accuracy, ("recovery", "domain")),
    "q4": ("How does a stochastic low level affect it?", draw_noise, noise, ("calibration",)),
    "q5": ("What does the inverse cost, and how does the cost grow with the problem?", draw_cost, growth, ("cost",)),
    "c1": ("Which inverses recover high-level actions under which controllers?", draw_controllers, controllers, ("controller",)),
}


def text(found: runs.Found, drawn: dict[str, Path], preset: str, stale: str = "") -> str:
    """The page, from run files alone."""
    latest = max((cell for cells in found.values() for cell in cells), key=lambda cell: cell["provenance"]["time"])
    parts = []
    for question, (title, _, make, kinds) in QUESTIONS.items():
        if any(found[kind] for kind in kinds):
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
