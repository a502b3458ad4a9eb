"""ReBRAC (Tarasov et al. 2023): TD3+BC whose critics distrust the policy as well, with a weight of their own."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common, td3_bc
from ohio_jax.learners.common import Spec
from ohio_jax.learners.td3_bc import State, delayed_step, size, smoothed

NEXT_ACTIONS = True  # batches carry `next_action`

act = td3_bc.act


class Config(struct.PyTreeNode):
    """Defaults: the paper's, with penalties from the middle of its grids, which are to be searched for each task."""

    actor_lr: float = 1e-3  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates of the actor over which its rate falls to zero along a cosine; 0 keeps it
    critic_lr: float = 1e-3  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new parameters that the targets take at an update
    actor_penalty: float = 0.01  # weight of the distance to the logged actions, against values in units of their mean size
    critic_penalty: float = 0.01  # of the distance to the next logged action, against the next value, in scaled reward
    policy_noise: float = 0.2  # deviation of the noise on the target policy's actions
    noise_clip: float = 0.5  # at which that is clipped
    exploration_noise: float = 0.1  # deviation of the noise on actions that are drawn
    reward_scale: float = 1.0  # multiplies rewards before learning
    policy_freq: int = struct.field(pytree_node=False, default=2)  # updates of the critics for each of the actor and the targets


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner, with layer normalization in its critics. Raises UserError where they have no place for it."""
    return td3_bc.init(key, spec.with_layer_norm(), config)


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step of the critics, and every `policy_freq` of them one of the actor and the targets."""
    config, spec = state.config, state.spec
    for_noise, for_next = jax.random.split(jax.random.wrap_key_data(state.key))
    mean = lambda x: jnp.mean(batch.weight * x)
    assert batch.next_action is not None

    # --- Critics: y = r + g (min_i Q_i'(s', u~) - b_2 |u~ - u'|^2), u~ = pi'(s') + noise, u' what the behavior did next
    next_action = smoothed(state, batch.next_obs, for_noise)
    next_q = jnp.min(spec.critics(state.target, batch.next_obs, next_action), axis=0)
    next_value = next_q - config.critic_penalty * spec.action.bc_dist(next_action, batch.next_action)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_value

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0))

    loss_q, gradient = jax.value_and_grad(critic_loss)(state.critic.params)
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Actor, with the smaller of the new critics, and targets: min b_1 |pi(s) - u|^2 - Q(s, pi(s)) / mean |Q|
    def actor_loss(params: Any):
        action = spec.action.mode(spec.actor(params, batch.obs))
        q = jnp.min(spec.critics(critic.params, batch.obs, action), axis=0)
        return mean(config.actor_penalty * spec.action.bc_dist(action, batch.action) - q / size(q)), q

    state = delayed_step(state, critic, actor_loss)

    return state.replace(key=jax.random.key_data(for_next)), {**state.metrics, "critic_loss": loss_q}
