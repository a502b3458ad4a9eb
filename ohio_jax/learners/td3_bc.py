"""TD3+BC (Fujimoto and Gu 2021): a deterministic policy that climbs the critics and stays near the logged goals."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState


class Config(struct.PyTreeNode):
    """Defaults: the paper's. Noise is that of a goal's coordinates (`spec.action.coordinates`)."""

    actor_rate: float = 3e-4  # Adam's learning rate of the actor
    decay: float = 0.0  # updates of the actor over which its rate falls to zero along a cosine; 0 keeps it
    critic_rate: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    polyak: float = 0.995  # share of the targets kept at an update
    value_weight: float = 2.5  # of the values, in units of their mean size, against the distance to the logged goals
    target_noise: float = 0.2  # deviation of the noise on the target policy's goals
    largest_noise: float = 0.5  # at which that is clipped
    exploration: float = 0.1  # deviation of the noise on goals that are drawn
    reward_scale: float = 1.0  # multiplies rewards before learning
    delay: int = struct.field(pytree_node=False, default=2)  # updates of the critics for each of the actor and the targets


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters. key: UInt32[2], data of the next update's key."""

    actor: TrainState
    critic: TrainState
    target: Any
    target_actor: Any
    key: jax.Array
    config: Any
    spec: Spec = struct.field(pytree_node=False)


def init(key: jax.Array, spec: Spec, config: Any) -> State:
    """A fresh learner."""
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec))
    target, target_actor = jax.tree.map(jnp.copy, (critic.params, actor.params))  # so that both may be donated
    stream, config = jax.random.key_data(for_updates), common.as_arrays(config)
    return State(actor, critic, target, target_actor, stream, config, spec)


def act(state: State, obs: jax.Array, key: jax.Array, deterministic: bool) -> jax.Array:
    """Goals Float[..., *shape] for observations Float[..., observation_size]; without `deterministic`, static, noise is added."""
    action = state.spec.action
    goal = action.mode(state.spec.actor(state.actor.params, obs))
    if deterministic:
        return goal
    return action.at(action.coordinates(goal) + state.config.exploration * jax.random.normal(key, goal.shape, goal.dtype))


def update(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """One gradient step of the critics, and every `delay` of them one of the actor and the targets."""
    config, spec, action = state.config, state.spec, state.spec.action
    for_noise, for_next = jax.random.split(jax.random.wrap_key_data(state.key))
    mean = lambda x: jnp.mean(batch.weight * x)

    # --- Critics: TD3's clipped double Q-learning, y = r + g min_i Q_i'(s', pi'(s') + noise)
    next_goal = smoothed(state, batch.next_obs, for_noise)
    next_q = jnp.min(spec.critics(state.target, batch.next_obs, next_goal), axis=0)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_q

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.goal)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0))

    loss_q, gradient = jax.value_and_grad(critic_loss)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_rate)

    # --- Actor, with the first of the new critics, and targets: min |pi(s) - u|^2 - a Q(s, pi(s)) / mean |Q|
    first = jax.tree.map(lambda x: x[:1], critic.params)

    def actor_loss(params: Any):
        goal = action.mode(spec.actor(params, batch.obs))
        q = spec.critics(first, batch.obs, goal)[0]
        distance = action.bc_dist(goal, batch.goal) / math.prod(action.shape)
        return mean(distance - config.value_weight * q / size(q)), q

    state, loss_pi, q = delayed_step(state, critic, actor_loss)

    metrics = {"actor_loss": loss_pi, "critic_loss": loss_q, "q": jnp.mean(q)}
    return state.replace(key=jax.random.key_data(for_next)), metrics


def smoothed(state: State, obs: jax.Array, key: jax.Array) -> jax.Array:
    """The target policy's goals with clipped noise (TD3, section 5.3)."""
    action, config = state.spec.action, state.config
    goal = action.mode(state.spec.actor(state.target_actor, obs))
    noise = config.target_noise * jax.random.normal(key, goal.shape, goal.dtype)
    return action.at(action.coordinates(goal) + jnp.clip(noise, -config.largest_noise, config.largest_noise))


def size(q: jax.Array) -> jax.Array:
    """Float[], mean size of the values, in which they are measured; no gradient goes through it."""
    return jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))


def delayed_step(
    state: State, critic: TrainState, loss: Callable[[Any], tuple[jax.Array, jax.Array]]
) -> tuple[State, jax.Array, jax.Array]:
    """The state with the new critics and, where due, actor and targets that follow; and what `loss(actor's params)` was."""
    config = state.config

    def learn():
        (value, q), gradient = jax.value_and_grad(loss, has_aux=True)(state.actor.params)
        actor = common.adam_step(state.actor, gradient, config.actor_rate, config.decay)
        target = optax.incremental_update(critic.params, state.target, 1.0 - config.polyak)
        target_actor = optax.incremental_update(actor.params, state.target_actor, 1.0 - config.polyak)
        return actor, target, target_actor, value, q

    wait = lambda: (state.actor, state.target, state.target_actor, *loss(state.actor.params))
    actor, target, target_actor, value, q = jax.lax.cond(critic.step % config.delay == 0, learn, wait)
    return state.replace(actor=actor, critic=critic, target=target, target_actor=target_actor), value, q
