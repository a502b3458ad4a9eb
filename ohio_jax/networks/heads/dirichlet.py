"""Shares: Dirichlet densities of numbers that sum to one, and Beta densities of one between 0 and 1."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.networks.gamma import log_gamma
from ohio_jax.networks.heads.spec import COUNT, check_field, is_count, is_positive

# Dirichlet and Beta concentrations stay in this range: below, draws leave float32; above, a density is a point.
SMALLEST, LARGEST = 1e-3, 1e3


def _check(spec, *counts: str) -> None:
    """Raises UserError for fields that are no counts, and a floor that is no share."""
    for name in counts:
        check_field(spec, name, COUNT, is_count(getattr(spec, name)))
    check_field(spec, "floor", "a number above 0 and below 1", is_positive(spec.floor, 1.0))


@dataclass(frozen=True)
class Simplex:
    """Shares that sum to one, with a Dirichlet density (in n - 1 dimensions, the last share left out).

    Attributes:
        n: number of shares.
        floor: smallest share `project` leaves. Recovered shares are often exactly 0, where there is no density; each puts
            log(floor) into the likelihood, so the floor belongs near half a vehicle of the fleet, not near machine zero.
    """

    n: int
    floor: float = 1e-4

    def __post_init__(self):
        _check(self, "n")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n,)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return (self.n,)

    @staticmethod
    def concentration(raw: Float[Array, "..."]) -> Float[Array, "..."]:
        """softplus, kept within [SMALLEST, LARGEST]; shifted rather than cut below so that no gradient dies there."""
        return jnp.minimum(jax.nn.softplus(raw) + SMALLEST, LARGEST)

    @staticmethod
    def _density(concentration, log_action):
        lgamma = jax.scipy.special.gammaln
        norm = lgamma(jnp.sum(concentration, axis=-1)) - jnp.sum(lgamma(concentration), axis=-1)
        return norm + jnp.sum((concentration - 1.0) * log_action, axis=-1)

    def log_prob(self, raw: Float[Array, "... n"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        return self._density(self.concentration(raw), jnp.log(action))

    def sample(self, raw: Float[Array, "... n"], key: PRNGKeyArray) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        # The density is taken in log space: shares of a small concentration underflow, their logarithms do not.
        concentration = self.concentration(raw)
        log_action = jax.nn.log_softmax(log_gamma(key, concentration), axis=-1)
        return jnp.exp(log_action), self._density(concentration, log_action)

    def mode(self, raw: Float[Array, "... n"]) -> Float[Array, "... n"]:
        """The mean, concentration / sum. The true mode is a corner (or none) as soon as a concentration is below 1."""
        concentration = self.concentration(raw)
        return concentration / jnp.sum(concentration, axis=-1, keepdims=True)

    def project(self, action: Float[Array, "... n"]) -> Float[Array, "... n"]:
        action = jnp.maximum(action, 0.0)
        action = action / jnp.maximum(jnp.sum(action, axis=-1, keepdims=True), jnp.finfo(action.dtype).tiny)
        action = jnp.maximum(action, self.floor)
        return action / jnp.sum(action, axis=-1, keepdims=True)

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        spacing = jax.random.exponential(key, (*batch_shape, self.n))
        action = spacing / jnp.sum(spacing, axis=-1, keepdims=True)
        return action, jnp.full(batch_shape, math.lgamma(self.n))  # (n - 1)! is one over the volume

    def bc_dist(self, a: Float[Array, "... n"], b: Float[Array, "... n"]) -> Float[Array, "..."]:
        return self.n * jnp.sum(jnp.square(a - b), axis=-1)

    def coordinates(self, action: Float[Array, "... n"]) -> Float[Array, "..."]:
        """Logits that sum to zero."""
        logits = jnp.log(action)
        return logits - jnp.mean(logits, axis=-1, keepdims=True)

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "... n"]:
        return jax.nn.softmax(coordinates, axis=-1)


@dataclass(frozen=True)
class Simplices:
    """`rows` independent simplices, e.g. for each region the shares of its vehicles over destinations."""

    rows: int
    n: int
    floor: float = 1e-4

    def __post_init__(self):
        _check(self, "rows", "n")

    @property
    def row(self) -> Simplex:
        return Simplex(self.n, self.floor)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.rows, self.n)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return (self.rows, self.n)

    def log_prob(self, raw: Float[Array, "... rows n"], action: Float[Array, "... rows n"]) -> Float[Array, "..."]:
        return jnp.sum(self.row.log_prob(raw, action), axis=-1)

    def sample(
        self, raw: Float[Array, "... rows n"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "... rows n"], Float[Array, "..."]]:
        action, log_prob = self.row.sample(raw, key)
        return action, jnp.sum(log_prob, axis=-1)

    def mode(self, raw: Float[Array, "... rows n"]) -> Float[Array, "... rows n"]:
        return self.row.mode(raw)

    def project(self, action: Float[Array, "... rows n"]) -> Float[Array, "... rows n"]:
        return self.row.project(action)

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "... rows n"], Float[Array, "..."]]:
        action, density = self.row.random(key, (*batch_shape, self.rows))
        return action, jnp.sum(density, axis=-1)

    def bc_dist(self, a: Float[Array, "... rows n"], b: Float[Array, "... rows n"]) -> Float[Array, "..."]:
        return jnp.sum(self.row.bc_dist(a, b), axis=-1)

    def coordinates(self, action: Float[Array, "... rows n"]) -> Float[Array, "..."]:
        return self.row.coordinates(action)

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "... rows n"]:
        return self.row.at(coordinates)


@dataclass(frozen=True)
class UnitBox:
    """[0, 1]^size with independent Beta densities; raw [..., 0] and [..., 1] give the two concentrations."""

    size: int
    floor: float = 1e-4

    def __post_init__(self):
        _check(self, "size")

    @property
    def pairs(self) -> Simplices:
        """A number of [0, 1] and what is left to 1 are a simplex, and Beta is its Dirichlet."""
        return Simplices(self.size, 2, self.floor)

    @staticmethod
    def _pair(action):
        return jnp.stack([action, 1.0 - action], axis=-1)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size,)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return (self.size, 2)

    def log_prob(self, raw: Float[Array, "... n 2"], action: Float[Array, "... n"]) -> Float[Array, "..."]:
        return self.pairs.log_prob(raw, self._pair(action))

    def sample(self, raw: Float[Array, "... n 2"], key: PRNGKeyArray) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        action, log_prob = self.pairs.sample(raw, key)
        return action[..., 0], log_prob

    def mode(self, raw: Float[Array, "... n 2"]) -> Float[Array, "... n"]:
        return self.pairs.mode(raw)[..., 0]

    def project(self, action: Float[Array, "... n"]) -> Float[Array, "... n"]:
        return self.pairs.project(self._pair(jnp.clip(action, 0.0, 1.0)))[..., 0]

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "... n"], Float[Array, "..."]]:
        return jax.random.uniform(key, (*batch_shape, self.size)), jnp.zeros(batch_shape)

    def bc_dist(self, a: Float[Array, "... n"], b: Float[Array, "... n"]) -> Float[Array, "..."]:
        return jnp.sum(jnp.square(a - b), axis=-1)

    def coordinates(self, action: Float[Array, "... n"]) -> Float[Array, "..."]:
        return jnp.log(action) - jnp.log1p(-action)

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "... n"]:
        return jax.nn.sigmoid(coordinates)
