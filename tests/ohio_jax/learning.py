"""What tests of learners share: states and batches, configs that learn fast, tables for networks, and comparisons."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ohio_jax.data import Batch
from ohio_jax.learners import Spec, awac, common, cql, edac, fql, iql, rebrac, riql, sac_n, td3_bc
from tests.ohio_jax.probes import ACTIONS
from tests.xla import OPTIMIZED

OBS = np.array([[-1.0], [1.0]], np.float32)
both_actions = pytest.mark.parametrize("action", ACTIONS)


@functools.partial(jax.jit, static_argnums=0, compiler_options=OPTIMIZED)
def fit(learner, state, batch, updates):
    """`updates` updates on the same whole batch; one program whatever their number."""
    return jax.lax.fori_loop(0, updates, lambda _, state: learner.update(state, batch)[0], state)


@functools.cache
def start(learner, spec, config):
    """What `init` gives, once for all probes of a kind."""
    return learner.init(jax.random.key(0), spec, config)


def begin(learner, spec, config, seed=0):
    """What `init` gives, with parameters drawn by NumPy: compiling the draws would take longer than most tests here."""
    rng = np.random.default_rng(seed)
    number = lambda x: jnp.asarray(rng.uniform(-0.4, 0.4, x.shape), x.dtype)
    fresh = lambda model: common.TrainState.create(jax.tree.map(number, model.params))
    state = jax.eval_shape(lambda key: learner.init(key, spec, config), jax.random.key(0))
    state = state.replace(config=common.as_arrays(config))
    models = [name for name in ("actor", "critic", "value", "flow") if hasattr(state, name)]
    state = state.replace(**{name: fresh(getattr(state, name)) for name in models})
    targets = [name for name in ("target", "target_actor") if hasattr(state, name)]
    state = state.replace(**{name: jax.tree.map(number, getattr(state, name)) for name in targets})
    if hasattr(state, "log_temperature"):
        state = state.replace(log_temperature=common.TrainState.create(jnp.log(state.config.temperature)))
    if hasattr(state, "metrics"):
        state = state.replace(metrics={name: jnp.zeros(x.shape, x.dtype) for name, x in state.metrics.items()})
    if hasattr(state, "key"):
        state = state.replace(key=jax.random.key_data(jax.random.key(seed)))
    return state


def mode(state, obs=OBS):
    return np.asarray(cql.act(state, jnp.asarray(obs), jax.random.key(0), True))


def small_batch(spec: Spec, size=6, seed=0):
    keys = jax.random.split(jax.random.key(seed), 6)
    some = lambda key: spec.action.project(spec.action.random(key, (size,))[0])
    obs, next_obs = jax.random.normal(keys[0], (2, size, spec.observation_size))
    goal, next_action = some(keys[1]), some(keys[4])
    discount = jnp.where(jnp.arange(size) % 3 == 0, 0.0, 1.0)
    weight = jax.random.uniform(keys[2], (size,), minval=0.2, maxval=2.0)
    reward, outcome = 100.0 * jax.random.normal(keys[3], (2, size))
    return Batch(obs, goal, reward, next_obs, discount, weight, outcome, next_action)


def assert_trees_close(found, expected, rtol=1e-5, atol=1e-9):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), found, expected)


def assert_models_close(state, expected):
    """Parameters, and gradients as well: Adam's first step hardly shows the size of one, its first moment does."""
    for name, gradient in expected["gradients"].items():
        model = getattr(state, name)
        assert_trees_close(model.params, expected[name])
        assert_trees_close(jax.tree.map(lambda m: 10.0 * m, model.opt_state[0].mu), gradient)


def relative_gap(a, b):
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)
    return np.linalg.norm(flat(a) - flat(b)) / np.linalg.norm(flat(b))


class TableCritic(nn.Module):
    """Q as a table: obs is one-hot over states, a goal above 0 means right."""

    @nn.compact
    def __call__(self, obs, goal):
        table = self.param("table", nn.initializers.zeros, (obs.shape[-1], 2))
        return jnp.where(goal[..., 0] > 0.0, obs @ table[:, 1], obs @ table[:, 0])


class TableValue(nn.Module):
    @nn.compact
    def __call__(self, obs):
        return obs @ self.param("table", nn.initializers.zeros, obs.shape[-1:])


class TableActor(nn.Module):
    @nn.compact
    def __call__(self, obs):
        return (obs @ self.param("table", nn.initializers.zeros, (obs.shape[-1], 2)))[..., None, :]


FAST = {
    "iql": iql.Config(actor_lr=3e-3, critic_lr=3e-3, tau=0.1, beta=10.0, reward_scale=1.0),
    "cql": cql.Config(actor_lr=3e-3, critic_lr=3e-3, tau=0.1, temperature=0.01, reward_scale=1.0, cql_alpha=0.0, n_actions=1),
}
QUICK = {"actor_lr": 3e-3, "critic_lr": 3e-3, "tau": 0.1, "discount": 0.97}
CERTAIN = {"temperature": 0.01, "temperature_lr": 0.0, "critics": 3}
MORE = {
    "td3_bc": td3_bc.Config(**QUICK, alpha=300.0, policy_freq=1),
    "rebrac": rebrac.Config(**QUICK, actor_penalty=1e-3, critic_penalty=0.0, policy_freq=1),
    # Weights that reach their largest far from the best goal would count everything nearer alike. AWAC's are of one draw from the
    # policy for each sample, so that its steps stay rough unless they shrink.
    "awac": awac.Config(**QUICK, actor_lr_decay_steps=2_000.0, beta=10.0, exp_adv_max=1e6),
    "riql": riql.Config(**QUICK, beta=4.0, exp_adv_max=1e6, threshold=1.0, critics=3),
    "sac_n": sac_n.Config(**QUICK, **CERTAIN),
    "edac": edac.Config(**QUICK, **CERTAIN, diversity=1e-3),
    "fql": fql.Config(**QUICK, flow_weight=0.03, steps=4),
}
FAST |= MORE
