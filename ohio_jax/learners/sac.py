"""Soft actor-critic (Haarnoja et al. 2018): the policy that earns most while it stays as random as the temperature asks."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the paper's second version ("Soft Actor-Critic Algorithms and Applications"), at a fixed temperature."""

    actor_lr: float = 3e-4  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    critic_lr: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new critics that the target critics take at an update
    temperature: float = 0.2  # weight of the entropy; where it adapts, its start
    temperature_lr: float = 0.0  # learning rate of the logarithm of the temperature; 0 keeps it
    # What the temperature adapts to: nats for each number of an action, above the entropy of actions spread evenly over the
    # space. In a box with limits of 1 this default is the customary entropy of -1 for each number.
    target_entropy: float = -1.0 - math.log(2.0)
    reward_scale: float = 1.0  # multiplies rewards before learning


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters.

    Attributes:
        log_temperature: of a `Float[]`.
        key: `UInt32[2]`, data of the next update's key.
    """

    actor: TrainState
    critic: TrainState
    target: Any
    log_temperature: TrainState
    key: jax.Array
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Config, critics: int = 2) -> State:
    """A fresh learner with so many critics."""
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec, critics))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    config = common.as_arrays(config)
    temperature = TrainState.create(jnp.log(config.temperature))
    return State(actor, critic, target, temperature, jax.random.key_data(for_updates), config, spec)


def adopt(other: Any, key: PRNGKeyArray, config: Config) -> State:
    """A learner that goes on from another's actor, critics and targets, with fresh moments. other: a state with these three."""
    actor, critic = TrainState.create(other.actor.params), TrainState.create(other.critic.params)
    config = common.as_arrays(config)
    temperature = TrainState.create(jnp.log(config.temperature))
    return State(actor, critic, other.target, temperature, jax.random.key_data(key), config, other.spec)


def update(
    state: State, batch: Batch, penalty: Callable[[Any], jax.Array] | None = None
) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions lie where the density is finite (`spec.action.project`).

    Args:
        penalty: added to the critics' loss, `Float[]`, a function of their parameters.
    """
    config, spec = state.config, state.spec
    for_backup, for_actor, for_even, for_next = jax.random.split(jax.random.wrap_key_data(state.key), 4)
    mean = lambda x: jnp.mean(batch.weight * x)
    temperature = jnp.exp(state.log_temperature.params)

    # --- Critics: equation 5 of the paper's second version
    next_raw = spec.actor(state.actor.params, batch.next_obs)
    next_q, next_log_prob = drawn_value(spec, state.target, batch.next_obs, next_raw, for_backup)
    next_value = next_q - temperature * next_log_prob
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_value

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        loss = mean(jnp.sum(jnp.square(q - backup[None]), axis=0))
        return loss if penalty is None else loss + penalty(params)

    loss_q, gradient = jax.value_and_grad(critic_loss)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Actor, with the new critics
    actor, metrics = actor_step(state, batch, critic, temperature, for_actor)

    # --- Temperature: equation 18, for its logarithm; it rises where the policy is less random than it should be
    even = -spec.action.random(for_even, ())[1]
    gap = metrics["entropy"] - even - math.prod(spec.action.shape) * config.target_entropy
    log_temperature = common.adam_step(state.log_temperature, gap, config.temperature_lr)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, config.tau)

    metrics = {**metrics, "critic_loss": loss_q, "temperature": temperature}
    key = jax.random.key_data(for_next)
    return state.replace(actor=actor, critic=critic, target=target, log_temperature=log_temperature, key=key), metrics


def drawn_value(
    spec: Spec, critics: Any, obs: Float[Array, "B features"], raw: Float[Array, "B ..."], key: PRNGKeyArray
) -> tuple[Float[Array, "B"], Float[Array, "B"]]:
    """The least of the critics' values at an action drawn for each observation, and the draw's log density: `Float[B]` each."""
    action, log_prob = spec.action.sample(raw, key)
    return jnp.min(spec.critics(critics, obs, action), axis=0), log_prob


def actor_step(
    state: Any,
    batch: Batch,
    critic: TrainState,
    temperature: float | Float[Array, ""],
    key: PRNGKeyArray,
    clones: bool | Bool[Array, ""] = False,
) -> tuple[TrainState, dict[str, Float[Array, ""]]]:
    """The actor after a step on temperature log pi - Q (equation 7), and the step's metrics.

    Args:
        state: SAC's, or CQL's.
        clones: the step is on temperature log pi - log pi(u) instead, u being the data's actions.
    """
    spec, config = state.spec, state.config

    def actor_loss(params: Any):
        raw = spec.actor(params, batch.obs)
        q, log_prob = drawn_value(spec, critic.params, batch.obs, raw, key)
        gain = jnp.where(clones, spec.action.log_prob(raw, batch.action), q)
        return jnp.mean(batch.weight * (temperature * log_prob - gain)), (q, log_prob)

    (loss, (q, log_prob)), gradient = jax.value_and_grad(actor_loss, has_aux=True)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps)
    return actor, {"actor_loss": loss, "q": jnp.mean(q), "entropy": -jnp.mean(log_prob)}
