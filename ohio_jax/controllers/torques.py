"""What low levels have in common that turn goals into joint torques, once the part of their law that no goal changes is known.

- state: `Float[3 n]`, joint angles, their velocities, and the angles at reset.
- action: `Float[n + 1]`, torques within bounds and a gripper's command.
- goal: `Float[g]`, its last entry the command, passed through.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ohio_jax.dynamics.chain import like
from ohio_jax.low_level import ON, ActionModel, Problem, Segment

Affine = Callable[[Any], tuple[jax.Array, jax.Array]]

NOISE = 0.01  # deviation of a logged torque, as a share of its bound; and of a command


def split(state: Float[Array, "*batch n"]) -> tuple[Float[Array, "*batch m"], Float[Array, "*batch m"], Float[Array, "*batch m"]]:
    """(angles, velocities, angles at reset) of [..., 3 n]."""
    n = state.shape[-1] // 3
    return state[..., :n], state[..., n : 2 * n], state[..., 2 * n :]


def action(
    unclipped: Float[Array, "n"], bound: Float[jax.Array | np.ndarray, "n"], goal: Float[Array, "g"]
) -> Float[Array, "n+1"]:
    """`Float[n + 1]`, the torques within their bounds, and the command."""
    bound = like(bound, unclipped)
    return jnp.concatenate([jnp.clip(unclipped, -bound, bound), goal[-1:]])


def inside(goal: Float[Array, "g"], output: Float[jax.Array | np.ndarray, "g-1"]) -> Float[Array, "g"]:
    """`Float[g]`, the goal within the range of what may be asked for, output: `Float[g - 1]`, and the command within [-1, 1]."""
    output = like(output, goal)
    return jnp.concatenate([jnp.clip(goal[:-1], -output, output), jnp.clip(goal[-1:], -1.0, 1.0)])


def outside(
    goal: Float[jax.Array | np.ndarray, "*batch g"], output: Float[jax.Array | np.ndarray, "g-1"]
) -> Bool[jax.Array | np.ndarray, "*batch g-1"]:
    """Which entries of goals [..., g] are on the edge of the range or beyond: what was recovered there, where a wider range had
    been allowed, might lie farther out.
    """
    return jnp.abs(goal[..., :-1]) >= ON * jnp.broadcast_to(output, goal[..., :-1].shape)


def model(torque: Callable[[jax.Array, Any], jax.Array], affine: Affine | None = None) -> ActionModel:
    """The action model of a low level whose contexts have `params`, with `bound`: `Float[n]` and `output`: `Float[g - 1]`.

    Deviations are NOISE of the bound, and of the command.

    Args:
        torque: `torque(goal, context) -> Float[h, n]`, before the bounds.
        affine: `affine(context) -> (J: Float[h, n, g - 1], r: Float[h, n])` of it.
    """

    def unclipped(goal: jax.Array, at: Any) -> jax.Array:
        wanted = torque(goal, at)
        return jnp.concatenate([wanted, jnp.broadcast_to(goal[-1:], (len(wanted), 1))], axis=1)

    def with_command(segment: Segment, at: Any) -> tuple[jax.Array, jax.Array]:
        assert affine is not None
        J, r = affine(at)
        J = jnp.pad(J, ((0, 0), (0, 1), (0, 1))).at[:, -1, -1].set(1.0)
        return J, jnp.pad(r, ((0, 0), (0, 1)))

    return ActionModel(unclipped, _scale, _bounds, affine=None if affine is None else with_command, once=1)


def problem(params: Any, prepare: Callable[[Any, Segment], Any], action: ActionModel, **more: Any) -> Problem:
    """The problem of matching logged torques in the logged states; it needs no model of the world.

    Searches begin at a displacement of 0.

    Args:
        prepare: `prepare(params, segment) -> context`.
        action: see `model`.
        **more: other fields of the problem, `width` among them.
    """
    project = lambda goal: inside(goal, params.output)
    ready = functools.partial(prepare, params)
    return Problem(project=project, start=_still, action=action, prepare=ready, likeliest=True, **more)


def command(segment: Segment) -> Float[Array, "1"]:
    """`Float[1]`, what was asked of the gripper."""
    return segment.action[0, -1:]


def _scale(segment: Segment, at: Any) -> jax.Array:
    return jnp.append(NOISE * like(at.params.bound, segment.action), NOISE)


def _bounds(unclipped: jax.Array, at: Any) -> tuple[jax.Array, jax.Array]:
    bound = jnp.append(like(at.params.bound, unclipped), jnp.inf)
    return -bound, bound


def _still(segment: Segment, at: Any) -> jax.Array:
    return jnp.concatenate([jnp.zeros_like(like(at.params.output, segment.action)), command(segment)])
