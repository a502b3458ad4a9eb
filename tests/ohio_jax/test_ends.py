"""Ends of episodes: what relabeling makes of logs is what a learner sees online, whatever their length and however they end."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax import data
from ohio_jax.agent import Agent, Preprocessor
from ohio_jax.collect import collect
from ohio_jax.data.arrays import digest_v1
from ohio_jax.environment import HighLevelEnv
from ohio_jax.learners import bc, iql, sac
from ohio_jax.relabel import relabel
from ohio_jax.task import HighLevelPolicy
from ohio_jax.training import online
from ohio_jax.training import plan as plans
from tests.ohio_jax import toy

EPISODES = 6


def goal_of(env, key, state):
    """A goal that depends on where one is in a way that hardly repeats."""
    return 1.7 * jnp.sin(7.0 * state.pipeline_state.x)[None]


def line(horizon: int, steps: int, wall: float):
    """The line with goals of so many steps, truly ended by a wall; its behavior is `goal_of`."""
    task = toy.line_task(horizon)
    interface = dataclasses.replace(task.interfaces["ohio"], steps=steps)
    policies, env = {"goals": HighLevelPolicy(goal_of, interface)}, toy.Line(wall, horizon)
    anywhere = lambda seed, amount: jax.random.uniform(jax.random.key(seed), (amount,), minval=-0.8, maxval=0.8)
    starts = lambda seed, amount: jnp.append(jnp.array([0.0, 0.25]), anywhere(seed, amount))[:amount]
    return dataclasses.replace(task, env=env, interfaces={"ohio": interface}, policies=policies, instances=starts)


@jax.jit
def played(env: HighLevelEnv, instances):
    """The same episodes, decision by decision, [E, decisions, ...]; `alive` where one was made."""

    def decide(state, _):
        alive = jnp.maximum(state.done, state.info["truncation"]) == 0
        goal = goal_of(env, None, state)
        after = env.step(state, goal)
        row = (state.obs, goal, after.reward, after.obs, after.info["elapsed"], after.done, alive)
        return jax.tree.map(lambda new, old: jnp.where(alive, new, old), after, state), row

    return jax.vmap(lambda instance: jax.lax.scan(decide, env.reset_to(instance), None, env.horizon)[1])(instances)


@settings(max_examples=25)
@given(st.integers(1, 11), st.integers(1, 5), st.sampled_from([0.91, 1.13, 1.21, 100.0]), st.integers(0, 3))
def test_relabeled_transitions_are_those_of_the_hierarchy_online(horizon, steps, wall, seed):
    task = line(horizon, steps, wall)
    found = relabel(collect(task, "goals", EPISODES, seed), task, "ohio", "analytic")
    *rows, alive = jax.device_get(played(task.high_level("ohio"), task.instances(seed, EPISODES)))
    obs, goal, reward, next_obs, elapsed, done = (row[alive] for row in rows)
    np.testing.assert_allclose(found.obs, obs, atol=1e-6)
    np.testing.assert_allclose(found.action, goal, atol=1e-5)
    np.testing.assert_allclose(found.reward, reward, atol=1e-5)
    np.testing.assert_allclose(found.next_obs, next_obs, atol=1e-6)
    np.testing.assert_array_equal(found.elapsed, elapsed)
    np.testing.assert_array_equal(found.terminal, done > 0)
    np.testing.assert_array_equal(found.episode, np.nonzero(alive)[0])
    assert found.card["cut_short"] == (elapsed < steps).sum() and found.card["transitions"] == len(elapsed)


def test_both_kinds_of_ends_lie_inside_segments():
    """What the property above is about does occur: true ends and time limits, each in the middle of a segment and at its end."""
    seen = set()
    # From 0 one stays there until the time limit; from 0.25 one passes 1.1 at the fifth step and 1.2 at the sixth.
    for horizon, steps, wall in ((6, 3, 1.2), (7, 3, 1.1)):
        task = line(horizon, steps, wall)
        found = relabel(collect(task, "goals", 20, 0), task, "ohio", "analytic")
        last = np.append(found.episode[1:] != found.episode[:-1], True)
        seen |= set(zip(found.terminal[last].tolist(), (found.elapsed[last] < steps).tolist(), strict=True))
    assert seen == {(end, short) for end in (True, False) for short in (True, False)}


def test_no_reward_and_no_end_of_logs_is_lost():
    """Logs of episodes of any length, each truly ended at a penalty of 20."""
    rng, task = np.random.default_rng(0), line(100, 4, 100.0)
    lengths = rng.integers(1, 14, 50)
    x = rng.uniform(-1, 1, (lengths.sum(), 1)).astype(np.float32)
    ends = np.isin(np.arange(len(x)), np.cumsum(lengths) - 1)
    after = np.where(ends[:, None], 0.5, np.roll(x, -1, axis=0))
    reward = np.where(ends, -20.0, 0.1)
    logs = data.from_arrays(x, after - x, reward, after, {"task": "line"}, terminated=ends)
    found = relabel(logs, task, "ohio", "least_squares")
    assert found.reward.sum() == pytest.approx(reward.sum(), rel=1e-5) and found.terminal.sum() == 50
    assert found.elapsed.sum() == len(x) and len(found.elapsed) == (-(-lengths // 4)).sum()
    late = np.bincount(found.episode, found.reward)
    np.testing.assert_allclose(late, found.episode_return, rtol=1e-5)


def test_what_follows_counts_by_the_steps_it_took():
    """Beside the learner's own discount; exactly 1 after whole segments, and nothing at all after a true end."""
    task = line(7, 3, 1.2)
    found = relabel(collect(task, "goals", 20, 0), task, "ohio", "analytic")
    whole = (found.elapsed == 3) & ~found.terminal
    assert whole.any() and (found.elapsed < 3).any() and found.terminal.any()
    for discount in (0.97, 0.3, 0.0):
        own = found.batch(discount).discount
        np.testing.assert_allclose(own * discount, np.where(found.terminal, 0.0, discount ** (found.elapsed / 3)), rtol=1e-6)
        assert (own[whole] == 1.0).all() and (own[found.terminal] == 0.0).all() and np.isfinite(own).all()
    plan = plans.Plan("iql", iql.Config(discount=0.9), hidden=4)
    spec = plans.spec_of(task, task.interfaces["ohio"], 4)
    np.testing.assert_array_equal(plans.batch_of(plan, spec, Preprocessor.plain(1), found).discount, found.batch(0.9).discount)
    # A learner that looks one transition ahead at most has no discount, and is asked for none.
    assert not hasattr(bc.Config(), "discount")
    plans.batch_of(plans.Plan("bc", bc.Config(), hidden=4), spec, Preprocessor.plain(1), found)


def test_online_transitions_count_alike():
    """Episodes of four steps in decisions of three: the second of each takes one step."""
    task, envs, config = line(4, 3, 100.0), 2, sac.Config(discount=0.81)
    env, spec = task.high_level("ohio"), plans.spec_of(task, task.interfaces["ohio"], 4)
    agent = Agent(sac.init(jax.random.key(0), spec, config), Preprocessor.plain(1))
    carry = online.begin(agent, jax.random.key(1), env, envs, 8, None)
    act = lambda agent, obs, key: jnp.full((envs, 1), 0.5)
    decide = jax.jit(lambda carry, key: online.env_step(carry, key, env, act, jnp.bool_(False)))
    for step in range(4):
        carry, _ = decide(carry, jax.random.key(step))
    kept = np.asarray(carry.buffer.rows.discount).reshape(4, envs)
    np.testing.assert_array_equal(kept[::2], 1.0)
    np.testing.assert_allclose(0.81 * kept[1::2], 0.81 ** (1 / 3), rtol=1e-6)


def test_transitions_of_an_earlier_version_say_what_they_said(tmp_path):
    """All their segments were whole, and a discount of 0 meant a true end: nothing is lost, and the digest is the file's."""
    task = line(6, 3, 1.2)
    found = relabel(collect(task, "goals", 20, 0), task, "ohio", "analytic")
    whole = found.elapsed == 3
    kept = {f.name: getattr(found, f.name) for f in dataclasses.fields(found) if f.name not in ("card", "episode_return")}
    kept = {name: value[whole] for name, value in kept.items()} | {"episode_return": found.episode_return}
    arrays = {name: value for name, value in kept.items() if name not in ("elapsed", "terminal")}
    arrays["discount"] = np.where(kept["terminal"], 0.0, 1.0).astype(np.float32)
    card = {**found.card, "format": 1, "kind": "transitions", "sha256": digest_v1(arrays)}
    np.savez(tmp_path / "old.npz", card=np.array(json.dumps(card)), **arrays)
    back = data.load(tmp_path / "old.npz", "transitions")
    for name, value in kept.items():
        np.testing.assert_array_equal(getattr(back, name), value, err_msg=name)
    assert back.terminal.any() and back.terminal.dtype == bool and back.steps == 3 and back.card["sha256_v1"] == card["sha256"]
