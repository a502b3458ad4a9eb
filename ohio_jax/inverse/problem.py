"""The inverse contract: a logged segment, the problem of explaining it by a goal, and the answer.

Every inverse is a function `invert(problem, segment) -> Recovered` for one segment; `relabel` maps it over a dataset. No
inverse raises inside a batch: what is ambiguous or failed says so in `status`, which becomes a weight of the transition.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

# Codes of `Recovered.status`.
UNIQUE = 0  # the goal is the only one that explains the segment
AMBIGUOUS = 1  # other goals explain it as well (a bound binds, the low level saturates); the observed point is returned
UNEXPLAINED = 2  # no goal explains the segment exactly: the logged actions are not the low level's
FAILED = 3  # the inverse did not converge, or the segment is unusable


class Segment(NamedTuple):
    """The h low-level steps that share one goal.

    state: pytree with leaves [h, ...], what the controller saw before each step.
    action: [h, ...], what it did. State-only inverses must not read it.
    next_state: pytree like `state` with leaves [h, ...], what the state was once the step's action had its effect.
    """

    state: Any
    action: Any
    next_state: Any


class Recovered(NamedTuple):
    """The goal an inverse found.

    goal: Float[goal].
    residual: Float[], norm of the whitened residual at the goal.
    log_likelihood: Float[], minus half the squared residual (up to a constant).
    converged: Bool[].
    iterations: Int[].
    status: Int[], one of the codes above.
    """

    goal: jax.Array
    residual: jax.Array
    log_likelihood: jax.Array
    converged: jax.Array
    iterations: jax.Array
    status: jax.Array


class Problem(NamedTuple):
    """What an inverse may know about a low level.

    residual(goal, segment) -> Float[k], whitened: half its squared norm is the negative log-likelihood.
    start(segment) -> goal, where an iterative inverse begins.
    project(goal) -> goal, onto the admissible goals.
    closed_form(segment) -> (goal, status), where the low level has one; else None.
    observed(segment) -> goal, the reached state read as a goal, without looking at actions; else None.
    affine(segment) -> (J: Float[k, *goal], r: Float[k]), residual J goal + r of a low level that never saturates; else None.
    tolerance: norm of the residual up to which a goal counts as an explanation of the segment.
    """

    residual: Callable[[jax.Array, Segment], jax.Array]
    start: Callable[[Segment], jax.Array]
    project: Callable[[jax.Array], jax.Array]
    closed_form: Callable[[Segment], tuple[jax.Array, jax.Array]] | None = None
    observed: Callable[[Segment], jax.Array] | None = None
    affine: Callable[[Segment], tuple[jax.Array, jax.Array]] | None = None
    # Half a unit of a whitened residual: goals read off in counts are exact, those read off in floats nearly so.
    tolerance: float = 0.5
