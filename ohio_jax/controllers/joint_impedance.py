"""Joint impedance control as low-level policy: decoupled springs and dampers on the joints (JOINT_POSITION of robosuite 1.4.1).

::

    torque = M (kp (q_g - q) - kd v) + b,   kd = 2 zeta sqrt(kp)

with the mass matrix M and the bias force b of the arm. The goal is a displacement of the joints from where they are when it is
given.

- goal: `Float[8]`, displacement of the 7 joints [rad], and the gripper's command.
- state: `Float[21]`, joint angles and velocities, and the angles at reset, which are not used.
- action: `Float[8]`, torques [N m] within their bounds, and the command.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.controllers import torques
from ohio_jax.dynamics.chain import Chain, bias, frames, like, mass_matrix
from ohio_jax.low_level import Problem, Segment
from ohio_jax.solvers.small import product


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        chain: the arm.
        kp, zeta: `Float[7]`, stiffness [1 / s^2] and damping ratio of each joint.
        output: `Float[7]`, largest displacement.
        bound: `Float[7]`, largest torques.
    """

    chain: Chain
    kp: Any
    zeta: Any
    output: Any
    bound: Any


class Known(NamedTuple):
    """What a segment's torques depend on beside the goal: those of step j are free[j] + spring[j] displacement.

    Attributes:
        params: the low level's.
        free: `Float[h, 7]`.
        spring: `Float[h, 7, 7]`.
        q: `Float[7]`, the angles before the first step.
    """

    params: Params
    free: jax.Array
    spring: jax.Array
    q: jax.Array


def init(params: Params) -> Float[Array, "7"]:
    """`Float[7]`, the joint angles aimed at."""
    return jnp.zeros(len(params.bound))


def plan(params: Params, memory: Float[Array, "7"], state: Float[Array, "21"], goal: Float[Array, "8"]) -> Float[Array, "7"]:
    return torques.split(state)[0] + torques.inside(goal, params.output)[:-1]


def act(
    params: Params, memory: Float[Array, "7"], state: Float[Array, "21"], goal: Float[Array, "8"]
) -> tuple[Float[Array, "8"], Float[Array, "7"]]:
    """`Float[8]`; differentiable in the goal, its slope 0 in torques that are clipped."""
    free, spring = law(params, state)
    unclipped = free + product(spring, memory - torques.split(state)[0])
    return torques.action(unclipped, params.bound, goal), memory


def problem(params: Params) -> Problem:
    """What inverses may know: the logged torques in the logged states (see `torques.problem`), affine in the goal.

    Observed: the displacement of the joints over the segment, and the command.
    """
    return torques.problem(params, prepare, ACTION, width=_usual, observed=_observed)


def prepare(params: Params, segment: Segment) -> Known:
    free, spring = jax.vmap(lambda state: law(params, state))(segment.state)
    q = torques.split(segment.state)[0]
    return Known(params, free + jax.vmap(product)(spring, q[:1] - q), spring, q[0])


def _torque(goal: jax.Array, at: Known) -> jax.Array:
    return at.free + jax.vmap(lambda spring: product(spring, goal[:-1]))(at.spring)


def _affine(at: Known) -> tuple[jax.Array, jax.Array]:
    return at.spring, at.free


def _observed(segment: Segment, at: Known) -> jax.Array:
    moved = torques.split(segment.next_state[-1])[0] - at.q
    return torques.inside(jnp.concatenate([moved, torques.command(segment)]), at.params.output)


def _usual(segment: Segment, at: Known) -> jax.Array:
    return jnp.append(like(at.params.output, segment.action), 1.0)


ACTION = torques.model(_torque, _affine)


def law(params: Params, state: Float[Array, "21"]) -> tuple[Float[Array, "7"], Float[Array, "7 7"]]:
    """(`Float[7]`, `Float[7, 7]`), the torques where no displacement is left, and a unit of each entry of it."""
    params = like(params, state)
    q, v, _ = torques.split(state)
    at = frames(params.chain, q)
    M = mass_matrix(params.chain, at)
    free = bias(params.chain, at, v) - product(M, 2.0 * params.zeta * jnp.sqrt(params.kp) * v)
    return free, M * params.kp[None]
