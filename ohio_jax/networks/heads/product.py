"""Several kinds of action side by side."""

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.networks.heads.spec import ActionSpec


def _total(parts: Iterable[jax.Array]) -> jax.Array:
    return functools.reduce(jnp.add, parts)


@dataclass(frozen=True)
class Product:
    """Independent parts side by side, each flattened, e.g. shares of a stock and how much to order."""

    parts: tuple[ActionSpec, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(math.prod(part.shape) for part in self.parts),)

    @property
    def raw_shape(self) -> tuple[int, ...]:
        return (sum(math.prod(part.raw_shape) for part in self.parts),)

    def _split(self, flat, shape="shape"):
        """(part, its own numbers) one after the other; shape: "shape" of actions, or "raw_shape"."""
        start = 0
        for part in self.parts:
            own = getattr(part, shape)
            stop = start + math.prod(own)
            yield part, flat[..., start:stop].reshape(*flat.shape[:-1], *own)
            start = stop

    def _raws(self, raw):
        return self._split(raw, "raw_shape")

    def _join(self, actions):
        flat = [a.reshape(*a.shape[: a.ndim - len(part.shape)], -1) for a, part in zip(actions, self.parts, strict=True)]
        return jnp.concatenate(flat, axis=-1)

    def log_prob(self, raw: Float[Array, "... n"], action: Float[Array, "... m"]) -> Float[Array, "..."]:
        return _total(part.log_prob(r, a) for (part, r), (_, a) in zip(self._raws(raw), self._split(action), strict=True))

    def sample(self, raw: Float[Array, "... n"], key: PRNGKeyArray) -> tuple[Float[Array, "... m"], Float[Array, "..."]]:
        each = zip(self._raws(raw), jax.random.split(key, len(self.parts)), strict=True)
        actions, log_probs = zip(*(part.sample(r, k) for (part, r), k in each), strict=True)
        return self._join(actions), _total(log_probs)

    def mode(self, raw: Float[Array, "... n"]) -> Float[Array, "... m"]:
        return self._join(part.mode(r) for part, r in self._raws(raw))

    def project(self, action: Float[Array, "... m"]) -> Float[Array, "... m"]:
        return self._join(part.project(a) for part, a in self._split(action))

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "... m"], Float[Array, "..."]]:
        each = zip(self.parts, jax.random.split(key, len(self.parts)), strict=True)
        actions, densities = zip(*(part.random(k, batch_shape) for part, k in each), strict=True)
        return self._join(actions), _total(densities)

    def bc_dist(self, a: Float[Array, "... m"], b: Float[Array, "... m"]) -> Float[Array, "..."]:
        return _total(part.bc_dist(x, y) for (part, x), (_, y) in zip(self._split(a), self._split(b), strict=True))

    def coordinates(self, action: Float[Array, "... m"]) -> Float[Array, "..."]:
        return self._join(part.coordinates(a) for part, a in self._split(action))

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "... m"]:
        return self._join(part.at(x) for part, x in self._split(coordinates))
