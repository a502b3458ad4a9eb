"""Trained agents as behavior, mixtures of policies, and what learners see of an observation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import agents, registry
from ohio_envs.reacher import policies
from ohio_envs.reacher.features import features, features_and_angles
from ohio_envs.reacher.simulator import Arm, Body, Reacher, joints

from ohio_jax.rollout import episode_keys, rollouts

# --- How well they play


def one_of(env, key, state, which):
    return jax.lax.switch(which, [policies.POLICIES[name] for name in ("expert", "medium", "replay", "random")], env, key, state)


@pytest.fixture(scope="module")
def returns():
    """Whole episodes, Float[4 policies, 24 episodes], of the same instances."""
    task = registry.make("reacher")
    act = lambda which, env, key, state: one_of(env, key, state, which)
    play = lambda which: rollouts(task.env, act, jnp.int32(which), task.instances(10, 24), episode_keys(10, 24)).returns
    return np.stack([play(which) for which in range(4)])


def test_the_expert_is_one(returns):
    assert returns[0].mean() >= 950


def test_medium_is_between(returns):
    expert, medium, replay, random = returns.mean(axis=1)
    assert expert / 4 < medium < 3 * expert / 4 and random < medium / 3
    assert random < replay < expert


# --- Who plays


def test_the_lottery_is_even():
    task = registry.make("reacher", {"horizon": "2"})
    arms = jax.vmap(task.env.reset_to)(task.instances(7, 6000))
    for tickets in (2, 3, 4):
        drawn = np.asarray(jax.vmap(lambda arm, n=tickets: policies.lottery(arm, n))(arms))
        counts = np.bincount(drawn, minlength=tickets)
        assert len(counts) == tickets
        np.testing.assert_allclose(counts, 6000 / tickets, atol=5 * np.sqrt(6000 / tickets))


def test_mixtures_choose_once_an_episode():
    """What `mixed` and `replay` do is, in every step of an episode, what the policy drawn for it does."""
    env, key = Reacher(Body(), 30), jax.random.key(0)
    stages = range(agents.load(policies.AGENTS.file)[1])
    each = [policies.AGENTS.play(lambda stages, state, stage=stage: jnp.int32(stage)) for stage in stages]
    thirds = [policies.POLICIES[name] for name in ("expert", "medium", "random")]
    members = {policies.mixed: thirds, policies.POLICIES["replay"]: each}

    @jax.jit
    @jax.vmap
    def episode(instance):
        def step(state, key):
            action = {mixture: mixture(env, key, state) for mixture in members}
            each = {mixture: jnp.stack([one(env, key, state) for one in members[mixture]]) for mixture in action}
            match = [jnp.all(jnp.abs(each[name] - action[name][None]) < 1e-4, axis=1) for name in action]
            tickets = [policies.lottery(state, len(members[name])) for name in action]
            return env.step(state, action[policies.mixed]), (match, tickets)

        return jax.lax.scan(step, env.reset_to(instance), jax.random.split(key, 30))[1]

    matches, tickets = episode(jax.vmap(env.sample_instance)(jax.random.split(jax.random.key(3), 40)))
    for match, ticket in zip(matches, tickets, strict=True):
        assert (ticket == ticket[:, :1]).all() and len(np.unique(ticket)) == match.shape[2]
        np.testing.assert_array_equal(np.take_along_axis(np.asarray(match), np.asarray(ticket)[..., None], axis=2), True)


# --- What learners are shown


def arm(q, v, target):
    env = Reacher(Body())
    state = env.reset_to(jnp.asarray([*q, *target], jnp.float32))
    moving = Arm(state.pipeline_state.q, jnp.asarray(v, jnp.float32), state.pipeline_state.target, jnp.int32(0))
    state = state.replace(pipeline_state=moving, obs=state.obs.at[4:].set(moving.v))
    np.testing.assert_array_equal(joints(state), [*np.float32(q), *np.float32(v)])
    return state.obs


@pytest.mark.parametrize("turn", [0.7, -2.5, 2 * np.pi, 13.0])
def test_features_do_not_change_when_all_is_turned(turn):
    q, v, target = np.array([0.4, -1.3]), [3.0, -7.0], np.array([0.1, 0.12])
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = q + np.array([turn, 0.0])
    here, there = arm(q, v, target), arm(turned, v, rotation @ target)
    np.testing.assert_allclose(features(here), features(there), atol=1e-5)
    assert not np.allclose(features(here), features(arm(q, v, rotation @ target)), atol=1e-2) or turn == 2 * np.pi
    np.testing.assert_allclose(features_and_angles(there)[6:], turned, rtol=1e-6)


def test_features_are_finite_and_near_one():
    """Also where the arm has turned many times and spins."""
    random = np.random.default_rng(0)
    obs = np.concatenate(
        [400 * random.normal(size=(200, 2)), 0.2 * random.normal(size=(200, 2)), 40 * random.normal(size=(200, 2))], 1
    )
    seen = features(jnp.asarray(np.concatenate([obs, np.zeros((1, 6))]), jnp.float32))
    assert seen.shape == (201, 6) and np.isfinite(seen).all() and np.abs(seen).max() < 50
