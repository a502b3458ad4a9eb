"""AWAC (Nair et al. 2020): cloning of logged actions, weighted by how much more they are worth than the policy's own."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common, sac
from ohio_jax.learners.common import Spec, TrainState

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the paper's."""

    actor_lr: float = 3e-4  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    critic_lr: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new critics that the target critics take at an update
    beta: float = 1.0  # how strongly the actor prefers actions of high advantage
    exp_adv_max: float = 100.0  # of a sample in the actor's loss, before the batch's own weight
    reward_scale: float = 1.0  # multiplies rewards before learning


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters. key: `UInt32[2]`, data of the next update's key."""

    actor: TrainState
    critic: TrainState
    target: Any
    key: jax.Array
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner."""
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    return State(actor, critic, target, jax.random.key_data(for_updates), common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions lie where the density is finite (`spec.action.project`)."""
    config, spec = state.config, state.spec
    for_backup, for_advantage, for_next = jax.random.split(jax.random.wrap_key_data(state.key), 3)
    mean = lambda x: jnp.mean(batch.weight * x)

    # --- Critics: y = r + g min_i Q_i'(s', u'), u' ~ pi(s')
    next_raw = spec.actor(state.actor.params, batch.next_obs)
    next_q, _ = sac.drawn_value(spec, state.target, batch.next_obs, next_raw, for_backup)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_q

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0)), q

    (loss_q, q), gradient = jax.value_and_grad(critic_loss, has_aux=True)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Actor, with the new critics: max exp(b A(s, u)) log pi(u | s), A = Q(s, u) - Q(s, u~), u~ ~ pi(s)
    raw = spec.actor(state.actor.params, batch.obs)
    own, _ = sac.drawn_value(spec, critic.params, batch.obs, raw, for_advantage)
    advantage = jnp.min(spec.critics(critic.params, batch.obs, batch.action), axis=0) - own
    # The same as min(exp(b A), largest), without its overflow.
    weight = jnp.exp(jnp.minimum(config.beta * advantage, jnp.log(config.exp_adv_max)))

    def actor_loss(params: Any):
        log_prob = spec.action.log_prob(spec.actor(params, batch.obs), batch.action)
        return -mean(weight * log_prob)

    loss_pi, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, config.tau)

    metrics = {
        "actor_loss": loss_pi,
        "critic_loss": loss_q,
        "q": jnp.mean(q),
        "advantage": jnp.mean(advantage),
        "saturated": jnp.mean(weight >= config.exp_adv_max * (1.0 - 1e-6)),
    }
    return state.replace(actor=actor, critic=critic, target=target, key=jax.random.key_data(for_next)), metrics
