"""Rollouts of the toy world, whose numbers can be done by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax import rollout
from ohio_jax.collect import collect
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.rollout import _play, episode_keys, rollouts, scripted
from ohio_jax.task import HighLevelPolicy
from tests.ohio_jax import toy


def test_return_by_hand():
    task = toy.line_task(horizon=3)
    episodes = rollouts(task.env, scripted(toy.half_to_zero), (), jnp.array([8.0, -4.0]), episode_keys(0, 2))
    np.testing.assert_allclose(episodes.returns, [-(4 + 2 + 1), -(2 + 1 + 0.5)])
    np.testing.assert_allclose(episodes.metrics["moved"], [7.0, 3.5])


def test_nothing_counts_behind_a_true_end():
    env = toy.Line(wall=5.0, horizon=6)
    away = lambda env, key, state: jnp.ones(1)
    episodes = rollouts(env, scripted(away), (), jnp.array([3.0]), episode_keys(0, 1))
    assert float(episodes.returns[0]) == -(4 + 5)


def test_keys_do_not_depend_on_how_many_follow_and_are_not_those_of_instances():
    few, many = (jax.random.key_data(episode_keys(3, episodes)) for episodes in (2, 9))
    np.testing.assert_array_equal(few, many[:2])
    instances = jax.random.key_data(jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(1000)))
    assert not {*map(tuple, many.tolist())} & {*map(tuple, instances.tolist())}


def test_episodes_in_waves_are_the_same(monkeypatch):
    task = toy.line_task()
    whole = evaluate_policy(task, "wander", 7, 7)
    monkeypatch.setattr(rollout, "AT_ONCE", 2)
    waves = evaluate_policy(task, "wander", 7, 7)
    jax.tree.map(np.testing.assert_array_equal, waves, whole)
    assert waves.returns.shape == (7,)


def test_a_guide_gives_goals_that_the_low_level_follows():
    """A goal of half of x where it is given, held for two steps, each of which goes halfway to it."""
    task = toy.line_task(horizon=4)
    interface = dataclasses.replace(task.interfaces["ohio"], steps=2)
    ask = lambda env, key, state: state.obs / env.wall * 50.0
    guided = dataclasses.replace(task, policies={"guide": HighLevelPolicy(ask, interface)})
    logged = collect(guided, "guide", 4, 3)
    start = np.asarray(task.instances(3, 4))
    x = np.outer(start, [1.0, 0.75, 0.625, 0.75 * 0.625, 0.625 * 0.625])
    assert start.any()
    np.testing.assert_allclose(logged.obs.reshape(4, 5), x, rtol=1e-6)
    np.testing.assert_allclose(logged.action.reshape(4, 4), np.diff(x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(logged.returns, evaluate_policy(guided, "guide", 4, 3).returns, rtol=1e-6)
    assert logged.card["behavior_policy"] == "guide"


def test_no_policy_compiles_twice():
    task = toy.line_task()
    evaluate_policy(task, "half", 5, 0)
    compiled = _play._cache_size()
    for seed in range(3):
        evaluate_policy(task, "half", 5, seed)
    assert _play._cache_size() == compiled
