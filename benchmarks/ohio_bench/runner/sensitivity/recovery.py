"""How far recovered goals are from those that were asked for, and how honest their error bars are."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ohio_bench.runner.sensitivity import arm
from ohio_jax.controllers import relative
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem

QUANTILES = (0.1, 0.5, 0.9)
STATUS = {"unique": UNIQUE, "ambiguous": AMBIGUOUS, "unexplained": UNEXPLAINED, "failed": FAILED}
BOUND_95 = 1.959964  # deviations that hold 95 % of a normal distribution


def visible(J: arm.Array, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(directions `Float[N, r, g]`, `Bool[N, r]`) of goal interface, in units of `spread`, and whether each shows.

    A direction shows if a change of the goal by one spread moves the residual by more than the noise: the right singular
    vectors of J diag(spread) whose singular value is above 1.

    Args:
        J: `Float[N, k, g]`, whitened.
        spread: `Float[g]`.
    """
    _, size, directions = np.linalg.svd(np.asarray(J, np.float64) * spread, full_matrices=False)
    return directions, size > 1.0


def errors(goal: arm.Array, known: arm.Known, J: arm.Array) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square error of each goal in units of the goals' spread: (of all entries, of directions that show).

    The second is NaN where none shows.

    Args:
        goal: `Float[N, g]`, of the first N.
        J: `Float[N, k, g]`, at the goals asked for.
    """
    away = (goal - known.goal[: len(goal)]) / known.spread
    directions, shows = visible(J, known.spread)
    seen = np.where(shows, np.einsum("nrg,ng->nr", directions, away), 0.0)
    count = shows.sum(axis=1)
    among = np.sqrt(np.square(seen).sum(axis=1) / np.maximum(count, 1))
    return np.sqrt(np.square(away).mean(axis=1)), np.where(count > 0, among, np.nan)


def quantiles(x: arm.Array) -> list[float]:
    """At QUANTILES, without NaN."""
    return [float(q) for q in np.nanquantile(np.asarray(x), QUANTILES)]


def setting(belief: arm.Belief, steps: int, noise: float, amount: int, episodes: int, updates: int):
    """(segments of known goals, the belief's model, tolerance `Float[4]`, the regulator as it is, as the belief has it, J).

    - tolerance: deviation of the reached state; J: `Float[N, 4, 4]`, of the true residual by the goals asked for.

    Args:
        noise: deviation of the torques'.
        episodes: of the logs.
        updates: of learned models.
    """
    known = arm.known(steps, noise, amount, episodes)
    model = arm.believed(belief, episodes, updates, noise)
    tolerance = arm.tolerance(noise, known.segments, arm.regulator(steps))
    truth, low = arm.regulator(steps, noise=tolerance), arm.regulator(steps, model, tolerance)
    return known, model, tolerance, truth, low, arm.derivative(truth, known.segments, known.goal)[0]


def recovered(inverses: dict[str, int], **given: Any) -> dict[str, Any]:
    """One cell of the grid: every inverse on segments of known goals.

    Args:
        inverses: by name, how many segments each gets.
        **given: what else `setting` takes.
    """
    known, model, tolerance, truth, low, J = setting(amount=max(inverses.values()), **given)
    _, shows = visible(J, known.spread)
    found: dict[str, Any] = {
        "model_error": arm.model_error(model, known.segments),
        "noise": tolerance.tolist(),
        "spread": known.spread.tolist(),
        "directions_that_show": float(shows.sum(axis=1).mean()),
        "torques_on_their_bounds": float((np.abs(known.segments.action) >= 1.0).mean()),
        "inverses": {},
    }
    for inverse, amount in inverses.items():
        some = jax.tree.map(lambda x, amount=amount: x[:amount], known.segments)
        answer = arm.invert(inverse, low, some)
        every, seen = errors(answer.goal, known, J[:amount])
        _, consequence = arm.derivative(truth, some, answer.goal)
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
    center = lambda segment, context: segment.state[0]
    return arm.correlated(low, deviation)._replace(start=center, width=lambda segment, context: spread)


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
    """`Float[N, g]`, deviation of each entry by Fisher's information J' J. J: `Float[N, k, g]`, whitened."""
    J = np.asarray(J, np.float64)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", J, J))
    # What leaves no trace has no bar: the eigenvalue's floor makes it as wide as float64 allows.
    variance = 1.0 / np.maximum(values, 1e-12 * values[:, -1:] + 1e-300)
    return np.sqrt(np.einsum("nij,nj->ni", np.square(vectors), variance))


def calibrated(estimates: Sequence[str], segments: int, noise: float, **given: Any) -> dict[str, Any]:
    """Bias and error bars under torque noise.

    - bias: mean error over the goals' spread, root mean square over entries.
    - slope: of recovered against true goals, 1 without shrinkage, the median over entries.
    - variance: of errors over their bars, read off the 16 % and 84 % quantiles, 1 if honest.
    - coverage: share of errors within 95 % bars.
    - bar: the median bar over the goals' spread.

    Args:
        estimates: names in ESTIMATES.
        **given: what else `setting` takes.
    """
    known, _, _, _, low, J = setting(noise=noise, amount=segments, **given)
    shared = (low, np.float32(noise), known.spread.astype(np.float32))
    found: dict[str, Any] = {"estimates": {}}
    for name in estimates:
        inverse, problem = ESTIMATES[name]
        answer = arm.invert(inverse, shared, known.segments, problem)
        if inverse == "posterior":
            bar = np.asarray(answer.deviation)
        else:
            bar = bars(arm.derivative(shared, known.segments, answer.goal, problem)[0])
        away = answer.goal - known.goal
        every, seen = errors(answer.goal, known, J)
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
