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

    With `columns` it takes one matrix whose columns are the inputs, `Float[width, n]`, and gives `Float[size, n]`.

    Weights and bias start uniform in +-1/sqrt(total width), the default of PyTorch and so of the paper's networks.
    """

    size: int

    @nn.compact
    def __call__(self, *parts: Float[Array, "..."], columns: bool = False) -> Float[Array, "..."]:
        width = sum(part.shape[0 if columns else -1] for part in parts)
        bound = 1.0 / math.sqrt(width)
        uniform = lambda key, shape: jax.random.uniform(key, shape, minval=-bound, maxval=bound)
        kernel = self.param("kernel", uniform, (width, self.size))
        bias = self.param("bias", uniform, (self.size,))
        if columns:
            return product_of_columns(kernel, *parts) + bias[:, None]
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


@jax.custom_vjp
def product_of_columns(kernel: Float[Array, "n m"], x: Float[Array, "n batch"]) -> Float[Array, "m batch"]:
    """kernel' @ x, the batch along the last axis. It has derivatives in reverse mode alone.

    On a CPU, XLA multiplies fastest where the left factor lies as it is read. With the batch last that is so of both gradients,
    and of the product itself once the kernel is transposed; with the batch first it is not so of the kernel's gradient, for which
    a transposed copy of all activations would cost as much as it gains.
    """
    return _forward(kernel, x)[0]


def _forward(kernel, x):
    # The barriers keep XLA from undoing the transpositions, that of a first layer's inputs as well.
    copied = lambda kernel, x: (jax.lax.optimization_barrier(kernel.T), jax.lax.optimization_barrier(x))
    left, x = jax.lax.platform_dependent(kernel, x, cpu=copied, default=lambda kernel, x: (kernel.T, x))
    return left @ x, (kernel, x)


def _backward(saved, slope):
    kernel, x = saved
    n, m = kernel.shape
    dk = jax.lax.optimization_barrier(slope @ x.T).T if n < m else x @ slope.T
    return dk, kernel @ slope


product_of_columns.defvjp(_forward, _backward)


def along_last(vector: Float[Array, "n"], ndim: int) -> Float[Array, "... n"]:
    """`vector` with leading axes of size 1, so that it broadcasts against arrays of `ndim` axes."""
    return vector.reshape((1,) * (ndim - 1) + vector.shape)


def hidden_layer(
    width: int, activation: Activation, layer_norm: bool, *parts: Float[Array, "..."], columns: bool = False
) -> Float[Array, "..."]:
    """A hidden layer of the module that calls this, normalized (Ba et al. 2016) if asked for; see `Linear`."""
    z, features = Linear(width)(*parts, columns=columns), 0 if columns else -1
    return activation(nn.LayerNorm(param_dtype=z.dtype, reduction_axes=features, feature_axes=features)(z) if layer_norm else z)


class Perceptron(nn.Module):
    """Hidden layers of the given widths, then a linear layer of `size`. The first layer takes parts, see `Linear`."""

    widths: tuple[int, ...]
    size: int
    activation: Activation = nn.relu
    layer_norm: bool = False

    @nn.compact
    def __call__(self, *parts: Float[Array, "... _"]) -> Float[Array, "... {self.size}"]:
        batch = parts[0].shape[:-1]
        columns = len(batch) > 0 and all(part.shape[:-1] == batch for part in parts)  # many inputs, none of which are shared
        if columns:
            x = jnp.concatenate(parts, axis=-1)
            parts = (x.reshape(-1, x.shape[-1]).T,)
        for width in self.widths:
            parts = (hidden_layer(width, self.activation, self.layer_norm, *parts, columns=columns),)
        out = Linear(self.size)(*parts, columns=columns)
        return out.T.reshape(*batch, self.size) if columns else out


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
        batch = jnp.broadcast_shapes(obs.shape[:-1], action.shape[: action.ndim - len(self.action_shape)])
        network = Perceptron(self.widths, 1, layer_norm=self.layer_norm)
        flat = jnp.broadcast_to(action, (*batch, *self.action_shape)).reshape(*batch, -1)
        if self.action_scale is not None:
            flat = flat / along_last(jnp.array(self.action_scale, flat.dtype), flat.ndim)
        return network(jnp.broadcast_to(obs, (*batch, obs.shape[-1])), flat)[..., 0]


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
