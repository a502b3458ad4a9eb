"""How far goals recovered on the reacher are from those that were asked for, and how honest their error bars are.

Every run has a data set of its own: run k the goals, segments and logs of data seed k.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ohio_bench.runner.sensitivity import arm
from ohio_bench.runner.sensitivity.answers import derivative, errors, invert, judged, quantiles
from ohio_bench.runner.sensitivity.low_levels import Case
from ohio_jax.controllers import relative
from ohio_jax.low_level import FAILED, Problem

BOUND_95 = 1.959964  # deviations that hold 95 % of a normal distribution


def setting(
    belief: arm.Belief, steps: int, noise: float, amount: int, episodes: int, updates: int, data_seed: int
) -> tuple[Case, Any, relative.Params]:
    """(segments of known goals, the belief's model, the regulator as the belief has it).

    The deviations of the reached state, by which residuals are whitened, are those of the noise.

    Args:
        noise: deviation of the torques'.
        episodes: of the logs.
        updates: of learned models.
    """
    known = arm.known(steps, noise, amount, episodes, data_seed)
    model = arm.believed(belief, episodes, updates, noise, data_seed)
    tolerance = arm.tolerance(noise, known.segments, arm.regulator(steps))
    return known._replace(params=arm.regulator(steps, noise=tolerance)), model, arm.regulator(steps, model, tolerance)


def recovered(inverses: dict[str, int], runs: int, **given: Any) -> dict[str, Any]:
    """One cell of the grid: every inverse on segments of known goals, in each run.

    Args:
        inverses: by name, how many segments each gets.
        **given: what else `setting` takes.
    """
    found = []
    for run in range(runs):
        known, model, told = setting(amount=max(inverses.values()), data_seed=run, **given)
        found.append(
            {
                "model_error": arm.model_error(model, known.segments),
                "noise": told.params.noise.tolist(),
                "torques_on_their_bounds": float((np.abs(known.segments.action) >= 1.0).mean()),
                **judged(inverses, known, told),
            }
        )
    return {"runs": found}


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


def bars(J: np.ndarray) -> np.ndarray:
    """`Float[N, g]`, deviation of each entry by Fisher's information J' J. J: `Float[N, k, g]`, whitened."""
    J = np.asarray(J, np.float64)
    values, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", J, J))
    # What leaves no trace has no bar: the eigenvalue's floor makes it as wide as float64 allows.
    variance = 1.0 / np.maximum(values, 1e-12 * values[:, -1:] + 1e-300)
    return np.sqrt(np.einsum("nij,nj->ni", np.square(vectors), variance))


def calibrated(estimates: Sequence[str], segments: int, runs: int, **given: Any) -> dict[str, Any]:
    """Bias and error bars under torque noise, of each run.

    - bias: mean error over the goals' spread, root mean square over entries.
    - slope: of recovered against true goals, 1 without shrinkage, the median over entries.
    - variance: of errors over their bars, read off the 16 % and 84 % quantiles, 1 if honest.
    - coverage: share of errors within 95 % bars.
    - bar: the median bar over the goals' spread.

    Args:
        estimates: names in ESTIMATES.
        **given: what else `setting` takes.
    """
    return {"runs": [_calibrated(estimates, segments, data_seed=run, **given) for run in range(runs)]}


def _calibrated(estimates: Sequence[str], segments: int, noise: float, **given: Any) -> dict[str, Any]:
    known, _, low = setting(noise=noise, amount=segments, **given)
    spread = known.spread
    shared = (low, np.float32(noise), spread.astype(np.float32))
    J, _ = derivative(known.params, known.segments, known.goals, relative.problem)
    found: dict[str, Any] = {}
    for name in estimates:
        inverse, problem = ESTIMATES[name]
        answer = invert(inverse, shared, known.segments, problem)
        if inverse == "posterior":
            bar = np.asarray(answer.deviation)
        else:
            bar = bars(derivative(shared, known.segments, answer.goal, problem)[0])
        away = answer.goal - known.goals
        every, seen = errors(away, J, spread)
        usable = (answer.status != FAILED) & (bar > 0).all(axis=1)
        standard = away[usable] / bar[usable]
        least, most = np.quantile(standard, (0.16, 0.84), axis=0)
        slope = (answer.goal * known.goals)[usable].sum(axis=0) / np.square(known.goals[usable]).sum(axis=0)
        found[name] = {
            "bias": float(np.sqrt(np.mean(np.square(away[usable].mean(axis=0) / spread)))),
            "slope": float(np.median(slope)),
            "variance": float(np.mean(np.square((most - least) / 2))),
            "coverage": float((np.abs(standard) < BOUND_95).mean()),
            "bar": float(np.median(bar / spread)),
            "error": quantiles(every),
            "error_that_shows": quantiles(seen),
            "failed": int((~usable).sum()),
        }
    return found
