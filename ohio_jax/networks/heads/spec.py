"""What every kind of action offers."""

from typing import Protocol

import jax


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
