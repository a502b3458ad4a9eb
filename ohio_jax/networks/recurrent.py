"""Long short-term memory (Hochreiter and Schmidhuber 1997), layers on top of each other and a linear one on them."""

import jax
import jax.numpy as jnp
from flax import linen as nn

Carry = tuple[tuple[jax.Array, jax.Array], ...]  # cell and hidden state, Float[..., hidden] each, of every layer


class Recurrent(nn.Module):
    """(carry, `Float[..., k]`) -> (carry, `Float[..., outputs]`), one step."""

    hidden: int
    outputs: int
    layers: int = 2

    @nn.compact
    def __call__(self, carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
        after = []
        for state in carry:
            state, x = nn.OptimizedLSTMCell(self.hidden)(state, x)
            after.append(state)
        return tuple(after), nn.Dense(self.outputs)(x)

    def rest(self, *batch: int) -> Carry:
        """The carry before the first step."""
        zero = jnp.zeros((*batch, self.hidden))
        return ((zero, zero),) * self.layers
