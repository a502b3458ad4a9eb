"""Trajectory-weighted sampling: the shares it promises, ties, and draws inside jit."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ohio_jax.data import Transitions, sampling
from ohio_jax.errors import UserError


def transitions(returns, lengths=None, first=None) -> Transitions:
    """Episodes with the given returns; only what samplers read is filled in."""
    returns = np.asarray(returns, np.float64)
    lengths = np.full(len(returns), 3) if lengths is None else np.asarray(lengths)
    episode = np.repeat(np.arange(len(returns)), lengths)
    first = np.zeros((len(returns), 2)) if first is None else np.asarray(first, np.float64)
    steps = np.concatenate([np.arange(length) for length in lengths])
    obs = first[episode] + 100.0 * steps[:, None]
    zeros = np.zeros(len(episode))
    return Transitions(
        obs=obs, action=zeros[:, None], reward=zeros, next_obs=obs, elapsed=zeros + 1, terminal=zeros == 0, weight=zeros,
        status=zeros, residual=zeros, episode=episode, episode_return=returns, card={},
    )  # fmt: skip


EVERY = pytest.mark.parametrize("name", sampling.PROBABILITIES)


@EVERY
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.01, 10.0))
def test_probabilities_are_probabilities(name, returns, temperature):
    first = np.random.default_rng(0).random((len(returns), 2))
    p = sampling.PROBABILITIES[name](transitions(returns, first=first), temperature)
    assert np.all(p >= 0.0) and p.sum() == pytest.approx(1.0)


@EVERY
@pytest.mark.parametrize("level", [0.0, -7.0, 51_600.123])
def test_equal_returns_are_drawn_alike(name, level):
    first = np.random.default_rng(0).random((20, 2))
    p = sampling.PROBABILITIES[name](transitions([level] * 20, first=first), 0.1)
    np.testing.assert_allclose(p, 1.0 / 60.0)


def test_one_good_episode_in_a_hundred_gets_its_soft_max_share():
    returns = np.r_[np.zeros(99), 5.0]
    p = sampling.return_weighted(transitions(returns), 0.1)
    share = np.exp(10.0) / (np.exp(10.0) + 99.0)
    assert p[-3:].sum() == pytest.approx(share)
    picked = np.asarray(sampling.sample_indices(jax.random.key(0), sampling.cumulative(p), 20_000))
    assert np.mean(picked >= 297) == pytest.approx(share, abs=3e-3)


def test_the_weight_does_not_depend_on_unit_or_origin_of_returns():
    returns = np.array([3.0, 1.0, 2.0, 2.0])
    p = sampling.return_weighted(transitions(returns), 0.2)
    np.testing.assert_allclose(sampling.return_weighted(transitions(1000.0 * returns - 7e4), 0.2), p)
    np.testing.assert_allclose(p[6:9], p[9:12])
    assert p[0] / p[3] == pytest.approx(np.exp(1.0 / 0.2))


@pytest.mark.parametrize("share, kept", [(0.1, [3]), (0.5, [1, 3, 4]), (1.0, [0, 1, 2, 3, 4])])
def test_the_best_episodes_alone(share, kept):
    """Ties with the last one chosen are in; every transition of them counts the same, whatever their length."""
    given = transitions([0.0, 5.0, 2.0, 9.0, 5.0], lengths=[1, 2, 3, 4, 5])
    p = sampling.top(given, share)
    chosen = np.isin(given.episode, kept)
    np.testing.assert_allclose(p, chosen / chosen.sum())


def test_advantage_removes_what_the_first_observation_explains():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 2))
    luck = 1e4 * (first @ np.array([3.0, -2.0])) + 5e4
    skill = np.repeat([0.0, 1.0], 100) + 0.01 * rng.normal(size=200)
    of_skill = sampling.return_weighted(transitions(skill), 0.5)
    explained = sampling.advantage_weighted(transitions(luck + skill, first=first), 0.5)
    by_episode = lambda p: p.reshape(200, 3).sum(axis=1)
    assert np.corrcoef(by_episode(explained), by_episode(of_skill))[0, 1] > 0.95
    only_luck = sampling.advantage_weighted(transitions(luck, first=first), 0.1)
    np.testing.assert_allclose(only_luck, 1.0 / 600.0)


def test_episodes_that_lost_all_transitions_do_not_count():
    kept = transitions([0.0, 1.0, 2.0], lengths=[2, 3, 1])
    p = sampling.return_weighted(transitions([0.0, 1.0, 2.0, 1e9], lengths=[2, 3, 1, 0]), 0.5)
    np.testing.assert_allclose(p, sampling.return_weighted(kept, 0.5))


def test_draws_never_pick_probability_zero_and_match_the_rest():
    p = np.array([0.0, 0.2, 0.0, 0.5, 0.3, 0.0])
    cumulative = sampling.cumulative(p)
    draw = jax.jit(sampling.sample_indices, static_argnums=2)
    counts = np.bincount(np.asarray(draw(jax.random.key(1), cumulative, 50_000)), minlength=6)
    assert counts[[0, 2, 5]].sum() == 0
    np.testing.assert_allclose(counts / 50_000, p, atol=0.01)


@pytest.mark.parametrize("bad", [np.zeros(3), np.array([0.5, np.nan, 0.5]), np.array([1.0, np.inf])])
def test_what_are_no_probabilities(bad):
    with pytest.raises(UserError, match="sampling: expected probabilities with a finite sum above 0, found"):
        sampling.cumulative(bad)


def test_a_million_small_probabilities_stay_apart():
    cumulative = sampling.cumulative(np.full(1_000_000, 1e-6))
    width = np.diff(cumulative.astype(np.int64), prepend=0)
    assert width.min() >= 2146 and width.max() <= 2149
    assert cumulative[-1] == 2**31
