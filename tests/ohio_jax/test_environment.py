"""The hierarchical environment, against sums done by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.environment import HighLevelEnv
from tests.ohio_jax.toy import Halfway, Line, place


def high_level(steps, **line):
    return HighLevelEnv(Line(**line), jnp.float32(0.5), Halfway, 1, steps, place)


def test_rewards_of_a_segment_are_summed():
    env = high_level(steps=3)
    state = env.step(env.reset_to(jnp.float32(0.0)), jnp.array([8.0]))
    assert float(state.pipeline_state.x) == 7.0  # 4, 6, 7
    assert float(state.reward) == -(4 + 6 + 7)
    assert float(state.metrics["moved"]) == 7.0
    assert float(state.info["controller"]) == 3.0


def test_nothing_happens_behind_the_end():
    env = high_level(steps=4, wall=5.0)
    state = env.step(env.reset_to(jnp.float32(0.0)), jnp.array([8.0]))  # 4, 6: through the wall
    assert float(state.pipeline_state.x) == 6.0 and float(state.done) == 1.0
    assert float(state.reward) == -10.0


def test_time_limit_is_a_truncation():
    env = high_level(steps=4, horizon=6)
    assert env.horizon == 2
    state = env.reset_to(jnp.float32(0.0))
    for _ in range(2):
        state = env.step(state, jnp.array([1.0]))
    assert float(state.done) == 0.0 and float(state.info["truncation"]) == 1.0
    assert float(state.pipeline_state.time) == 6.0


def test_parameters_are_leaves_and_nothing_retraces():
    envs = jax.vmap(lambda p: HighLevelEnv(Line(), p, Halfway, 1, 2, place))(jnp.array([0.5, 1.0]))

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(env, goal):
        return env.step(env.reset_to(jnp.float32(0.0)), goal).pipeline_state.x

    for goal in (2.0, 4.0):
        got = jax.vmap(run, (0, None))(envs, jnp.array([goal]))
        np.testing.assert_allclose(got, [0.75 * goal, goal])


def test_brax_wrappers_run_unmodified():
    training = pytest.importorskip("brax.envs.wrappers.training")
    env = training.wrap(high_level(2, horizon=6), episode_length=3)
    state = jax.jit(env.reset)(jax.random.split(jax.random.PRNGKey(0), 5))  # Brax wants raw keys
    step = jax.jit(env.step)
    for count in range(1, 8):
        before, state = state, step(state, jnp.ones((5, 1)))
        assert state.done.tolist() == [float(count % 3 == 0)] * 5
        if count % 3:
            np.testing.assert_allclose(state.obs, 1 + 0.25 * (before.obs - 1), atol=1e-6)
        else:
            np.testing.assert_allclose(state.obs, state.info["first_obs"])
