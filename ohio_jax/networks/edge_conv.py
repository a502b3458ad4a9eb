"""The paper's networks for supply chains: one edge convolution between stores and their warehouse, then heads.

Nodes are S stores and, last, the warehouse; edges join each store with the warehouse, one each way. A message is a perceptron
of both ends, so each store hears from the warehouse and the warehouse the sum over stores.
"""

from typing import NamedTuple

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ohio_jax.networks import Networks
from ohio_jax.networks.mlp import Linear, Perceptron, along_last, hidden_layer


class Graph(NamedTuple):
    """The graph of stores and their warehouse.

    Attributes:
        lead: periods on the way from the warehouse to each store.
    """

    lead: tuple[float, ...]


class Encoder(nn.Module):
    """obs: `Float[..., (S + 1) * features]` -> h = [x, sum of messages], `Float[..., S + 1, features + hidden]`.

    The edge convolution of Wang et al. (2019), messages summed, each with a number of its edge beside both ends.
    """

    graph: Graph
    hidden: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch n width"]:
        lead = jnp.array(self.graph.lead, obs.dtype)
        x = obs.reshape(*obs.shape[:-1], len(lead) + 1, -1)
        store, warehouse = x[..., :-1, :], x[..., -1:, :]
        edge = lead.reshape((1,) * (x.ndim - 2) + (-1, 1))
        # Each node is multiplied once for all its edges. The second layer is linear, so the sum of messages goes through it.
        first, second = Linear(self.hidden), Linear(self.hidden)
        to_warehouse, to_stores = nn.relu(first(warehouse, store, edge)), nn.relu(first(store, warehouse, edge))
        message = second(jnp.concatenate([to_stores, jnp.mean(to_warehouse, axis=-2, keepdims=True)], axis=-2))
        many = along_last(jnp.append(jnp.ones(len(lead)), len(lead)), message.ndim - 1)
        heard = message * many[..., None]
        return jnp.concatenate([x, heard], axis=-1)


class NodeActor(nn.Module):
    """obs -> `Float[..., S + 3]`: a number for the share of each node, two for production."""

    graph: Graph
    hidden: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch outputs"]:
        h = Encoder(self.graph, self.hidden)(obs)
        return jnp.concatenate([Linear(1)(h)[..., 0], Linear(2)(h[..., -1, :])], axis=-1)


def on_nodes(action: Float[Array, "*batch n"]) -> Float[Array, "*batch n-1 2"]:
    """`Float[..., S + 1, 2]`: each node's share and, at the warehouse, production, of an action `Float[..., S + 2]`."""
    share, production = action[..., :-1], action[..., -1:]
    made = jnp.concatenate([jnp.zeros_like(share[..., :-1]), production], axis=-1)
    return jnp.stack([share, made], axis=-1)


class NodeCritic(nn.Module):
    """obs, action: `Float[..., S + 2]` (shares of all nodes, production) -> `Float[...]`; batch axes of the two broadcast."""

    graph: Graph
    hidden: int
    layer_norm: bool = False

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        h = Encoder(self.graph, self.hidden)(obs)
        z = hidden_layer(self.hidden, nn.relu, self.layer_norm, h, on_nodes(action))
        return jnp.sum(Linear(1)(z), axis=(-2, -1))


class NodeFlow(nn.Module):
    """obs, coordinates: `Float[..., S + 2]`, time: `Float[...]` -> `Float[..., S + 2]`."""

    graph: Graph
    hidden: int

    @nn.compact
    def __call__(
        self, obs: Float[Array, "*batch size"], coordinates: Float[Array, "*batch n"], time: Float[Array, "*batch"]
    ) -> Float[Array, "*batch n"]:
        h = Encoder(self.graph, self.hidden)(obs)
        z = nn.relu(Linear(self.hidden)(h, on_nodes(coordinates), time[..., None, None]))
        return jnp.concatenate([Linear(1)(z)[..., 0], Linear(1)(z[..., -1, :])], axis=-1)


class EdgeActor(nn.Module):
    """obs -> `Float[..., S + 1, 2]`: two numbers for each shipment, and two for production."""

    graph: Graph
    hidden: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch n 2"]:
        h = Encoder(self.graph, self.hidden)(obs)
        shipments = Linear(2)(h[..., -1:, :], h[..., :-1, :])
        return jnp.concatenate([shipments, Linear(2)(h[..., -1:, :])], axis=-2)


class EdgeCritic(nn.Module):
    """obs, action: `Float[..., S + 1]` (shipments, production) -> `Float[...]`; batch axes of the two broadcast."""

    graph: Graph
    hidden: int
    layer_norm: bool = False

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        h = Encoder(self.graph, self.hidden)(obs)
        # A row for each shipment; production's is the warehouse's with itself.
        z = hidden_layer(self.hidden, nn.relu, self.layer_norm, h[..., -1:, :], h, action[..., None])
        return jnp.sum(Linear(1)(z), axis=(-2, -1))


class EdgeFlow(nn.Module):
    """obs, coordinates: `Float[..., S + 1]`, time: `Float[...]` -> `Float[..., S + 1]`."""

    graph: Graph
    hidden: int

    @nn.compact
    def __call__(
        self, obs: Float[Array, "*batch size"], coordinates: Float[Array, "*batch n"], time: Float[Array, "*batch"]
    ) -> Float[Array, "*batch n"]:
        h = Encoder(self.graph, self.hidden)(obs)
        z = nn.relu(Linear(self.hidden)(h[..., -1:, :], h, coordinates[..., None], time[..., None, None]))
        return Linear(1)(z)[..., 0]


class Value(nn.Module):
    """obs -> `Float[...]`: nodes are summed before the perceptron."""

    graph: Graph
    hidden: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
        h = Encoder(self.graph, self.hidden)(obs)
        return Perceptron((self.hidden,), 1)(jnp.sum(h, axis=-2))[..., 0]


def node_networks(graph: Graph, hidden: int) -> Networks:
    """Networks for actions `Product((Simplex(S + 1), UnitBox(1)))`. hidden: width (the paper's: 256)."""
    return Networks(*(network(graph, hidden) for network in (NodeActor, NodeCritic, Value, NodeFlow)))


def edge_networks(graph: Graph, hidden: int) -> Networks:
    """The same for actions `UnitBox(S + 1)`."""
    return Networks(*(network(graph, hidden) for network in (EdgeActor, EdgeCritic, Value, EdgeFlow)))
