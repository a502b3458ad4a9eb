"""The paper's networks for supply chains: one edge convolution between stores and their warehouse, then heads.

Nodes are S stores and, last, the warehouse; edges join each store with the warehouse, one each way. A message is a perceptron
of both ends, so each store hears from the warehouse and the warehouse the sum over stores.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from ohio_jax.networks import Networks
from ohio_jax.networks.mlp import Linear, Perceptron


class Encoder(nn.Module):
    """obs: Float[..., (S + 1) * features] -> h = [x, sum of messages], Float[..., S + 1, features + hidden].

    scale: the numbers of a node are multiplied by it, one each. Messages: Wang et al. (2019), equation 8, summed.
    """

    scale: tuple[float, ...]
    hidden: int

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        x = obs.reshape(*obs.shape[:-1], -1, len(self.scale))
        x = x * jnp.array(self.scale, x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
        store, warehouse = x[..., :-1, :], jnp.broadcast_to(x[..., -1:, :], x[..., :-1, :].shape)
        ends = jnp.concatenate([warehouse, store], axis=-2), jnp.concatenate([store, warehouse], axis=-2)
        message = Perceptron((self.hidden,), self.hidden)(*ends)
        to_warehouse, to_stores = jnp.split(message, 2, axis=-2)
        heard = jnp.concatenate([to_stores, jnp.sum(to_warehouse, axis=-2, keepdims=True)], axis=-2)
        return jnp.concatenate([x, heard], axis=-1)


class NodeActor(nn.Module):
    """obs -> Float[..., S + 3]: a number for the share of each node, two for production."""

    scale: tuple[float, ...]
    hidden: int

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        h = Encoder(self.scale, self.hidden)(obs)
        return jnp.concatenate([Linear(1)(h)[..., 0], Linear(2)(h[..., -1, :])], axis=-1)


class NodeCritic(nn.Module):
    """obs, action: Float[..., S + 2] (shares of all nodes, production) -> Float[...]; batch axes of the two broadcast."""

    scale: tuple[float, ...]
    hidden: int

    @nn.compact
    def __call__(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        h = Encoder(self.scale, self.hidden)(obs)
        share, production = action[..., :-1], action[..., -1:]
        made = jnp.concatenate([jnp.zeros_like(share[..., :-1]), production], axis=-1)
        z = nn.relu(Linear(self.hidden)(h, jnp.stack([share, made], axis=-1)))
        return jnp.sum(Linear(1)(z), axis=(-2, -1))


class EdgeActor(nn.Module):
    """obs -> Float[..., S + 1, 2]: two numbers for each shipment, and two for production."""

    scale: tuple[float, ...]
    hidden: int

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        h = Encoder(self.scale, self.hidden)(obs)
        shipments = Linear(2)(h[..., -1:, :], h[..., :-1, :])
        return jnp.concatenate([shipments, Linear(2)(h[..., -1:, :])], axis=-2)


class EdgeCritic(nn.Module):
    """obs, action: Float[..., S + 1] (shipments, production) -> Float[...]; batch axes of the two broadcast."""

    scale: tuple[float, ...]
    hidden: int

    @nn.compact
    def __call__(self, obs: jax.Array, action: jax.Array) -> jax.Array:
        h = Encoder(self.scale, self.hidden)(obs)
        # A row for each shipment; production's is the warehouse's with itself.
        z = nn.relu(Linear(self.hidden)(h[..., -1:, :], h, action[..., None]))
        return jnp.sum(Linear(1)(z), axis=(-2, -1))


class Value(nn.Module):
    """obs -> Float[...]: nodes are summed before the perceptron."""

    scale: tuple[float, ...]
    hidden: int

    @nn.compact
    def __call__(self, obs: jax.Array) -> jax.Array:
        h = Encoder(self.scale, self.hidden)(obs)
        return Perceptron((self.hidden,), 1)(jnp.sum(h, axis=-2))[..., 0]


def node_networks(scale: tuple[float, ...], hidden: int) -> Networks:
    """Networks for goals `Product((Simplex(S + 1), UnitBox(1)))`. scale: see `Encoder`; hidden: width (the paper's: 256)."""
    return Networks(NodeActor(scale, hidden), NodeCritic(scale, hidden), Value(scale, hidden))


def edge_networks(scale: tuple[float, ...], hidden: int) -> Networks:
    """The same for goals `UnitBox(S + 1)`."""
    return Networks(EdgeActor(scale, hidden), EdgeCritic(scale, hidden), Value(scale, hidden))
