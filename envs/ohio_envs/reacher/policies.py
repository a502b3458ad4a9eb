"""Behavior policies of the reacher: functions (environment, key, state) -> torques `Float[2]`.

`pd` finds the joint angles that put the finger on the target and drives there by proportional-derivative control; the agents
learned by soft actor-critic, see `ohio_envs.agents`. Mixtures choose who acts once an episode, by the bits of its target.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ohio_envs.agents import Agents
from ohio_envs.reacher.features import features
from ohio_envs.reacher.simulator import LINK, Reacher
from ohio_jax.environment import State
from ohio_jax.networks import heads

STIFFNESS = np.array([16.0, 8.0], np.float32)  # torque a rad, as a share of the gear
DAMPING = np.array([0.5, 0.2], np.float32)  # and a rad/s
NOISE = 2.0  # deviation of `noisy`'s torques
AGENTS = Agents(Path(__file__).with_name("agents.npz"), heads.Box((1.0, 1.0)), features)


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
    return jax.lax.switch(lottery(state, 3), (TRAINED["expert"], TRAINED["medium"], random), env, key, state)


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


TRAINED = AGENTS.policies(lottery)
POLICIES = {
    **TRAINED,
    "mixed": mixed,
    "random": random,
    "pd": pd,
    "noisy": noisy,
}
