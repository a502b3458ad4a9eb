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
from ohio_jax.networks.heads.gaussian import standard_normal


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
    """The learner; a pytree whose leaves include the hyperparameters.

    Attributes:
        metrics: of the actor's last step; zeros before the first. An update that only the critics take asks for no new ones.
        key: `UInt32[2]`, data of the next update's key.
    """

    actor: TrainState
    critic: TrainState
    target: Any
    target_actor: Any
    metrics: dict[str, jax.Array]
    key: jax.Array
    config: Any
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Any) -> State:
    """A fresh learner."""
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec))
    target, target_actor = jax.tree.map(jnp.copy, (critic.params, actor.params))  # so that both may be donated
    stream, config = jax.random.key_data(for_updates), common.as_arrays(config)
    metrics = {"actor_loss": jnp.zeros(()), "q": jnp.zeros(())}
    return State(actor, critic, target, target_actor, metrics, stream, config, spec)


def act(state: State, obs: Float[Array, "... features"], key: PRNGKeyArray, deterministic: bool) -> Float[Array, "..."]:
    """Actions `Float[..., *shape]` for observations `Float[..., observation_size]`; noise is added unless `deterministic`,
    static.
    """
    config, spec = state.config, state.spec
    action = spec.action.mode(spec.actor(state.actor.params, obs))
    if deterministic:
        return action
    noise = config.exploration_noise * standard_normal(key, action.shape, action.dtype)
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

    state = delayed_step(state, critic, actor_loss)

    return state.replace(key=jax.random.key_data(for_next)), {**state.metrics, "critic_loss": loss_q}


def smoothed(state: State, obs: Float[Array, "B features"], key: PRNGKeyArray) -> Float[Array, "B ..."]:
    """The target policy's actions with clipped noise (TD3, section 5.3)."""
    config, spec = state.config, state.spec
    action = spec.action.mode(spec.actor(state.target_actor, obs))
    noise = config.policy_noise * standard_normal(key, action.shape, action.dtype)
    return spec.action.at(spec.action.coordinates(action) + jnp.clip(noise, -config.noise_clip, config.noise_clip))


def size(q: Float[Array, "..."]) -> Float[Array, ""]:
    """`Float[]`, mean size of the values, in which they are measured; no gradient goes through it."""
    return jax.lax.stop_gradient(jnp.mean(jnp.abs(q)))


def delayed_step(state: State, critic: TrainState, loss: Callable[[Any], tuple[jax.Array, jax.Array]]) -> State:
    """The state with the new critics and, where due, the actor and the targets that follow.

    Args:
        loss: `loss(actor's params) -> (Float[], values Float[B])`.
    """
    config = state.config

    def learn(_, carry):
        actor, target, target_actor, _ = carry
        (value, q), gradient = jax.value_and_grad(loss, has_aux=True)(actor.params)
        actor = common.adam_step(actor, gradient, config.actor_lr, config.actor_lr_decay_steps)
        target = optax.incremental_update(critic.params, target, config.tau)
        target_actor = optax.incremental_update(actor.params, target_actor, config.tau)
        return actor, target, target_actor, {"actor_loss": value, "q": jnp.mean(q)}

    # A loop of one turn or none: XLA copies all that a condition leaves as it is, and computes both sides of a vmapped one.
    due = jnp.int32(critic.step % config.policy_freq == 0)
    carry = state.actor, state.target, state.target_actor, state.metrics
    actor, target, target_actor, metrics = jax.lax.fori_loop(0, due, learn, carry)
    return state.replace(actor=actor, critic=critic, target=target, target_actor=target_actor, metrics=metrics)
