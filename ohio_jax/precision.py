"""The one precision of networks, simulators and low levels: float32."""

import jax

from ohio_jax.errors import UserError


def check() -> None:
    """Raises UserError where JAX computes in float64."""
    if jax.config.read("jax_enable_x64"):
        raise UserError("jax_enable_x64: expected it unset, found it set: networks and simulators compute in float32")
