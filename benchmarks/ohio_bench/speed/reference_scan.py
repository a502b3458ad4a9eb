"""IQL and CQL as one file of plain JAX has them: products and ReLU by hand, optax's Adam, loss after loss, in one jitted scan.

The same equations as ours, made of parameters and rows of ours, so that both can be seen to do the same work; one seed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ohio_jax.learners import cql, iql

Rows = tuple[jax.Array, ...]  # of a batch: obs [B, n], action [B, k], reward [B], next_obs [B, n], discount [B]


class Peer(NamedTuple):
    """start: what an update takes and gives; update(carry, key, rows) -> (carry, losses by name)."""

    start: Any
    update: Callable[[Any, jax.Array, Rows], tuple[Any, dict[str, jax.Array]]]


def affine(layer: Any, x: jax.Array) -> jax.Array:
    return x @ layer["kernel"] + layer["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def perceptron(params: Any, x: jax.Array) -> jax.Array:
    """The network of ours that has these parameters: {"params": {"Perceptron_0": {"Linear_k": {"kernel", "bias"}}}}."""
    (layers,) = params["params"].values()
    *hidden, last = (layer for _, layer in sorted(layers.items()))
    for layer in hidden:
        x = jax.nn.relu(affine(layer, x))
    return affine(last, x)


def critics(params: Any, obs: jax.Array, action: jax.Array) -> jax.Array:
    """Both critics' values, stacked."""
    return jax.vmap(perceptron, (0, None))(params, jnp.concatenate([obs, action], axis=-1))[..., 0]


def value(params: Any, obs: jax.Array) -> jax.Array:
    return perceptron(params, obs)[..., 0]


def normal(params: Any, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(mean, log deviation) of a Gaussian that tanh squashes into [-1, 1]."""
    raw = perceptron(params, obs)
    raw = raw.reshape(*raw.shape[:-1], -1, 2)
    return raw[..., 0], jnp.clip(raw[..., 1], -5.0, 2.0)


def density(mean: jax.Array, log_deviation: jax.Array, before: jax.Array) -> jax.Array:
    """Log density of tanh(before)."""
    gauss = -0.5 * jnp.square((before - mean) / jnp.exp(log_deviation)) - log_deviation - 0.5 * jnp.log(2.0 * jnp.pi)
    return jnp.sum(gauss - 2.0 * (jnp.log(2.0) - before - jax.nn.softplus(-2.0 * before)), axis=-1)


def sample(params: Any, key: jax.Array, obs: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Actions and their log densities."""
    mean, log_deviation = normal(params, obs)
    before = mean + jnp.exp(log_deviation) * jax.random.normal(key, mean.shape)
    return jnp.tanh(before), density(mean, log_deviation, before)


def stepper(rate: float, *before: optax.GradientTransformation):
    """(start of the optimizer, step(params, memory, gradient) -> (params, memory))."""
    optimizer = optax.chain(*before, optax.adam(rate))

    def step(params, memory, gradient):
        change, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, change), memory

    return optimizer.init, step


def make_iql(state: iql.State, config: iql.Config) -> Peer:
    """Implicit Q-learning (Kostrikov et al. 2022, equations 5 to 7) from the state's networks, as `ohio_jax.learners.iql`."""
    networks = {"actor": state.actor.params, "critic": state.critic.params, "value": state.value.params}
    steppers = {name: stepper(config.actor_lr if name == "actor" else config.critic_lr) for name in networks}
    start = networks, {name: steppers[name][0](params) for name, params in networks.items()}, state.target

    def update(carry, key, rows: Rows):
        (old, memory, target), (obs, action, reward, next_obs, discount) = carry, rows
        new, memory, losses = dict(old), dict(memory), {}

        def learn(name: str, loss: Callable[[Any], jax.Array]) -> None:
            losses[f"{name}_loss"], gradient = jax.value_and_grad(loss)(old[name])
            new[name], memory[name] = steppers[name][1](old[name], memory[name], gradient)

        q_target = jnp.min(critics(target, obs, action), axis=0)

        def value_loss(params):
            gap = q_target - value(params, obs)
            return jnp.mean(jnp.where(gap > 0.0, config.expectile, 1.0 - config.expectile) * jnp.square(gap))

        learn("value", value_loss)
        v = (old if config.value_update == "old" else new)["value"]
        weight = jnp.minimum(jnp.exp(config.beta * (q_target - value(v, obs))), config.exp_adv_max)
        backup = config.reward_scale * reward + config.discount * discount * value(v, next_obs)
        learn("actor", lambda params: -jnp.mean(weight * density(*normal(params, obs), jnp.arctanh(action))))
        learn("critic", lambda params: jnp.mean(jnp.sum(jnp.square(critics(params, obs, action) - backup[None]), axis=0)))
        return (new, memory, optax.incremental_update(new["critic"], target, config.tau)), losses

    return Peer(start, update)


def make_cql(state: cql.State, config: cql.Config) -> Peer:
    """Conservative Q-learning (Kumar et al. 2020, equation 4) from the state's networks, as `ohio_jax.learners.cql`."""
    K = config.n_actions
    for_actor, step_actor = stepper(config.actor_lr)
    for_critic, step_critic = stepper(config.critic_lr, optax.clip_by_global_norm(config.max_grad_norm))
    actor, critic = state.actor.params, state.critic.params
    start = actor, critic, for_actor(actor), jax.vmap(for_critic)(critic), state.target

    def update(carry, key, rows: Rows):
        (actor, critic, memory, critic_memory, target), (obs, action, reward, next_obs, discount) = carry, rows
        for_backup, for_space, for_here, for_there, for_actions = jax.random.split(key, 5)
        next_q = jnp.min(critics(target, next_obs, sample(actor, for_backup, next_obs)[0]), axis=0)
        backup = config.reward_scale * reward + config.discount * discount * next_q
        repeated = lambda x: jnp.repeat(x[:, None], K, axis=1)
        here, there = sample(actor, for_here, repeated(obs)), sample(actor, for_there, repeated(next_obs))
        even = jax.random.uniform(for_space, here[0].shape, minval=-1.0, maxval=1.0)
        proposed = jnp.concatenate([even, here[0], there[0]], axis=1)
        evenly = jnp.full(here[1].shape, -action.shape[-1] * jnp.log(2.0))
        log_density = jnp.concatenate([evenly, here[1], there[1]], axis=1)
        asked = jnp.repeat(obs[:, None], 3 * K, axis=1)

        def critic_loss(params):
            q = critics(params, obs, action)
            penalty = jax.nn.logsumexp(critics(params, asked, proposed) - log_density[None], axis=-1) - q
            return jnp.mean(jnp.sum(jnp.square(q - backup[None]) + config.cql_alpha * penalty, axis=0))

        loss_q, gradient = jax.value_and_grad(critic_loss)(critic)
        critic, critic_memory = jax.vmap(step_critic)(critic, critic_memory, gradient)  # each clipped by itself

        def actor_loss(params):
            actions, log_prob = sample(params, for_actions, obs)
            return jnp.mean(config.temperature * log_prob - jnp.min(critics(critic, obs, actions), axis=0))

        loss_pi, gradient = jax.value_and_grad(actor_loss)(actor)
        actor, memory = step_actor(actor, memory, gradient)
        target = optax.incremental_update(critic, target, config.tau)
        return (actor, critic, memory, critic_memory, target), {"actor_loss": loss_pi, "critic_loss": loss_q}

    return Peer(start, update)


MAKE = {"iql": make_iql, "cql": make_cql}


def rows_of(batch: Any) -> Rows:
    """A Batch of ours as the peer wants it."""
    return tuple(jnp.asarray(x, jnp.float32) for x in (batch.obs, batch.action, batch.reward, batch.next_obs, batch.discount))


def block(peer: Peer, rows: Rows, batch: int, updates: int) -> Callable[[], Any]:
    """A call that does so many updates on batches drawn anew, going on where it stopped."""

    @jax.jit
    def run(carry, key, rows):
        def update(carry, key):
            for_rows, for_update = jax.random.split(key)
            picked = jax.random.randint(for_rows, (batch,), 0, len(rows[0]))
            return peer.update(carry, for_update, tuple(x[picked] for x in rows))

        return jax.lax.scan(update, carry, jax.random.split(key, updates))

    carry, key = peer.start, jax.random.key(0)

    def call():
        nonlocal carry, key
        key, now = jax.random.split(key)
        carry, losses = run(carry, now, rows)
        return losses

    return call
