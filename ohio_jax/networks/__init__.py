"""Function approximators: encoders in `mlp` and `graph`, action densities in `heads`."""

from typing import NamedTuple

from flax import linen as nn


class Networks(NamedTuple):
    """The networks of an offline learner. Leading batch axes are allowed everywhere.

    Attributes:
        actor: obs -> raw head parameters, shape `[..., *spec.raw_shape]`.
        critic: (obs, action) -> `Float[...]`; with a field `layer_norm` for learners whose critics need it.
        value: obs -> `Float[...]`.
        flow: (obs, coordinates of an action, time `Float[...]`) -> velocity of the coordinates, for learners that need one.
    """

    actor: nn.Module
    critic: nn.Module
    value: nn.Module
    flow: nn.Module | None = None
