"""The contract of a low-level policy: how it acts, and what a logged segment of its steps tells about the goal it followed.

A controller describes itself to inverses by at most two models over one prepared context: `ActionModel`, the action before its
bounds, and `StateModel`, where the segment leads. What inverses ask for is derived from them here, in one place, where the mask
of a segment's steps is heeded and goals are counted from their origin: `residual`, `executed_action`, `affine`, ...
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from ohio_jax.errors import UserError
from ohio_jax.solvers.linear_program import LinearProgram

# What is known of a recovered goal.
UNIQUE = 0  # the goal is the only one that explains the segment
AMBIGUOUS = 1  # the goal explains the segment, and others do as well: a bound binds, the low level saturates
UNEXPLAINED = 2  # no goal explains the segment, be the nearest one unique or not: the logged actions are not the low level's
FAILED = 3  # the segment is unusable: not finite, or so far off that its residual is not

ON = 1.0 - 1e-6  # share of its bound from which a logged action counts as on it
SLACK = 1e-3  # deviations by which an unclipped action may fall short of a bound that it explains


class Segment(NamedTuple):
    """The low-level steps that share one goal, h of them, or fewer where the episode ended.

    Attributes:
        state: pytree with leaves [h, ...], what the controller saw before each step.
        action: [h, ...], what it did. State-only inverses must not read it.
        next_state: pytree like `state` with leaves [h, ...], what the state was once the step's action had its effect.
        mask: `Bool[h]`, the steps that were taken, the first one always; None: all. What stands in the others' place repeats the
            last one taken, so that [-1] is the segment's end whatever its length.
    """

    state: Any
    action: Any
    next_state: Any
    mask: Any = None

    @property
    def taken(self) -> Bool[Array, "h"]:
        """`Bool[h]`, the mask."""
        return jnp.ones(jax.tree.leaves(self)[0].shape[0], bool) if self.mask is None else jnp.asarray(self.mask)


class ActionModel(NamedTuple):
    """How a low level acts in the logged states. Functions of a goal are called in a search, over and over; the others once.

    Attributes:
        unclipped: `unclipped(goal, context) -> Float[h, *action]`, before any bound.
        scale: `scale(segment, context) -> Float`, deviation of the m numbers of the unclipped action, over [h, m].
        bounds: `bounds(unclipped, context) -> (low, high)`, broadcast over `[h, *action]`; one may depend on what else is asked
            for. None: none.
        execute: `execute(goal, context) -> Float[h, *action]`, the action as executed, where that is more than the unclipped one
            within its bounds: rounded to whole units, or exact, without noise before the bounds. Its derivative is taken to be
            that of the unclipped action within bounds. Then executed actions are compared, else unclipped ones, one-sided on
            bounds.
        stationarity: `stationarity(goal, context) -> Float[h, *action]`, for an action that is an optimum: how far from the
            logged action, other things equal, optimality pushes. The implicit form of unclipped less logged, without solving for
            the optimum.
        affine: `affine(segment, context) -> (J: Float[h, m, g], r: Float[h, m])`, if unclipped is J goal + r, flattened.
        logged: `logged(segment) -> [h, *action]`, what of the log is compared.
        once: so many last numbers of an action are not acted on step by step but given once for the segment (a gripper's
            command); they count once, at the first step, and are not part of what `executed_action` compares.
    """

    unclipped: Callable[[jax.Array, Any], jax.Array]
    scale: Callable[[Segment, Any], Any]
    bounds: Callable[[jax.Array, Any], tuple[Any, Any]] | None = None
    execute: Callable[[jax.Array, Any], jax.Array] | None = None
    stationarity: Callable[[jax.Array, Any], jax.Array] | None = None
    affine: Callable[[Segment, Any], tuple[jax.Array, jax.Array]] | None = None
    logged: Callable[[Segment], Any] = lambda segment: segment.action
    once: int = 0


class StateModel(NamedTuple):
    """Where a goal leads.

    Attributes:
        predict: `predict(goal, context) -> Float[h, n]`, what each step leads to; or `Float[1, n]`, what the segment does,
            however long.
        observed: `observed(segment, context) -> Float[n]`, what the last step led to.
        scale: `scale(segment, context) -> Float[n]`, its deviation, or `Float[n, n]`, a lower root of its covariance.
        affine: `affine(segment, context) -> (J: Float[h, n, g], r: Float[h, n])`, J goal + r is predict's, without bounds and
            linearized at the logged states. None: there is no such form.
    """

    predict: Callable[[jax.Array, Any], jax.Array]
    observed: Callable[[Segment, Any], jax.Array]
    scale: Callable[[Segment, Any], Any]
    affine: Callable[[Segment, Any], tuple[jax.Array, jax.Array]] | None = None


class Problem(NamedTuple):
    """What inverses may know of a low level with certain parameters. Ask for it through the functions of this file.

    Functions read what they need of the parameters from the context, all but `prepare` and `project`: then the problems of a low
    level's different parameters share them, and `mixture` can choose parameters by choosing a context.

    Attributes:
        project: `project(goal) -> goal`, onto the admissible goals.
        start: `start(segment, context) -> goal`, where a search begins.
        state, action: the models.
        residual: which of them says how well a goal explains a segment. None: the only one.
        prepare: `prepare(segment) -> context`, the work that no goal changes, done once before a search. None: the segment
            itself.
        origin: `origin(segment)`, what goals are counted from, where they are displacements; the models are told origin + goal.
            None: 0.
        observed: `observed(segment, context) -> goal`, the reached state read as one, without looking at actions; None: states do
            not show it.
        closed_form: `closed_form(segment, context) -> (goal, status)`, an acceleration: equal to what minimizes the residual
            where UNIQUE; AMBIGUOUS where others would explain the segment as well as this goal, should it explain it.
        program: `program(segment, context) -> LinearProgram`, another: the low level as a linear program, of one-step segments.
        width: `width(segment, context) -> Float[*goal]`, deviation of goals about `start` before anything is seen, a broad prior;
            None: 1.
        logged: `logged(segment) -> goal`, the high-level action that the behavior policy gave, as the low level that it had
            explains it; None: unknown.
        rescaled: `rescaled(segment, context) -> goal`, the same in closed form for this low level; None: there is none.
        released: of the original's searches, the first numbers of the goal where its descent begins, and deviations of those
            that its cross-entropy method draws at first; the other numbers stay at `start`. None: it has no such low level.
        likeliest: whether many goals may explain a segment, as where many of its actions are on their bounds, and the likeliest
            under `width` is wanted. A search then sees both sides of each bound, so that it does not run into it.
        tolerance: norm of the residual up to which a goal counts as an explanation of the segment.
    """

    project: Callable[[jax.Array], jax.Array]
    start: Callable[[Segment, Any], jax.Array]
    state: StateModel | None = None
    action: ActionModel | None = None
    residual: Literal["state", "action"] | None = None
    prepare: Callable[[Segment], Any] | None = None
    origin: Callable[[Segment], jax.Array] | None = None
    observed: Callable[[Segment, Any], jax.Array] | None = None
    closed_form: Callable[[Segment, Any], tuple[jax.Array, Any]] | None = None
    program: Callable[[Segment, Any], LinearProgram] | None = None
    width: Callable[[Segment, Any], jax.Array] | None = None
    logged: Callable[[Segment], jax.Array] | None = None
    rescaled: Callable[[Segment, Any], jax.Array] | None = None
    released: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    likeliest: bool = False
    tolerance: float = 0.5  # half a unit, whitened: goals read off in counts are exact, those read off in floats nearly so


class Prepared(NamedTuple):
    """A logged segment and what no goal changes.

    Attributes:
        context, origin: see `Problem`.
        scale: `StateModel.scale`.
        logged: [h, m], what the action model compares, flattened.
        weight: `Float[h, m]`, 1 / `ActionModel.scale`.
    """

    segment: Segment
    context: Any
    origin: jax.Array | None
    scale: Any
    logged: Any
    weight: Any


@runtime_checkable
class Controller(Protocol):
    """A low-level policy, the known map from (state, goal) to action; a module or any object with these functions.

    - `init(params) -> memory`: what the controller carries between steps (warm starts); `()` if nothing.
    - `plan(params, memory, state, goal) -> memory`: called where a goal is given, before the first of its steps.
    - `act(params, memory, state, goal) -> (action, memory)`: differentiable in `goal` wherever the mathematics is.
    - `problem(params)`: what inverses may know of it.
    """

    def init(self, params: Any) -> Any: ...

    def plan(self, params: Any, memory: Any, state: Any, goal: Num[Array, "..."]) -> Any: ...

    def act(self, params: Any, memory: Any, state: Any, goal: Num[Array, "..."]) -> tuple[Num[Array, "..."], Any]: ...

    def problem(self, params: Any) -> Problem: ...


def prepare(problem: Problem, segment: Segment) -> Prepared:
    """What is asked of a segment more than once, computed once."""
    context = segment if problem.prepare is None else problem.prepare(segment)
    origin = None if problem.origin is None else problem.origin(segment)
    scale = None if problem.state is None else problem.state.scale(segment, context)
    logged = weight = None
    if problem.action is not None:
        logged = _rows(problem.action.logged(segment))
        weight = jnp.broadcast_to(1.0 / jnp.asarray(problem.action.scale(segment, context)), logged.shape)
    return Prepared(segment, context, origin, scale, logged, weight)


def residual(problem: Problem, goal: Float[Array, "*goal"], at: Prepared) -> Float[Array, "k"]:
    """Whitened: half its squared norm is the negative log-likelihood. Where a logged action is on its bound only one sign counts:
    an unclipped action beyond it explains the logged one as well as any, and so does one that falls short by next to nothing,
    where a search that comes from inside ends.
    """
    return active_residual(*signed_residual(problem, goal, at))


def signed_residual(
    problem: Problem, goal: Float[Array, "*goal"], at: Prepared
) -> tuple[Float[Array, "k"], Int[Array, "k"] | None]:
    """(Float[k], Int[k]), what the residual is made of, and which side of 0 of it counts: 1, -1, or 0 for both; None: both."""
    of_states = problem.state is not None and model_of(problem) is problem.state
    return (state_residual(problem, goal, at), None) if of_states else _of_actions(problem, goal, at)


def action_residual(problem: Problem, goal: Float[Array, "*goal"], at: Prepared) -> Float[Array, "k"]:
    """`Float[k]`, the residual of the action model, whichever is the problem's."""
    return active_residual(*_of_actions(problem, goal, at))


def state_residual(problem: Problem, goal: Float[Array, "*goal"], at: Prepared) -> Float[Array, "n"]:
    """`Float[n]`, the residual of the state model, whichever is the problem's."""
    state = _needed(problem.state, "where its goals lead")
    predicted, seen = _last(state.predict(_absolute(goal, at), at.context), at.segment), state.observed(at.segment, at.context)
    shapes = jnp.shape(predicted), jnp.shape(seen)
    if len(shapes[0]) != 1 or shapes[1] not in ((), shapes[0]):
        raise UserError(f"low level: state model: expected a predicted and an observed vector of one size, found shapes {shapes}")
    return _whiten(at.scale, predicted - seen)


def executed_action(problem: Problem, goal: Float[Array, "*goal"], at: Prepared) -> Float[Array, "k"]:
    """`Float[k]`, actions as the goal's would have been executed in the logged states less those logged, in their own unit."""
    model = _needed(problem.action, "how it acts")
    steps = _where_taken(at.segment, _executed(model, _absolute(goal, at), at) - at.logged)
    return steps[:, : steps.shape[1] - model.once].reshape(-1)


def saturated(problem: Problem, at: Prepared) -> Bool[Array, "h m"]:
    """`Bool[h, m]`, which logged actions are on a bound, of the steps taken; bounds that depend on what is asked have no say."""
    model = _needed(problem.action, "how it acts")
    sign = _signs(model, at.logged, at)
    return jnp.zeros(at.logged.shape, bool) if sign is None else _where_taken(at.segment, sign != 0)


def entries(problem: Problem, at: Prepared) -> Num[Array, ""] | None:
    """`Float[]`, how many entries of the residual come from steps that were taken; None: all."""
    if at.segment.mask is None or model_of(problem) is problem.state:
        return None
    model = _needed(problem.action, "how it acts")
    return jnp.sum(at.segment.taken) * (at.logged.shape[1] - model.once) + float(model.once)


def affine(problem: Problem, at: Prepared) -> tuple[Float[Array, "k g"], Float[Array, "k"]]:
    """(J: `Float[k, g]`, r: `Float[k]`), residual J goal + r as if nothing met a bound; logged actions on one are left out."""
    model = _needed(model_of(problem), "what its goals do")
    J, r = _needed(model.affine, "a form affine in its goal")(at.segment, at.context)
    if jnp.ndim(r) != 2 or jnp.shape(J)[:2] != jnp.shape(r):
        raise UserError(f"low level: affine form: expected shapes [h, k, g] and [h, k], found {jnp.shape(J)} and {jnp.shape(r)}")
    if at.origin is not None:
        r = r + J @ at.origin
    if isinstance(model, StateModel):
        J, r = _last(J, at.segment), _last(r, at.segment) - model.observed(at.segment, at.context)
        return _whiten(at.scale, J), _whiten(at.scale, r)
    weight = _where_taken(at.segment, jnp.where(saturated(problem, at), 0.0, at.weight))
    return _once(model, J * weight[:, :, None]), _once(model, weight * (r - at.logged))


def start(problem: Problem, at: Prepared) -> Float[Array, "*goal"]:
    """Where a search begins, a goal."""
    return _relative(problem.start(at.segment, at.context), at)


def observed(problem: Problem, at: Prepared) -> Float[Array, "*goal"]:
    """The reached state read as a goal."""
    return _relative(_needed(problem.observed, "a state that shows its goals")(at.segment, at.context), at)


def width(problem: Problem, at: Prepared) -> Float[Array, "*goal"]:
    """`Float[*goal]`, the prior's deviation."""
    return jnp.ones_like(start(problem, at)) if problem.width is None else problem.width(at.segment, at.context)


def closed_form(problem: Problem, at: Prepared) -> tuple[Float[Array, "*goal"], Int[Array, ""]]:
    """(goal, status)."""
    goal, status = _needed(problem.closed_form, "a closed form")(at.segment, at.context)
    return _relative(goal, at), jnp.asarray(status, jnp.int32)


def model_of(problem: Problem) -> StateModel | ActionModel | None:
    """The model whose residual is the problem's. Raises UserError where there are two and none is named."""
    if problem.residual is None and problem.state is not None and problem.action is not None:
        raise UserError("low level: residual: expected 'state' or 'action' of a low level with two models, found none")
    if problem.residual is not None:
        return getattr(problem, problem.residual)
    return problem.action if problem.state is None else problem.state


def is_affine(problem: Problem) -> bool:
    """Whether `affine` answers."""
    model = model_of(problem)
    return model is not None and model.affine is not None


def active(signed: Float[Array, "k"], sign: Int[Array, "k"] | None, slack: float = SLACK) -> Bool[Array, "k"]:
    """`Bool[k]`, which entries of a signed residual are a disagreement, of more than the slack; all, if none has a sign."""
    return jnp.ones(signed.shape, bool) if sign is None else (sign == 0) | (sign * signed > slack)


def active_residual(signed: Float[Array, "k"], sign: Int[Array, "k"] | None) -> Float[Array, "k"]:
    """`Float[k]`, the residual that is made of a signed one."""
    return jnp.where(active(signed, sign), signed, 0.0)


def sign_of(action: Float[Array, "*shape"], low: Any, high: Any) -> Int[Array, "*shape"]:
    """Int like action, which side of its unclipped action counts: 1 on the lower bound, -1 on the upper, 0 (both) between."""
    near = lambda bound: (1.0 - ON) * jnp.where(jnp.isfinite(bound), jnp.abs(bound), 0.0)
    return jnp.where(action >= high - near(high), -1, jnp.where(action <= low + near(low), 1, 0))


def _of_actions(problem: Problem, goal: jax.Array, at: Prepared) -> tuple[jax.Array, jax.Array | None]:
    """`signed_residual` of the action model."""
    model, goal = _needed(problem.action, "how it acts"), _absolute(goal, at)
    if model.execute is not None:
        signed, sign = _executed(model, goal, at) - at.logged, None
    else:
        made = _rows((model.stationarity or model.unclipped)(goal, at.context), jnp.shape(model.logged(at.segment)))
        signed = made if model.stationarity else made - at.logged
        sign, logged_sign = (_signs(model, unclipped, at) for unclipped in (at.logged + signed, at.logged))
        if sign is not None and logged_sign is not None:  # an action that was logged on its bound stays on it
            sign = jnp.where(sign == 0, logged_sign, sign)
    signed = _once(model, _where_taken(at.segment, signed * at.weight))
    return signed, None if sign is None else _once(model, sign)


def _executed(model: ActionModel, goal: jax.Array, at: Prepared) -> jax.Array:
    """`Float[h, m]`, the goal's actions in the logged states."""
    action = model.unclipped(goal, at.context)
    if model.bounds is not None:
        action = jnp.clip(action, *(jnp.broadcast_to(x, action.shape) for x in model.bounds(action, at.context)))
    if model.execute is not None:
        action += jax.lax.stop_gradient(model.execute(goal, at.context) - action)
    return _rows(action, jnp.shape(model.logged(at.segment)))


def _signs(model: ActionModel, unclipped: jax.Array, at: Prepared) -> jax.Array | None:
    """`Int[h, m]`, see `sign_of`."""
    if model.bounds is None:
        return None
    like = jnp.shape(model.logged(at.segment))
    low, high = (_rows(jnp.broadcast_to(x, like)) for x in model.bounds(unclipped.reshape(like), at.context))
    return sign_of(at.logged, low, high)


def _needed(offered: Any, what: str) -> Any:
    if offered is None:
        raise UserError(f"low level: expected one that says {what}, found another")
    return offered


def _rows(x: Any, logged: tuple[int, ...] | None = None) -> jax.Array:
    """[h, m] of `[h, *action]`. Raises UserError, while tracing, for actions of another shape than those logged, if given."""
    if logged is not None and jnp.shape(x) not in (logged, (1, *logged[1:])):
        raise UserError(f"low level: action model: expected actions of shape {logged} as logged, found {jnp.shape(x)}")
    return jnp.reshape(x, (jnp.shape(x)[0], -1))


def _once(model: ActionModel, x: jax.Array) -> jax.Array:
    """[k, ...] of [h, m, ...], one row an entry: the steps' own numbers, then those given once."""
    if not model.once:
        return x.reshape(-1, *x.shape[2:])
    return jnp.concatenate([x[:, : -model.once].reshape(-1, *x.shape[2:]), x[0, -model.once :]])


def _where_taken(segment: Segment, x: jax.Array) -> jax.Array:
    """[h, ...], 0 in steps that were not taken."""
    return x if segment.mask is None else jnp.where(segment.taken.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.zeros_like(x))


def _last(x: jax.Array, segment: Segment) -> jax.Array:
    """[...] of [h, ...], at the last step taken."""
    return x[-1] if segment.mask is None or x.shape[0] == 1 else x[jnp.sum(segment.taken) - 1]


def _whiten(scale: jax.Array | None, x: jax.Array) -> jax.Array:
    """[n, ...], in deviations."""
    scale = jnp.asarray(scale)
    if scale.ndim == 2:
        return jax.scipy.linalg.solve_triangular(scale, x, lower=True)
    return x / scale.reshape(-1, *[1] * (x.ndim - 1))


def _absolute(goal: jax.Array, at: Prepared) -> jax.Array:
    return goal if at.origin is None else at.origin + goal


def _relative(goal: jax.Array, at: Prepared) -> jax.Array:
    return goal if at.origin is None else goal - at.origin
