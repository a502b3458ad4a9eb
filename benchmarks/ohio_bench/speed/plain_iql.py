"""IQL as one file: for one seed, perceptrons and Gaussians squashed into [-1, 1] alone; lists of arrays and one jitted scan.

The witness of `ohio-jax speed learners`. It has no action specs, networks of other kinds, traced hyperparameters, sampling by
weight or seeds over devices: what ours is slower by is what these cost.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ohio_jax.data import Batch
from ohio_jax.learners import iql


def layers(params: Any) -> list[tuple[jax.Array, jax.Array]]:
    """(kernel, bias) of each layer of a perceptron of ours, copied."""
    (named,) = params["params"].values()
    return [(jnp.array(layer["kernel"]), jnp.array(layer["bias"])) for _, layer in sorted(named.items())]


def perceptron(params, x):
    for kernel, bias in params[:-1]:
        x = jax.nn.relu(x @ kernel + bias[None])
    kernel, bias = params[-1]
    return x @ kernel + bias[None]


def log_prob(params, obs, action):
    raw = perceptron(params, obs).reshape(*action.shape, 2)
    log_std, before = jnp.clip(raw[..., 1], -5.0, 2.0), jnp.arctanh(action)
    normal = -0.5 * jnp.square((before - raw[..., 0]) / jnp.exp(log_std)) - log_std - 0.5 * math.log(2.0 * math.pi)
    return jnp.sum(normal - jnp.log1p(-jnp.square(action)), axis=-1)


def start(state: iql.State) -> dict[str, Any]:
    """Networks of a learner of ours, targets, and Adam's moments."""
    critics = [layers(jax.tree.map(lambda x, i=i: x[i], state.critic.params)) for i in (0, 1)]
    params = {"actor": layers(state.actor.params), "critics": critics, "value": layers(state.value.params)}
    return {"params": params, "target": jax.tree.map(jnp.array, critics), "adam": adam(iql.Config()).init(params)}


def adam(config: iql.Config) -> optax.GradientTransformation:
    rates = {"actor": config.actor_lr, "critics": config.critic_lr, "value": config.critic_lr}
    return optax.multi_transform({name: optax.adam(rate) for name, rate in rates.items()}, {name: name for name in rates})


def update(config: iql.Config, carry: dict[str, Any], batch: Batch) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """One update, with the losses before it. Kostrikov et al. 2022, equations 5 to 7, all from the parameters before."""
    both = jnp.concatenate([batch.obs, batch.action], axis=-1)
    q_target = jnp.minimum(*(perceptron(critic, both)[:, 0] for critic in carry["target"]))
    next_value = perceptron(carry["params"]["value"], batch.next_obs)[:, 0]
    backup = batch.reward + config.discount * batch.discount * next_value

    def loss(params):
        gap = q_target - perceptron(params["value"], batch.obs)[:, 0]
        weight = jnp.minimum(jnp.exp(config.beta * jax.lax.stop_gradient(gap)), config.exp_adv_max)
        errors = [jnp.square(perceptron(critic, both)[:, 0] - backup) for critic in params["critics"]]
        losses = {
            "value_loss": jnp.mean(jnp.where(gap > 0.0, config.expectile, 1.0 - config.expectile) * jnp.square(gap)),
            "actor_loss": -jnp.mean(weight * log_prob(params["actor"], batch.obs, batch.action)),
            "critic_loss": jnp.mean(errors[0] + errors[1]),
        }
        return sum(losses.values()), losses

    gradient, losses = jax.grad(loss, has_aux=True)(carry["params"])
    change, moments = adam(config).update(gradient, carry["adam"])
    params = optax.apply_updates(carry["params"], change)
    target = optax.incremental_update(params["critics"], carry["target"], config.tau)
    return {"params": params, "target": target, "adam": moments}, losses


def block(state: iql.State, config: iql.Config, rows: Batch, batch: int, updates: int) -> Callable[[], Any]:
    """A call that makes so many updates on evenly drawn rows, going on where it stopped."""

    @partial(jax.jit, donate_argnums=0)
    def run(carry, key, rows):
        def step(carry, key):
            drawn = jax.random.randint(key, (batch,), 0, len(rows.reward))
            return update(config, carry, jax.tree.map(lambda x: x[drawn], rows))

        key, for_next = jax.random.split(key)
        carry, losses = jax.lax.scan(step, carry, jax.random.split(key, updates))
        return carry, for_next, jax.tree.map(jnp.mean, losses)

    rows, carry, key = jax.tree.map(jnp.asarray, rows), start(state), jax.random.key(0)

    def call():
        nonlocal carry, key
        carry, key, losses = run(carry, key, rows)
        return losses

    return call
