"""The reacher task end to end: what its operators score, what its low levels reach, and goals that come back from logs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.reacher import policies
from ohio_envs.reacher.simulator import finger

from ohio_jax.errors import UserError
from ohio_jax.evaluate import collect, evaluate_policy, rollouts
from ohio_jax.inverse.problem import UNEXPLAINED, UNIQUE
from ohio_jax.inverse.relabel import relabel


@pytest.fixture(scope="module")
def task():
    return registry.make("reacher", {"horizon": "200"})


@pytest.fixture(scope="module")
def logs(task):
    return collect(task, "expert", 12, seed=3)


def test_inverse_kinematics_puts_the_finger_on_the_target():
    for key in jax.random.split(jax.random.key(0), 50):
        radius, angle, bend = jax.random.uniform(key, (3,))
        target = (0.05 + 0.15 * radius) * jnp.stack([jnp.cos(6.28 * angle), jnp.sin(6.28 * angle)])
        q = policies.inverse_kinematics(target, jnp.stack([0.0, bend - 0.5]))
        np.testing.assert_allclose(finger(q), target, atol=1e-5)
        assert (float(q[1]) < 0) == (float(bend) < 0.5)


def test_operators_are_ranked(task):
    """The expert touches the target nearly all of the time after its way there; noise costs; random torques do not find it."""
    mean = {name: float(np.mean(evaluate_policy(task, name, 32, 10).returns)) for name in task.policies}
    assert mean["expert"] > 170 and mean["expert"] >= mean["medium"] > mean["random"]
    assert mean["random"] < 40


def test_a_goal_at_the_target_is_reached_and_held():
    """The high level names the joint angles of the target: the regulator goes there, in its slow way, and stays."""
    task = registry.make("reacher")

    def act(params, env, key, state):
        arm = state.pipeline_state
        return jnp.concatenate([policies.inverse_kinematics(arm.target, arm.q), jnp.zeros(2)])

    env = task.high_level("ohio")
    instances = task.instances(5, 16).at[:, 0].multiply(0.3)  # no turn longer than half a circle
    keys = jax.random.split(jax.random.key(0), 16)
    assert env.horizon == 200
    assert np.median(rollouts(env, act, (), instances, keys).returns) > 600


def test_goals_come_back_from_logs(task, logs):
    """Segments of five steps, the last of each episode left out; what model error costs, in units of the noise."""
    median = {}
    for space in ("ohio_true", "ohio", "ohio_compat"):
        goals = relabel(logs, task, space, "analytic")
        assert len(goals.reward) == 12 * 39 and goals.goal.shape[1:] == (4,)
        np.testing.assert_array_equal(goals.reward[:39], logs.reward[:195].reshape(39, 5).sum(axis=1))
        median[space] = np.median(goals.residual)
    assert median["ohio_true"] < 0.01 and median["ohio_true"] <= median["ohio"] < median["ohio_compat"]


def test_least_squares_explains_what_the_closed_form_cannot(task, logs):
    """Where torques saturate; the status says where a goal does not show."""
    closed, search = (relabel(logs, task, "ohio_true", inverse) for inverse in ("analytic", "least_squares"))
    assert np.quantile(search.residual, 0.98) < 1e-2 < np.quantile(closed.residual, 0.95)
    assert np.mean(search.status == UNIQUE) > 0.8 and np.mean(search.status == UNEXPLAINED) < 0.01


def test_recovered_goals_reach_the_observed_state(task, logs):
    """Executed in the true simulator from the logged state, one segment at a time."""
    goals = relabel(logs, task, "ohio_true", "least_squares")
    chosen, first = task.spaces["ohio_true"], logs.obs_index[:195:5]

    def execute(x, goal):
        memory = chosen.controller.plan(chosen.params, chosen.controller.init(chosen.params), x, goal)

        def step(carry, _):
            x, memory = carry
            u, memory = chosen.controller.act(chosen.params, memory, x, goal)
            return (chosen.params.dynamics.step(x, u), memory), None

        return jax.lax.scan(step, (x, memory), None, 5)[0][0]

    ends = jax.jit(jax.vmap(execute))(jnp.asarray(logs.state[:195:5]), jnp.asarray(goals.goal[:39]))
    assert len(first) == 39
    np.testing.assert_allclose(ends, logs.next_state[4:195:5], atol=2e-3)


def test_end_to_end_labels_are_the_torques(task, logs):
    labels = relabel(logs, task, "end_to_end", "analytic")
    kept = ~logs.truncated
    np.testing.assert_array_equal(labels.goal, logs.action[kept])


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="reacher: setting horizon: expected an integer from 1 to 100000, found 'long'"):
        registry.make("reacher", {"horizon": "long"})
