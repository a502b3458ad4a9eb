"""A model of the low level's world: any differentiable step function, true or learned, with its linearization."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.solvers.small import product


@struct.dataclass
class Model:
    """function(constants, x, u) -> x', differentiable; constants: pytree; actions: m."""

    constants: Any
    function: Callable[[Any, jax.Array, jax.Array], jax.Array] = struct.field(pytree_node=False)
    actions: int = struct.field(pytree_node=False)

    def step(self, x: Float[Array, "n"], u: Float[Array, "m"]) -> Float[Array, "n"]:
        """`Float[n]`, the state after x: `Float[n]` under u: `Float[m]`."""
        return self.function(self.constants, x, u)

    def linear(self, x: Float[Array, "n"]) -> tuple[Float[Array, "n n"], Float[Array, "n m"], Float[Array, "n"]]:
        """A: `Float[n, n]`, B: `Float[n, m]`, c: `Float[n]` of the exact Taylor expansion at (x, 0)."""
        zero = jnp.zeros(self.actions, x.dtype)
        jacobians = jax.jacfwd(lambda x, u: (self.step(x, u), self.step(x, u)), (0, 1), has_aux=True)
        (A, B), after = jacobians(x, zero)
        return A, B, after - product(A, x)


@struct.dataclass
class Homogeneous:
    """The original's form: x' = A(x) x + B(x) u without drift, A and B taken as constants where it is differentiated.

    Attributes:
        matrices: `matrices(constants, x) -> (A: Float[n, n], B: Float[n, m])`, given or learned.
    """

    constants: Any
    matrices: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]] = struct.field(pytree_node=False)

    def step(self, x: Float[Array, "n"], u: Float[Array, "m"]) -> Float[Array, "n"]:
        A, B, _ = jax.lax.stop_gradient(self.linear(x))
        return product(A, x) + product(B, u)

    def linear(self, x: Float[Array, "n"]) -> tuple[Float[Array, "n n"], Float[Array, "n m"], Float[Array, "n"]]:
        A, B = self.matrices(self.constants, x)
        return A, B, jnp.zeros_like(x)
