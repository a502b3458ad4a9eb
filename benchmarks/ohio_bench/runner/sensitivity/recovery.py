"""How far recovered goals are from those that were asked for, and how honest their error bars are."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ohio_bench.runner.sensitivity import arm
from ohio_jax.controllers import relative
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem

QUANTILES = (0.1, 0.5, 0.9)
STATUS = {"unique": UNIQUE, "ambiguous": AMBIGUOUS, "unexplained": UNEXPLAINED, "failed": FAILED}
BOUND_95 = 1.959964  # deviations that hold 95 % of a normal distribution


def visible(J: arm.Array, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(directions Float[N, r, g], Bool[N, r]) of goal space, in units of `spread`, and whether each shows.

    A direction shows if a change of the goal by one spread moves the residual by more than the noise: the right singular
    vectors of J diag(spread) whose singular value is above 1. J: Float[N, k, g], whitened; spread: Float[g].
    """
    _, size, directions = np.linalg.svd(np.asarray(J, np.float64) * spread, full_matrices=False)
    return directions, size > 1.0


def errors(goal: arm.Array, known: arm.Known, J: arm.Array) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square error of each goal in units of the goals' spread: (of all entries, of directions that show).

    The second is NaN where none shows. goal: Float[N, g]; J: Float[N, k, g], at the goals asked for.
    """
    away = (goal - known.goal) / known.spread
    directions, shows = visible(J, known.spread)
    seen = np.where(shows, np.einsum("nrg,ng->nr", directions, away), 0.0)
    count = shows.sum(axis=1)
    among = np.sqrt(np.square(seen).sum(axis=1) / np.maximum(count, 1))
    return np.sqrt(np.square(away).mean(axis=1)), np.where(count > 0, among, np.nan)


def quantiles(x: arm.Array) -> list[float]:
    """At QUANTILES, without NaN."""
    return [float(q) for q in np.nanquantile(np.asarray(x), QUANTILES)]


def recovered(belief: arm.Belief, steps: int, deviation: float, inverses: dict[str, int], setting: dict[str, int]) -> dict:
    """One cell of the grid: every inverse on segments of known goals.

    inverses: by name, how many segments each gets. setting: episodes of the logs, updates of learned models.
    """
    known = arm.known(steps, deviation, max(inverses.values()), setting["episodes"])
    model = arm.believed(belief, setting["episodes"], setting["updates"], deviation)
    noise = arm.tolerance(deviation, known.segments, arm.regulator(steps))
    truth, low = arm.regulator(steps, noise=noise), arm.regulator(steps, model, noise)
    J, _ = arm.derivative(truth, known.segments, known.goal)
    _, shows = visible(J, known.spread)
    found: dict[str, Any] = {
        "model_error": arm.model_error(model, known.segments),
        "noise": noise.tolist(),
        "spread": known.spread.tolist(),
        "directions_that_show": float(shows.sum(axis=1).mean()),
        "torques_on_their_bounds": float((np.abs(known.segments.action) >= 1.0).mean()),
        "inverses": {},
    }
    for inverse, amount in inverses.items():
        some = arm.some(known, amount)
        answer = arm.invert(inverse, low, some.segments)
        every, seen = errors(answer.goal, some, J[:amount])
        _, consequence = arm.derivative(truth, some.segments, answer.goal)
        found["inverses"][inverse] = {
            "segments": amount,
            "error": quantiles(every),
            "error_that_shows": quantiles(seen),
            "residual": quantiles(answer.residual),
            "true_residual": quantiles(np.linalg.norm(consequence, axis=1)),
            **{name: int((answer.status == code).sum()) for name, code in STATUS.items()},
        }
    return found


# --- Error bars -----------------------------------------------------------------------------------------------------


def prior_of_goals(shared: tuple[relative.Params, Any, Any]) -> Problem:
    """Whitened by the whole covariance, with the goals' own spread about 0 as prior. shared: with deviation and spread."""
    low, deviation, spread = shared
    # The models' goals are counted from the first state, and so is what the search begins at: there, a displacement of 0.
    centre = lambda segment, context: segment.state[0]
    return arm.correlated(low, deviation)._replace(start=centre, width=lambda segment, context: spread)


def whole(shared: tuple[relative.Params, Any, Any]) -> Problem:
    return arm.correlated(*shared[:2])


def diagonal(shared: tuple[relative.Params, Any, Any]) -> Problem:
    return relative.problem(shared[0])


# What is compared under noise: (inverse, problem).
ESTIMATES = {
    "maximum likelihood": ("least_squares", diagonal),
    "maximum likelihood, whole covariance": ("least_squares", whole),
    "posterior": ("posterior", diagonal),
    "posterior, whole covariance": ("posterior", whole),
    "posterior, prior of the goals": ("posterior", prior_of_goals),
}


def bars(J: arm.Array) -> np.ndarray:
    """Float[N, g], deviation of each entry by Fisher's information J' J. J: Float[N, k, g], whitened."""
    J = np.asarray(J, np.float64)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", J, J))
    # What leaves no trace has no bar: the eigenvalue's floor makes it as wide as float64 allows.
    variance = 1.0 / np.maximum(values, 1e-12 * values[:, -1:] + 1e-300)
    return np.sqrt(np.einsum("nij,nj->ni", np.square(vectors), variance))


def calibrated(
    belief: arm.Belief, steps: int, deviation: float, estimates: Sequence[str], amount: int, setting: dict[str, int]
) -> dict:
    """Bias and error bars under torque noise; estimates: names in ESTIMATES.

    bias: mean error over the goals' spread, root mean square over entries. slope: of recovered against true goals, 1
    without shrinkage, the median over entries. variance: of errors over their bars, read off the 16 % and 84 % quantiles, 1 if
    honest; coverage: share of errors within 95 % bars; bar: the median bar over the goals' spread.
    """
    known = arm.known(steps, deviation, amount, setting["episodes"])
    model = arm.believed(belief, setting["episodes"], setting["updates"], deviation)
    noise = arm.tolerance(deviation, known.segments, arm.regulator(steps))
    shared = (arm.regulator(steps, model, noise), np.float32(deviation), known.spread.astype(np.float32))
    at_truth, _ = arm.derivative(arm.regulator(steps, noise=noise), known.segments, known.goal)
    found: dict[str, Any] = {"estimates": {}}
    for name in estimates:
        inverse, problem = ESTIMATES[name]
        answer = arm.invert(inverse, shared, known.segments, problem)
        if inverse == "posterior":
            bar = np.asarray(answer.deviation)
        else:
            bar = bars(arm.derivative(shared, known.segments, answer.goal, problem)[0])
        away = answer.goal - known.goal
        every, seen = errors(answer.goal, known, at_truth)
        usable = (answer.status != FAILED) & (bar > 0).all(axis=1)
        standard = away[usable] / bar[usable]
        low, high = np.quantile(standard, (0.16, 0.84), axis=0)
        slope = (answer.goal * known.goal)[usable].sum(axis=0) / np.square(known.goal[usable]).sum(axis=0)
        found["estimates"][name] = {
            "bias": float(np.sqrt(np.mean(np.square(away[usable].mean(axis=0) / known.spread)))),
            "slope": float(np.median(slope)),
            "variance": float(np.mean(np.square((high - low) / 2))),
            "coverage": float((np.abs(standard) < BOUND_95).mean()),
            "bar": float(np.median(bar / known.spread)),
            "error": quantiles(every),
            "error_that_shows": quantiles(seen),
            "failed": int((~usable).sum()),
        }
    return found
