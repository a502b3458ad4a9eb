"""TD3+BC (Fujimoto and Gu 2021): a deterministic policy that climbs the critics and stays near the logged actions."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState


class Config(struct.PyTreeNode):
    """Defaults: the paper's. Noise is that of an action's coordinates (`spec.action.coordinates`)."""

    actor_lr: float = 3e-4  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates of the actor over which its rate falls to zero along a cosine; 0 keeps it
    critic_lr: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new parameters that the targets take at an update
    alpha: float = 2.5  # of the values, in units of their mean size, against the distance to the logged actions
    policy_noise: float = 0.2  # deviation of the noise on the target policy's actions
    noise_clip: float = 0.5  # at which that is clipped
    exploration_noise: float = 0.1  # deviation of the noise on actions that are drawn
    reward_scale: float = 1.0  # multiplies rewards before learning
    policy_freq: int = struct.field(pytree_node=False, default=2)  # updates of the critics for each of the actor and the targets


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters. key: `UInt32[2]`, data of the next update's key."""

    actor: TrainState
    critic: TrainState
    target: Any
    target_actor: Any
    key: jax.Array
    config: Any
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Any) -> State:
    """A fresh learner."""
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec))
    target, target_actor = jax.tree.map(jnp.copy, (critic.params, actor.params))  # so that both may be donated
    stream, config = jax.random.key_data(for_updates), common.as_arrays(config)
    return State(actor, critic, target, target_actor, stream, config, spec)


def act(state: State, obs: Float[Array, "... features"], key: PRNGKeyArray, deterministic: bool) -> Float[Array, "..."]:
    """Actions `Float[..., *shape]` for observations `Float[..., observation_size]`; noise is added unless `deterministic`,
    static.
    """
    config, spec = state.config, state.spec
    action = spec.action.mode(spec.actor(state.actor.params, obs))
    if deterministic:
        return action
    noise = config.exploration_noise * jax.random.normal(key, action.shape, action.dtype)
    return spec.action.at(spec.action.coordinates(action) + noise)


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step of the critics, and every `policy_freq` of them one of the actor and the targets."""
    config, spec = state.config, state.spec
    for_noise, for_next = jax.random.split(jax.random.wrap_key_data(state.key))
    mean = lambda x: jnp.mean(batch.weight * x)

    # --- Critics: TD3's clipped double Q-learning, y = r + g min_i Q_i'(s', pi'(s') + noise)
    next_action = smoothed(state, batch.next_obs, for_noise)
    next_q = jnp.min(spec.critics(state.target, batch.next_obs, next_action), axis=0)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_q

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0))

    loss_q, gradient = jax.value_and_grad(critic_loss)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Actor, with the first of the new critics, and targets: min |pi(s) - u|^2 - a Q(s, pi(s)) / mean |Q|
    first = jax.tree.map(lambda x: x[:1], critic.params)

    def actor_loss(params: Any):
        action = spec.action.mode(spec.actor(params, batch.obs))
        q = spec.critics(first, batch.obs, action)[0]
        distance = spec.action.bc_dist(action, batch.action) / math.prod(spec.action.shape)
        return mean(distance - config.alpha * q / size(q)), q

    state, loss_pi, q = delayed_step(state, critic, actor_loss)

    metrics = {"actor_loss": loss_pi, "critic_loss": loss_q, "q": jnp.mean(q)}
    return state.replace(key=jax.random.key_data(for_next)), metrics


def smoothed(state: State, obs: Float[Array, "B features"], key: PRNGKeyArray) -> Float[Array, "B ..."]:
    """The target policy's actions with clipped noise (TD3, section 5.3)."""
    config, spec = state.config, state.spec
    action = spec.action.mode(spec.actor(state.target_actor, obs))
    noise = config.policy_noise * jax.random.normal(key, action.shape, action.dtype)
    return spec.action.at(spec.action.coordinates(action) + jnp.clip(noise, -config.noise_clip, config.noise_clip))


def size(q: Float[Array, "..."]) -> Float[Array, ""]:
    """`Float[]`, mean size of the values, in which they are measured; no gradient goes through it."""
    return jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))


def delayed_step(
    state: State, critic: TrainState, loss: Callable[[Any], tuple[jax.Array, jax.Array]]
) -> tuple[State, Float[Array, ""], Float[Array, "B"]]:
    """The state with the new critics and, where due, actor and targets that follow; and what `loss(actor's params)` was."""
    config = state.config

    def learn():
        (value, q), gradient = jax.value_and_grad(loss, has_aux=True)(state.actor.params)
        actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps)
        target = optax.incremental_update(critic.params, state.target, config.tau)
        target_actor = optax.incremental_update(actor.params, state.target_actor, config.tau)
        return actor, target, target_actor, value, q

    wait = lambda: (state.actor, state.target, state.target_actor, *loss(state.actor.params))
    actor, target, target_actor, value, q = jax.lax.cond(critic.step % config.policy_freq == 0, learn, wait)
    return state.replace(actor=actor, critic=critic, target=target, target_actor=target_actor), value, q
