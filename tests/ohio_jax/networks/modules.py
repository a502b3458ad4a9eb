"""Networks with random parameters, at no cost of compiling their initializers."""

import jax
import jax.numpy as jnp
import numpy as np

apply = jax.jit(lambda module, *args: module.apply(*args), static_argnums=0)


def start(networks, action, width):
    """Random parameters (actor, critic, value) of the shapes the modules ask for; width: of observations."""
    obs, goal = jnp.zeros((1, width)), jnp.zeros((1, *action.shape))
    key, rng = jax.random.key(0), np.random.default_rng(0)
    init = lambda: (networks.actor.init(key, obs), networks.critic.init(key, obs, goal), networks.value.init(key, obs))
    return jax.tree.map(lambda x: rng.uniform(-0.5, 0.5, x.shape).astype(np.float32), jax.eval_shape(init))
