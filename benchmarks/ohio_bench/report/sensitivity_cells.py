"""Run files of the sensitivity experiment as its page and its plots read them."""

from collections.abc import Iterator
from typing import Any

Found = dict[str, list[dict[str, Any]]]  # run files by kind
MIDDLE = 1  # the median among `recovery.QUANTILES`
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
}


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


def grown(found: Found, kind: str, platform: str) -> list[dict[str, Any]]:
    """Cells of what grows, by size."""
    return sorted(pick(found["cost"], kind=kind, platform=platform), key=lambda cell: cell["config"]["size"])


def value(found: Found, cell: dict[str, Any], inverse: str, of: str) -> float | None:
    """The median of a measure in a cell of recovery, or the score of behavior cloning on such actions; None if there is none."""
    if of != "score":
        found_by = cell["found"]["inverses"].get(inverse)
        return found_by[of][MIDDLE] if found_by else None
    same = {key: cell["config"][key] for key in ("belief", "steps", "noise")}
    cells = pick(found["score"], **same, inverse=inverse)
    return cells[0]["found"]["score"] if cells else None


def learned(found: Found) -> tuple[int, list[dict[str, Any]], list[str]]:
    """What the first question is about: a segment length, its cells of recovery without noise, and inverses."""
    steps = middle(found["score"] or found["recovery"])
    cells = pick(found["recovery"], steps=steps, noise=0.0)
    names = ("analytic", "ridge", "least_squares")
    return steps, cells, [name for name in names if cells and name in cells[0]["found"]["inverses"]]


def curves(found: Found, steps: int) -> Iterator[tuple[str, list[tuple[float, dict[str, Any]]]]]:
    """For each inverse, points (model error, cell) in order of model error, without noise."""
    cells = sorted(pick(found["recovery"], steps=steps, noise=0.0), key=lambda cell: cell["found"]["model_error"])
    for inverse in cells[0]["found"]["inverses"] if cells else ():
        yield inverse, [(cell["found"]["model_error"], cell) for cell in cells if inverse in cell["found"]["inverses"]]


def text(of: dict[str, Any]) -> str:
    """Recovery error as the page has it: in directions that show, and in all entries."""
    return f"{of['error_that_shows'][MIDDLE]:.2g} ({of['error'][MIDDLE]:.2g})"
