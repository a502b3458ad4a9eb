"""Claims: sentences that compare two methods, declared as data and judged by the run files alone.

The unit is a run: run r of two methods shares training seed, data and test episodes, so what is judged is Student's interval of
the mean difference over runs, with data sets and test episodes as they are. The claims of an experiment's preset are one family,
for whose number Holm's procedure corrects; what cannot be tested yet counts as one of them.
"""

import dataclasses
import math
import re
import string
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ohio_bench.runner.cell import RESULTS, Experiment
from ohio_jax import limits, scores
from ohio_jax.errors import UserError, short

ALPHA = scores.LEVEL  # chance that any claim of a family is decided wrongly
NAMED = 4  # missing cells that a sentence names
HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"
FIELDS = ("difference", "runs", "rows", "updates", "their_updates")  # what a sentence may be filled with
DIGITS = 4  # significant ones of stored numbers: what another machine's rounding does not change

Relation = Literal["above", "below", "within", "equal"]


@dataclass(frozen=True)
class Claim:
    """A sentence about the difference between two methods; stated before its cells are run, judged by `judge`.

    Attributes:
        name: unique within its experiment.
        sentence: a template. `{difference}` becomes what the interval allows, such as "3.1 (1.0 to 5.2) more than", whatever was
            claimed; `{runs}`, `{rows}`, `{updates}` and `{their_updates}` are counts.
        ours: a method by its column's name, so with one inverse and one learner.
        theirs: another one, a scripted policy, or a number.
        relation: what is claimed of ours minus theirs: "above" means more than `margin`, "below" less than -`margin`, "within"
            no further than `margin` from 0, "equal" the same returns in every run and episode.
        rows: names of data sets; all of the preset if there are none.
        statistic: `score`, the mean normalized score, or another number that the experiment's cells have, such as `success`.
    """

    name: str
    sentence: str
    ours: str
    theirs: str | float
    relation: Relation = "above"
    margin: float = 0.0
    rows: tuple[str, ...] = ()
    statistic: str = "score"
    preset: str = "cpu"

    def __post_init__(self):
        def check(field: str, sound: bool, expected: str) -> None:
            if not sound:
                found = short(getattr(self, field))
                raise UserError(f"claim {short(self.name)}: field {field}: expected {expected}, found {found}")

        number = lambda value: limits.within(value, limits.REAL)
        fields = f"{{difference}} and no other field than {', '.join(FIELDS)}"
        for field in ("name", "preset", "statistic"):
            word = getattr(self, field)
            check(field, isinstance(word, str) and bool(re.fullmatch(r"[\w.+-]+", word)), "one word")
        check("sentence", _is_template(self.sentence), f"a line of text with {fields}")
        check("ours", isinstance(self.ours, str), "a method")
        check("theirs", isinstance(self.theirs, str) or number(self.theirs), "a method or a number")
        check("relation", self.relation in get_args(Relation), f"one of {', '.join(get_args(Relation))}")
        check("margin", number(self.margin), "a finite number")
        sound = {"within": self.margin > 0, "equal": self.margin == 0}.get(self.relation, self.margin >= 0)
        check("margin", sound, {"within": "a number above 0", "equal": "0"}.get(self.relation, "a number not below 0"))
        check("rows", isinstance(self.rows, tuple) and all(isinstance(row, str) for row in self.rows), "a tuple of names")

    @property
    def region(self) -> tuple[float, float]:
        """The differences of which the claim is true; without the bounds."""
        return {
            "above": (self.margin, math.inf),
            "below": (-math.inf, -self.margin),
            "within": (-self.margin, self.margin),
            "equal": (0.0, 0.0),
        }[self.relation]


def _is_template(sentence: Any) -> bool:
    """Whether a sentence can be filled, and then stands as a line between markers."""
    try:
        fields = [of for _, *of in string.Formatter().parse(sentence) if of[0] is not None]
    except (TypeError, ValueError):  # no text, and braces that do not match
        return False
    bare = all(name in FIELDS and not spec and conversion is None for name, spec, conversion in fields)
    return bare and "difference" in (name for name, _, _ in fields) and sentence.isprintable() and "<!--" not in sentence


@dataclass(frozen=True)
class Measured:
    """What a run file says of a method on a row.

    Attributes:
        name: of the cell.
        values: statistic -> `Float[R]`, a number a run; none of a method that was not trained.
        seeds: of the runs; none of a scripted policy, whose one number is compared with every run.
        tests: which episodes it was tested on. data: the logs it learned from, by digest; None of a scripted policy.
        policy: equal of cells that play the same policies with the same returns, see `ohio_bench.report.policies`.
        updates: of the learner, None of a scripted policy.
        stale: whether other source made it than today's, and nothing shows that today's gives the same.
    """

    name: str
    values: dict[str, np.ndarray]
    seeds: tuple[int, ...]
    tests: Any
    data: Any
    policy: Hashable
    updates: int | None
    stale: bool


Evidence = dict[tuple[str, str], Measured]  # by row and column; of a scripted policy by the row's first word and its name


@dataclass(frozen=True)
class Judged:
    """A claim and what the run files say of it. Where they cannot decide it, `why` says so, and what they do not say is None.

    Attributes:
        ours, theirs: mean statistic of either, over rows and runs.
        effect, low, high: mean difference, ours minus theirs, and its interval, whose level `confidence` is the one at which
            Holm's procedure tests the claim.
        p: the largest level, as a chance of error, at which the interval would leave the claim undecided; adjusted: by Holm.
        runs, rows: how many count. Rows on which the same two policies play count once. same: rows on which both methods play
            the same policy.
        collapsed: runs of these methods that collapsed, see `ohio_jax.scores.collapsed`; no interval covers what such runs do.
        cells: names of what was compared. missing: of what has no run file.
        stale: whether any of them is.
    """

    claim: Claim
    verdict: str
    why: str = ""
    ours: float | None = None
    theirs: float | None = None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    p: float | None = None
    adjusted: float | None = None
    runs: int = 0
    rows: int = 0
    same: int = 0
    collapsed: int = 0
    updates: tuple[int | None, int | None] = (None, None)
    cells: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    stale: bool = False

    def as_json(self) -> dict[str, Any]:
        return _rounded({**dataclasses.asdict(self), "claim": dataclasses.asdict(self.claim)})


@dataclass(frozen=True)
class _Compared:
    """Statistics of a claim's two methods over its runs, `Float[R]` each, or `why` there are none."""

    ours: np.ndarray
    theirs: np.ndarray
    pairs: tuple[tuple[Measured, Measured | None], ...]
    why: str = ""
    missing: tuple[str, ...] = ()


def judge(claims: Sequence[Claim], evidence: Evidence, rows: Iterable[str] = ()) -> list[Judged]:
    """One verdict a claim; the claims are a family.

    Args:
        rows: what claims speak of that name no rows.

    Raises:
        UserError: for two claims of one name.
    """
    names = [claim.name for claim in claims]
    if len(set(names)) < len(names):
        raise UserError(f"claims: expected a name for each, found {short(max(names, key=names.count))} more than once")
    rows = tuple(rows)
    found = [_compare(claim, evidence, claim.rows or rows) for claim in claims]
    tested = [i for i, claim in enumerate(claims) if claim.relation != "equal"]
    p = np.array([1.0 if found[i].why else _p(claims[i], found[i]) for i in tested])
    levels = dict(zip(tested, zip(p, scores.holm(p), _confidence(p), strict=True), strict=True)) if tested else {}
    return [_judged(claim, of, levels.get(i)) for i, (claim, of) in enumerate(zip(claims, found, strict=True))]


def of_experiment(experiment: Experiment, results: Path = RESULTS) -> dict[str, list[Judged]]:
    """Every claim that an experiment declares, by preset; from run files alone."""
    presets = dict.fromkeys(claim.preset for claim in experiment.claims)
    out = {}
    for preset in presets:
        family = [claim for claim in experiment.claims if claim.preset == preset]
        rows = () if all(claim.rows for claim in family) else experiment.groups(experiment.preset(preset))
        out[preset] = judge(family, experiment.measured(results, preset), rows)
    return out


def _compare(claim: Claim, evidence: Evidence, rows: Sequence[str]) -> _Compared:
    nothing = lambda why, missing=(): _Compared(np.zeros(0), np.zeros(0), (), why, tuple(missing))
    constant = not isinstance(claim.theirs, str)
    pairs: dict[tuple[Hashable, Hashable], tuple[Measured, Measured | None]] = {}
    missing, lacking, unpaired, untrained = [], [], [], []
    for row in rows:
        methods = [claim.ours] if constant else [claim.ours, str(claim.theirs)]
        found = {name: _find(evidence, row, name) for name in methods}
        missing += [f"{row} {name}" for name, of in found.items() if of is None]
        untrained += [f"{name} on {row}" for name, of in found.items() if of and not of.values]
        lacking += [f"{name} on {row}" for name, of in found.items() if of and of.values and claim.statistic not in of.values]
        ours, theirs = found[claim.ours], None if constant else found[str(claim.theirs)]
        if missing or untrained or lacking or ours is None:
            continue
        if theirs and (ours.tests != theirs.tests or (theirs.data is not None and ours.data != theirs.data)):
            unpaired.append(row)
        pairs.setdefault((ours.policy, theirs.policy if theirs else ""), (ours, theirs))
    if untrained:
        return nothing(f"not trained, since too few transitions were left: {', '.join(untrained)}")
    if lacking:
        return nothing(f"no {short(claim.statistic)} in the run files of {', '.join(lacking)}")
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        return nothing(f"no run file of {', '.join(missing[:NAMED])}{more}", missing)
    if unpaired:
        return nothing(f"logs or test episodes of the two methods differ on {', '.join(unpaired)}")
    kept = tuple(pairs.values())
    if claim.relation != "equal" and all(theirs and ours.policy == theirs.policy for ours, theirs in kept):
        return nothing(f"both methods play the same policy on {', '.join(rows)}, which is no comparison")
    learned = [of for pair in kept for of in pair if of and of.seeds]
    seeds = sorted(set.intersection(*(set(of.seeds) for of in learned))) if learned else []
    if len(seeds) < 2:
        return nothing(f"expected at least two runs that both methods share, found {len(seeds)}")
    mean = lambda side: np.mean([_values(of, seeds, claim.statistic) for of in side], axis=0)
    theirs = np.full(len(seeds), float(claim.theirs)) if constant else mean([pair[1] for pair in kept])
    return _Compared(mean([pair[0] for pair in kept]), theirs, kept)


def _find(evidence: Evidence, row: str, column: str) -> Measured | None:
    return evidence.get((row, column)) or evidence.get((row.split("-")[0], column))


def _values(of: Measured, seeds: Sequence[int], statistic: str) -> np.ndarray:
    """`Float[R]`, of the runs of these seeds."""
    values = np.asarray(of.values[statistic], np.float64)
    return values[[of.seeds.index(seed) for seed in seeds]] if of.seeds else np.full(len(seeds), values.mean())


def _p(claim: Claim, of: _Compared) -> float:
    """Of the nearest bound of the claim's region, two-sided: at any smaller level the interval has that bound within it."""
    effect = float(np.mean(of.ours - of.theirs))
    nearest = min((bound for bound in claim.region if math.isfinite(bound)), key=lambda bound: abs(effect - bound))
    return float(scores.paired(of.ours, of.theirs + nearest).p)


def _confidence(p: np.ndarray) -> np.ndarray:
    """`Float[M]`, levels of the intervals that exclude a bound exactly where Holm's procedure rejects it.

    The k-th smallest of M p values is tested at ALPHA / (M - k + 1); from the first one that is not below its level on, all are
    tested at that one's.
    """
    order, alone = np.argsort(p, kind="stable"), ALPHA / np.arange(len(p), 0, -1)
    stopped = np.flatnonzero(p[order] > alone)
    if len(stopped):
        alone[stopped[0] :] = alone[stopped[0]]
    out = np.empty(len(p))
    out[order] = 1.0 - alone
    return out


def _judged(claim: Claim, of: _Compared, tested: tuple[float, float, float] | None) -> Judged:
    if of.why:
        return Judged(claim, UNDECIDED, of.why, missing=of.missing)
    cells = {cell.name: cell for pair in of.pairs for cell in pair if cell}
    ours, theirs = of.pairs[0]
    common: dict[str, Any] = {
        "ours": float(of.ours.mean()),
        "theirs": float(of.theirs.mean()),
        "effect": float(np.mean(of.ours - of.theirs)),
        "runs": len(of.ours),
        "rows": len(of.pairs),
        "same": sum(other is not None and mine.policy == other.policy for mine, other in of.pairs),
        "collapsed": sum(int(scores.collapsed(cell.values["score"]).sum()) for cell in cells.values() if "score" in cell.values),
        "updates": (ours.updates, theirs.updates if theirs else None),
        "cells": tuple(cells),
        "stale": any(cell.stale for cell in cells.values()),
    }
    if tested is None:
        return Judged(claim, HOLDS if common["same"] == common["rows"] else FAILS, **common)
    p, adjusted, confidence = map(float, tested)
    effect, low, high, _ = scores.paired(of.ours, of.theirs, confidence)
    if not math.isfinite(low):
        most = math.ceil(1 - math.log2(1 - confidence))
        why = f"all {len(of.ours)} runs differ by the same {effect:.1f}, which decides nothing before there are {most} of them"
        return Judged(claim, UNDECIDED, why, confidence=confidence, p=p, adjusted=adjusted, **common)
    first, last = claim.region
    verdict = HOLDS if first < low and high < last else FAILS if high <= first or last <= low else UNDECIDED
    return Judged(claim, verdict, low=low, high=high, confidence=confidence, p=p, adjusted=adjusted, **common)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(of) for name, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(of) for of in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
