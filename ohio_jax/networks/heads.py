"""Action densities: what a goal is, and how the numbers an actor emits describe a distribution over goals.

One frozen (hence hashable) dataclass a kind of action. No learner knows of tanh or vehicles: it asks the spec.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import jax
import jax.numpy as jnp

from ohio_jax.networks.gamma import log_gamma

# Dirichlet and Beta concentrations stay in this range: below, draws leave float32; above, a density is a point.
SMALLEST, LARGEST = 1e-3, 1e3


class ActionSpec(Protocol):
    """A space of goals with a parametrised density. Leading batch axes are allowed everywhere.

    raw: Float[..., *raw_shape], unconstrained, from the actor; action: Float[..., *shape].
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def raw_shape(self) -> tuple[int, ...]: ...

    def log_prob(self, raw: jax.Array, action: jax.Array) -> jax.Array:
        """Float[...], log density at `action`; finite on whatever `project` returns."""
        ...

    def sample(self, raw: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """A draw for each batch element, differentiable in `raw`, and its log density."""
        ...

    def mode(self, raw: jax.Array) -> jax.Array:
        """The action to play when not exploring."""
        ...

    def project(self, action: jax.Array) -> jax.Array:
        """The nearest thing to `action` (any real numbers) where the density is finite."""
        ...

    def random(self, key: jax.Array, batch_shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        """Actions spread evenly, Float[*batch_shape, *shape], and their log density Float[*batch_shape]."""
        ...

    def bc_dist(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Float[...], squared distance between actions, comparable between spaces."""
        ...

    def coordinates(self, action: jax.Array) -> jax.Array:
        """Numbers that name an action and may be any, Float[..., *shape]: where noise is added and flows run."""
        ...

    def at(self, coordinates: jax.Array) -> jax.Array:
        """The action of these coordinates; where there is none, the nearest. Undoes `coordinates`."""
        ...


def _normal_log_density(x: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    return -0.5 * (jnp.square((x - mean) * jnp.exp(-log_std)) + math.log(2.0 * math.pi)) - log_std


@dataclass(frozen=True)
class Box:
    """A box around zero with a Gaussian squashed by tanh; raw [..., 0] is its mean, [..., 1] its log deviation.

    limits: the largest action of each entry, in the action's units.
    usual: size of a usual action, in which raw numbers, distances and coordinates count; the limits unless given. Where most
        actions are far smaller than the largest, an actor that counts in limits would have to be far more exact.
    """

    limits: tuple[float, ...]
    usual: tuple[float, ...] | None = None

    EDGE = 1e-5  # how far `project` stays from the limits: arctanh is finite and float32 tells the numbers apart

    @property
    def shape(self):
        return (len(self.limits),)

    @property
    def raw_shape(self):
        return (len(self.limits), 2)

    @property
    def _log_limits(self):
        return sum(map(math.log, self.limits))

    def _largest(self, like):
        return jnp.array(self.limits, like.dtype).reshape((1,) * (like.ndim - 1) + self.shape)

    def _unit(self, like):
        return jnp.array(self.usual or self.limits, like.dtype).reshape((1,) * (like.ndim - 1) + self.shape)

    def _normal(self, raw):
        mean, log_std = raw[..., 0], jnp.clip(raw[..., 1], -5.0, 2.0)
        if self.usual is None:
            return mean, log_std
        share = self._unit(mean) / self._largest(mean)
        return share * mean, jnp.log(share) + log_std

    def _density(self, raw, before_tanh):
        # log(1 - tanh(x)^2), written so that it survives |x| large
        squash = 2.0 * (math.log(2.0) - before_tanh - jax.nn.softplus(-2.0 * before_tanh))
        return jnp.sum(_normal_log_density(before_tanh, *self._normal(raw)) - squash, axis=-1) - self._log_limits

    def log_prob(self, raw, action):
        return self._density(raw, jnp.arctanh(action / self._largest(action)))

    def sample(self, raw, key):
        mean, log_std = self._normal(raw)
        before_tanh = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)
        return self._largest(before_tanh) * jnp.tanh(before_tanh), self._density(raw, before_tanh)

    def mode(self, raw):
        mean, _ = self._normal(raw)
        return self._largest(mean) * jnp.tanh(mean)

    def project(self, action):
        largest = (1.0 - self.EDGE) * self._largest(action)
        return jnp.clip(action, -largest, largest)

    def random(self, key, batch_shape):
        share = jax.random.uniform(key, (*batch_shape, *self.shape), minval=-1.0, maxval=1.0)
        return self._largest(share) * share, jnp.full(batch_shape, -self.shape[0] * math.log(2.0) - self._log_limits)

    def bc_dist(self, a, b):
        return jnp.sum(jnp.square((a - b) / self._unit(a)), axis=-1)

    def coordinates(self, action):
        return action / self._unit(action)

    def at(self, coordinates):
        unit = self._unit(coordinates)
        most = self._largest(coordinates) / unit
        return unit * jnp.clip(coordinates, -most, most)


@dataclass(frozen=True)
class Simplex:
    """Shares that sum to one, with a Dirichlet density (in n - 1 dimensions, the last share left out).

    n: number of shares.
    floor: smallest share `project` leaves. Recovered shares are often exactly 0, where there is no density; each puts
        log(floor) into the likelihood, so the floor belongs near half a vehicle of the fleet, not near machine zero.
    """

    n: int
    floor: float = 1e-4

    @property
    def shape(self):
        return (self.n,)

    @property
    def raw_shape(self):
        return (self.n,)

    @staticmethod
    def concentration(raw):
        """softplus, kept within [SMALLEST, LARGEST]; shifted rather than cut below so that no gradient dies there."""
        return jnp.minimum(jax.nn.softplus(raw) + SMALLEST, LARGEST)

    @staticmethod
    def _density(concentration, log_action):
        lgamma = jax.scipy.special.gammaln
        norm = lgamma(jnp.sum(concentration, axis=-1)) - jnp.sum(lgamma(concentration), axis=-1)
        return norm + jnp.sum((concentration - 1.0) * log_action, axis=-1)

    def log_prob(self, raw, action):
        return self._density(self.concentration(raw), jnp.log(action))

    def sample(self, raw, key):
        # The density is taken in log space: shares of a small concentration underflow, their logarithms do not.
        concentration = self.concentration(raw)
        log_action = jax.nn.log_softmax(log_gamma(key, concentration), axis=-1)
        return jnp.exp(log_action), self._density(concentration, log_action)

    def mode(self, raw):
        """The mean, concentration / sum. The true mode is a corner (or none) as soon as a concentration is below 1."""
        concentration = self.concentration(raw)
        return concentration / jnp.sum(concentration, axis=-1, keepdims=True)

    def project(self, action):
        action = jnp.maximum(action, 0.0)
        action = action / jnp.maximum(jnp.sum(action, axis=-1, keepdims=True), jnp.finfo(action.dtype).tiny)
        action = jnp.maximum(action, self.floor)
        return action / jnp.sum(action, axis=-1, keepdims=True)

    def random(self, key, batch_shape):
        spacing = jax.random.exponential(key, (*batch_shape, self.n))
        action = spacing / jnp.sum(spacing, axis=-1, keepdims=True)
        return action, jnp.full(batch_shape, math.lgamma(self.n))  # (n - 1)! is one over the volume

    def bc_dist(self, a, b):
        return self.n * jnp.sum(jnp.square(a - b), axis=-1)

    def coordinates(self, action):
        """Logits that sum to zero."""
        logits = jnp.log(action)
        return logits - jnp.mean(logits, axis=-1, keepdims=True)

    def at(self, coordinates):
        return jax.nn.softmax(coordinates, axis=-1)


@dataclass(frozen=True)
class Simplices:
    """`rows` independent simplices, e.g. for each region the shares of its vehicles over destinations."""

    rows: int
    n: int
    floor: float = 1e-4

    @property
    def row(self) -> Simplex:
        return Simplex(self.n, self.floor)

    @property
    def shape(self):
        return (self.rows, self.n)

    @property
    def raw_shape(self):
        return (self.rows, self.n)

    def log_prob(self, raw, action):
        return jnp.sum(self.row.log_prob(raw, action), axis=-1)

    def sample(self, raw, key):
        action, log_prob = self.row.sample(raw, key)
        return action, jnp.sum(log_prob, axis=-1)

    def mode(self, raw):
        return self.row.mode(raw)

    def project(self, action):
        return self.row.project(action)

    def random(self, key, batch_shape):
        action, density = self.row.random(key, (*batch_shape, self.rows))
        return action, jnp.sum(density, axis=-1)

    def bc_dist(self, a, b):
        return jnp.sum(self.row.bc_dist(a, b), axis=-1)

    def coordinates(self, action):
        return self.row.coordinates(action)

    def at(self, coordinates):
        return self.row.at(coordinates)


@dataclass(frozen=True)
class UnitBox:
    """[0, 1]^size with independent Beta densities; raw [..., 0] and [..., 1] give the two concentrations."""

    size: int
    floor: float = 1e-4

    @property
    def pairs(self) -> Simplices:
        """A number of [0, 1] and what is left to 1 are a simplex, and Beta is its Dirichlet."""
        return Simplices(self.size, 2, self.floor)

    @staticmethod
    def _pair(action):
        return jnp.stack([action, 1.0 - action], axis=-1)

    @property
    def shape(self):
        return (self.size,)

    @property
    def raw_shape(self):
        return (self.size, 2)

    def log_prob(self, raw, action):
        return self.pairs.log_prob(raw, self._pair(action))

    def sample(self, raw, key):
        action, log_prob = self.pairs.sample(raw, key)
        return action[..., 0], log_prob

    def mode(self, raw):
        return self.pairs.mode(raw)[..., 0]

    def project(self, action):
        return self.pairs.project(self._pair(jnp.clip(action, 0.0, 1.0)))[..., 0]

    def random(self, key, batch_shape):
        return jax.random.uniform(key, (*batch_shape, self.size)), jnp.zeros(batch_shape)

    def bc_dist(self, a, b):
        return jnp.sum(jnp.square(a - b), axis=-1)

    def coordinates(self, action):
        return jnp.log(action) - jnp.log1p(-action)

    def at(self, coordinates):
        return jax.nn.sigmoid(coordinates)


@dataclass(frozen=True)
class Counts:
    """Numbers of vehicles with independent Gaussians, the original's end-to-end head: no squash, no bound on draws.

    size: how many numbers.
    scale: unit; densities are those of action / scale (the original uses 1 in IQL and BC, 10 in CQL).
    limit: largest count proposed by `random`, in vehicles (the original uses the fleet).
    random_density: "original" gives `random` the original's log density, ln(1/2) limit / scale, which is not the
        density of what it draws, -size ln(limit / scale).
    """

    size: int
    scale: float
    limit: float
    random_density: Literal["exact", "original"] = "exact"

    @property
    def shape(self):
        return (self.size,)

    @property
    def raw_shape(self):
        return (self.size, 2)

    def _normal(self, raw):
        return jax.nn.softplus(raw[..., 0]), jnp.clip(raw[..., 1], -20.0, 2.0)

    def log_prob(self, raw, action):
        return jnp.sum(_normal_log_density(action / self.scale, *self._normal(raw)), axis=-1)

    def sample(self, raw, key):
        mean, log_std = self._normal(raw)
        action = self.scale * (mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype))
        return action, self.log_prob(raw, action)

    def mode(self, raw):
        return self.scale * self._normal(raw)[0]

    def project(self, action):
        return jnp.maximum(action, 0.0)

    def random(self, key, batch_shape):
        action = jax.random.uniform(key, (*batch_shape, self.size), maxval=self.limit)
        units = self.limit / self.scale
        density = -self.size * math.log(units) if self.random_density == "exact" else math.log(0.5) * units
        return action, jnp.full(batch_shape, density)

    def bc_dist(self, a, b):
        return jnp.sum(jnp.square((a - b) / self.scale), axis=-1)

    def coordinates(self, action):
        return action / self.scale

    def at(self, coordinates):
        return self.scale * jnp.maximum(coordinates, 0.0)


def _total(parts: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, parts)


@dataclass(frozen=True)
class Product:
    """Independent parts side by side, each flattened, e.g. shares of a stock and how much to order."""

    parts: tuple[ActionSpec, ...]

    @property
    def shape(self):
        return (sum(math.prod(part.shape) for part in self.parts),)

    @property
    def raw_shape(self):
        return (sum(math.prod(part.raw_shape) for part in self.parts),)

    @staticmethod
    def _split(flat, shapes):
        start = 0
        for shape in shapes:
            stop = start + math.prod(shape)
            yield flat[..., start:stop].reshape(*flat.shape[:-1], *shape)
            start = stop

    def _raws(self, raw):
        return self._split(raw, [part.raw_shape for part in self.parts])

    def _actions(self, action):
        return self._split(action, [part.shape for part in self.parts])

    def _join(self, actions):
        flat = [a.reshape(*a.shape[: a.ndim - len(part.shape)], -1) for a, part in zip(actions, self.parts, strict=True)]
        return jnp.concatenate(flat, axis=-1)

    def log_prob(self, raw, action):
        each = zip(self.parts, self._raws(raw), self._actions(action), strict=True)
        return _total(part.log_prob(r, a) for part, r, a in each)

    def sample(self, raw, key):
        each = zip(self.parts, self._raws(raw), jax.random.split(key, len(self.parts)), strict=True)
        actions, log_probs = zip(*(part.sample(r, k) for part, r, k in each), strict=True)
        return self._join(actions), _total(log_probs)

    def mode(self, raw):
        return self._join([part.mode(r) for part, r in zip(self.parts, self._raws(raw), strict=True)])

    def project(self, action):
        return self._join([part.project(a) for part, a in zip(self.parts, self._actions(action), strict=True)])

    def random(self, key, batch_shape):
        each = zip(self.parts, jax.random.split(key, len(self.parts)), strict=True)
        actions, densities = zip(*(part.random(k, batch_shape) for part, k in each), strict=True)
        return self._join(actions), _total(densities)

    def bc_dist(self, a, b):
        return _total(part.bc_dist(x, y) for part, x, y in zip(self.parts, self._actions(a), self._actions(b), strict=True))

    def coordinates(self, action):
        return self._join([part.coordinates(a) for part, a in zip(self.parts, self._actions(action), strict=True)])

    def at(self, coordinates):
        return self._join([part.at(x) for part, x in zip(self.parts, self._actions(coordinates), strict=True)])
