"""Implicit Q-learning (Kostrikov, Nair, Levine 2022): values by expectile regression, no unseen actions asked about."""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.learners import common
from ohio_jax.learners.common import Spec, TrainState

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the OHIO release's, but for the discount and the scale of rewards, which are a task's."""

    actor_lr: float = 1e-4  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    critic_lr: float = 3e-4  # and of the critics and the value
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new critics that the target critics take at an update
    expectile: float = 0.9  # 0.5 values the behavior, towards 1 the best the data supports
    beta: float = 3.0  # how strongly the actor prefers actions of high advantage
    exp_adv_max: float = 100.0  # of a sample in the actor's loss, before the batch's own weight
    reward_scale: float = 1.0  # multiplies rewards before learning
    # Updates in which the actor only clones and nothing else learns, with which the original's code for vehicle routing begins.
    bc_warmup: int = struct.field(pytree_node=False, default=0)
    # Norm at which a critic's gradient is clipped, as in the original's code for manipulation; 0: none.
    max_grad_norm: float = struct.field(pytree_node=False, default=0.0)
    # Where the target critics are asked for the value's regression: at (s, action), or, as the original's code for the
    # reacher, manipulation and supply chain does, at (s', action).
    v_target: Literal["s", "s_next"] = struct.field(pytree_node=False, default="s")
    # The value network in the actor's advantage and the critics' backup: the one before this update, as in OHIO's code and
    # CORL's, or the one after, as in the code of IQL's authors (implicit_q_learning).
    value_update: Literal["old", "new"] = struct.field(pytree_node=False, default="old")


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters."""

    actor: TrainState
    critic: TrainState
    value: TrainState
    target: Any
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner."""
    actor, critic, value = map(TrainState.create, common.init_params(key, spec))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    return State(actor, critic, value, target, common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions lie where the density is finite (`spec.action.project`)."""
    config, spec = state.config, state.spec
    mean = lambda x: jnp.mean(batch.weight * x)

    # --- Value: equation 5 of the paper
    asked = batch.obs if config.v_target == "s" else batch.next_obs
    q_target = jnp.min(spec.critics(state.target, asked, batch.action), axis=0)

    def value_loss(params: Any):
        gap = q_target - spec.value(params, batch.obs)
        return mean(jnp.where(gap > 0.0, config.expectile, 1.0 - config.expectile) * jnp.square(gap))

    loss_v, gradient = jax.value_and_grad(value_loss)(state.value.params)
    value = common.adam_step(state.value, gradient, config.critic_lr)

    # --- Actor: equation 7
    value_params = (state.value if config.value_update == "old" else value).params
    advantage = q_target - spec.value(value_params, batch.obs)
    # The same as min(exp(b A), largest), without its overflow.
    weight = jnp.exp(jnp.minimum(config.beta * advantage, jnp.log(config.exp_adv_max)))
    clones = state.actor.step < config.bc_warmup
    if config.bc_warmup:
        weight = jnp.where(clones, 1.0, weight)

    def actor_loss(params: Any):
        log_prob = spec.action.log_prob(spec.actor(params, batch.obs), batch.action)
        return -mean(weight * log_prob)

    loss_pi, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    actor = common.adam_step(state.actor, gradient, config.actor_lr, config.actor_lr_decay_steps)

    # --- Critics: equation 6
    next_value = spec.value(value_params, batch.next_obs)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_value

    def critic_loss(params: Any):
        q = spec.critics(params, batch.obs, batch.action)
        return mean(jnp.sum(jnp.square(q - backup[None]), axis=0)), q

    (loss_q, q), gradient = jax.value_and_grad(critic_loss, has_aux=True)(state.critic.params)
    if config.max_grad_norm:
        clip = optax.clip_by_global_norm(config.max_grad_norm).update
        gradient, _ = jax.vmap(clip)(gradient, optax.EmptyState())  # of each critic by itself
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, config.tau)

    learned = {"critic": critic, "value": value, "target": target}
    if config.bc_warmup:
        before = {name: getattr(state, name) for name in learned}
        learned = jax.tree.map(functools.partial(jnp.where, clones), before, learned)

    metrics = {
        "actor_loss": loss_pi,
        "critic_loss": loss_q,
        "value_loss": loss_v,
        "q": jnp.mean(q),
        "advantage": jnp.mean(advantage),
        "saturated": jnp.mean(weight >= config.exp_adv_max * (1.0 - 1e-6)),
    }
    return state.replace(actor=actor, **learned), metrics
