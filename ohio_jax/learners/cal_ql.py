"""Cal-QL (Nakamoto et al. 2023): conservative Q-learning that distrusts the policy no further than what the behavior earned."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.errors import UserError
from ohio_jax.learners import cql
from ohio_jax.learners.common import Spec

MC_RETURNS = True  # batches carry `mc_return`

Config = cql.Config
act = cql.act


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> cql.State:
    """A fresh learner. Raises UserError for `mixed_states`, among which an action's value belongs to no one state."""
    if config.mixed_states:
        raise UserError("cal_ql: field mixed_states: expected False, found True")
    return cql.init(key, spec, config)


def update(state: cql.State, batch: Batch) -> tuple[cql.State, dict[str, Float[Array, ""]]]:
    """One gradient step of CQL, with the values of its penalty bounded from below."""
    return cql.update(state, batch, least(state.config, batch))


def least(config: Config, batch: Batch) -> Float[Array, "B k"]:
    """Of the penalty's actions: what the episode went on to earn for the policy's own (equation 5.1).

    Actions spread evenly over the space are no policy's, and have no bound.
    """
    assert batch.mc_return is not None
    earned = jnp.broadcast_to(config.reward_scale * batch.mc_return[:, None], (len(batch.mc_return), 2 * config.n_actions))
    return jnp.concatenate([jnp.full((len(batch.mc_return), config.n_actions), -jnp.inf), earned], axis=1)
