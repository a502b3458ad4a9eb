"""Corruption: as many rows as asked for, of the field asked for, by as much as asked for, and nothing else."""

import dataclasses

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.corruption import FIELDS, LARGEST_REWARD, corrupt
from ohio_jax.errors import UserError
from tests.ohio_jax.test_data import trajectories

ROWS = 50


def transitions() -> data.Transitions:
    rng = np.random.default_rng(0)
    number = lambda *shape: rng.normal(2.0, 3.0, shape).astype(np.float32)
    return data.Transitions(
        obs=number(ROWS, 4), goal=number(ROWS, 2, 3), reward=number(ROWS), next_obs=number(ROWS, 4),
        discount=np.ones(ROWS, np.float32), weight=np.ones(ROWS, np.float32), status=np.zeros(ROWS, np.int32),
        residual=number(ROWS), episode=np.repeat(np.arange(5), 10), episode_return=number(5), card={"task": "toy"},
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
    spoilt = (old != new).any(axis=1)
    assert spoilt.sum() == 15
    assert getattr(after, name).dtype == getattr(before, name).dtype
    bound = LARGEST_REWARD * old.std(axis=0) if kind == "reward" else old.std(axis=0) + (kind == "action")
    assert (np.abs(new - (0.0 if kind == "reward" else old))[spoilt] <= bound[None] * 1.001).all()
    if kind == "action":  # flows are whole, and no more than were ever logged
        assert new.min() >= old.min() and new.max() <= old.max()
    assert after.card == {**before.card, "corruption": [{"kind": kind, "rate": 0.3, "scale": 1.0, "seed": 3}]}

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
    relative = (after.goal - before.goal) / before.goal.std(axis=0)[None]
    assert np.abs(relative).max() > 1.9 and abs(relative.mean()) < 0.25
    twice = corrupt(after, "observation", 0.5)
    assert changed(after, twice) == ["obs"] and [done["kind"] for done in twice.card["corruption"]] == ["label", "observation"]


def test_returns_follow_their_rewards():
    before = transitions()
    after = corrupt(before, "reward", 0.4)
    gained = (after.reward - before.reward).astype(np.float64).reshape(5, 10).sum(axis=1)
    np.testing.assert_allclose(after.episode_return - before.episode_return, gained, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    "kind, arguments, message",
    [
        ("colour", {}, "corruption"),
        ("action", {}, "corruption action: expected trajectories, found transitions"),
        ("label", {"rate": 1.5}, "rate: expected a share from 0 to 1, found 1.5"),
        ("label", {"rate": float("nan")}, "rate: expected a share from 0 to 1, found nan"),
        ("label", {"scale": -1.0}, "scale: expected no less than 0, found -1.0"),
    ],
)
def test_what_cannot_be_is_refused(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        corrupt(transitions(), kind, **arguments)
