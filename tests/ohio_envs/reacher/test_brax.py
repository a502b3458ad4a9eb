"""Brax's reacher as a task: the environment is Brax's own, and goals of its joint controller come back from logs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.reacher import brax_reacher

from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.low_level import AMBIGUOUS, UNIQUE
from ohio_jax.relabel import relabel
from ohio_jax.rollout import BehaviorPolicy, rollouts

pytest.importorskip("brax")
pytestmark = pytest.mark.filterwarnings("ignore:Accessing `:DeprecationWarning")  # Brax reads MJX by its old names


@pytest.fixture(autouse=True)
def brax_broadcasts():
    """Brax relies on what our own code must not."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(scope="module")
def task():
    return registry.make("reacher-brax", {"horizon": "60"})


def any_policy(which, env, key, state):
    """One program for all policies: compiling Brax takes most of this file's time."""
    return jax.lax.switch(which, list(brax_reacher.POLICIES.values()), env, key, state)


@pytest.fixture(scope="module")
def logs(task):
    with jax.numpy_rank_promotion("allow"):
        played = lambda name, which: collect(task, BehaviorPolicy(name, task.env, any_policy, np.int32(which), {}), 8, seed=3)
        return {name: played(name, which) for which, name in enumerate(brax_reacher.POLICIES)}


@pytest.mark.slow
def test_the_environment_is_brax_own(task, logs):
    """Step by step: observation and reward of the logged actions; the time limit is no termination."""
    theirs, ours = brax_reacher.simulator("mjx"), logs["random"]

    @jax.jit
    @jax.vmap
    def play(key, actions):
        first = theirs.reset(key)
        return first.obs, jax.lax.scan(lambda s, a: (theirs.step(s, a),) * 2, first, actions)[1]

    first, later = play(task.instances(3, 8), ours.action.reshape(8, 60, 2))
    obs = ours.obs.reshape(8, 61, 11)
    np.testing.assert_allclose(obs[:, 0], first, atol=1e-6)
    np.testing.assert_allclose(obs[:, 1:], later.obs, atol=1e-4)
    np.testing.assert_allclose(ours.reward.reshape(8, 60), later.reward, atol=1e-4)
    assert task.env.observation_size == theirs.observation_size == 11
    assert task.env.action_size == theirs.action_size and task.env.backend == "mjx"
    np.testing.assert_array_equal(ours.truncated.reshape(8, 60), np.tile(np.arange(1, 61) == 60, (8, 1)))
    assert not ours.terminated.any()


def test_inverse_kinematics_puts_the_finger_on_the_target():
    for key in jax.random.split(jax.random.key(0), 50):
        radius, angle, bend, turn = jax.random.uniform(key, (4,))
        target = (0.025 + 0.175 * radius) * jnp.stack([jnp.cos(6.28 * angle), jnp.sin(6.28 * angle)])
        start = jnp.stack([20 * turn - 10, bend - 0.5])
        q = brax_reacher.inverse_kinematics(target, start)
        tip = [0.1 * f(q[0]) + 0.11 * f(q[0] + q[1]) for f in (jnp.cos, jnp.sin)]
        np.testing.assert_allclose(tip, target, atol=1e-5)
        assert (float(q[1]) < 0) == (float(bend) < 0.5) and abs(float(q[0] - start[0])) <= np.pi + 1e-5


def test_operators_are_ranked(logs):
    mean = {name: float(np.mean(log.returns)) for name, log in logs.items()}
    assert mean["random"] < mean["medium"] < mean["expert"] - 5
    # The expert reaches its target: the distance at the end is what a target too near the shoulder leaves.
    last = logs["expert"].obs[logs["expert"].obs_index[59::60] + 1]
    assert np.linalg.norm(last[:, -3:], axis=1).max() < 0.03


def test_goals_come_back_from_logs(task, logs):
    """The expert's low level is the interface's own: the angles it aimed at, and where it saturates a goal that acts alike."""
    for inverse in ("analytic", "least_squares"):
        goals = relabel(logs["expert"], task, "ohio", inverse)
        assert goals.action.shape == (8 * 12, 2)
        np.testing.assert_array_equal(goals.reward[:12], logs["expert"].reward[:60].reshape(12, 5).sum(axis=1))
        sure = goals.status == UNIQUE
        assert sure.mean() > 0.9 and (goals.residual[sure] < 0.5).all()
        assert np.isin(goals.status, (UNIQUE, AMBIGUOUS)).mean() > 0.9
        # The target is read from the observation, the elbow's side from the goal itself.
        aimed = jax.vmap(brax_reacher.inverse_kinematics)(jnp.asarray(goals.obs[:, 4:6]), jnp.asarray(goals.action))
        settled = np.linalg.norm(goals.obs[:, 4:6], axis=1) > 0.03
        np.testing.assert_allclose(goals.action[sure & settled], aimed[sure & settled], atol=5e-3)


@pytest.mark.slow
def test_a_goal_at_the_target_scores_as_the_expert(task, logs):
    """Through the high level; the simulator's metrics add up to its reward."""

    def act(params, env, key, state):
        q = state.pipeline_state.q
        return brax_reacher.inverse_kinematics(q[2:], q[:2])

    env = task.high_level("ohio")
    assert env.horizon == 12 and env.action_size == 2
    played = rollouts(env, act, (), task.instances(3, 8), jax.random.split(jax.random.key(0), 8))
    np.testing.assert_allclose(played.returns, logs["expert"].returns, atol=0.3)
    np.testing.assert_allclose(played.metrics["reward_dist"] + played.metrics["reward_ctrl"], played.returns, rtol=1e-4)


def test_end_to_end_labels_are_the_actions(task, logs):
    labels = relabel(logs["random"], task, "end_to_end", "analytic")
    np.testing.assert_array_equal(labels.action, logs["random"].action)


def test_instances_do_not_depend_on_how_many_follow(task):
    few, many = (jax.random.key_data(task.instances(5, n)) for n in (3, 7))
    np.testing.assert_array_equal(few, many[:3])
    assert not np.array_equal(many, jax.random.key_data(task.instances(6, 7)))


def test_every_backend_is_made_and_bad_settings_are_refused():
    for backend in brax_reacher.MEASURED:
        task = registry.make("reacher-brax", {"backend": backend, "steps": "2"})
        env: Any = task.env
        assert env.backend == backend and task.reference.zero < task.reference.full < 0
        assert task.settings == {"backend": backend, "horizon": 1000, "steps": 2}
    with pytest.raises(UserError, match=r"reacher-brax: setting backend: expected one of .*, found 'bullet'"):
        registry.make("reacher-brax", {"backend": "bullet"})
