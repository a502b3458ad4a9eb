"""The inverse contract: a logged segment, the problem of explaining it by a goal, and the answer.

Every inverse is a function `invert(problem, segment) -> Recovered` for one segment; `relabel` maps it over a dataset. No
inverse raises inside a batch: what is ambiguous or failed says so in `status`, which becomes a weight of the transition.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

# Codes of `Recovered.status`.
UNIQUE = 0  # the goal is the only one that explains the segment
AMBIGUOUS = 1  # other goals explain it as well (a bound binds, the low level saturates); the observed point is returned
UNEXPLAINED = 2  # no goal explains the segment exactly: the logged actions are not the low level's
FAILED = 3  # the segment is unusable: not finite, or so far off that its residual is not

ON = 1.0 - 1e-6  # share of its bound from which a logged action counts as on it
SLACK = 1e-3  # deviations by which a wish may fall short of a bound that it explains


class Segment(NamedTuple):
    """The h low-level steps that share one goal.

    state: pytree with leaves [h, ...], what the controller saw before each step.
    action: [h, ...], what it did. State-only inverses must not read it.
    next_state: pytree like `state` with leaves [h, ...], what the state was once the step's action had its effect.
    """

    state: Any
    action: Any
    next_state: Any


class Program(NamedTuple):
    """A low level that is a linear program, as it stood before a logged action (arrays, or numbers where they fit):

        minimise (cost + price u)'x   subject to   A x = b + B u,  x >= 0,   for the goal u, flattened, least <= u <= most

    Bounds and inequalities are rows with a slack entry, |.| is the sum of two entries. A row of zeros in A binds the goal
    alone, as shares that sum to 1. First one objective, then another: their sum, the first times a weight above what a unit of
    it can save in the second. One weight does for all b, since optimal bases are finitely many and b picks among them only.

    cost: [n]; A: [m, n]; b: [m]; B: [m, g]; price: [n, g], None if the goal prices nothing. In units in which a millionth is
        nothing, of entries as of costs.
    action: [...], k numbers, the logged values of the first k entries of x; k may be n.
    slack: [...], of the entries after those, where they follow from the action. Not needed; it spares work.
    goal: [*goal], the one returned where it explains the action; else the nearest to it that does (sum of differences).
    least, most: [*goal] or numbers; may be infinite.
    """

    cost: Any
    A: Any
    b: Any
    B: Any
    action: Any
    goal: Any
    slack: Any = ()
    price: Any = None
    least: Any = 0.0
    most: Any = math.inf


class Problem(NamedTuple):
    """What an inverse may know about a low level.

    prepare(segment) -> Segment, what the other functions read in its place: the work that no goal changes, done once before a
        search; None: they read the segment as logged. The entries of INVERSES see to it.
    residual(goal, segment) -> Float[k], whitened: half its squared norm is the negative log-likelihood.
    start(segment) -> goal, where an iterative inverse begins.
    project(goal) -> goal, onto the admissible goals.
    closed_form(segment) -> (goal, status), where the low level has one; else None.
    observed(segment) -> goal, the reached state read as a goal, without looking at actions; else None.
    affine(segment) -> (J: Float[k, *goal], r: Float[k]), residual J goal + r of a low level that never saturates; else None.
    imitation(goal, segment) -> Float[k], whitened like `residual`: logged actions against the goal's in the logged states,
        one-sided where a logged action is on its bound (see `disagreement`); None if the low level offers none.
    acted(goal, segment) -> Float[k], actions as the goal's would have been executed in the logged states, bounds included, less
        those logged, in their own unit; None if the low level offers none.
    program(segment) -> Program, where the low level is one, of a segment of one step; else None.
    signed(goal, segment) -> (Float[k], Int[k]), what the residual is made of, and which side of 0 of it counts: 1, -1, or 0 for
        both (see `heeded`). A search that sees the other side as well does not run into this one. None: both sides count.
        Many goals may explain such a segment; `width` says which are likely.
    width(segment) -> Float[*goal], deviation of goals about `start` before anything is seen, a broad prior; None: 1.
    tolerance: norm of the residual up to which a goal counts as an explanation of the segment.
    """

    residual: Callable[[jax.Array, Segment], jax.Array]
    start: Callable[[Segment], jax.Array]
    project: Callable[[jax.Array], jax.Array]
    closed_form: Callable[[Segment], tuple[jax.Array, jax.Array]] | None = None
    observed: Callable[[Segment], jax.Array] | None = None
    affine: Callable[[Segment], tuple[jax.Array, jax.Array]] | None = None
    imitation: Callable[[jax.Array, Segment], jax.Array] | None = None
    acted: Callable[[jax.Array, Segment], jax.Array] | None = None
    program: Callable[[Segment], Program] | None = None
    signed: Callable[[jax.Array, Segment], tuple[jax.Array, jax.Array]] | None = None
    width: Callable[[Segment], jax.Array] | None = None
    prepare: Callable[[Segment], Segment] | None = None
    # Half a unit of a whitened residual: goals read off in counts are exact, those read off in floats nearly so.
    tolerance: float = 0.5


class Controller(Protocol):
    """A low-level policy, the known map from (state, goal) to action; a module or any object with these functions.

    init(params) -> memory: what the controller carries between steps (warm starts); `()` if nothing.
    plan(params, memory, state, goal) -> memory: called where a goal is given, before the first of its steps.
    act(params, memory, state, goal) -> (action, memory): differentiable in `goal` wherever the mathematics is.
    problem(params) -> what inverses may know of it.
    """

    def init(self, params: Any) -> Any: ...

    def plan(self, params: Any, memory: Any, state: Any, goal: jax.Array) -> Any: ...

    def act(self, params: Any, memory: Any, state: Any, goal: jax.Array) -> tuple[jax.Array, Any]: ...

    def problem(self, params: Any) -> Problem: ...


def disagreement(wish: jax.Array, action: jax.Array, bound: jax.Array, B: jax.Array, noise: jax.Array) -> jax.Array:
    """Float[m], how far the low level's wish is from the logged action, in deviations of the state it leads to.

    wish: Float[m], before the bounds; action, bound: Float[m]; B: Float[n, m], effect of actions on the next state, whose
    deviation is noise: Float[n]. On a bound only one side counts: a wish beyond it explains the action as well as any, and so
    does one that falls short by next to nothing, where a search that comes from inside ends.
    """
    return heeded(*signed_disagreement(wish, action, bound, B, noise))


def signed_disagreement(wish: jax.Array, action: jax.Array, bound: jax.Array, B: jax.Array, noise: jax.Array):
    """(Float[m], Int[m]): `disagreement` as a `Problem.signed`."""
    away = (wish - action) * jnp.linalg.norm(B / noise[:, None], axis=0)
    on = ON * bound
    return away, jnp.where(action >= on, -1, jnp.where(action <= -on, 1, 0))


def counts(away: jax.Array, side: jax.Array | None, slack: float = SLACK) -> jax.Array:
    """Bool[k], which entries of a `Problem.signed` are a disagreement, of more than the slack; all, if none has a side."""
    return jnp.ones(away.shape, bool) if side is None else (side == 0) | (side * away > slack)


def heeded(away: jax.Array, side: jax.Array | None) -> jax.Array:
    """Float[k], the residual of a `Problem.signed`."""
    return jnp.where(counts(away, side), away, 0.0)
