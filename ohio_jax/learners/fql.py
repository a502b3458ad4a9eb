"""Flow Q-learning (Park, Li, Levine 2025): a flow clones the behavior, a policy of one step stays near it and climbs."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState
from ohio_jax.learners.td3_bc import size


class Config(struct.PyTreeNode):
    """Defaults: the paper's, with values in units of their mean size, so that one weight serves rewards of any unit."""

    actor_lr: float = 3e-4  # Adam's learning rate of the flow and the policy
    actor_lr_decay_steps: float = 0.0  # updates over which that falls to zero along a cosine; 0 keeps it
    critic_lr: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new critics that the target critics take at an update
    flow_weight: float = 1.0  # of the policy's distance to the flow, against values in units of their mean size
    reward_scale: float = 1.0  # multiplies rewards before learning
    steps: int = struct.field(pytree_node=False, default=10)  # of Euler's method from noise to action


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters.

    Attributes:
        actor, flow: parameters of two networks of one kind, the policy's, which is asked at time 0, and the velocity's.
        key: `UInt32[2]`, data of the next update's key.
    """

    actor: TrainState
    flow: TrainState
    critic: TrainState
    target: Any
    key: jax.Array
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner, with layer normalization in its critics. Raises UserError where networks are missing for either."""
    for_critic, for_actor, for_flow, for_updates = jax.random.split(key, 4)
    spec = spec.with_layer_norm()
    _, critic, _ = map(TrainState.create, common.init_params(for_critic, spec))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    actor, flow = (TrainState.create(spec.init_flow(key)) for key in (for_actor, for_flow))
    return State(actor, flow, critic, target, jax.random.key_data(for_updates), common.as_arrays(config), spec)


def act(state: State, obs: Float[Array, "... features"], key: PRNGKeyArray, deterministic: bool) -> Float[Array, "..."]:
    """Actions `Float[..., *shape]` for observations `Float[..., observation_size]`; drawn in either case, as the paper plays
    them.

    The policy has a draw for each noise and nothing that could stand for all of them.
    """
    spec = state.spec
    return spec.action.at(one_step(spec, state.actor.params, obs, noise_for(spec, obs, key)))


def noise_for(spec: Spec, obs: Float[Array, "... features"], key: PRNGKeyArray) -> Float[Array, "..."]:
    """`Float[..., *shape]`, where flows begin."""
    return jax.random.normal(key, (*obs.shape[:-1], *spec.action.shape), obs.dtype)


def one_step(spec: Spec, params: Any, obs: Float[Array, "... features"], noise: Float[Array, "..."]) -> Float[Array, "..."]:
    """Coordinates of the policy's actions, `Float[..., *shape]`."""
    return spec.flow(params, obs, noise, jnp.zeros(obs.shape[:-1], obs.dtype))


def carried(
    spec: Spec, params: Any, obs: Float[Array, "... features"], noise: Float[Array, "..."], steps: int
) -> Float[Array, "..."]:
    """Coordinates to which the flow carries the noise, `Float[B, *shape]`, by Euler's method."""

    def step(x, time):
        return x + spec.flow(params, obs, x, jnp.full(obs.shape[:-1], time, obs.dtype)) / steps, None

    return jax.lax.scan(step, noise, jnp.arange(steps) / steps)[0]


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions have coordinates (`spec.action.project`)."""
    config, spec = state.config, state.spec
    for_backup, for_start, for_time, for_actor, for_next = jax.random.split(jax.random.wrap_key_data(state.key), 5)
    mean = lambda x: jnp.mean(batch.weight * x)
    each = lambda x: jnp.mean(jnp.square(x.reshape(len(x), -1)), axis=-1)

    # --- Critics: y = r + g mean_i Q_i'(s', u'), u' ~ pi(s')
    next_action = act(state, batch.next_obs, for_backup, False)
    next_q = jnp.mean(spec.critics(state.target, batch.next_obs, next_action), axis=0)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_q

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0))

    loss_q, gradient = jax.value_and_grad(critic_loss)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Flow: the velocity of straight lines from noise to the logged actions, min |v(s, x_t, t) - (x_1 - x_0)|^2
    start, end = noise_for(spec, batch.obs, for_start), spec.action.coordinates(batch.action)
    time = jax.random.uniform(for_time, batch.reward.shape)
    share = time.reshape(-1, *(1,) * (end.ndim - 1))
    between = (1.0 - share) * start + share * end

    def flow_loss(params: Any):
        return mean(each(spec.flow(params, batch.obs, between, time) - (end - start)))

    loss_flow, gradient = jax.value_and_grad(flow_loss)(state.flow.params)
    flow = common.adam_step(state.flow, gradient, config.actor_lr, config.actor_lr_decay_steps)

    # --- Actor, with the new critics and flow: min a |pi(s, z) - flow(s, z)|^2 - Q(s, pi(s, z)) / mean |Q|
    noise = noise_for(spec, batch.obs, for_actor)
    cloned = carried(spec, flow.params, batch.obs, noise, config.steps)

    def actor_loss(params: Any):
        found = one_step(spec, params, batch.obs, noise)
        q = jnp.mean(spec.critics(critic.params, batch.obs, spec.action.at(found)), axis=0)
        return mean(config.flow_weight * each(found - cloned) - q / size(q)), q

    (loss_pi, q), gradient = jax.value_and_grad(actor_loss, has_aux=True)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, config.tau)

    metrics = {"actor_loss": loss_pi, "critic_loss": loss_q, "flow_loss": loss_flow, "q": jnp.mean(q)}
    key = jax.random.key_data(for_next)
    return state.replace(actor=actor, flow=flow, critic=critic, target=target, key=key), metrics
