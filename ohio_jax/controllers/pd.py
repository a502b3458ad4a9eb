"""Proportional-derivative control as low-level policy: every joint is drawn to its own goal and braked by its velocity.

    action = clip(kp (goal - q) - kd v, -bound, bound)

goal: Float[m], the joint angles asked for; state: Float[2 m], angles q and velocities v; action: Float[m], within bounds.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ohio_jax.controllers import stateless
from ohio_jax.low_level import AMBIGUOUS, ON, UNEXPLAINED, UNIQUE, Problem, Segment, disagreement

init, plan = stateless.init, stateless.plan


class Params(NamedTuple):
    """kp, kd: Float[m], action a unit of angle and of velocity, kp > 0; bound: Float[m], largest action.

    limit: Float[m], largest goal; noise: Float[m], deviation of logged actions before they are clipped. NumPy or JAX.
    """

    kp: Any
    kd: Any
    bound: Any
    limit: Any
    noise: Any


def act(params: Params, memory: Any, state: jax.Array, goal: jax.Array) -> tuple[jax.Array, Any]:
    """Float[m], differentiable in the goal; its slope is 0 where it is clipped."""
    return jnp.clip(_wish(params, state, goal), -params.bound, params.bound), memory


def problem(params: Params) -> Problem:
    """What inverses may know: the logged actions, in the logged states; no model of the world.

    Residual: the wish before clipping less the logged action, in units of `noise`, one-sided where that is on its bound.
    Closed form: each step names the goal at which the wish is its action; the mean over the steps off the bound, no nearer
    than those on it ask. AMBIGUOUS where a joint's actions are all on the bound; the goal nearest to the angle that was
    reached is returned. Affine form: the steps off the bound.
    """

    def residual(goal: jax.Array, segment: Segment) -> jax.Array:
        one = jnp.eye(len(params.kp))
        each = lambda x, u: disagreement(_wish(params, x, goal), u, params.bound, one, params.noise)
        return jax.vmap(each)(segment.state, segment.action).reshape(-1)

    def observed(segment: Segment) -> jax.Array:
        return _split(segment.next_state[-1])[0]

    def named(segment: Segment) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Float[h, m], the goal each action is the wish of; Bool[h, m], whether it is on its upper, lower bound."""
        over = lambda x: jnp.broadcast_to(x, segment.action.shape)
        u, bound = segment.action, over(params.bound)
        q, v = _split(segment.state)
        return q + (u + over(params.kd) * v) / over(params.kp), u >= ON * bound, u <= -ON * bound

    def project(goal: jax.Array) -> jax.Array:
        return jnp.clip(goal, -params.limit, params.limit)

    def closed_form(segment: Segment) -> tuple[jax.Array, jax.Array]:
        goals, high, low = named(segment)
        free = ~(high | low)
        count = jnp.sum(free, axis=0)
        mean = jnp.sum(jnp.where(free, goals, 0.0), axis=0) / jnp.maximum(count, 1)
        least = jnp.max(jnp.where(high, goals, -jnp.inf), axis=0)
        most = jnp.min(jnp.where(low, goals, jnp.inf), axis=0)
        goal = project(jnp.clip(jnp.where(count > 0, mean, observed(segment)), least, most))
        explained = jnp.linalg.norm(residual(goal, segment)) < Problem._field_defaults["tolerance"]
        return goal, jnp.where(explained, jnp.where(jnp.all(count > 0), UNIQUE, AMBIGUOUS), UNEXPLAINED)

    def affine(segment: Segment) -> tuple[jax.Array, jax.Array]:
        goals, high, low = named(segment)
        slope = jnp.where(high | low, 0.0, jnp.broadcast_to(params.kp / params.noise, goals.shape))
        J = slope[:, :, None] * jnp.eye(goals.shape[1])[None]
        return J.reshape(-1, goals.shape[1]), -(slope * goals).reshape(-1)

    return Problem(
        residual=residual,
        start=observed,
        project=project,
        closed_form=closed_form,
        observed=observed,
        affine=affine,
        imitation=residual,
        width=lambda segment: jnp.asarray(params.limit),
    )


def _split(state: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Angles and velocities of [..., 2 m]."""
    m = state.shape[-1] // 2
    return state[..., :m], state[..., m:]


def _wish(params: Params, state: jax.Array, goal: jax.Array) -> jax.Array:
    """Float[m], before clipping."""
    q, v = _split(state)
    return params.kp * (goal - q) - params.kd * v
