"""Rollouts and datasets of the toy world, whose numbers can be done by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import evaluate, relabel
from ohio_jax.errors import UserError
from ohio_jax.task import Guide
from tests.ohio_jax import toy


def test_return_by_hand():
    task = toy.line_task(horizon=3)
    episodes = evaluate.rollouts(
        task.env, evaluate.scripted(toy.half_to_zero), (), jnp.array([8.0, -4.0]), evaluate.episode_keys(0, 2)
    )
    np.testing.assert_allclose(episodes.returns, [-(4 + 2 + 1), -(2 + 1 + 0.5)])
    np.testing.assert_allclose(episodes.metrics["moved"], [7.0, 3.5])


def test_nothing_counts_behind_a_true_end():
    env = toy.Line(wall=5.0, horizon=6)
    away = lambda env, key, state: jnp.ones(1)
    episodes = evaluate.rollouts(env, evaluate.scripted(away), (), jnp.array([3.0]), evaluate.episode_keys(0, 1))
    assert float(episodes.returns[0]) == -(4 + 5)


def test_an_episode_does_not_depend_on_its_neighbours():
    task = toy.line_task()
    few, many = (evaluate.evaluate_policy(task, "wander", 4, 7), evaluate.evaluate_policy(task, "wander", 4, 7))
    np.testing.assert_array_equal(few.returns, many.returns)
    assert jax.random.key_data(evaluate.episode_keys(3, 2)).tolist() == (
        jax.random.key_data(evaluate.episode_keys(3, 9))[:2].tolist()
    )


def test_episodes_in_waves_are_the_same(monkeypatch):
    task = toy.line_task()
    whole = evaluate.evaluate_policy(task, "wander", 7, 7)
    monkeypatch.setattr(evaluate, "AT_ONCE", 2)
    waves = evaluate.evaluate_policy(task, "wander", 7, 7)
    jax.tree.map(np.testing.assert_array_equal, waves, whole)
    assert waves.returns.shape == (7,)


def test_a_guide_gives_goals_that_the_low_level_follows():
    """A goal of half of x where it is given, held for two steps, each of which goes halfway to it."""
    task = toy.line_task(horizon=4)
    space = dataclasses.replace(task.spaces["ohio"], steps=2)
    ask = lambda env, key, state: state.obs / env.wall * 50.0
    guided = dataclasses.replace(task, policies={"guide": Guide(ask, space)})
    logged = evaluate.collect(guided, "guide", 4, 3)
    start = np.asarray(task.instances(3, 4))
    x = np.outer(start, [1.0, 0.75, 0.625, 0.75 * 0.625, 0.625 * 0.625])
    assert start.any()
    np.testing.assert_allclose(logged.obs.reshape(4, 5), x, rtol=1e-6)
    np.testing.assert_allclose(logged.action.reshape(4, 4), np.diff(x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(logged.returns, evaluate.evaluate_policy(guided, "guide", 4, 3).returns, rtol=1e-6)
    assert logged.card["behaviour"] == "guide"


def test_no_policy_compiles_twice():
    task = toy.line_task()
    evaluate.evaluate_policy(task, "half", 5, 0)
    compiled = evaluate._play._cache_size()
    for seed in range(3):
        evaluate.evaluate_policy(task, "half", 5, seed)
    assert evaluate._play._cache_size() == compiled


def test_unknown_policy():
    with pytest.raises(UserError, match=r"unknown policy for line 'fast'.*half"):
        evaluate.evaluate_policy(toy.line_task(), "fast", 1, 0)


def test_collected_returns_are_the_evaluated_ones():
    task = toy.line_task()
    episodes = evaluate.CHUNK + 3
    logged = evaluate.collect(task, "wander", episodes, 5)
    played = evaluate.evaluate_policy(task, "wander", episodes, 5)
    np.testing.assert_allclose(logged.returns, played.returns, rtol=1e-5)
    assert logged.card["episodes"] == episodes and logged.card["behaviour"] == "wander"
    assert logged.truncated.sum() == episodes and not logged.terminated.any()
    # Each row of the log is the step the simulator would make.
    np.testing.assert_allclose(logged.state + logged.action, logged.next_state, atol=1e-6)
    np.testing.assert_allclose(logged.obs[logged.obs_index + 1], logged.next_state, atol=1e-6)


def test_collect_goes_on_from_its_parts(tmp_path):
    task, episodes = toy.line_task(), 2 * evaluate.CHUNK + 5
    whole = evaluate.collect(task, "wander", episodes, 5, tmp_path / "a")
    parts = sorted((tmp_path / "a").iterdir())
    assert len(parts) == 3
    parts[1].unlink()
    before = parts[0].stat().st_mtime_ns
    again = evaluate.collect(task, "wander", episodes, 5, tmp_path / "a")
    assert parts[0].stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.obs, whole.obs)
    # Parts of another run are not taken for this one's.
    other = evaluate.collect(task, "wander", episodes, 6, tmp_path / "a")
    assert not np.array_equal(other.obs, whole.obs)


def test_relabel_recovers_the_goals_up_to_the_time_limit():
    task = toy.line_task(horizon=6)
    logged = evaluate.collect(task, "half", 10, 1)
    transitions = relabel.relabel(logged, task, "ohio", "analytic")
    assert len(transitions.reward) == 10 * 6
    np.testing.assert_allclose(transitions.goal, 0.0, atol=1e-6)  # halfway to zero is halfway to the goal zero
    np.testing.assert_allclose(transitions.residual, 0.0, atol=1e-6)
    np.testing.assert_allclose(transitions.next_obs, 0.5 * transitions.obs, atol=1e-6)
    assert not transitions.terminal.any() and (transitions.elapsed == 1).all() and (transitions.weight == 1).all()
    np.testing.assert_allclose(transitions.episode_return, logged.returns)


def test_segments_do_not_cross_episodes():
    starts, lengths = relabel.segments_of(np.array([0, 5, 7, 8]), 2)
    assert starts.tolist() == [0, 2, 4, 5, 7] and lengths.tolist() == [2, 2, 1, 2, 1]


@pytest.mark.parametrize(
    ("space", "inverse", "message"),
    [
        ("low", "analytic", "unknown action space for line 'low'"),
        ("ohio", "magic", "unknown inverse 'magic'"),
        ("ohio", "observed", "inverse 'observed'"),
    ],
)
def test_relabel_refuses_what_it_does_not_know(space, inverse, message):
    task = toy.line_task()
    with pytest.raises(UserError, match=message):
        relabel.relabel(evaluate.collect(task, "half", 2, 1), task, space, inverse)
