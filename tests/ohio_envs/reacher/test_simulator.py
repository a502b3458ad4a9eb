"""The closed-form reacher against DeepMind Control's, which steps MuJoCo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ohio_envs.reacher.simulator import WRIST, Body, Reacher, advance, joints

from ohio_jax.errors import UserError

suite = pytest.importorskip("dm_control.suite")


@pytest.fixture(scope="module")
def theirs():
    return suite.load("reacher", "hard", task_kwargs={"random": 0})


def place(theirs, q, v, target):
    """Puts their arm and target where ours are."""
    theirs.reset()
    physics = theirs.physics
    with physics.reset_context():
        physics.data.qpos[:] = q
        physics.data.qvel[:] = v
        physics.named.model.geom_pos["target", :2] = target


def observation(step):
    return np.concatenate([step.observation[name] for name in ("position", "to_target", "velocity")])


def test_physics_of_random_states(theirs):
    """One step from states all over, a third of them beyond the wrist's limit; torques up to twice the bound."""
    random = np.random.default_rng(0)
    q = random.uniform(-4, 4, (600, 2))
    q[::3, 1] = np.sign(q[::3, 1]) * (WRIST + 10.0 ** random.uniform(-6, -0.3, 200))
    v, u = random.normal(size=(600, 2)) * 8, random.uniform(-2, 2, (600, 2))
    with jax.enable_x64(True):
        ours = jax.jit(jax.vmap(lambda x, u: advance(Body(), x, u)))(jnp.asarray(np.hstack([q, v])), jnp.asarray(u))
    physics = theirs.physics
    for q0, v0, u0, after in zip(q, v, u, np.asarray(ours), strict=True):
        with physics.reset_context():
            physics.data.qpos[:], physics.data.qvel[:] = q0, v0
        physics.set_control(u0)
        physics.step()
        np.testing.assert_allclose(after, np.concatenate([physics.data.qpos, physics.data.qvel]), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("x64", "tolerance"), [(True, 1e-9), (False, 1e-5)])
def test_episodes_step_by_step(theirs, x64, tolerance):
    """200 steps of smooth torques that drive the wrist into its limit; observation and reward at each."""
    env = Reacher(Body())
    begin = jax.jit(env.reset_to)
    roll = jax.jit(lambda s, a: jax.lax.scan(lambda s, a: (env.step(s, a),) * 2, s, a)[1])
    for seed in range(3):
        random = np.random.default_rng(seed)
        instance = np.concatenate([random.uniform(-np.pi, np.pi, 1), random.uniform(-WRIST, WRIST, 1), [0.1, 0.08]])
        phase = random.uniform(0, 6, 2)
        actions = 0.3 * np.sin(np.arange(200)[:, None] * [0.05, 0.02] + phase)
        with jax.enable_x64(x64):
            kind = jnp.float64 if x64 else jnp.float32
            ours = jax.device_get(roll(begin(jnp.asarray(instance, kind)), jnp.asarray(actions, kind)))
        place(theirs, instance[:2], [0, 0], instance[2:])
        for t, action in enumerate(actions):
            step = theirs.step(action)
            np.testing.assert_allclose(ours.obs[t], observation(step), rtol=0, atol=tolerance)
            assert ours.reward[t] == step.reward


def test_touching_is_rewarded(theirs):
    env = Reacher(Body())
    q = np.array([0.3, 1.0])
    tip = 0.12 * np.array([np.cos(q[0]) + np.cos(q.sum()), np.sin(q[0]) + np.sin(q.sum())])
    for away, reward in ((0.0, 1.0), (0.024, 1.0), (0.026, 0.0)):
        target = tip + np.array([away, 0.0])
        after = env.step(env.reset_to(jnp.asarray([*q, *target], jnp.float32)), jnp.zeros(2))
        place(theirs, q, [0, 0], target)
        assert float(after.reward) == theirs.step([0, 0]).reward == reward


def test_an_episode_ends_by_its_time_limit():
    env = Reacher(Body(), horizon=3)
    state = env.reset(jax.random.key(0))
    truncations = []
    for _ in range(3):
        state = env.step(state, jnp.ones(2))
        truncations.append(float(state.info["truncation"]))
    assert truncations == [0.0, 0.0, 1.0] and float(state.done) == 0.0


def test_starts_are_spread_as_theirs():
    env = Reacher(Body())
    draws = np.asarray(jax.vmap(env.sample_instance)(jax.random.split(jax.random.key(1), 4000)))
    radius = np.linalg.norm(draws[:, 2:], axis=1)
    for values, low, high in ((draws[:, 0], -np.pi, np.pi), (draws[:, 1], -WRIST, WRIST), (radius, 0.05, 0.20)):
        assert low <= values.min() and values.max() <= high
        np.testing.assert_allclose(values.mean(), (low + high) / 2, atol=4 * (high - low) / np.sqrt(12 * 4000))
        np.testing.assert_allclose(values.std(), (high - low) / np.sqrt(12), rtol=0.05)


move = jax.jit(lambda x, u: advance(Body(), x, u))


@given(st.floats(-10, 10), st.floats(-50, 50), st.floats(-3, 3))
@settings(max_examples=50, deadline=None)
def test_friction_wins_and_nothing_breaks(angle, speed, torque):
    """Without torque and off its limit the arm loses energy; with any torque it stays finite."""
    x = jnp.array([0.1, angle, speed, -speed])
    assert bool(jnp.all(jnp.isfinite(move(x, jnp.full(2, torque)))))
    if abs(angle) < 1:
        still = move(x, jnp.zeros(2))
        body = Body()

        def energy(x):
            off = body.wrist + body.coupling * jnp.cos(x[1])
            first = body.shoulder + body.wrist + 2 * body.coupling * jnp.cos(x[1])
            return first * x[2] ** 2 + 2 * off * x[2] * x[3] + body.wrist * x[3] ** 2

        # The explicit Coriolis force of a fast arm may add energy within a step; at rest speeds it cannot.
        if abs(speed) < 5:
            assert float(energy(still)) <= float(energy(x)) + 1e-9


def test_heavier_arms_accelerate_less():
    x, u = jnp.zeros(4), jnp.array([1.0, 0.0])
    light, heavy = (advance(Body().heavier(k), x, u) for k in (1.0, 1.5))
    assert 0 < float(heavy[2]) < float(light[2])


def test_view_and_bad_instance():
    env = Reacher(Body())
    assert joints(env.reset_to(jnp.arange(4.0))).tolist() == [0.0, 1.0, 0.0, 0.0]
    with pytest.raises(UserError, match=r"reacher instance: expected an array of shape \(4,\), found \(3,\)"):
        env.reset_to(jnp.zeros(3))
