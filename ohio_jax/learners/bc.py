"""Behavior cloning: the policy that makes the logged actions most likely."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the original's for vehicle routing."""

    actor_lr: float = 1e-4  # Adam's learning rate
    actor_lr_decay_steps: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    # Compat: the rate follows the cosine beyond them, up again and down, as the original's end-to-end cloning in vehicle routing.
    periodic_lr: bool = struct.field(pytree_node=False, default=False)


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters."""

    actor: TrainState
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner."""
    actor, _, _ = common.init_params(key, spec)
    return State(TrainState.create(actor), common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions lie where the density is finite (`spec.action.project`)."""
    config, spec = state.config, state.spec

    # --- Actor
    def actor_loss(params: Any):
        log_prob = spec.action.log_prob(spec.actor(params, batch.obs), batch.action)
        return -jnp.mean(batch.weight * log_prob)

    loss, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps, config.periodic_lr)

    return state.replace(actor=actor), {"actor_loss": loss}
