"""What inverses answer on segments of known goals, and how far that is from the goals that were asked for."""

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from ohio_bench.runner.sensitivity.low_levels import Case
from ohio_jax import low_level
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.result import Recovered
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem, Segment
from ohio_jax.relabel import lanes

QUANTILES = (0.05, 0.5, 0.95)
STATUS = {"unique": UNIQUE, "ambiguous": AMBIGUOUS, "unexplained": UNEXPLAINED, "failed": FAILED}

Array = np.ndarray | jax.Array
Told = Callable[[Any], Problem]  # what an inverse is told of a low level with these parameters


@functools.cache
def _inverter(inverse: str, problem: Told):
    def invert(shared, given: Segment) -> Recovered:
        return jax.lax.map(lambda segment: INVERSES[inverse](problem(shared), segment), given, batch_size=lanes(inverse))

    return jax.jit(invert)


def invert(inverse: str, shared: Any, given: Segment, problem: Told) -> Recovered:
    """The inverse's answers, on the host.

    On one device: batches of LAPACK calls that several devices of a CPU start at once may wait for each other for ever.

    Args:
        problem: `problem(shared) -> Problem`; parameters of one kind share a compiled program.
    """
    return jax.device_get(_inverter(inverse, problem)(shared, given))


def applicable(inverses: Iterable[str], case: Case) -> list[str]:
    """Those that the low level offers what they ask for; traced, not run."""
    found, segment = [], jax.tree.map(lambda x: x[0], case.segments)
    for inverse in inverses:
        try:
            jax.eval_shape(lambda s, inverse=inverse: INVERSES[inverse](case.controller.problem(case.params), s), segment)
        except UserError:
            continue
        found.append(inverse)
    return found


@functools.cache
def _judge(problem: Told):
    def judged(shared, segment: Segment, goal: jax.Array):
        of = problem(shared)
        at = low_level.prepare(of, segment)
        return jax.jacfwd(lambda goal: (low_level.residual(of, goal, at),) * 2, has_aux=True)(goal)

    return jax.jit(jax.vmap(judged, (None, 0, 0)))


def derivative(shared: Any, given: Segment, goal: Array, problem: Told) -> tuple[np.ndarray, np.ndarray]:
    """(J: `Float[N, k, g]`, residual: `Float[N, k]`) of a problem at these goals, entry by entry, on the host."""
    J, residual = jax.device_get(_judge(problem)(shared, given, goal))
    return J.reshape(*J.shape[:2], -1), residual


def visible(J: Float[np.ndarray, "N k g"], spread: Float[np.ndarray, " g"]) -> tuple[np.ndarray, Bool[np.ndarray, "N r"]]:
    """(directions `Float[N, r, g]`, `Bool[N, r]`) of goal interface, in units of `spread`, and whether each shows.

    A direction shows if a change of the goal by one spread moves the residual by more than the noise: the right singular
    vectors of J diag(spread) whose singular value is above 1.

    Args:
        J: whitened.
    """
    _, size, directions = np.linalg.svd(np.asarray(J, np.float64) * spread, full_matrices=False)
    return directions, size > 1.0


def errors(
    away: Float[np.ndarray, "N g"], J: Float[np.ndarray, "N k g"], spread: Float[np.ndarray, " g"]
) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square error of each goal in units of the goals' spread: (of all entries, of directions that show).

    The second is NaN where none shows.

    Args:
        away: answers less the goals asked for.
        J: at the goals asked for.
    """
    away = away / spread
    directions, shows = visible(J, spread)
    seen = np.where(shows, np.einsum("nrg,ng->nr", directions, away), 0.0)
    count = shows.sum(axis=1)
    among = np.sqrt(np.square(seen).sum(axis=1) / np.maximum(count, 1))
    return np.sqrt(np.square(away).mean(axis=1)), np.where(count > 0, among, np.nan)


def quantiles(x: Array) -> list[float] | None:
    """At QUANTILES, without NaN; None where nothing is left."""
    known = np.asarray(x)[~np.isnan(x)]
    return [float(q) for q in np.quantile(known, QUANTILES)] if len(known) else None


def judged(inverses: dict[str, int], case: Case, told: Any, timed: bool = False) -> dict[str, Any]:
    """Every inverse on segments of known goals.

    - error, error_that_shows: see `errors`.
    - residual, true_residual: norm of the whitened residual at the answer, as the inverse was told, and as the low level is.
    - unique, ...: how many segments have this status.

    Args:
        inverses: by name, how many segments each gets.
        told: parameters that the inverses are given; `case.params` are the true ones.
        timed: also segments a second, of a second call.
    """
    problem: Told = case.controller.problem
    J, _ = derivative(case.params, case.segments, case.goals, problem)
    spread, flat = case.spread, lambda goals: np.asarray(goals).reshape(len(goals), -1)
    _, shows = visible(J, spread)
    found: dict[str, Any] = {
        "spread": spread.tolist(),
        "directions_that_show": float(shows.sum(axis=1).mean()),
        "inverses": {},
    }
    for inverse, amount in inverses.items():
        some = case.first(amount)
        answer = invert(inverse, told, some.segments, problem)
        every, seen = errors(flat(answer.goal) - flat(some.goals), J[:amount], spread)
        _, consequence = derivative(case.params, some.segments, answer.goal, problem)
        found["inverses"][inverse] = {
            "segments": amount,
            "error": quantiles(every),
            "error_that_shows": quantiles(seen),
            "residual": quantiles(np.where(np.isfinite(answer.residual), answer.residual, np.nan)),
            "true_residual": quantiles(np.linalg.norm(consequence, axis=1)),
            **{name: int((answer.status == code).sum()) for name, code in STATUS.items()},
        }
        if timed:
            start = time.perf_counter()
            invert(inverse, told, some.segments, problem)
            found["inverses"][inverse]["rate"] = amount / (time.perf_counter() - start)
    return found
