"""Operational-space control of an arm's site as low-level policy (Khatib 1987; OSC_POSE of robosuite 1.4.1).

::

    F = kp_p (p_g - p) - kd_p v,   T = kp_r e(R_g, R) - kd_r w,   kd = 2 zeta sqrt(kp)
    torque = Jp' Lp F + Jr' Lr T + b + (I - J' L J M^-1) M (10 (q_0 - q) - 2 sqrt(10) v_q),   L = (J M^-1 J')^-1

with e(R_g, R) = sin(angle) axis of the rotation R_g R' that is left, and Lp, Lr as L, of the rows of J for position and
rotation alone. The goal is a displacement of the pose in which it is given, and is held for the steps that it lasts.

- goal: `Float[7]`, displacement [m], rotation vector in world axes [rad], and the gripper's command.
- state: `Float[21]`, joint angles and velocities, and the angles at reset, which the null space is drawn to.
- action: `Float[8]`, torques [N m] within their bounds, and the command.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.controllers import torques
from ohio_jax.dynamics.chain import Chain, bias, frames, jacobian, like, mass_matrix, pose
from ohio_jax.low_level import Problem, Segment
from ohio_jax.solvers.small import product, solve_definite

POSTURE = 10.0  # 1 / s^2, stiffness of the null space
RELEASED = (0.0, 0.0, 0.0, 0.1, 0.1, 0.1), (0.2, 0.2, 0.2, 0.8, 0.8, 0.8)  # see `Problem.released`; m, rad


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        chain: the arm.
        kp, zeta: `Float[6]`, stiffness [1 / s^2] and damping ratio of position and rotation.
        output: `Float[6]`, largest displacement [m] and rotation [rad] a goal may ask for, entry by entry.
        bound: `Float[7]`, largest torques.
        log_map: whether the rotation left is angle axis instead of sin(angle) axis, which falls again beyond a right angle.
        stale: compat; a goal without any rotation keeps the last goal's orientation (at first that at reset) and not its own.
        prior_std: `Float[6]`, the size that goals have where they may be far larger; None: output.
    """

    chain: Chain
    kp: Any
    zeta: Any
    output: Any
    bound: Any
    prior_std: Any = None
    log_map: bool = struct.field(pytree_node=False, default=False)
    stale: bool = struct.field(pytree_node=False, default=False)


class Pose(NamedTuple):
    """What is aimed at. position: `Float[3]`; rotation: `Float[3, 3]`, 0 before the first goal."""

    position: jax.Array
    rotation: jax.Array


class Law(NamedTuple):
    """The torques in one state, position and rotation being left: free + force left_p + twist left_r.

    Attributes:
        free: `Float[n]`.
        force, twist: `Float[n, 3]`.
        position, rotation: `Float[3]`, `Float[3, 3]`, where the site is.
    """

    free: jax.Array
    force: jax.Array
    twist: jax.Array
    position: jax.Array
    rotation: jax.Array


class Known(NamedTuple):
    """What a segment's torques depend on beside the goal: c, P, T, D of `problem` for each step.

    Attributes:
        params: the low level's.
        law: of each step, leaves [h, ...], `free` counted from the pose before the first.
        turned: `Float[h, 3, 3]`.
    """

    params: Params
    law: Law
    turned: jax.Array


def init(params: Params) -> Pose:
    return Pose(jnp.zeros(3), jnp.zeros((3, 3)))


def plan(params: Params, memory: Pose, state: Float[Array, "21"], goal: Float[Array, "7"]) -> Pose:
    """The pose the goal asks for, counted from the one of this moment."""
    goal = torques.inside(goal, params.output)
    q, _, first = torques.split(state)
    position, rotation = pose(params.chain, frames(params.chain, q))
    turned = product(rotation_of(goal[3:6]), rotation)
    if params.stale:
        _, at_reset = pose(params.chain, frames(params.chain, first))
        last = jnp.where(jnp.any(memory.rotation != 0), memory.rotation, at_reset)
        turned = jnp.where(jnp.any(goal[3:6] != 0), turned, last)
    return Pose(position + goal[:3], turned)


def act(params: Params, memory: Pose, state: Float[Array, "21"], goal: Float[Array, "7"]) -> tuple[Float[Array, "8"], Pose]:
    """`Float[8]`; differentiable in the goal, its slope 0 in torques that are clipped."""
    at = law(params, state)
    left = turn_left(params, product(memory.rotation, at.rotation.T))
    unclipped = at.free + product(at.force, memory.position - at.position) + product(at.twist, left)
    return torques.action(unclipped, params.bound, goal), memory


def problem(params: Params) -> Problem:
    """What inverses may know: the logged torques in the logged states (see `torques.problem`).

    Of a goal u the torques of step j are c_j + P_j u_p + T_j e(Rot(u_r) D_j), where only u is unknown. Observed: the
    displacement of the site over the segment; the command is read off the actions, for no joint of the arm shows it.

    A goal outside the range is returned at its edge and, as it does not explain the torques, UNEXPLAINED; with a wider
    `output` it is returned as it is. `torques.outside` tells which are.
    """
    return torques.problem(params, prepare, ACTION, width=_usual, observed=_observed, released=RELEASED)


def rescaled(logged: Params, params: Params, state: Float[Array, "21"], goal: Float[Array, "7"]) -> Float[Array, "7"]:
    """`Float[7]`, the goal whose unclipped torques under `params`, in the state where it is given, are those of `goal` under
    `logged`, which has other gains.

    In that state the displacement d is all that is left, so with the velocity V of position and rotation the law asks for

        kp' d' - kd' V = kp d - kd V,   d' = (kp d + (kd' - kd) V) / kp',

    of rotations for their e(R_g, R), whose sine ends at a right angle.
    """
    velocity = site_velocity(params.chain, state)
    left = jnp.concatenate([goal[:3], turn_left(logged, rotation_of(goal[3:6]))])
    d = (logged.kp * left + (damping(params) - damping(logged)) * velocity) / params.kp
    return jnp.concatenate([d[:3], d[3:] if params.log_map else _arcsine(d[3:]), goal[6:]])


def prior_width(logged: Params, params: Params, largest: Float[Array, "6"], speed: Float[Array, "6"]) -> Float[Array, "6"]:
    """`Float[6]`, size of goals, axis by axis, under other gains than those of the logs: see `rescaled`.

    Args:
        largest: displacement and rotation that the behavior policy asks for, m and rad.
        speed: of position and rotation in the logs, m/s and rad/s.
    """
    return (logged.kp * largest + jnp.abs(damping(params) - damping(logged)) * speed) / params.kp


def damping(params: Params) -> Float[Array, "6"]:
    """`Float[6]`, kd [1 / s]."""
    return 2.0 * jnp.asarray(params.zeta) * jnp.sqrt(jnp.asarray(params.kp))


def site_velocity(chain: Chain, state: Float[Array, "21"]) -> Float[Array, "6"]:
    """`Float[6]`, of the site along and about each axis, m/s and rad/s."""
    chain = like(chain, state)
    q, v, _ = torques.split(state)
    return product(jacobian(chain, frames(chain, q)), v)


def prepare(params: Params, segment: Segment) -> Known:
    at = jax.vmap(lambda state: law(params, state))(segment.state)
    away = at.position[0][None] - at.position
    turned = jax.vmap(lambda rotation: product(at.rotation[0], rotation.T))(at.rotation)
    free = at.free + jax.vmap(product)(at.force, away)
    return Known(params, at._replace(free=free), turned)


def _torque(goal: jax.Array, at: Known) -> jax.Array:
    turn = rotation_of(goal[3:6])
    left = jax.vmap(lambda turned: turn_left(at.params, product(turn, turned)))(at.turned)
    pull = jax.vmap(lambda force: product(force, goal[:3]))(at.law.force)
    return at.law.free + pull + jax.vmap(product)(at.law.twist, left)


def _observed(segment: Segment, at: Known) -> jax.Array:
    q, _, _ = torques.split(segment.next_state[-1])
    position, rotation = pose(at.params.chain, frames(at.params.chain, q))
    begin, turned = at.law.position[0], at.law.rotation[0]
    moved = position - begin, vector_of(product(rotation, turned.T)), torques.command(segment)
    return torques.inside(jnp.concatenate(moved), at.params.output)


def _usual(segment: Segment, at: Known) -> jax.Array:
    prior_std = at.params.output if at.params.prior_std is None else at.params.prior_std
    return jnp.append(like(prior_std, segment.action), 1.0)


ACTION = torques.model(_torque)


def law(params: Params, state: Float[Array, "21"]) -> Law:
    """Everything of the torques that no goal changes."""
    params = like(params, state)
    q, v, first = torques.split(state)
    at = frames(params.chain, q)
    position, rotation = pose(params.chain, at)
    J, M, b = jacobian(params.chain, at), mass_matrix(params.chain, at), bias(params.chain, at, v)
    mobility = product(J, solve_definite(M, J.T)[0])  # L^-1
    force, twist = solve_definite(mobility[:3, :3], J[:3])[0].T, solve_definite(mobility[3:, 3:], J[3:])[0].T
    posture = POSTURE * (first - q) - 2.0 * jnp.sqrt(POSTURE) * v
    null = product(M, posture) - product(J.T, solve_definite(mobility, product(J, posture))[0])
    braked = damping(params) * product(J, v)
    free = b + null - product(force, braked[:3]) - product(twist, braked[3:])
    return Law(free, force * params.kp[None, :3], twist * params.kp[None, 3:], position, rotation)


def turn_left(params: Params, R: Float[Array, "3 3"]) -> Float[Array, "3"]:
    """`Float[3]`, e of the rotation R: `Float[3, 3]` that is left."""
    return vector_of(R) if params.log_map else _sine(R)


def rotation_of(vector: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """`Float[3, 3]`, the rotation about `vector`: `Float[3]` by its length (Rodrigues); smooth at 0."""
    square = jnp.sum(jnp.square(vector))
    near = square < 1e-4
    angle = jnp.sqrt(jnp.where(near, 1.0, square))
    a = jnp.where(near, 1.0 - square / 6.0 * (1.0 - square / 20.0), jnp.sin(angle) / angle)
    b = jnp.where(near, 0.5 - square / 24.0 * (1.0 - square / 30.0), 2.0 * jnp.square(jnp.sin(angle / 2.0) / angle))
    x, y, z = vector
    zero = jnp.zeros_like(x)
    cross = jnp.stack([jnp.stack([zero, -z, y]), jnp.stack([z, zero, -x]), jnp.stack([-y, x, zero])])
    one = jnp.eye(3, dtype=vector.dtype)
    return one + a * cross + b * (jnp.outer(vector, vector) - square * one)


def vector_of(R: Float[Array, "3 3"]) -> Float[Array, "3"]:
    """`Float[3]`, the inverse of `rotation_of` for angles below pi; smooth at 0."""
    sine = _sine(R)
    square = jnp.sum(jnp.square(sine))
    cosine = 0.5 * (jnp.trace(R) - 1.0)
    near = (square < 1e-6) & (cosine > 0)
    length = jnp.sqrt(jnp.where(near | (square == 0), 1.0, square))
    return jnp.where(near, 1.0 + square / 6.0, jnp.arctan2(length, cosine) / length) * sine


def _arcsine(sine: jax.Array) -> jax.Array:
    """`Float[3]`, the rotation vector of sin(angle) axis; a right angle of what is larger."""
    length = jnp.linalg.norm(sine)
    return jnp.where(length > 0, jnp.arcsin(jnp.minimum(length, 1.0)) / jnp.where(length > 0, length, 1.0), 1.0) * sine


def _sine(R: jax.Array) -> jax.Array:
    """`Float[3]`, sin(angle) axis."""
    return 0.5 * jnp.stack([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
