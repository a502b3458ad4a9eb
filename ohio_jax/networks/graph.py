"""The paper's graph networks for vehicle routing: one residual graph convolution, then a perceptron on nodes or edges.

Graphs have tens of nodes, so the normalized adjacency is a dense matrix. Edge networks never build the pairs
[h_i, h_j, a_ij]: their first layer is W_i h_i + W_j h_j + w a_ij, computed on nodes and broadcast.
"""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Float64

from ohio_jax.networks import Networks
from ohio_jax.networks.chunks import in_chunks
from ohio_jax.networks.mlp import Activation, Linear, Perceptron, along_last, hidden_layer

VALUE_HIDDEN = 64  # width of the value network, which the paper keeps small whatever the width of the others


def pack(adjacency: Bool[np.ndarray, "n n"]) -> bytes:
    """An adjacency matrix (`Bool[n, n]`, row i has the edges i -> j) as bytes: fast to hash, equal where equal."""
    return np.asarray(adjacency, bool).tobytes()


def propagation(packed: bytes) -> Float64[np.ndarray, "n n"]:
    """P of y = P x W: P_ij = 1 / sqrt(d_i d_j) where j -> i or i = j, with d the in-degree plus one.

    Kipf and Welling (2017), equation 2, for a directed graph with the conventions of PyTorch Geometric's `GCNConv`.

    Returns:
        `Float64[n, n]`.
    """
    n = math.isqrt(len(packed))
    edges = np.frombuffer(packed, bool).reshape(n, n) | np.eye(n, dtype=bool)
    degree = edges.sum(axis=0)
    return edges.T / np.sqrt(np.outer(degree, degree))


class Encoder(nn.Module):
    """obs: `Float[..., n * features]` -> h = relu(GCN(x)) + x, `Float[..., n, features]`."""

    adjacency: bytes
    features: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch n {self.features}"]:
        x = obs.reshape(*obs.shape[:-1], -1, self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), (self.features, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        mix = jnp.asarray(propagation(self.adjacency), x.dtype)
        convolved = jnp.einsum("ij,...jf->...if", mix, x @ kernel) + along_last(bias, x.ndim)
        return nn.relu(convolved) + x


def pairs(h: Float[Array, "*batch n f"]) -> tuple[Float[Array, "*batch n 1 f"], Float[Array, "*batch 1 n f"]]:
    """Node features as origins `Float[..., n, 1, f]` and as destinations `Float[..., 1, n, f]` of edges."""
    return h[..., :, None, :], h[..., None, :, :]


class NodeActor(nn.Module):
    """obs: `Float[..., n * features]` -> `Float[..., n]`."""

    adjacency: bytes
    features: int
    hidden: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch n"]:
        h = Encoder(self.adjacency, self.features)(obs)
        return Perceptron((self.hidden, self.hidden), 1)(h)[..., 0]


class EdgeActor(nn.Module):
    """obs: `Float[..., n * features]` -> `Float[..., *raw_shape]`, in C order of [n, n, outputs]."""

    adjacency: bytes
    features: int
    hidden: int
    raw_shape: tuple[int, ...]
    activation: Activation = nn.relu

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"]) -> Float[Array, "..."]:
        h = Encoder(self.adjacency, self.features)(obs)
        edges = h.shape[-2] ** 2
        perceptron = Perceptron((self.hidden, self.hidden), math.prod(self.raw_shape) // edges, self.activation)
        raw = in_chunks(lambda perceptron, h: perceptron(*pairs(h)), perceptron, edges * self.hidden, (h, 2))
        return raw.reshape(*obs.shape[:-1], *self.raw_shape)


class NodeCritic(nn.Module):
    """obs: `Float[..., n * features]`, action: `Float[..., n]` -> `Float[...]`; batch axes of the two broadcast."""

    adjacency: bytes
    features: int
    hidden: int
    layer_norm: bool = False

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        h = Encoder(self.adjacency, self.features)(obs)

        def summed(critic, h, action):
            z = hidden_layer(critic.hidden, nn.relu, critic.layer_norm, h, action)
            z = hidden_layer(critic.hidden, nn.relu, critic.layer_norm, z)
            return jnp.sum(z, axis=-2)

        z = in_chunks(summed, self, h.shape[-2] * self.hidden, (h, 2), (action[..., None], 2))
        return Linear(1)(z)[..., 0]


class EdgeCritic(nn.Module):
    """obs: `Float[..., n * features]`, action: `Float[..., *action_shape]` (n * n numbers) -> `Float[...]`."""

    adjacency: bytes
    features: int
    hidden: int
    action_shape: tuple[int, ...]
    scale: float = 1.0
    activation: Activation = nn.relu
    layer_norm: bool = False

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"], action: Float[Array, "..."]) -> Float[Array, "..."]:
        h = Encoder(self.adjacency, self.features)(obs)
        n = h.shape[-2]
        batch = action.shape[: action.ndim - len(self.action_shape)]
        edge_action = action.reshape(*batch, n, n, 1) / self.scale

        def summed(critic, h, edge_action):
            z = hidden_layer(critic.hidden, critic.activation, critic.layer_norm, *pairs(h), edge_action)
            z = hidden_layer(critic.hidden, critic.activation, critic.layer_norm, z)
            return jnp.sum(z, axis=(-3, -2))

        z = in_chunks(summed, self, n * n * self.hidden, (h, 2), (edge_action, 3))
        return Linear(1)(z)[..., 0]


class GraphValue(nn.Module):
    """obs: `Float[..., n * features]` -> `Float[...]`: nodes are summed before the perceptron, so it is cheap."""

    adjacency: bytes
    features: int

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
        h = Encoder(self.adjacency, self.features)(obs)
        return Perceptron((VALUE_HIDDEN, VALUE_HIDDEN), 1)(jnp.sum(h, axis=-2))[..., 0]


class NodeFlow(nn.Module):
    """obs: `Float[..., n * features]`, coordinates: `Float[..., n]`, time: `Float[...]` -> `Float[..., n]`."""

    adjacency: bytes
    features: int
    hidden: int

    @nn.compact
    def __call__(
        self, obs: Float[Array, "*batch size"], coordinates: Float[Array, "*batch n"], time: Float[Array, "*batch"]
    ) -> Float[Array, "*batch n"]:
        h = Encoder(self.adjacency, self.features)(obs)
        return Perceptron((self.hidden, self.hidden), 1)(h, coordinates[..., None], time[..., None, None])[..., 0]


class EdgeFlow(nn.Module):
    """obs: Float[..., n * features], coordinates: `Float[..., *action_shape]` (n * n numbers), time: Float[...] -> their like."""

    adjacency: bytes
    features: int
    hidden: int
    action_shape: tuple[int, ...]
    activation: Activation = nn.relu

    @nn.compact
    def __call__(
        self, obs: Float[Array, "... size"], coordinates: Float[Array, "*action"], time: Float[Array, "..."]
    ) -> Float[Array, "*action"]:
        h = Encoder(self.adjacency, self.features)(obs)
        n = h.shape[-2]
        batch = coordinates.shape[: coordinates.ndim - len(self.action_shape)]
        parts = (h, 2), (coordinates.reshape(*batch, n, n, 1), 3), (time[..., None, None, None], 3)
        perceptron = Perceptron((self.hidden, self.hidden), 1, self.activation)
        velocity = lambda perceptron, h, *rest: perceptron(*pairs(h), *rest)
        return in_chunks(velocity, perceptron, n * n * self.hidden, *parts).reshape(coordinates.shape)


def node_networks(adjacency: Bool[np.ndarray, "n n"], features: int, hidden: int) -> Networks:
    """Networks for actions with one number a node, `Simplex(n)`.

    Args:
        adjacency: `Bool[n, n]`, i -> j.
        features: numbers a node in the flat observation.
        hidden: width (the paper's is 256).
    """
    graph = pack(adjacency)
    size = (graph, features, hidden)
    return Networks(NodeActor(*size), NodeCritic(*size), GraphValue(graph, features), NodeFlow(*size))


def edge_networks(
    adjacency: Bool[np.ndarray, "n n"],
    features: int,
    hidden: int,
    kind: Literal["shares", "requests"] = "shares",
    scale: float = 1.0,
) -> Networks:
    """Networks for actions with one number an ordered pair of nodes, diagonal included.

    Args:
        kind: "shares" for `Simplices(n, n)`; "requests" for `Counts(n * n, scale, ...)`, the paper's end-to-end networks with
            their leaky activations.
        scale: unit in which the critic reads an action.
    """
    graph, n = pack(adjacency), len(adjacency)
    raw_shape, action_shape, activation = {
        "shares": ((n, n), (n, n), nn.relu),
        "requests": ((n * n, 2), (n * n,), nn.leaky_relu),
    }[kind]
    return Networks(
        EdgeActor(graph, features, hidden, raw_shape, activation),
        EdgeCritic(graph, features, hidden, action_shape, scale, activation),
        GraphValue(graph, features),
        EdgeFlow(graph, features, hidden, action_shape, activation),
    )
