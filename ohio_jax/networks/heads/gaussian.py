"""Real numbers: Gaussian densities, squashed into a box or as they are."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.networks.heads.spec import COUNT, check_field, is_count, is_positive


def standard_normal(key: PRNGKeyArray, shape: tuple[int, ...], dtype: Any = float) -> Float[Array, "..."]:
    """`jax.random.normal`, drawn along one axis: loops over a last axis of a few numbers are several times slower on a CPU."""
    return jax.random.normal(key, (math.prod(shape),), dtype).reshape(shape)


def _normal_log_density(x: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    return _standard_log_density((x - mean) * jnp.exp(-log_std), log_std)


def _standard_log_density(noise: jax.Array, log_std: jax.Array) -> jax.Array:
    """Of mean + exp(log_std) * noise."""
    return -0.5 * (jnp.square(noise) + math.log(2.0 * math.pi)) - log_std


def _squash(x: jax.Array) -> jax.Array:
    """log(1 - tanh(x)^2), written so that it survives |x| large."""
    return 2.0 * (math.log(2.0) - x - jax.nn.softplus(-2.0 * x))


@dataclass(frozen=True)
class Box:
    """A box around zero with a Gaussian squashed by tanh; raw [..., 0] is its mean, [..., 1] its log deviation.

    Attributes:
        limits: the largest action of each entry, in the action's units.
        action_scale: size of a usual action, in which raw numbers, distances and coordinates count; the limits unless given.
            Where most actions are far smaller than the largest, an actor that counts in limits would have to be far more exact.
    """

    limits: tuple[float, ...]
    action_scale: tuple[float, ...] | None = None

    EDGE = 1e-5  # how far `project` stays from the limits: arctanh is finite and float32 tells the numbers apart

    def __post_init__(self):
        """Raises UserError for what is no tuple of numbers above 0, or two of different lengths."""
        scale = self.limits if self.action_scale is None else self.action_scale
        for name, given in (("limits", self.limits), ("action_scale", scale)):
            sound = isinstance(given, tuple) and len(given) > 0 and all(map(is_positive, given))
            expected = "a tuple of numbers above 0, one of each entry"
            check_field(self, name, expected, sound and len(given) == len(self.limits))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.limits),)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return (len(self.limits), 2)

    @property
    def _log_limits(self):
        return sum(map(math.log, self.limits))

    def _largest(self, like):
        return jnp.array(self.limits, like.dtype).reshape((1,) * (like.ndim - 1) + self.shape)

    def _unit(self, like):
        return jnp.array(self.action_scale or self.limits, like.dtype).reshape((1,) * (like.ndim - 1) + self.shape)

    def _normal(self, raw):
        mean, log_std = raw[..., 0], jnp.clip(raw[..., 1], -5.0, 2.0)
        if self.action_scale is None:
            return mean, log_std
        share = self._unit(mean) / self._largest(mean)
        return share * mean, jnp.log(share) + log_std

    def log_prob(self, raw: Float[Array, "... n 2"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        before_tanh = jnp.arctanh(action / self._largest(action))
        density = _normal_log_density(before_tanh, *self._normal(raw)) - _squash(before_tanh)
        return jnp.sum(density, axis=-1) - self._log_limits

    def sample(self, raw: Float[Array, "... n 2"], key: PRNGKeyArray) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        # The action's few numbers along the first axis, for the same reason as in `standard_normal`.
        first = lambda x: jnp.moveaxis(x, -1, 0)
        mean, log_std = map(first, self._normal(raw))
        noise = first(standard_normal(key, raw.shape[:-1], raw.dtype))
        before_tanh = mean + jnp.exp(log_std) * noise
        density = jnp.sum(_standard_log_density(noise, log_std) - _squash(before_tanh), axis=0) - self._log_limits
        action = jnp.moveaxis(jnp.tanh(before_tanh), 0, -1)
        return self._largest(action) * action, density

    def mode(self, raw: Float[Array, "... n 2"]) -> Float[Array, "... n"]:
        mean, _ = self._normal(raw)
        return self._largest(mean) * jnp.tanh(mean)

    def project(self, action: Float[Array, "... n"]) -> Float[Array, "... n"]:
        largest = (1.0 - self.EDGE) * self._largest(action)
        return jnp.clip(action, -largest, largest)

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        shape = (*batch_shape, *self.shape)
        share = jax.random.uniform(key, (math.prod(shape),), minval=-1.0, maxval=1.0).reshape(shape)
        return self._largest(share) * share, jnp.full(batch_shape, -self.shape[0] * math.log(2.0) - self._log_limits)

    def bc_dist(self, a: Float[Array, "... n"], b: Float[Array, "... n"]) -> Float[Array, "..."]:
        return jnp.sum(jnp.square((a - b) / self._unit(a)), axis=-1)

    def coordinates(self, action: Float[Array, "... n"]) -> Float[Array, "..."]:
        return action / self._unit(action)

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "... n"]:
        unit = self._unit(coordinates)
        most = self._largest(coordinates) / unit
        return unit * jnp.clip(coordinates, -most, most)


@dataclass(frozen=True)
class Counts:
    """Numbers of vehicles with independent Gaussians, the original's end-to-end head: no squash, no bound on draws.

    Attributes:
        size: how many numbers.
        scale: unit; densities are those of action / scale (the original uses 1 in IQL and BC, 10 in CQL).
        limit: largest count proposed by `random`, in vehicles (the original uses the fleet).
        random_density: "original" gives `random` the original's log density, ln(1/2) limit / scale, which is not the density of
            what it draws, -size ln(limit / scale).
        deviation: how raw[..., 1] gives a deviation in units of scale: by exp of it, at most e^2, or by softplus (the original's
            CQL).
    """

    size: int
    scale: float
    limit: float
    random_density: Literal["exact", "original"] = "exact"
    deviation: Literal["exp", "softplus"] = "exp"

    def __post_init__(self):
        """Raises UserError for fields of other kinds, and numbers that are not above 0."""
        check_field(self, "size", COUNT, is_count(self.size))
        for name in ("scale", "limit"):
            check_field(self, name, "a number above 0", is_positive(getattr(self, name)))
        check_field(self, "random_density", "'exact' or 'original'", self.random_density in ("exact", "original"))
        check_field(self, "deviation", "'exp' or 'softplus'", self.deviation in ("exp", "softplus"))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return (self.size, 2)

    def _normal(self, raw):
        mean, raw_std = jax.nn.softplus(raw[..., 0]), raw[..., 1]
        if self.deviation == "softplus":
            return mean, jnp.log(jnp.maximum(jax.nn.softplus(raw_std), math.exp(-20.0)))
        return mean, jnp.clip(raw_std, -20.0, 2.0)

    def log_prob(self, raw: Float[Array, "... n 2"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        return jnp.sum(_normal_log_density(action / self.scale, *self._normal(raw)), axis=-1)

    def sample(self, raw: Float[Array, "... n 2"], key: PRNGKeyArray) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        mean, log_std = self._normal(raw)
        action = self.scale * (mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype))
        return action, self.log_prob(raw, action)

    def mode(self, raw: Float[Array, "... n 2"]) -> Float[Array, "... n"]:
        return self.scale * self._normal(raw)[0]

    def project(self, action: Float[Array, "... n"]) -> Float[Array, "... n"]:
        return jnp.maximum(action, 0.0)

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        action = jax.random.uniform(key, (*batch_shape, self.size), maxval=self.limit)
        units = self.limit / self.scale
        density = -self.size * math.log(units) if self.random_density == "exact" else math.log(0.5) * units
        return action, jnp.full(batch_shape, density)

    def bc_dist(self, a: Float[Array, "... n"], b: Float[Array, "... n"]) -> Float[Array, "..."]:
        return jnp.sum(jnp.square((a - b) / self.scale), axis=-1)

    def coordinates(self, action: Float[Array, "... n"]) -> Float[Array, "..."]:
        return action / self.scale

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "... n"]:
        return self.scale * jnp.maximum(coordinates, 0.0)
