"""Run files of the sensitivity experiment as its page and its plots read them."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ohio_jax.scores import t_interval

Found = dict[str, list[dict[str, Any]]]  # run files by kind
MEDIAN, LAST = 1, 2  # the median and the 95 % quantile among `answers.QUANTILES`
LEFT = 1e-4  # where the true model stands on a logarithmic axis of model error
MEASURES = (
    ("error_that_shows", "recovery error, standard deviations"),
    ("true_residual", "residual under true dynamics, standard deviations"),
)
GROWTH = {
    "segments": "segments a call",
    "horizon": "steps a segment, h",
    "dimension": "entries of a high-level action",
    "regions": "regions of the city",
    "stores": "stores of the warehouse",
}
Values = Sequence[float | None]


def belief(config: dict[str, Any]) -> str:
    """How a model is called on the page."""
    of = config["belief"]
    if of["share"]:
        return f"learned, {100 * of['share']:g} %" + (f", A and B off by {100 * of['noise']:g} %" if of["noise"] else "")
    return "true" if of["factor"] == 1 else f"{of['quantity']} {100 * (of['factor'] - 1):+g} %"


def rank(config: dict[str, Any]) -> tuple[float, float, str, float]:
    """True first, then wrong constants, then learned models by share, then those with noise."""
    of = config["belief"]
    known = not of["share"] and of["factor"] == 1
    return of["share"], of["noise"], "" if known else of["quantity"], 0.0 if known else of["factor"]


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


def grown(found: Found, kind: str, platform: str) -> list[dict[str, Any]]:
    """Cells of what grows, by size."""
    return sorted(pick(found["cost"], kind=kind, platform=platform), key=lambda cell: cell["config"]["size"])


# --- Runs -------------------------------------------------------------------------------------------------------------


def mean(of: Values) -> float | None:
    """Of the runs that have a value; None if none has."""
    known = [x for x in of if x is not None]
    return float(np.mean(known)) if known else None


def half_width(of: Values) -> float:
    """Of the mean's 95 % t interval; 0 where there is none, as of a single run."""
    known = [x for x in of if x is not None]
    low, high = t_interval(known) if len(known) > 1 else (0.0, 0.0)
    return float(high - low) / 2


def shown(of: Values, form: str = ".2g") -> str:
    """Mean over runs and half the width of its interval."""
    middle, half = mean(of), half_width(of)
    return "" if middle is None else format(middle, form) + (f" ± {half:{form}}" if half else "")


def each(cell: dict[str, Any], inverse: str, of: str, at: int = MEDIAN) -> list[float | None]:
    """Of each run of a cell of recovered actions, a quantile over segments, or a number; nothing for another inverse."""
    found = [run["inverses"][inverse][of] for run in cell["found"]["runs"] if inverse in run["inverses"]]
    return [x[at] if isinstance(x, list) else x for x in found]


def inverses(cell: dict[str, Any]) -> list[str]:
    return list(cell["found"]["runs"][0]["inverses"])


def model_error(cell: dict[str, Any]) -> float:
    return mean([run["model_error"] for run in cell["found"]["runs"]]) or 0.0


def measure(found: Found, cell: dict[str, Any], inverse: str, of: str) -> Values:
    """Of each run the median of a measure in a cell of recovery, or the score of behavior cloning on such actions."""
    if of != "score":
        return each(cell, inverse, of)
    same = {key: cell["config"][key] for key in ("belief", "steps", "noise")}
    cells = pick(found["score"], **same, inverse=inverse)
    return cells[0]["found"]["scores"] if cells else []


def learned(found: Found) -> tuple[int, list[dict[str, Any]], list[str]]:
    """What the first question is about: a segment length, its cells of recovery without noise, and inverses."""
    steps = middle(found["score"] or found["recovery"])
    cells = pick(found["recovery"], steps=steps, noise=0.0)
    names = ("analytic", "ridge", "least_squares")
    return steps, cells, [name for name in names if cells and name in inverses(cells[0])]


def curves(found: Found, steps: int) -> Iterator[tuple[str, list[tuple[float, dict[str, Any]]]]]:
    """For each inverse, points (model error, cell) in order of model error, without noise."""
    cells = sorted(pick(found["recovery"], steps=steps, noise=0.0), key=model_error)
    for inverse in inverses(cells[0]) if cells else ():
        yield inverse, [(model_error(cell), cell) for cell in cells if inverse in inverses(cell)]


def told(found: Found) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Cells of other domains by (domain, quantity), in order of the factor."""
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for cell in sorted(found["domain"], key=lambda cell: cell["config"]["factor"]):
        by.setdefault((cell["config"]["domain"], cell["config"]["quantity"]), []).append(cell)
    return dict(sorted(by.items()))


def text(cell: dict[str, Any], inverse: str) -> str:
    """Recovery error as the page has it: in directions that show, and in all entries."""
    whole = mean(each(cell, inverse, "error"))
    return shown(each(cell, inverse, "error_that_shows")) + (f" ({whole:.2g})" if whole is not None else "")


def share(cell: dict[str, Any], inverse: str, *statuses: str) -> list[float]:
    """Of each run, how many of a hundred segments have one of these statuses."""
    of = [run["inverses"][inverse] for run in cell["found"]["runs"]]
    return [100 * sum(one[status] for status in statuses) / one["segments"] for one in of]
