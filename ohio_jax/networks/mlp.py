"""Perceptrons, and the dense layer every network here is made of."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ohio_jax.networks import Networks
from ohio_jax.networks.heads import ActionSpec

Activation = Callable[[jax.Array], jax.Array]


class Linear(nn.Module):
    """A dense layer on parts that would otherwise be concatenated along the last axis.

    A call takes parts `Float[..., width_k]` and gives `Float[..., size]`: sum_k part_k W_k + b, where the W_k are the rows of
    one kernel. The other axes broadcast, so a part that many rows share (one state, many actions) is multiplied once.

    Weights and bias start uniform in +-1/sqrt(total width), the default of PyTorch and so of the paper's networks.
    """

    size: int

    @nn.compact
    def __call__(self, *parts: Float[Array, "... _"]) -> Float[Array, "... {self.size}"]:
        width = sum(part.shape[-1] for part in parts)
        bound = 1.0 / math.sqrt(width)
        uniform = lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        kernel = self.param("kernel", uniform, (width, self.size))
        bias = self.param("bias", uniform, (self.size,))
        total, start = along_last(bias, parts[0].ndim), 0
        for part in parts:
            rows = kernel[start : start + part.shape[-1]]
            # A column times a row is an outer product; no matrix product is as fast.
            total = total + (product(part, rows) if len(rows) > 1 else part * along_last(rows[0], part.ndim))
            start += len(rows)
        return total


def product(x: Float[Array, "*batch n"], kernel: Float[Array, "n m"]) -> Float[Array, "*batch m"]:
    """x @ kernel as one product of matrices: with several leading axes XLA's gradient of the kernel is several times slower."""
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[-1])


def along_last(vector: Float[Array, "n"], ndim: int) -> Float[Array, "... n"]:
    """`vector` with leading axes of size 1, so that it broadcasts against arrays of `ndim` axes."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def hidden_layer(
    width: int, activation: Activation, layer_norm: bool, *parts: Float[Array, "... _"]
) -> Float[Array, "... {width}"]:
    """A hidden layer of the module that calls this: `Float[..., width]`, normalized (Ba et al. 2016) if asked for."""
    z = Linear(width)(*parts)
    return activation(nn.LayerNorm(param_dtype=z.dtype)(z) if layer_norm else z)


class Perceptron(nn.Module):
    """Hidden layers of the given widths, then a linear layer of `size`. The first layer takes parts, see `Linear`."""

    widths: tuple[int, ...]
    size: int
    activation: Activation = nn.relu
    layer_norm: bool = False

    @nn.compact
    def __call__(self, *parts: Float[Array, "... _"]) -> Float[Array, "... {self.size}"]:
        for width in self.widths:
            parts = (hidden_layer(width, self.activation, self.layer_norm, *parts),)
        return Linear(self.size)(*parts)


class Actor(nn.Module):
    """obs: `Float[..., size]` -> raw head parameters `Float[..., *raw_shape]`."""

    raw_shape: tuple[int, ...]
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"]) -> Float[Array, "..."]:
        raw = Perceptron(self.widths, math.prod(self.raw_shape))(obs)
        return raw.reshape(*obs.shape[:-1], *self.raw_shape)


class Critic(nn.Module):
    """obs: `Float[..., size]`, action: `Float[..., *action_shape]` -> `Float[...]`; batch axes of the two broadcast.

    Attributes:
        action_scale: size of a usual action, one for each number of it, by which the first layer's input is divided.
    """

    action_shape: tuple[int, ...]
    widths: tuple[int, ...]
    layer_norm: bool = False
    action_scale: tuple[float, ...] | None = None

    @nn.compact
    def __call__(self, obs: Float[Array, "... size"], action: Float[Array, "..."]) -> Float[Array, "..."]:
        batch = action.shape[: action.ndim - len(self.action_shape)]
        network = Perceptron(self.widths, 1, layer_norm=self.layer_norm)
        flat = action.reshape(*batch, -1)
        if self.action_scale is not None:
            flat = flat / along_last(jnp.array(self.action_scale, flat.dtype), flat.ndim)
        return network(obs, flat)[..., 0]


class Value(nn.Module):
    """obs: `Float[..., size]` -> `Float[...]`."""

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, obs: Float[Array, "*batch size"]) -> Float[Array, "*batch"]:
        return Perceptron(self.widths, 1)(obs)[..., 0]


class Flow(nn.Module):
    """obs: `Float[..., size]`, coordinates: `Float[..., *action_shape]`, time: `Float[...]` -> `Float[..., *action_shape]`."""

    action_shape: tuple[int, ...]
    widths: tuple[int, ...]

    @nn.compact
    def __call__(
        self, obs: Float[Array, "... size"], coordinates: Float[Array, "*action"], time: Float[Array, "..."]
    ) -> Float[Array, "*action"]:
        batch = coordinates.shape[: coordinates.ndim - len(self.action_shape)]
        network = Perceptron(self.widths, math.prod(self.action_shape))
        return network(obs, coordinates.reshape(*batch, -1), time[..., None]).reshape(coordinates.shape)


def mlp_networks(action: ActionSpec, hidden: int, layers: int = 2, action_scale: tuple[float, ...] | None = None) -> Networks:
    """Perceptrons of `layers` hidden layers, each `hidden` wide, for any action spec; action_scale: see `Critic`."""
    widths = (hidden,) * layers
    return Networks(
        Actor(action.raw_shape, widths),
        Critic(action.shape, widths, action_scale=action_scale),
        Value(widths),
        Flow(action.shape, widths),
    )
