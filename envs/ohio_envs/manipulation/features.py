"""What learners are shown of the observations: every number near one in size, whatever the data."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Where observations lie and how far they spread under the scripts, in round figures.
ARM = (
    ([0.0] * 14, [1.0] * 14),  # cosines and sines of the joints
    ([0.0] * 7, [0.5] * 7),  # their velocities
    ([-0.1, 0.0, 0.95], [0.1] * 3),  # the gripper's position
    ([0.0] * 4, [1.0] * 4),  # the hand's quaternion
    ([0.02, -0.02], [0.02] * 2),  # the fingers' positions
    ([0.0] * 2, [0.1] * 2),  # and velocities
)
LIFT = (
    ([0.0, 0.0, 0.87], [0.05] * 3),  # the cube's position
    ([0.0] * 4, [1.0] * 4),  # and quaternion
    ([0.0] * 3, [0.1] * 3),  # the gripper, seen from it
)
DOOR = (
    ([-0.2, -0.35, 1.1], [0.05] * 3),  # the door's position
    ([-0.1, -0.25, 1.05], [0.1] * 3),  # the handle's
    ([-0.1, -0.25, 0.1], [0.1] * 3),  # the door, seen from the gripper
    ([0.0] * 3, [0.1] * 3),  # the handle, seen from it
    ([0.0, 0.0], [0.2, 1.0]),  # angles of hinge and handle
)
HAND, CUBE = slice(24, 28), slice(35, 39)  # quaternions (x, y, z, w)


def lift(obs: Float[Array, "*batch 42"]) -> Float[Array, "*batch 44"]:
    """`Float[..., 44]`: with cosine and sine of four times the angle from hand to cube, since its four sides are alike."""
    (x, y, z, w), (a, b, c, d) = (jnp.moveaxis(obs[..., part], -1, 0) for part in (CUBE, HAND))
    cube = jnp.arctan2(2.0 * (x * y + w * z), 1.0 - 2.0 * (y * y + z * z))  # the way of its x axis, seen from above
    hand = jnp.arctan2(2.0 * (a * b + d * c), 1.0 - 2.0 * (b * b + c * c))
    angle = 4.0 * (cube - hand)[..., None]
    return jnp.concatenate([_scaled((*ARM, *LIFT), obs), jnp.cos(angle), jnp.sin(angle)], axis=-1)


def door(obs: Float[Array, "*batch 46"]) -> Float[Array, "*batch 46"]:
    """`Float[..., 46]`."""
    return _scaled((*ARM, *DOOR), obs)


def _scaled(parts, obs: jax.Array) -> jax.Array:
    center, spread = (
        np.concatenate(column).astype(np.float32).reshape((1,) * (obs.ndim - 1) + (-1,)) for column in zip(*parts, strict=True)
    )
    return (obs - center) / spread


FEATURES = {"lift": lift, "door": door}
