"""What every kind of action offers."""

import math
from numbers import Integral, Real
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.errors import UserError, short

COUNT = "a whole number from 1 on"


def check_field(spec: Any, name: str, expected: str, fits: bool) -> None:
    """Raises UserError naming a field of a kind of action that does not fit."""
    if not fits:
        raise UserError(f"{type(spec).__name__}: field {name}: expected {expected}, found {short(getattr(spec, name))}")


def is_count(x: Any) -> bool:
    """Whether it is COUNT."""
    return isinstance(x, Integral) and not isinstance(x, bool) and int(x) >= 1


def is_positive(x: Any, most: float = math.inf) -> bool:
    """Whether it is a number above 0 and below `most`."""
    return isinstance(x, Real) and not isinstance(x, bool) and 0.0 < float(x) < most


@runtime_checkable
class ActionSpec(Protocol):
    """A space of actions with a parametrized density. Leading batch axes are allowed everywhere.

    - raw: `Float[..., *raw_shape]`, unconstrained, from the actor.
    - action: `Float[..., *shape]`.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def raw_shape(self) -> tuple[int, ...]: ...

    def log_prob(self, raw: Float[Array, "..."], action: Float[Array, "..."]) -> Float[Array, "..."]:
        """`Float[...]`, log density at `action`; finite on whatever `project` returns."""
        ...

    def sample(self, raw: Float[Array, "..."], key: PRNGKeyArray) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """A draw for each batch element, differentiable in `raw`, and its log density."""
        ...

    def mode(self, raw: Float[Array, "..."]) -> Float[Array, "..."]:
        """The action to play when not exploring."""
        ...

    def project(self, action: Float[Array, "..."]) -> Float[Array, "..."]:
        """The nearest thing to `action` (any real numbers) where the density is finite."""
        ...

    def random(self, key: PRNGKeyArray, batch_shape: tuple[int, ...]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Actions spread evenly, `Float[*batch_shape, *shape]`, and their log density `Float[*batch_shape]`."""
        ...

    def bc_dist(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """`Float[...]`, squared distance between actions, comparable between spaces."""
        ...

    def coordinates(self, action: Float[Array, "..."]) -> Float[Array, "..."]:
        """Numbers that name an action and may be any, `Float[..., *shape]`: where noise is added and flows run."""
        ...

    def at(self, coordinates: Float[Array, "..."]) -> Float[Array, "..."]:
        """The action of these coordinates; where there is none, the nearest. Undoes `coordinates`."""
        ...
