"""Which cells hold the same trained policy: one policy is one unit of evidence, however many cells it fills.

And what policies learned from, as the cards of run files say.
"""

import json
import math
from collections.abc import Hashable, Sequence
from typing import Any


def cards(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """The cards of the transitions that a cell learned from, one for each data set; none of a scripted policy."""
    found = cell.get("data") or []
    return found if isinstance(found, list) else [found]


def counts(numbers: list[float]) -> str:
    """Least and most over the runs; nothing where they are not known."""
    if not numbers or any(map(math.isnan, numbers)):
        return ""
    return f"{min(numbers):,.0f}" if min(numbers) == max(numbers) else f"{min(numbers):,.0f} to {max(numbers):,.0f}"


def trained_on(card: dict[str, Any]) -> float:
    """Transitions of weight above 0; NaN if that is not known."""
    if "trained_on" in card or "transitions" not in card:
        return card.get("trained_on", float("nan"))
    # Earlier cards do not count them: weights were 0 where the inverse failed, and where what is not exact was dropped.
    without = ("failed", "ambiguous", "unexplained")[: 3 if card.get("weights") == "drop" else 1]
    return card["transitions"] - sum(card.get(name, 0) for name in without)


def logs_of(cell: dict[str, Any]) -> tuple[Any, ...]:
    """Digests of the logs that a cell learned from, one a run: under one name, other processors make others."""
    return tuple(card.get("source_sha256") for card in cards(cell))


def same_logs(cell: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether the runs that two cells share may have learned from the same logs: by digest, or, of two platforms, by name."""
    each = [[(card.get("source_sha256"), card.get("platform")) for card in cards(of)] for of in (cell, other)]
    alike = lambda a, b: a[0] == b[0] or (None not in (*a, *b) and a[1] != b[1])
    return all(map(alike, *each))


def policy_of(cell: dict[str, Any]) -> tuple[Hashable, ...] | None:
    """What tells trained policies apart: the transitions that each was learned from, its plan and its action interface.

    None where transitions have no digest, and for scripted policies.
    """
    digests, config = tuple(card.get("sha256") for card in cards(cell)), cell["config"]
    return (digests, _text(config["plan"]), config["interface"]) if digests and all(digests) else None


def outcome_of(cell: dict[str, Any]) -> tuple[Hashable, ...] | None:
    """The same for two cells whose policies were learned from the same transitions by the same plan and earned the same returns.

    The interface is no part of it: two of them may give the same transitions, and then the same actions.
    """
    policy = policy_of(cell)
    return None if policy is None else (*policy[:2], _text(cell["returns"]))


def first_of(cells: Sequence[dict[str, Any]]) -> list[int]:
    """For each cell the place of the first with the same outcome; its own where there is none before it."""
    places: dict[Hashable, int] = {}
    outcomes = [outcome_of(cell) for cell in cells]
    return [i if outcome is None else places.setdefault(outcome, i) for i, outcome in enumerate(outcomes)]


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
