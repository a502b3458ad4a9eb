"""Trajectories: indices and returns by hand, logs of any origin, and how good they are."""

import dataclasses

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.errors import UserError
from tests.ohio_jax.data.logs import trajectories


def test_returns_and_indices_by_hand():
    d = trajectories((2, 1))
    d = dataclasses.replace(d, reward=np.array([1.0, 2.0, 5.0], np.float32), first_reward=np.array([10.0, 20.0]))
    assert d.returns.tolist() == [13.0, 25.0]
    assert d.episode.tolist() == [0, 0, 1]
    assert d.obs_index.tolist() == [0, 1, 3]


def arrays(**more):
    """Two episodes, of two steps and one, of an observation with two entries."""
    obs = np.array([[0.0, 1.0], [2.0, 3.0], [6.0, 7.0]], np.float32)
    next_obs = np.array([[2.0, 3.0], [4.0, 5.0], [8.0, 9.0]], np.float32)
    given = {"obs": obs, "next_obs": next_obs, "action": np.arange(3)[:, None], "reward": np.array([1.0, 2.0, 4.0])}
    return {**given, "truncated": np.array([False, True, False]), "card": {"task": "toy"}, **more}


def test_arrays_become_trajectories():
    logs = data.from_arrays(**arrays())
    assert logs.obs.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]] and logs.obs_index.tolist() == [0, 1, 3]
    assert logs.offset.tolist() == [0, 2, 3] and logs.returns.tolist() == [3.0, 4.0]
    # What the arrays leave open is cut, not ended.
    assert logs.truncated.tolist() == [False, True, True] and not logs.terminated.any()
    np.testing.assert_array_equal(logs.state, arrays()["obs"])
    np.testing.assert_array_equal(logs.next_state, arrays()["next_obs"])
    ended = data.from_arrays(**arrays(terminated=[False, True, True], state=np.zeros((3, 1)), next_state=np.ones((3, 1))))
    assert ended.terminated.tolist() == [False, True, True] and not ended.truncated.any()
    assert ended.state.tolist() == [[0], [0], [0]] and ended.next_state.tolist() == [[1], [1], [1]]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"truncated": None}, r"field next_obs\[1\]: expected obs\[2\], of the same episode, \[6.0, 7.0\], found \[4.0, 5.0\]"),
        ({"action": np.zeros((2, 1))}, r"field action: expected 3 rows, one a step, found 2"),
        ({name: np.zeros((0, 1)) for name in ("obs", "next_obs", "action", "reward")}, r"field obs: expected at least 1 rows"),
        ({"reward": np.array([1.0, np.nan, 0.0])}, r"field reward\[1\]: expected a finite number, found nan"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong, expected):
    with pytest.raises(UserError, match=f"arrays: {expected}"):
        data.from_arrays(**arrays(**wrong))


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
