"""AWAC (Nair et al. 2020): cloning of logged goals, weighted by how much more they are worth than the policy's own."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ohio_jax.data import Batch
from ohio_jax.learners import common, sac
from ohio_jax.learners.common import Spec, TrainState

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the paper's."""

    actor_rate: float = 3e-4  # Adam's learning rate of the actor
    decay: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    critic_rate: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    polyak: float = 0.995  # share of the target critics kept at an update
    inverse_temperature: float = 1.0  # how strongly the actor prefers goals of high advantage
    largest_weight: float = 100.0  # of a sample in the actor's loss, before the batch's own weight
    reward_scale: float = 1.0  # multiplies rewards before learning


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters. key: UInt32[2], data of the next update's key."""

    actor: TrainState
    critic: TrainState
    target: Any
    key: jax.Array
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: jax.Array, spec: Spec, config: Config) -> State:
    """A fresh learner."""
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    return State(actor, critic, target, jax.random.key_data(for_updates), common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """One gradient step on a batch whose goals lie where the density is finite (`spec.action.project`)."""
    config, spec, action = state.config, state.spec, state.spec.action
    for_backup, for_advantage, for_next = jax.random.split(jax.random.wrap_key_data(state.key), 3)
    mean = lambda x: jnp.mean(batch.weight * x)

    # --- Critics: y = r + g min_i Q_i'(s', u'), u' ~ pi(s')
    next_raw = spec.actor(state.actor.params, batch.next_obs)
    next_q, _ = sac.drawn_value(spec, state.target, batch.next_obs, next_raw, for_backup)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_q

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.goal)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0)), q

    (loss_q, q), gradient = jax.value_and_grad(critic_loss, has_aux=True)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_rate)

    # --- Actor, with the new critics: max exp(b A(s, u)) log pi(u | s), A = Q(s, u) - Q(s, u~), u~ ~ pi(s)
    raw = spec.actor(state.actor.params, batch.obs)
    own, _ = sac.drawn_value(spec, critic.params, batch.obs, raw, for_advantage)
    advantage = jnp.min(spec.critics(critic.params, batch.obs, batch.goal), axis=0) - own
    # The same as min(exp(b A), largest), without its overflow.
    weight = jnp.exp(jnp.minimum(config.inverse_temperature * advantage, jnp.log(config.largest_weight)))

    def actor_loss(params: Any):
        log_prob = action.log_prob(spec.actor(params, batch.obs), batch.goal)
        return -mean(weight * log_prob)

    loss_pi, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_rate, config.decay)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, 1.0 - config.polyak)

    metrics = {
        "actor_loss": loss_pi,
        "critic_loss": loss_q,
        "q": jnp.mean(q),
        "advantage": jnp.mean(advantage),
        "saturated": jnp.mean(weight >= config.largest_weight * (1.0 - 1e-6)),
    }
    return state.replace(actor=actor, critic=critic, target=target, key=jax.random.key_data(for_next)), metrics
