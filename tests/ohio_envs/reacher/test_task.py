"""The reacher task end to end: what its operators score, what its low levels reach, and goals that come back from logs."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.reacher import policies
from ohio_envs.reacher.simulator import Body, advance, finger

from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.low_level import UNEXPLAINED, UNIQUE
from ohio_jax.relabel import relabel
from ohio_jax.rollout import rollouts


@pytest.fixture(scope="module")
def task():
    return registry.make("reacher", {"horizon": "200"})


@pytest.fixture(scope="module")
def logs(task):
    return collect(task, "pd", 12, seed=3)


@pytest.fixture(scope="module")
def explained(task, logs):
    """The logs' transitions by interface and inverse, each made once."""
    return functools.cache(lambda interface, inverse: relabel(logs, task, interface, inverse))


def test_inverse_kinematics_puts_the_finger_on_the_target():
    for key in jax.random.split(jax.random.key(0), 50):
        radius, angle, bend = jax.random.uniform(key, (3,))
        target = (0.05 + 0.15 * radius) * jnp.stack([jnp.cos(6.28 * angle), jnp.sin(6.28 * angle)])
        q = policies.inverse_kinematics(target, jnp.stack([0.0, bend - 0.5]))
        np.testing.assert_allclose(finger(q), target, atol=1e-5)
        assert (float(q[1]) < 0) == (float(bend) < 0.5)


def test_operators_are_ranked(task):
    """Who knows the target touches it nearly all of the time after the way there; noise costs; random torques do not find it.

    The agents are ranked in test_agents.py.
    """
    mean = {name: float(np.mean(evaluate_policy(task, name, 32, 10).returns)) for name in ("pd", "noisy", "random")}
    assert mean["pd"] > 170 and mean["pd"] > mean["noisy"] > mean["random"]
    assert mean["random"] < 40


@pytest.mark.parametrize(
    "interface", ["ohio", *(pytest.param(interface, marks=pytest.mark.slow) for interface in ("ohio_compat", "ohio_mpc"))]
)
def test_a_goal_at_the_target_is_reached_and_held(interface):
    """The high level names the target's joint angles, at rest: the low level goes there, in its slow way, and stays."""
    task = registry.make("reacher")

    def act(params, env, key, state):
        arm = state.pipeline_state
        place = jnp.concatenate([policies.inverse_kinematics(arm.target, arm.q), jnp.zeros(2)])
        return place if interface == "ohio_compat" else place - jnp.concatenate([arm.q, arm.v])

    env = task.high_level(interface)
    instances = task.instances(5, 16).at[:, 0].multiply(0.3)  # no turn longer than half a circle
    keys = jax.random.split(jax.random.key(0), 16)
    assert env.horizon == 200
    assert np.median(rollouts(env, act, (), instances, keys).returns) > 600


def test_goals_come_back_from_logs(logs, explained):
    """Segments of five steps, up to the time limit; what model error costs, in units of the noise."""
    median = {}
    for interface in ("ohio_true", "ohio", "ohio_compat"):
        goals = explained(interface, "analytic")
        assert len(goals.reward) == 12 * 40 and goals.action.shape[1:] == (4,)
        assert (goals.elapsed == 5).all() and not goals.terminal.any() and goals.card["cut_short"] == 0
        np.testing.assert_array_equal(goals.reward[:40], logs.reward[:200].reshape(40, 5).sum(axis=1))
        # Of the original's, whose noise is one: in the units of the others it would be larger still.
        median[interface] = np.median(goals.residual)
    assert median["ohio_true"] < 1e-3 and median["ohio_true"] <= median["ohio"] < median["ohio_compat"]


def test_least_squares_explains_what_the_closed_form_cannot(explained):
    """Where torques saturate; the status says where a goal does not show."""
    closed, search = (explained("ohio_true", inverse) for inverse in ("analytic", "least_squares"))
    assert np.quantile(search.residual, 0.97) < 1e-2 < np.quantile(closed.residual, 0.9)
    assert np.mean(search.status == UNIQUE) > 0.8 and np.mean(search.status == UNEXPLAINED) < 0.01


def test_observed_states_as_goals_and_their_limits(logs, explained):
    """The state at the end of a segment; learned and asked for within 1 where the limit is to be a torque agent's."""
    goals, spec = explained("ohio_compat", "observed").action, registry.make("reacher").interfaces["ohio_compat_unit"].spec
    np.testing.assert_allclose(goals[:40], logs.next_state[4:200:5], atol=1e-6)
    assert np.mean(np.abs(goals) > 1.0) > 0.1
    np.testing.assert_allclose(spec.project(goals), np.clip(goals, -1.0, 1.0), atol=1e-4)
    np.testing.assert_allclose(np.abs(spec.mode(jnp.full(spec.raw_shape, 50.0))), 1.0)


def test_recovered_goals_reach_the_observed_state(task, logs, explained):
    """Executed in the true simulator from the logged state, one segment at a time."""
    goals = explained("ohio_true", "least_squares")
    chosen = task.interfaces["ohio_true"]

    def execute(x, goal):
        memory = chosen.controller.plan(chosen.params, chosen.controller.init(chosen.params), x, goal)

        def step(carry, _):
            x, memory = carry
            u, memory = chosen.controller.act(chosen.params, memory, x, goal)
            return (advance(Body(), x, u), memory), None

        return jax.lax.scan(step, (x, memory), None, 5)[0][0]

    ends = jax.jit(jax.vmap(execute))(jnp.asarray(logs.state[:195:5]), jnp.asarray(goals.action[:39]))
    np.testing.assert_allclose(ends, logs.next_state[4:195:5], atol=2e-3)


def test_goals_are_displacements(task, logs, explained):
    """They do not depend on how often the shoulder has turned, while absolute goals turn with it."""
    turned = dataclasses.replace(
        logs, **{name: getattr(logs, name) + np.array([2 * np.pi, 0, 0, 0], np.float32) for name in ("state", "next_state")}
    )
    again = relabel(turned, task, "ohio_true", "analytic")
    np.testing.assert_allclose(again.action, explained("ohio_true", "analytic").action, atol=5e-3)


def test_end_to_end_labels_are_the_torques(task, logs):
    labels = relabel(logs, task, "end_to_end", "analytic")
    np.testing.assert_array_equal(labels.action, logs.action)


def test_bad_settings_are_refused():
    with pytest.raises(UserError, match="reacher: setting horizon: expected an integer from 1 to 100000, found 'long'"):
        registry.make("reacher", {"horizon": "long"})
