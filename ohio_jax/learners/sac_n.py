"""SAC-N (An et al. 2021): soft actor-critic that believes the least of many critics, who agree where there are data."""

from flax import struct
from jaxtyping import PRNGKeyArray

from ohio_jax.learners import sac
from ohio_jax.learners.common import Spec

act = sac.act
update = sac.update


class Config(sac.Config):
    """Defaults: the paper's, beside soft actor-critic's own."""

    temperature: float = 1.0  # weight of the entropy at the start
    temperature_lr: float = 3e-4  # learning rate of the logarithm of the temperature; 0 keeps it
    critics: int = struct.field(pytree_node=False, default=10)  # how many; narrow data need up to 500


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> sac.State:
    """A fresh learner."""
    return sac.init(key, spec, config, config.critics)
