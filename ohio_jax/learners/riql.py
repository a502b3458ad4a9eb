"""Robust IQL (Yang et al. 2024): implicit Q-learning on data of which a part is corrupted."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState
from ohio_jax.learners.iql import State

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the paper's. Observations are normalized as every learner's are (`ohio_jax.agent`), not here."""

    actor_lr: float = 3e-4  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    critic_lr: float = 3e-4  # and of the critics and the value
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new critics that the target critics take at an update
    expectile: float = 0.7  # 0.5 values the behavior, towards 1 the best the data supports
    beta: float = 3.0  # how strongly the actor prefers actions of high advantage
    exp_adv_max: float = 100.0  # of a sample in the actor's loss, before the batch's own weight
    quantile: float = 0.25  # of the critics' answers that is believed; 0 is their least
    threshold: float = 4.0  # errors of the critics count squared up to here and in proportion beyond, in scaled reward
    lowest: float = -100.0  # what critics are asked to learn lies between these, in scaled reward
    highest: float = 1000.0
    reward_scale: float = 1.0  # multiplies rewards before learning
    critics: int = struct.field(pytree_node=False, default=5)  # how many


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner."""
    actor, critic, value = map(TrainState.create, common.init_params(key, spec, config.critics))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    return State(actor, critic, value, target, common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions lie where the density is finite (`spec.action.project`)."""
    config: Any = state.config
    spec = state.spec
    mean = lambda x: jnp.mean(batch.weight * x)

    # --- Value: a low quantile of the target critics instead of the smaller of two
    q_target = jnp.quantile(spec.critics(state.target, batch.obs, batch.action), config.quantile, axis=0)

    def value_loss(params: Any):
        gap = q_target - spec.value(params, batch.obs)
        return mean(jnp.where(gap > 0.0, config.expectile, 1.0 - config.expectile) * jnp.square(gap))

    loss_v, gradient = jax.value_and_grad(value_loss)(state.value.params)
    value = common.adam_step(state.value, gradient, config.critic_lr)

    # --- Actor, with the value before this update, as `iql` has it by default
    advantage = q_target - spec.value(state.value.params, batch.obs)
    # The same as min(exp(b A), largest), without its overflow.
    weight = jnp.exp(jnp.minimum(config.beta * advantage, jnp.log(config.exp_adv_max)))

    def actor_loss(params: Any):
        log_prob = spec.action.log_prob(spec.actor(params, batch.obs), batch.action)
        return -mean(weight * log_prob)

    loss_pi, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps)

    # --- Critics, with the same value: Huber's loss of their error
    next_value = spec.value(state.value.params, batch.next_obs)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_value
    backup = jnp.clip(backup, config.lowest, config.highest)

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        error = optax.huber_loss(q, backup[None], delta=config.threshold) / config.threshold  # of slope 1 beyond it
        return mean(jnp.sum(error, axis=0)), q

    (loss_q, q), gradient = jax.value_and_grad(critic_loss, has_aux=True)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, config.tau)

    metrics = {
        "actor_loss": loss_pi,
        "critic_loss": loss_q,
        "value_loss": loss_v,
        "q": jnp.mean(q),
        "advantage": jnp.mean(advantage),
        "saturated": jnp.mean(weight >= config.exp_adv_max * (1.0 - 1e-6)),
    }
    return state.replace(actor=actor, critic=critic, value=value, target=target), metrics
