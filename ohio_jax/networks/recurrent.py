"""Long short-term memory (Hochreiter and Schmidhuber 1997), layers on top of each other and a linear one on them."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

Hidden = Float[Array, "*batch hidden"]
Carry = tuple[tuple[Hidden, Hidden], ...]  # cell and hidden state of every layer


class Recurrent(nn.Module):
    """(carry, `Float[..., k]`) -> (carry, `Float[..., outputs]`), one step."""

    hidden: int
    outputs: int
    layers: int = 2

    @nn.compact
    def __call__(self, carry: Carry, x: Float[Array, "*batch k"]) -> tuple[Carry, Float[Array, "*batch {self.outputs}"]]:
        after = []
        for state in carry:
            state, x = nn.OptimizedLSTMCell(self.hidden)(state, x)
            after.append(state)
        return tuple(after), nn.Dense(self.outputs)(x)

    def rest(self, *batch: int) -> Carry:
        """The carry before the first step."""
        zero = jnp.zeros((*batch, self.hidden))
        return ((zero, zero),) * self.layers
