"""Datasets: what is saved comes back, and what is damaged is refused with the file and the field."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax import data
from ohio_jax.errors import UserError


def trajectories(lengths=(3, 1, 2), seed=0) -> data.Trajectories:
    rng = np.random.default_rng(seed)
    steps, episodes = sum(lengths), len(lengths)
    last = np.cumsum(lengths) - 1
    truncated = np.zeros(steps, bool)
    truncated[last] = True
    return data.Trajectories(
        obs=rng.normal(size=(steps + episodes, 4)).astype(np.float32),
        state=rng.integers(0, 9, (steps, 2)),
        next_state=rng.integers(0, 9, (steps, 2)),
        action=rng.integers(0, 9, (steps, 2, 2)),
        reward=rng.normal(size=steps).astype(np.float32),
        first_reward=np.ones(episodes, np.float32),
        terminated=np.zeros(steps, bool),
        truncated=truncated,
        offset=np.concatenate([[0], np.cumsum(lengths)]),
        card={"task": "toy", "settings": {}},
    )


def test_returns_and_indices_by_hand():
    d = trajectories((2, 1))
    d = dataclasses.replace(d, reward=np.array([1.0, 2.0, 5.0], np.float32), first_reward=np.array([10.0, 20.0]))
    assert d.returns.tolist() == [13.0, 25.0]
    assert d.episode.tolist() == [0, 0, 1]
    assert d.obs_index.tolist() == [0, 1, 3]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_round_trip(tmp_path_factory, lengths, seed):
    path = tmp_path_factory.mktemp("data") / "d.npz"
    original = trajectories(tuple(lengths), seed)
    sha = data.save(path, original)
    back = data.load(path, "trajectories")
    assert back.card["sha256"] == sha and back.card["task"] == "toy"
    for field in dataclasses.fields(original):
        if field.name != "card":
            np.testing.assert_array_equal(getattr(back, field.name), getattr(original, field.name))


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


def test_damage_is_found(tmp_path):
    path = tmp_path / "d.npz"
    data.save(path, trajectories())
    good = path.read_bytes()
    for cut in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:cut])
        with pytest.raises(UserError, match=r"d\.npz"):
            data.load(path, "trajectories")
    for place in range(60, len(good), len(good) // 25):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            back = data.load(path, "trajectories")
        except UserError as error:
            assert "d.npz" in str(error)
        else:  # a byte of the archive that carries no data, such as a time stamp
            np.testing.assert_array_equal(back.reward, trajectories().reward)


def test_wrong_kind_and_missing_file(tmp_path):
    data.save(tmp_path / "d.npz", trajectories())
    with pytest.raises(UserError, match=r"card\.kind: expected 'transitions', found 'trajectories'"):
        data.load(tmp_path / "d.npz", "transitions")
    with pytest.raises(UserError, match="no such file"):
        data.load(tmp_path / "none.npz", "trajectories")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "reward",
            np.array([0, np.nan, 0, 0, 0, 0], np.float32),
            r"field reward\[1\]: expected a finite number, found nan",
        ),
        ("action", np.zeros((5, 2, 2)), "field action: expected 6 rows"),
        ("offset", np.array([0, 3, 3, 6]), "field offset"),
        ("obs", np.zeros((6, 4), np.float32), "field obs: expected 6 steps"),
    ],
)
def test_wrong_content_is_named(tmp_path, field, value, message):
    path = tmp_path / "d.npz"
    data.save(path, dataclasses.replace(trajectories(), **{field: value}))
    with pytest.raises(UserError, match=message):
        data.load(path, "trajectories")


def test_quality_and_coverage():
    assert data.quality(np.array([5.0, 7.0]), 0.0, 12.0) == pytest.approx(0.5)
    one = np.ones((50, 3))
    assert data.coverage(one, one) == pytest.approx(1 / 50)
    rng = np.random.default_rng(0)
    assert data.coverage(rng.normal(size=(200, 3)), rng.normal(size=(200, 3))) > 0.9
