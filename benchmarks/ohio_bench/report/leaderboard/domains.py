"""A line a domain: its best hierarchical and its best end-to-end method, and the paired difference between them.

A summary of the run files, not a claim: both methods are picked by the very scores that are then compared.
"""

from dataclasses import dataclass

import numpy as np

from ohio_bench.report.aggregate import Board, complete
from ohio_jax import scores


@dataclass(frozen=True)
class Picked:
    """The method with the highest mean of `table`, Float[R, T], scores of R runs on T data sets, among `of` methods."""

    name: str
    table: np.ndarray
    of: int


@dataclass(frozen=True)
class Domain:
    """What the line says. Either method is None where the domain has none with a run file for every data set."""

    title: str
    hierarchical: Picked | None
    end_to_end: Picked | None

    @property
    def seeds(self) -> int:
        """Runs that both methods have."""
        return min(len(picked.table) for picked in (self.hierarchical, self.end_to_end) if picked)

    @property
    def difference(self) -> scores.Difference | None:
        """Hierarchical minus end-to-end, paired over data sets and runs.

        Each run's difference is its mean over the data sets; the interval is over runs, with data sets and test episodes as
        they are.
        """
        if self.hierarchical is None or self.end_to_end is None:
            return None
        ours, theirs = (of.table[: self.seeds].mean(axis=1) for of in (self.hierarchical, self.end_to_end))
        return scores.paired(ours, theirs)

    @property
    def text(self) -> str:
        said = "; ".join([_best("hierarchical", self.hierarchical), _best("end-to-end", self.end_to_end)])
        some = self.hierarchical or self.end_to_end
        sets = f"{some.table.shape[1]} data sets" if some else ""
        if self.difference is None:
            return f"{said}; {sets}."
        effect, low, high, _ = self.difference
        mean, least, most = (f"{value:.1f}".replace("-", "−") for value in (effect, low, high))
        verdict = "; not distinguishable" if low <= 0 <= high else ""
        return f"{said}. Difference {mean}, 95 % interval {least} to {most}{verdict}; {sets}, {self.seeds} runs."


def _best(kind: str, picked: Picked | None) -> str:
    if picked is None:
        return f"no {kind} method has a run for every data set"
    return f"{picked.name} {picked.table.mean():.1f} (best mean of {picked.of} {kind} method{'s' * (picked.of > 1)})"


def domain(board: Board) -> Domain | None:
    """The line of a table, from our own run files alone; None for tables with one run or without a complete method."""
    ours = complete(board.table, [entry for entry in board.entries if "author" not in entry.cell])
    kinds: dict[bool, list[tuple[str, np.ndarray]]] = {False: [], True: []}
    for column, table in ours.items():
        if len(table) > 1:
            kinds[column.interface.startswith("end_to_end")].append((column.name, table))
    picked = {}
    for flat, methods in kinds.items():
        best = max(methods, key=lambda method: method[1].mean(), default=None)
        picked[flat] = Picked(*best, len(methods)) if best else None
    return Domain(board.table.title, picked[False], picked[True]) if any(picked.values()) else None
