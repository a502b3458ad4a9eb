"""Behavior policies of the reacher: functions (environment, key, state) -> torques `Float[2]`.

`pd` finds the joint angles that put the finger on the target and drives there by proportional-derivative control; the agents
learned by soft actor-critic, see `agents`. Mixtures choose who acts once an episode, by the bits of its target.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ohio_envs.reacher import agents
from ohio_envs.reacher.simulator import LINK, Reacher
from ohio_jax.environment import State

STIFFNESS = np.array([16.0, 8.0], np.float32)  # torque a rad, as a share of the gear
DAMPING = np.array([0.5, 0.2], np.float32)  # and a rad/s
NOISE = 2.0  # deviation of `noisy`'s torques


expert = agents.play(lambda stages, state: jnp.int32(stages - 1))
medium = agents.play(lambda stages, state: jnp.int32(agents.MEDIUM))
replay = agents.play(lambda stages, state: lottery(state, stages))


def pd(env: Reacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """Inverse kinematics and PD control."""
    arm = state.pipeline_state
    error = inverse_kinematics(arm.target, arm.q) - arm.q
    error = error.at[0].set(jnp.mod(error[0] + jnp.pi, 2.0 * jnp.pi) - jnp.pi)  # the shoulder may take the shorter way
    return jnp.clip(STIFFNESS * error - DAMPING * arm.v, -1.0, 1.0)


def noisy(env: Reacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """PD control with noise on its torques, larger than the torques."""
    return jnp.clip(pd(env, key, state) + NOISE * jax.random.normal(key, (2,)), -1.0, 1.0)


def random(env: Reacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """Torques drawn evenly."""
    return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)


def mixed(env: Reacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """The expert, the medium agent or random torques, a third of the episodes each."""
    return jax.lax.switch(lottery(state, 3), (expert, medium, random), env, key, state)


def lottery(state: State, tickets: int) -> Int[Array, ""]:
    """`Int[]` in 0 .. tickets - 1, the same throughout an episode."""
    bits = jax.lax.bitcast_convert_type(state.pipeline_state.target.astype(jnp.float32), jnp.uint32)
    return ((bits[0] ^ bits[1]) % tickets).astype(jnp.int32)


def inverse_kinematics(target: Float[Array, "2"], q: Float[Array, "2"]) -> Float[Array, "2"]:
    """`Float[2]`, the joint angles that reach `target: Float[2]` with the wrist bent as in q: `Float[2]`."""
    x, y = target
    cosine = (x * x + y * y) / (2.0 * LINK * LINK) - 1.0
    bend = jnp.arccos(jnp.clip(cosine, -1.0, 1.0)) * jnp.where(q[1] < 0, -1.0, 1.0)
    return jnp.stack([jnp.arctan2(y, x) - bend / 2.0, bend])  # links of the same length


POLICIES = {
    "expert": expert,
    "medium": medium,
    "mixed": mixed,
    "replay": replay,
    "random": random,
    "pd": pd,
    "noisy": noisy,
}
