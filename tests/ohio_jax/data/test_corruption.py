"""Corruption: as many rows as asked for, of the field asked for, by as much as asked for, and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.agent import Agent, Preprocessor
from ohio_jax.data.corruption import FIELDS, LARGEST_REWARD, Adversary, corrupt, record
from ohio_jax.errors import UserError
from ohio_jax.learners import Spec, bc, iql
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax.data.logs import trajectories

ROWS = 50


def transitions() -> data.Transitions:
    rng = np.random.default_rng(0)
    number = lambda *shape: rng.normal(2.0, 3.0, shape).astype(np.float32)
    return data.Transitions(
        obs=number(ROWS, 4), action=number(ROWS, 2, 3), reward=number(ROWS), next_obs=number(ROWS, 4),
        elapsed=np.ones(ROWS, np.int32), terminal=np.zeros(ROWS, bool), weight=np.ones(ROWS, np.float32),
        status=np.zeros(ROWS, np.int32), residual=number(ROWS), episode=np.repeat(np.arange(5), 10),
        episode_return=number(5), card={"task": "toy"},
    )  # fmt: skip


def given(kind):
    return trajectories((30, 20)) if kind == "action" else transitions()


def changed(before, after) -> list[str]:
    names = [field.name for field in dataclasses.fields(before) if field.name != "card"]
    return [name for name in names if not np.array_equal(getattr(before, name), getattr(after, name))]


@pytest.mark.parametrize("kind", FIELDS)
def test_one_field_of_so_many_rows(kind):
    before, name = given(kind), FIELDS[kind][1]
    after = corrupt(before, kind, 0.3, 1.0, seed=3)
    assert changed(before, after) == ([name, "episode_return"] if kind == "reward" else [name])
    old, new = (np.asarray(getattr(d, name), np.float64).reshape(ROWS, -1) for d in (before, after))
    spoiled = (old != new).any(axis=1)
    assert spoiled.sum() == 15
    assert getattr(after, name).dtype == getattr(before, name).dtype
    bound = LARGEST_REWARD * old.std(axis=0) if kind == "reward" else old.std(axis=0) + (kind == "action")
    assert (np.abs(new - (0.0 if kind == "reward" else old))[spoiled] <= bound[None] * 1.001).all()
    if kind == "action":  # flows are whole, and no more than were ever logged
        assert new.min() >= old.min() and new.max() <= old.max()
    done = {"kind": kind, "rate": 0.3, "scale": 1.0, "seed": 3, "source_sha256": before.digest}
    assert after.card == {**before.card, "corruption": [done]}
    assert after.card["corruption"] == record(before, kind, 0.3, 1.0, 3)

    again, other = corrupt(before, kind, 0.3, 1.0, seed=3), corrupt(before, kind, 0.3, 1.0, seed=4)
    assert changed(after, again) == [] and name in changed(after, other)


@pytest.mark.parametrize("kind", FIELDS)
def test_nothing_of_no_rows_and_noise_of_no_size(kind):
    before = given(kind)
    assert changed(before, corrupt(before, kind, rate=0.0)) == []
    if kind != "reward":
        assert changed(before, corrupt(before, kind, rate=1.0, scale=0.0)) == []


def test_noise_fills_its_range_and_corruptions_add_up():
    before = transitions()
    after = corrupt(before, "label", 1.0, 2.0)
    relative = (after.action - before.action) / before.action.std(axis=0)[None]
    assert np.abs(relative).max() > 1.9 and abs(relative.mean()) < 0.25
    twice = corrupt(after, "observation", 0.5)
    assert changed(after, twice) == ["obs"] and [done["kind"] for done in twice.card["corruption"]] == ["label", "observation"]


def test_steps_that_are_not_finite_say_nothing_of_the_size_of_noise():
    before = dataclasses.replace(given("action"), action=np.random.default_rng(0).normal(size=(ROWS, 2)))
    bad = before.action.copy()
    bad[7] = np.nan
    after = corrupt(dataclasses.replace(before, action=bad), "action", 1.0)
    others = np.arange(ROWS) != 7
    assert np.isfinite(after.action[others]).all() and np.isnan(after.action[7]).all()
    change = np.abs(after.action - bad)[others]
    assert (change > 0.0).all() and (change <= before.action[others].std(axis=0) * 1.001).all()


def test_returns_follow_their_rewards():
    before = transitions()
    after = corrupt(before, "reward", 0.4)
    gained = (after.reward - before.reward).astype(np.float64).reshape(5, 10).sum(axis=1)
    np.testing.assert_allclose(after.episode_return - before.episode_return, gained, rtol=1e-5, atol=1e-4)


def adversary(sizes=(4, 6)) -> Adversary:
    """IQL's networks, untrained: their critics rank goals all the same, of observations in other units as well."""
    action = Box((10.0,) * sizes[1])
    spec = Spec(sizes[0], action, mlp_networks(action, 16))
    see = Preprocessor.plain(sizes[0]).replace(mean=jnp.full(sizes[0], 0.3), deviation=jnp.full(sizes[0], 0.5))
    return Adversary(iql, Agent(iql.init(jax.random.key(0), spec, iql.Config()), see))


def least_values(of: Adversary, kind: str, rows: data.Transitions) -> np.ndarray:
    """What the critics say of each transition, as its corruption lowers it."""
    state, see = of.agent
    obs = jnp.asarray(rows.next_obs if kind == "next_observation" else rows.obs)
    goal = of.agent.act(of.learner, obs, jax.random.key(0), True) if kind == "next_observation" else jnp.asarray(rows.action)
    return np.asarray(jnp.min(state.spec.critics(state.critic.params, see(obs), goal), axis=0))


@pytest.mark.parametrize("kind", ["observation", "label", "next_observation"])
def test_an_adversary_finds_worse_noise_than_chance(kind):
    before, enemy = dataclasses.replace(transitions(), action=transitions().action.reshape(ROWS, 6)), adversary()
    chance, worst = (corrupt(before, kind, 1.0, 0.5, 3, of) for of in (None, enemy))
    name = FIELDS[kind][1]
    assert changed(before, worst) == [name]
    bound = 0.5 * getattr(before, name).std(axis=0)
    assert (np.abs(getattr(worst, name) - getattr(before, name)) <= bound[None] * 1.001).all()
    assert (least_values(enemy, kind, worst) < least_values(enemy, kind, chance)).mean() > 0.95
    done = {"kind": kind, "rate": 1.0, "scale": 0.5, "seed": 3, "source_sha256": before.digest, "adversarial": True}
    assert worst.card["corruption"] == [done]


def test_under_a_linear_critic_noise_goes_straight_down():
    """A hundred steps of a hundredth of the range, against the sign of each slope, up to the range's end."""
    action = Box((100.0,) * 6)
    spec = Spec(4, action, mlp_networks(action, 1, layers=0))
    state = iql.init(jax.random.key(0), spec, iql.Config())
    twice = state.critic._replace(params=jax.tree.map(lambda x: x[jnp.array([0, 0])], state.critic.params))
    enemy = Adversary(iql, Agent(state.replace(critic=twice), Preprocessor.plain(4)))
    before = dataclasses.replace(transitions(), action=transitions().action.reshape(ROWS, 6))
    chance, worst = (corrupt(before, "label", 1.0, 1.0, 3, of) for of in (None, enemy))
    share = lambda after: (after.action - before.action) / before.action.std(axis=0)[None]
    slope = np.asarray(jax.tree.leaves(twice.params)[1])[0, 4:, 0]
    np.testing.assert_allclose(share(worst), np.clip(share(chance) - np.sign(slope)[None], -1.0, 1.0), atol=2e-3)


def test_an_adversary_turns_rewards_around_and_is_asked_about_its_own_sizes():
    before = dataclasses.replace(transitions(), action=transitions().action.reshape(ROWS, 6))
    after = corrupt(before, "reward", 1.0, 2.0, adversary=adversary())
    np.testing.assert_allclose(after.reward, -2.0 * before.reward)
    with pytest.raises(UserError, match=r"actions of sizes \(4, 6\), found \(4, 5\)"):
        corrupt(before, "label", adversary=adversary((4, 5)))
    state, see = adversary().agent
    cloned = Agent(bc.init(jax.random.key(0), state.spec, bc.Config()), see)
    with pytest.raises(UserError, match="expected a learner with critics"):
        corrupt(before, "label", adversary=Adversary(bc, cloned))
    with pytest.raises(UserError, match="corruption action: expected transitions for an adversary"):
        corrupt(given("action"), "action", adversary=adversary())


@pytest.mark.parametrize(
    "kind, arguments, message",
    [
        ("color", {}, "corruption"),
        ("action", {}, "corruption action: expected trajectories, found transitions"),
        ("label", {"rate": 1.5}, "rate: expected a number from 0 to 1, found 1.5"),
        ("label", {"rate": float("nan")}, "rate: expected a number from 0 to 1, found nan"),
        ("label", {"scale": -1.0}, r"scale: expected a number from 0 to 1e\+06, found -1.0"),
        ("label", {"seed": -1}, "seed: expected an integer from 0 to 4294967295, found -1"),
    ],
)
def test_what_cannot_be_is_refused(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        corrupt(transitions(), kind, **arguments)
