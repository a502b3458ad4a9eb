"""Soft actor-critic: an update against NumPy, probes with known optima, and what the temperature promises."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.data import Batch
from ohio_jax.learners import Spec, cql, sac
from ohio_jax.networks.heads import Box, Simplex
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax import numpy_learners as reference
from tests.ohio_jax.learning import (
    OBS,
    assert_models_close,
    assert_trees_close,
    begin,
    both_actions,
    mode,
    small_batch,
    start,
)
from tests.ohio_jax.probes import POLICIES, VALUES, reward_of_action
from tests.xla import OPTIMIZED

FAST = sac.Config(actor_lr=3e-3, critic_lr=3e-3, discount=0.97, tau=0.1, temperature=0.01)
NATS = 0.5 * math.log(2.0 * math.pi * math.e)  # the entropy of a Gaussian of deviation 1


@functools.partial(jax.jit, compiler_options=OPTIMIZED)
def thousand(state, batch):
    return jax.lax.scan(lambda state, _: sac.update(state, batch), state, None, 1000)


def fit(state, batch, thousands=1):
    """So many thousand updates on the same whole batch, and the metrics of each."""
    parts = []
    for _ in range(thousands):
        state, metrics = thousand(state, batch)
        parts.append(metrics)
    return state, jax.tree.map(lambda *x: np.concatenate(x), *parts)


@pytest.mark.parametrize("temperature_lr", [0.0, 1e-2])
def test_an_update_equals_numpy(temperature_lr, x64):
    spec = Spec(3, Box((1.0, 1.0)), mlp_networks(Box((1.0, 1.0)), 5, layers=1))
    config = sac.Config(temperature=0.3, temperature_lr=temperature_lr, target_entropy=-0.9, reward_scale=0.01)
    state, batch = begin(sac, spec, config), small_batch(spec)
    after, metrics = jax.jit(sac.update)(state, batch)
    expected = reference.sac_update(state, batch)
    assert_models_close(after, expected)
    assert_trees_close(after.target, expected["target"])
    for name in ("actor_loss", "critic_loss", "entropy", "temperature"):
        assert float(metrics[name]) == pytest.approx(float(expected[name]), rel=1e-5)


@both_actions
@pytest.mark.parametrize("probe", VALUES)
def test_critics_find_the_value(probe, action):
    spec, batch, _, value = VALUES[probe](action)
    state, _ = fit(start(sac, spec, FAST), batch)
    expected = value(np.asarray(batch.obs), 0.97)
    q = spec.critics(state.critic.params, batch.obs, batch.action)
    np.testing.assert_allclose(q, np.stack([expected, expected]), atol=0.05)


@both_actions
@pytest.mark.parametrize("probe", POLICIES)
def test_actors_find_the_best_goal(probe, action):
    spec, batch, best, _ = POLICIES[probe](action)
    assert best is not None
    state, _ = fit(start(sac, spec, FAST), batch)
    np.testing.assert_allclose(mode(state), best(OBS), atol=0.1)


def bandit(**changes):
    """Two numbers, reward -4 |goal - target|^2; the last metrics' mean after training."""
    spec, batch, _, _ = reward_of_action("box")
    config = FAST.replace(**changes)
    state, metrics = fit(start(sac, spec, config), batch, 3)
    return state, {name: float(np.mean(value[-500:])) for name, value in metrics.items()}


def test_the_policy_is_the_soft_optimum():
    """It is proportional to exp(reward / temperature): a Gaussian of variance temperature / 8 in each number."""
    _, metrics = bandit(temperature=0.04)
    assert metrics["temperature"] == pytest.approx(0.04)
    assert metrics["entropy"] == pytest.approx(2.0 * (NATS + 0.5 * math.log(0.04 / 8.0)), abs=0.3)  # a factor of 2 is 0.7


@pytest.mark.parametrize("start", [1.0, 1e-3])
def test_the_temperature_finds_the_target_entropy(start):
    _, metrics = bandit(temperature=start, temperature_lr=1e-2, target_entropy=-1.0 - math.log(2.0))
    assert metrics["entropy"] == pytest.approx(-2.0, abs=0.1)
    # The temperature of a Gaussian with this entropy on this reward.
    assert metrics["temperature"] == pytest.approx(8.0 * math.exp(2.0 * (-1.0 - NATS)), rel=0.3)


@pytest.mark.parametrize("action", [Box((1.0, 1.0)), Box((5.0, 0.2)), Simplex(3)])
def test_an_even_policy_is_as_random_as_the_space_is_large(action):
    """The target is counted from the entropy of goals spread evenly, so it means the same in boxes of all sizes."""
    spec = Spec(1, action, mlp_networks(action, 4, layers=1))
    state = begin(sac, spec, sac.Config(temperature_lr=1e-3, target_entropy=0.0))
    after, metrics = jax.jit(sac.update)(state, small_batch(spec, 64))
    even = -float(action.random(jax.random.key(0), ())[1])
    gap = float(metrics["entropy"]) - even
    assert float(after.log_temperature.opt_state[0].mu) == pytest.approx(0.1 * gap, rel=1e-5)
    assert gap < 0.1  # no density is more random than the even one, but for the draws


def test_entropy_counts_in_the_backup():
    """Two decisions, the second ends: the first one's value has the discounted entropy of the second in it."""
    spec, batch, _, _ = VALUES["delayed"]("box")
    hot = FAST.replace(temperature=0.3)
    state, metrics = fit(start(sac, spec, hot), batch, 2)
    q = np.asarray(spec.critics(state.critic.params, batch.obs, batch.action))
    first = np.asarray(batch.obs[:, 0] < 0)
    even = 2.0 * math.log(2.0)  # nothing to gain by any goal: the policy spreads evenly
    assert float(np.mean(metrics["entropy"][-500:])) == pytest.approx(even, abs=0.1)
    np.testing.assert_allclose(q[:, first], 0.97 * (1.0 + 0.3 * even), atol=0.1)
    np.testing.assert_allclose(q[:, ~first], 1.0, atol=0.05)


def test_soft_actor_critic_goes_on_from_another_learner():
    action = Box((1.0,))
    spec = Spec(1, action, mlp_networks(action, 4))
    other = begin(cql, spec, cql.Config(n_actions=1))
    mine = sac.adopt(other, jax.random.key(0), sac.Config(temperature=0.3))
    fresh = sac.init(jax.random.key(0), spec, sac.Config(temperature=0.3))
    assert jax.tree.structure(mine) == jax.tree.structure(fresh)
    np.testing.assert_array_equal(mode(mine), mode(other))
    batch = Batch(*(jnp.asarray(x) for x in (OBS, OBS * 0.5, OBS[:, 0], OBS, OBS[:, 0] * 0 + 1, OBS[:, 0] * 0 + 1)))
    after, metrics = jax.jit(sac.update)(mine, batch)
    assert float(metrics["temperature"]) == pytest.approx(0.3) and not np.array_equal(mode(after), mode(mine))
