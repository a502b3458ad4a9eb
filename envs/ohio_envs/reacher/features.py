"""What learners are shown of the reacher's observation."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float


def features(obs: Float[jax.Array | np.ndarray, "*batch 6"]) -> Float[jax.Array | np.ndarray, "*batch 6"]:
    """All near one in size: what the arm sees from its own first link.

    Nothing about the task changes when shoulder and target are turned together, so nobody need learn it.
    """
    (sine, cosine), bend = (f(obs[..., :1]) for f in (jnp.sin, jnp.cos)), obs[..., 1:2]
    x, y, v = obs[..., 2:3], obs[..., 3:4], obs[..., 4:]
    ahead, aside = cosine * x + sine * y, cosine * y - sine * x
    return jnp.concatenate([jnp.sin(bend), jnp.cos(bend), 10.0 * ahead, 10.0 * aside, 0.2 * v], axis=-1)


def features_and_angles(obs: Float[jax.Array | np.ndarray, "*batch 6"]) -> Float[jax.Array | np.ndarray, "*batch 8"]:
    """`Float[..., 8]`, with the joint angles, without which goals that are angles cannot be named."""
    return jnp.concatenate([features(obs), obs[..., :2]], axis=-1)
