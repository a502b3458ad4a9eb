"""Behavior: goals (displacement, rotation vector, command) of scripts, with noise of any size on them, and of trained agents.

The scripts read their goals off what is seen. Both are state machines without a memory: which phase it is follows from where the
gripper is, and how long it has been closing from what it is told, which moves by a twentieth of its range a decision. For the
agents see `ohio_envs.agents`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ohio_envs.agents import Agents
from ohio_envs.manipulation.features import FEATURES
from ohio_envs.manipulation.scenes import Seen
from ohio_envs.manipulation.simulator import Manipulation, Moment
from ohio_jax.controllers.osc import rotation_of, vector_of
from ohio_jax.environment import State
from ohio_jax.networks import heads
from ohio_jax.task import Policy

RANGE = np.array([0.05] * 3 + [0.5] * 3 + [1.0], np.float32)  # m, rad, and the gripper's command: the largest goals of behavior
GAIN = 2.0  # share of what is left that a goal asks for: the arm brakes hard enough for more than all of it
CLOSING, CLOSED = -0.95, 0.25  # what the gripper is told once it has begun to close, and 25 decisions after it was open
DOWN = np.array([0.0, 0.0, -1.0], np.float32)

HOVER = 0.06  # m, above the cube
HEIGHT = 1.0  # m, to which the cube is lifted

STANDOFF = 0.08  # m, before the handle
TURNED = 1.25  # rad, of the handle, at which the latch lets go
AJAR = 0.05  # rad, of the hinge, from which the latch no longer matters
AHEAD_TURNING, AHEAD_PULLING = 0.4, 0.1  # rad, by which the goal leads the handle along its arcs


class Wish(NamedTuple):
    """What is wanted from here: away, turn: `Float[3]`, m and rad; close: `Bool[]`."""

    away: jax.Array
    turn: jax.Array
    close: jax.Array


def lift(now: Moment, seen: Seen) -> Wish:
    """Hovers above the cube, aligned with its sides, comes down, closes the gripper, and lifts."""
    hand, cube = gripper_turn(seen), matrix(seen["cube_turn"])
    off = seen["cube"] - seen["gripper"]
    # Any of the cube's four sides will do.
    yaw = jnp.arctan2(cube[1, 0], cube[0, 0]) - jnp.arctan2(hand[1, 0], hand[0, 0])
    yaw = jnp.mod(yaw + jnp.pi / 4, jnp.pi / 2) - jnp.pi / 4
    turn = jnp.cross(hand[:, 2], jnp.asarray(DOWN)) - yaw * jnp.asarray(DOWN)

    aside, left = jnp.linalg.norm(off[:2]), jnp.linalg.norm(off)
    above = (aside < 0.01) & (jnp.abs(yaw) < 0.1) | (aside < 0.02) & (off[2] > -0.03)
    close = (left < 0.01) | (now.grip > CLOSING) & (left < 0.03)
    held = (now.grip > CLOSED) & (left < 0.03)
    up = jnp.where(held, HEIGHT - seen["gripper"][2], jnp.where(above, 0.0, HOVER) + off[2])
    return Wish(off.at[2].set(up), turn, close)


def door(now: Moment, seen: Seen) -> Wish:
    """Grasps the handle level, one finger above it and one below, turns it down, and pulls the door along its arc."""
    hinge, handle = now.bodies.q[-2:]
    hand, latch = gripper_turn(seen), matrix(seen["latch_turn"])
    _, inward, upward = latch.T
    across = latch.T @ (seen["handle"] - seen["gripper"])  # along the handle, into the door, across it
    wanted = jnp.stack([-upward, jnp.cross(upward, inward), inward], axis=1)  # a quarter turn from where it hangs at reset
    turn = vector_of(wanted @ hand.T)

    aside, left = jnp.linalg.norm(across[::2]), jnp.linalg.norm(across)
    before = (aside < 0.01) & (jnp.linalg.norm(turn) < 0.15) | (aside < 0.02) & (across[1] < 0.03)
    close = (left < 0.01) | (now.grip > CLOSING) & (left < 0.03)
    held = (now.grip > CLOSED) & (left < 0.03)
    pull = (handle > TURNED) | (hinge > AJAR)

    approach = seen["handle"] - jnp.where(before, 0.0, STANDOFF) * inward
    arc = lambda center, step: center + rotation_of(step) @ (seen["handle"] - center)
    down, out = AHEAD_TURNING * inward, -AHEAD_PULLING * jnp.asarray(DOWN)
    led = jnp.where(pull, arc(seen["hinge"], out), arc(seen["latch"], down))
    goal = jnp.where(held, led, approach)
    return Wish(goal - seen["gripper"], turn + held * jnp.where(pull, out, down), close)


def gripper_turn(seen: Seen) -> Float[Array, "3 3"]:
    """`Float[3, 3]`, axes of the gripper: the fingers' way, across, and ahead. It stands a quarter turned on the hand."""
    hand = matrix(seen["hand"])
    return jnp.stack([-hand[:, 1], hand[:, 0], hand[:, 2]], axis=1)


def matrix(quaternion: Float[Array, "4"]) -> Float[Array, "3 3"]:
    """`Float[3, 3]`, the rotation of a unit quaternion (w, x, y, z)."""
    w, x, y, z = quaternion
    return jnp.stack(
        [
            jnp.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            jnp.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            jnp.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )


def script(*noises: float) -> Policy:
    """Asks for what the scene's script wishes, plus normal noise, as a share of the range; one of these deviations an episode."""

    def policy(env: Manipulation, key: jax.Array, state: State) -> jax.Array:
        now: Moment = state.pipeline_state
        away, turn, close = SCRIPTS[env.scene.name](now, env.seen(now.readings))
        limit, noise = jnp.asarray(RANGE), jnp.array(noises)[draw_lots(now.joints, len(noises))]
        asked = jnp.append(GAIN * jnp.concatenate([away, turn]), jnp.where(close, 1.0, -1.0)) / limit
        return limit * jnp.clip(jnp.clip(asked, -1.0, 1.0) + noise * jax.random.normal(key, asked.shape), -1.0, 1.0)

    return policy


def random(env: Manipulation, key: PRNGKeyArray, state: State) -> Float[Array, "7"]:
    """Goals drawn evenly from the range."""
    return jnp.asarray(RANGE) * jax.random.uniform(key, RANGE.shape, minval=-1.0, maxval=1.0)


def none(env: Manipulation, key: PRNGKeyArray, state: State) -> Float[Array, "7"]:
    """Asks to stay, and nothing of the gripper."""
    return jnp.zeros_like(jnp.asarray(RANGE))


def draw_lots(joints: Float[Array, "7"], tickets: int) -> Int[Array, ""]:
    """`Int[]` in 0 .. tickets - 1, the same throughout an episode: by the bits of the arm's joints at reset, `Float[7]`."""
    bits = jax.lax.bitcast_convert_type(joints.astype(jnp.float32), jnp.uint32)
    return ((bits[0] ^ bits[1]) % tickets).astype(jnp.int32)


SCRIPTS: dict[str, Callable[[Moment, Seen], Wish]] = {"lift": lift, "door": door}
GOALS = heads.Box(tuple(RANGE.tolist()))
AGENTS = {name: Agents(Path(__file__).with_name(f"{name}_agents.npz"), GOALS, FEATURES[name]) for name in SCRIPTS}
SCRIPTED: dict[str, Policy] = {
    "script": script(0.0),
    "noisy-0.3": script(0.3),
    "noisy-0.7": script(0.7),
    "noisy-1.0": script(1.0),
    "mixed": script(0.0, 0.3, 0.7, 1.0),
    "random": random,
    "none": none,
}


def lottery(state: State, tickets: int) -> Int[Array, ""]:
    """See `draw_lots`."""
    return draw_lots(state.pipeline_state.joints, tickets)


POLICIES = {name: {**agents.policies(lottery), **SCRIPTED} for name, agents in AGENTS.items()}  # of each scene
