"""Function approximators: encoders in `mlp` and `graph`, action densities in `heads`."""

from typing import NamedTuple

from flax import linen as nn


class Networks(NamedTuple):
    """The three networks of an offline learner. Leading batch axes are allowed everywhere.

    actor: obs -> raw head parameters, shape [..., *spec.raw_shape].
    critic: (obs, action) -> Float[...].
    value: obs -> Float[...].
    """

    actor: nn.Module
    critic: nn.Module
    value: nn.Module
