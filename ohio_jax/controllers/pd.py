"""Proportional-derivative control as low-level policy: every joint is drawn to its own goal and braked by its velocity.

::

    action = clip(kp (goal - q) - kd v, -bound, bound)

- goal: `Float[m]`, the joint angles asked for.
- state: `Float[2 m]`, angles q and velocities v.
- action: `Float[m]`, within bounds.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.controllers import closed_loop, stateless
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, ActionModel, Problem, Segment, sign_of

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """Parameters of the low level, as NumPy or JAX arrays.

    Attributes:
        kp, kd: `Float[m]`, action a unit of angle and of velocity, kp > 0.
        bound: `Float[m]`, largest action.
        limit: `Float[m]`, largest goal.
        noise: `Float[m]`, deviation of logged actions before they are clipped.
    """

    kp: Any
    kd: Any
    bound: Any
    limit: Any
    noise: Any


def act(params: Params, memory: Any, state: Float[Array, "n"], goal: Float[Array, "m"]) -> tuple[Float[Array, "m"], Any]:
    """`Float[m]`, differentiable in the goal; its slope is 0 where it is clipped."""
    return jnp.clip(_unclipped(params, *_split(state), goal), -params.bound, params.bound), memory


class Context(NamedTuple):
    """What a segment says that no goal changes.

    Attributes:
        q, v: `Float[h, m]`, angles and velocities in the logged states.
    """

    params: Params
    q: jax.Array
    v: jax.Array


def problem(params: Params) -> Problem:
    """What inverses may know: the logged actions, in the logged states; no model of the world.

    Closed form, joint by joint: each step names the goal at which its unclipped action is the logged one. Returned is the exact
    minimizer of the squared distances to what is named; where the action is on its bound, of goals on the wrong side alone.
    AMBIGUOUS where a joint's actions are all on the bound: of the goals that explain them it is the nearest to the angle reached.
    """
    return Problem(
        project=lambda goal: _within(params, goal),
        start=_observed,
        action=ACTION,
        prepare=lambda segment: Context(params, *_split(segment.state)),
        closed_form=_closed_form,
        observed=_observed,
        width=closed_loop.limit,
    )


def _within(params: Params, goal: jax.Array) -> jax.Array:
    return jnp.clip(goal, -params.limit, params.limit)


def _observed(segment: Segment, at: Context) -> jax.Array:
    return _split(segment.next_state[-1])[0]


def _closed_form(segment: Segment, at: Context) -> tuple[jax.Array, jax.Array]:
    over = lambda x: jnp.broadcast_to(x, segment.action.shape)
    # The goal of which each step's logged action is the unclipped one.
    step_goals = at.q + (segment.action + over(at.params.kd) * at.v) / over(at.params.kp)
    sign, taken = sign_of(segment.action, -over(at.params.bound), over(at.params.bound)), segment.taken[:, None]
    exact, at_upper_bound, at_lower_bound = (taken & (sign == side) for side in (0, -1, 1))

    # Derivative of the one-sided squares at each step's goal; it is monotone, so its root lies between the last negative and the
    # first non-negative one, where the set of active steps is constant: the root is their mean.
    low, high = jnp.where(at_lower_bound, 0.0, -jnp.inf), jnp.where(at_upper_bound, 0.0, jnp.inf)
    derivative = jnp.clip(step_goals[:, None] - step_goals[None], low[None], high[None])
    rising = jnp.sum(jnp.where(taken[None], derivative, 0.0), axis=1) >= 0.0
    bracket_high = jnp.min(jnp.where(taken & rising, step_goals, jnp.inf), axis=0, keepdims=True)
    bracket_low = jnp.max(jnp.where(taken & ~rising, step_goals, -jnp.inf), axis=0, keepdims=True)
    active = exact | (at_upper_bound & (step_goals >= bracket_high)) | (at_lower_bound & (step_goals <= bracket_low))
    mean = jnp.sum(jnp.where(active, step_goals, 0.0), axis=0) / jnp.maximum(jnp.sum(active, axis=0), 1)

    known = jnp.any(exact, axis=0)
    lower = jnp.max(jnp.where(at_upper_bound, step_goals, -jnp.inf), axis=0)
    upper = jnp.min(jnp.where(at_lower_bound, step_goals, jnp.inf), axis=0)
    goal = jnp.where(known | (lower > upper), mean, jnp.clip(_observed(segment, at), lower, upper))
    return _within(at.params, goal), jnp.where(jnp.all(known), UNIQUE, AMBIGUOUS)


def _affine(segment: Segment, at: Context) -> tuple[jax.Array, jax.Array]:
    kp, kd = (jnp.broadcast_to(gain, at.q.shape) for gain in (at.params.kp, at.params.kd))
    return kp[:, :, None] * jnp.eye(at.q.shape[1])[None], -kp * at.q - kd * at.v


ACTION = ActionModel(
    unclipped=lambda goal, at: jax.vmap(lambda q, v: _unclipped(at.params, q, v, goal))(at.q, at.v),
    scale=closed_loop.noise,
    bounds=closed_loop.bounds,
    affine=_affine,
)


def _split(state: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Angles and velocities of [..., 2 m]."""
    m = state.shape[-1] // 2
    return state[..., :m], state[..., m:]


def _unclipped(params: Params, q: jax.Array, v: jax.Array, goal: jax.Array) -> jax.Array:
    """`Float[m]`, before clipping."""
    return params.kp * (goal - q) - params.kd * v
