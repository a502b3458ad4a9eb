"""Cal-QL (Nakamoto et al. 2023): conservative Q-learning that distrusts the policy no further than what the behaviour earned."""

from typing import Any

import jax
import jax.numpy as jnp

from ohio_jax.data import Batch
from ohio_jax.errors import UserError
from ohio_jax.learners import cql
from ohio_jax.learners.common import Spec

OUTCOMES = True  # batches carry `outcome`

Config = cql.Config
act = cql.act


def init(key: jax.Array, spec: Spec, config: Config) -> cql.State:
    """A fresh learner. Raises UserError for `mixed_states`, among which a goal's value belongs to no one state."""
    if config.mixed_states:
        raise UserError("cal_ql: field mixed_states: expected False, found True")
    return cql.init(key, spec, config)


def update(state: cql.State, batch: Batch) -> tuple[cql.State, dict[str, Any]]:
    """One gradient step of CQL, with the values of its penalty bounded from below."""
    return cql.update(state, batch, least(state.config, batch))


def least(config: Config, batch: Batch) -> jax.Array:
    """Float[B, 3 K], of the penalty's goals: what the episode went on to earn for the policy's own (equation 5.1).

    Goals spread evenly over the space are no policy's, and have no bound.
    """
    assert batch.outcome is not None
    earned = jnp.broadcast_to(config.reward_scale * batch.outcome[:, None], (len(batch.outcome), 2 * config.samples))
    return jnp.concatenate([jnp.full((len(batch.outcome), config.samples), -jnp.inf), earned], axis=1)
