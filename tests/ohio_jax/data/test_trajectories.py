"""Trajectories: indices and returns by hand, and how good they are."""

import dataclasses

import numpy as np
import pytest

from ohio_jax import data
from tests.ohio_jax.data.logs import trajectories


def test_returns_and_indices_by_hand():
    d = trajectories((2, 1))
    d = dataclasses.replace(d, reward=np.array([1.0, 2.0, 5.0], np.float32), first_reward=np.array([10.0, 20.0]))
    assert d.returns.tolist() == [13.0, 25.0]
    assert d.episode.tolist() == [0, 0, 1]
    assert d.obs_index.tolist() == [0, 1, 3]


def test_concatenate_joins_episodes():
    whole = data.concatenate([trajectories((3, 1)), trajectories((2,), seed=1)], {"task": "both"})
    assert whole.offset.tolist() == [0, 3, 4, 6]
    assert len(whole.obs) == 9 and whole.card == {"task": "both"}


def test_quality_and_coverage():
    assert data.quality(np.array([5.0, 7.0]), 0.0, 12.0) == pytest.approx(0.5)
    one = np.ones((50, 3))
    assert data.coverage(one, one) == pytest.approx(1 / 50)
    rng = np.random.default_rng(0)
    assert data.coverage(rng.normal(size=(200, 3)), rng.normal(size=(200, 3))) > 0.9
