"""What low levels have in common that turn goals into joint torques, once the part of their law that no goal changes is known.

state: Float[3 n], joint angles, their velocities, and the angles at reset. action: Float[n + 1], torques within bounds and a
gripper's command. goal: Float[g], its last entry the command, passed through.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ohio_jax.dynamics.chain import like
from ohio_jax.low_level import ON, Problem, Segment, heeded, signed_disagreement

NOISE = 0.01  # deviation of a logged torque, as a share of its bound; and of a command


def split(state: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(angles, velocities, angles at reset) of [..., 3 n]."""
    n = state.shape[-1] // 3
    return state[..., :n], state[..., n : 2 * n], state[..., 2 * n :]


def action(wish: jax.Array, bound: jax.Array, goal: jax.Array) -> jax.Array:
    """Float[n + 1], the torques within their bounds, and the command."""
    bound = like(bound, wish)
    return jnp.concatenate([jnp.clip(wish, -bound, bound), goal[-1:]])


def inside(goal: jax.Array, output: jax.Array) -> jax.Array:
    """Float[g], the goal within the range of what may be asked for, output: Float[g - 1], and the command within [-1, 1]."""
    output = like(output, goal)
    return jnp.concatenate([jnp.clip(goal[:-1], -output, output), jnp.clip(goal[-1:], -1.0, 1.0)])


def outside(goal: jax.Array, output: jax.Array) -> jax.Array:
    """Bool[..., g - 1], which entries of goals [..., g] are on the edge of the range or beyond: what was recovered there, where
    a wider range had been allowed, might lie farther out."""
    return jnp.abs(goal[..., :-1]) >= ON * jnp.broadcast_to(output, goal[..., :-1].shape)


def matching(
    known: Callable[[jax.Array], Any], wish: Callable[[jax.Array, Any], jax.Array], params: Any, usual: Any, **more
) -> Problem:
    """The problem of matching logged torques in the logged states; it needs no model of the world.

    known(state: Float[h, 3 n]) -> what of the law no goal changes, a pytree; it takes the place of a prepared segment's states.
    wish(goal, known) -> Float[h, n], the torques before their bounds. params: with `bound`: Float[n] and `output`: Float[g - 1].
    Residual: wish less logged torque, in units of NOISE of the bound, one-sided where the logged one is on it; and the command
    less the one logged. Searches begin at a displacement of 0. usual: Float[g - 1], the size that displacements have; the prior's
    deviation. more: other fields of the problem.
    """

    def signed(goal: jax.Array, segment: Segment) -> tuple[jax.Array, jax.Array]:
        bound = like(params.bound, goal)
        one = jnp.eye(len(bound), dtype=bound.dtype)
        away = jax.vmap(lambda wish, action: signed_disagreement(wish, action[:-1], bound, one, NOISE * bound))
        torques, side = away(wish(goal, segment.state), segment.action)
        asked = (goal[-1:] - command(segment)) / NOISE
        return jnp.concatenate([torques.reshape(-1), asked]), jnp.append(side.reshape(-1), 0)

    def residual(goal: jax.Array, segment: Segment) -> jax.Array:
        return heeded(*signed(goal, segment))

    def acted(goal: jax.Array, segment: Segment) -> jax.Array:
        bound = like(params.bound, goal)[None]
        return (jnp.clip(wish(goal, segment.state), -bound, bound) - segment.action[:, :-1]).reshape(-1)

    return Problem(
        prepare=lambda segment: segment._replace(state=known(segment.state)),
        residual=residual,
        signed=signed,
        start=lambda segment: jnp.concatenate([jnp.zeros_like(like(params.output, segment.action)), command(segment)]),
        project=lambda goal: inside(goal, params.output),
        imitation=residual,
        acted=acted,
        width=lambda segment: jnp.append(like(usual, segment.action), 1.0),
        **more,
    )


def command(segment: Segment) -> jax.Array:
    """Float[1], what was asked of the gripper."""
    return segment.action[0, -1:]
