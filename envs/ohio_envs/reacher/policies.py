"""Behaviour on the reacher: functions (environment, key, state) -> torques Float[2].

`expert` finds the joint angles that put the finger on the target and drives there by proportional-derivative control.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ohio_envs.reacher.simulator import LINK, Reacher
from ohio_jax.environment import State

STIFFNESS, DAMPING = (
    np.array([16.0, 8.0], np.float32),
    np.array([0.5, 0.2], np.float32),
)  # torque a rad and a rad/s, as shares of the gear
NOISE = 0.6  # deviation of `medium`'s torques


def expert(env: Reacher, key: jax.Array, state: State) -> jax.Array:
    """Inverse kinematics and PD control."""
    arm = state.pipeline_state
    error = inverse_kinematics(arm.target, arm.q) - arm.q
    error = error.at[0].set(jnp.mod(error[0] + jnp.pi, 2.0 * jnp.pi) - jnp.pi)  # the shoulder may take the shorter way
    return jnp.clip(STIFFNESS * error - DAMPING * arm.v, -1.0, 1.0)


def medium(env: Reacher, key: jax.Array, state: State) -> jax.Array:
    """The expert with noise on its torques."""
    noise = NOISE * jax.random.normal(key, (2,))
    return jnp.clip(expert(env, key, state) + noise, -1.0, 1.0)


def random(env: Reacher, key: jax.Array, state: State) -> jax.Array:
    """Torques drawn evenly."""
    return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)


def inverse_kinematics(target: jax.Array, q: jax.Array) -> jax.Array:
    """Float[2], the joint angles that reach `target: Float[2]` with the wrist bent as in q: Float[2]."""
    x, y = target
    cosine = (x * x + y * y) / (2.0 * LINK * LINK) - 1.0
    bend = jnp.arccos(jnp.clip(cosine, -1.0, 1.0)) * jnp.where(q[1] < 0, -1.0, 1.0)
    return jnp.stack([jnp.arctan2(y, x) - bend / 2.0, bend])  # links of the same length


POLICIES = {"expert": expert, "medium": medium, "random": random}
