"""Conservative Q-learning (Kumar, Zhou, Tucker, Levine 2020): soft actor-critic whose critics distrust unseen actions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_jax.data import Batch
from ohio_jax.errors import UserError
from ohio_jax.learners import common, sac
from ohio_jax.learners.common import Spec, TrainState

act = common.act


class Config(struct.PyTreeNode):
    """Defaults: the OHIO release's, but for the discount and the scale of rewards, which are a task's."""

    actor_lr: float = 1e-4  # Adam's learning rate of the actor
    actor_lr_decay_steps: float = 0.0  # updates over which the actor's rate falls to zero along a cosine; 0 keeps it
    bc_warmup: float = 0.0  # updates in which the actor only clones, as the authors' code begins, while the critics learn
    critic_lr: float = 3e-4  # and of the critics
    discount: float = 0.99  # of the reward one decision later
    tau: float = 0.005  # share of the new critics that the target critics take at an update
    temperature: float = 0.3  # weight of the actor's entropy; the backup has none
    cql_alpha: float = 1.0  # weight of the penalty; 0 leaves soft actor-critic
    max_grad_norm: float = 200.0  # norm at which a critic's gradient is clipped
    reward_scale: float = 1.0  # multiplies rewards before learning
    # Actions drawn for the penalty at each state, from each of three sources: the whole space, pi(s) and pi(s').
    n_actions: int = struct.field(pytree_node=False, default=10)
    # How many of them the penalty's gradient goes through, drawn by their soft-max weights, which leaves it unbiased;
    # 0 goes through all, at three times the work.
    n_sampled_terms: int = struct.field(pytree_node=False, default=0)
    # States treated at a time in the penalty, so that activations stay in cache; must divide the batch; 0 takes all.
    chunk: int = struct.field(pytree_node=False, default=0)
    # Whether they count by how densely they were drawn, as the paper has it. In many dimensions what a narrow policy asks for
    # is drawn so densely that it hardly counts, and the policy leaves the data; without, all proposed actions count alike.
    importance: bool = struct.field(pytree_node=False, default=True)
    # Compat: a log-sum-exp over samples of different states, as the original's tiled states and reshaped values give.
    mixed_states: bool = struct.field(pytree_node=False, default=False)


class State(struct.PyTreeNode):
    """The learner; a pytree whose leaves include the hyperparameters. key: `UInt32[2]`, data of the next update's key."""

    actor: TrainState
    critic: TrainState
    target: Any
    key: jax.Array
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: PRNGKeyArray, spec: Spec, config: Config) -> State:
    """A fresh learner. Raises UserError for `n_sampled_terms` among `mixed_states`, whose values have no state."""
    if config.n_sampled_terms and config.mixed_states:
        raise UserError(f"cql: field n_sampled_terms: expected 0 with mixed_states, found {config.n_sampled_terms}")
    for_networks, for_updates = jax.random.split(key)
    actor, critic, _ = map(TrainState.create, common.init_params(for_networks, spec))
    target = jax.tree.map(jnp.copy, critic.params)  # so that both may be donated
    return State(actor, critic, target, jax.random.key_data(for_updates), common.as_arrays(config), spec)


class CriticBatch(NamedTuple):
    """What the critics learn from at B states.

    Attributes:
        obs: `Float[B, observation_size]`.
        action: `Float[B, *shape]`.
        backup, weight: `Float[B]`, the weights already over B.
        proposed: `Float[B, 3 K, *shape]`, actions of the penalty.
        log_density: `Float[B, 3 K]`, of these actions (zeros without `importance`).
        asked: `Float[B, 1 or 3 K, observation_size]`, the states the penalty asks about them.
        least: `Float[B, 3 K]`, what the critics' answers about them count as at least; None: nothing.
    """

    obs: jax.Array
    action: jax.Array
    backup: jax.Array
    weight: jax.Array
    asked: jax.Array
    proposed: jax.Array
    log_density: jax.Array
    least: jax.Array | None = None


def update(state: State, batch: Batch, least: Float[Array, "B k"] | None = None) -> tuple[State, dict[str, Float[Array, ""]]]:
    """One gradient step on a batch whose actions lie where the density is finite (`spec.action.project`).

    Args:
        least: see `CriticBatch`.
    """
    config, spec = state.config, state.spec
    for_backup, for_proposals, for_draws, for_actor, for_next = jax.random.split(jax.random.wrap_key_data(state.key), 5)

    # --- Critics
    raw, next_raw = (spec.actor(state.actor.params, obs) for obs in (batch.obs, batch.next_obs))
    next_q, _ = sac.drawn_value(spec, state.target, batch.next_obs, next_raw, for_backup)
    backup = config.reward_scale * batch.reward + config.discount * batch.discount * next_q
    proposals = propose(state, for_proposals, batch.obs, raw, next_raw)
    critic_batch = CriticBatch(batch.obs, batch.action, backup, batch.weight / len(backup), *proposals, least)
    gradient, loss_q, penalty = critic_gradient(state, for_draws, critic_batch)
    clip = optax.clip_by_global_norm(config.max_grad_norm).update
    gradient, _ = jax.vmap(clip)(gradient, optax.EmptyState())  # of each critic by itself
    critic = common.adam_step(state.critic, gradient, config.critic_lr)

    # --- Actor, with the new critics
    clones = state.actor.step < config.bc_warmup
    actor, metrics = sac.actor_step(state, batch, critic, config.temperature, for_actor, clones)

    # --- Targets
    target = optax.incremental_update(critic.params, state.target, config.tau)

    metrics = {**metrics, "critic_loss": loss_q, "penalty": penalty}
    return state.replace(actor=actor, critic=critic, target=target, key=jax.random.key_data(for_next)), metrics


def propose(
    state: State, key: PRNGKeyArray, obs: Float[Array, "B features"], raw: Float[Array, "B ..."], next_raw: Float[Array, "B ..."]
) -> tuple[Float[Array, "B asked features"], Float[Array, "B k ..."], Float[Array, "B k"]]:
    """The penalty's `asked`, `proposed` and `log_density` (see `CriticBatch`): K actions of each source."""
    spec, K = state.spec, state.config.n_actions
    for_space, for_here, for_next = jax.random.split(key, 3)
    draw = jax.vmap(spec.action.sample, (None, 0), 1)
    sources = (
        spec.action.random(for_space, (len(obs), K)),
        draw(raw, jax.random.split(for_here, K)),
        draw(next_raw, jax.random.split(for_next, K)),
    )
    asked = obs[:, None]
    if state.config.mixed_states:
        # Laid out sample by sample, read state by state: row b holds samples of the states b K .. b K + K - 1 (mod B).
        mix = lambda x: jnp.swapaxes(x, 0, 1).reshape(x.shape)
        sources = jax.tree.map(mix, sources)
        asked = jnp.tile(mix(jnp.broadcast_to(asked, (len(obs), K, obs.shape[-1]))), (1, 3, 1))
    actions, log_densities = zip(*sources, strict=True)
    log_density = jnp.concatenate(log_densities, axis=1)
    return asked, jnp.concatenate(actions, axis=1), log_density if state.config.importance else jnp.zeros_like(log_density)


def critic_gradient(state: State, key: PRNGKeyArray, batch: CriticBatch) -> tuple[Any, Float[Array, ""], Float[Array, ""]]:
    """Gradient of both critics' losses (leading axis 2), the loss, and the mean penalty before its weight.

    The loss of a state is (Q(s, u) - backup)^2 + cql_alpha * (log sum_k exp(Q(s, u_k) - log density_k) - Q(s, u)):
    equation 4 of the paper with the log-sum-exp estimated by importance sampling (its appendix F).
    """
    config, spec, params = state.config, state.spec, state.critic.params

    def ratios(params, part: CriticBatch):
        q = spec.critics(params, part.asked, part.proposed)
        if part.least is not None:
            q = jnp.maximum(q, part.least[None])
        return q - part.log_density[None]

    def loss(params, part: CriticBatch, highest):
        q = spec.critics(params, part.obs, part.action)
        penalty = highest(params, part) - q
        loss = jnp.square(q - part.backup[None]) + config.cql_alpha * penalty
        total = lambda x: jnp.sum(part.weight[None] * x)
        return total(loss), total(penalty) / 2.0

    gradient_of = jax.value_and_grad(loss, has_aux=True)

    if config.n_sampled_terms == 0:
        soft_max = lambda params, part: jax.nn.logsumexp(ratios(params, part), axis=-1)
        (value, penalty), gradient = sum_over(config.chunk, lambda part: gradient_of(params, part, soft_max), batch)
        return gradient, value, penalty

    # The gradient of a log-sum-exp is the mean of its terms' gradients under their soft-max weights.
    all_ratios = map_over(config.chunk, lambda part: jnp.moveaxis(ratios(params, part), 0, 1), batch)
    picks = jax.random.categorical(key, all_ratios[..., None, :], shape=(*all_ratios.shape[:2], config.n_sampled_terms))
    rows = jnp.arange(len(picks))[:, None, None]
    picked = jnp.swapaxes(batch.proposed[rows, picks], 0, 1)
    least = -jnp.inf if batch.least is None else jnp.swapaxes(batch.least[rows, picks], 0, 1)
    level = jax.nn.logsumexp(all_ratios, axis=-1).T

    def through_picked(params, part):
        q = jnp.mean(jnp.maximum(spec.critics_apart(params, part.asked, picked), least), axis=-1)
        return level + q - jax.lax.stop_gradient(q)

    (value, penalty), gradient = gradient_of(params, batch, through_picked)
    return gradient, value, penalty


def _chunks(chunk: int, batch: CriticBatch) -> CriticBatch:
    if len(batch.obs) % chunk:
        raise UserError(f"cql: field chunk: expected a divisor of the batch size {len(batch.obs)}, found {chunk}")
    return jax.tree.map(lambda x: x.reshape(-1, chunk, *x.shape[1:]), batch)


def sum_over(chunk: int, function: Callable[[CriticBatch], Any], batch: CriticBatch) -> Any:
    """Sum of `function` over chunks of states: a scan, since XLA fuses an unrolled loop back into one large array."""
    if chunk == 0:
        return function(batch)
    add = lambda total, part: (jax.tree.map(jnp.add, total, function(part)), None)
    pieces = _chunks(chunk, batch)
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], pieces))
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.scan(add, zero, pieces)[0]


def map_over(chunk: int, function: Callable[[CriticBatch], jax.Array], batch: CriticBatch) -> Float[Array, "B ..."]:
    """`function` of all states, computed chunk by chunk."""
    if chunk == 0:
        return function(batch)
    values = jax.lax.map(function, _chunks(chunk, batch))
    return values.reshape(-1, *values.shape[2:])
