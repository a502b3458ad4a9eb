"""Logs of any origin: what they become, and that what is wrong with them is said in the rows of the arrays that were given."""

import datetime
from dataclasses import replace

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.errors import UserError
from ohio_jax.low_level import FAILED
from ohio_jax.relabel import relabel
from tests.ohio_jax import toy


def arrays(**more):
    """Two episodes, of two steps and one, of an observation with two entries."""
    obs = np.array([[0.0, 1.0], [2.0, 3.0], [6.0, 7.0]], np.float32)
    next_obs = np.array([[2.0, 3.0], [4.0, 5.0], [8.0, 9.0]], np.float32)
    given = {"obs": obs, "next_obs": next_obs, "action": np.arange(3)[:, None], "reward": np.array([1.0, 2.0, 4.0])}
    return {**given, "truncated": np.array([False, True, False]), "card": {"task": "toy"}, **more}


def walk():
    """Three episodes of twelve steps on the line, in float64."""
    x = np.cumsum(np.random.default_rng(0).uniform(-0.05, 0.05, (3, 13)), axis=1)
    obs, next_obs = (part.reshape(-1, 1) for part in (x[:, :-1], x[:, 1:]))
    ends = np.arange(36) % 12 == 11
    given = {"obs": obs, "next_obs": next_obs, "action": next_obs - obs, "reward": -np.abs(next_obs[:, 0])}
    return {**given, "truncated": ends, "card": {"task": "line"}}


def spoiled(array, row, value=np.nan):
    array = np.array(array, np.float64)
    array[row] = value
    return array


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
    assert logs.card == {"task": "toy"}


@pytest.mark.parametrize("kind", [bool, int, np.uint8, float])
def test_flags_are_true_or_false_or_one_or_zero(kind):
    ended = data.from_arrays(**arrays(terminated=np.array([0, 1, 0], kind), truncated=np.array([0, 1, 1], kind)))
    # Termination wins.
    assert ended.terminated.tolist() == [False, True, False] and ended.truncated.tolist() == [False, False, True]
    assert ended.terminated.dtype == ended.truncated.dtype == bool


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (np.array(["False", "False", "True"]), r"\[0\]: expected True, False, 0 or 1, found 'False' \(<U5\)"),
        (np.array([False, None, True]), r"\[0\]: expected True, False, 0 or 1, found False \(object\)"),
        (np.array([0.0, np.nan, 1.0]), r"\[1\]: expected True, False, 0 or 1, found nan \(float64\)"),
        (np.array([0, 1, 2]), r"\[2\]: expected True, False, 0 or 1, found 2 \(int64\)"),
        (np.array([-1, 1, 0]), r"\[0\]: expected True, False, 0 or 1, found -1 \(int64\)"),
        (np.ma.array([0, 1, 1], mask=[0, 0, 1]), r"\[2\]: expected a value, found a masked one"),
        (np.zeros((3, 1), bool), r": expected 1 dimension, found shape \(3, 1\)"),
        (np.array([True, True]), ": expected 3 rows, one a step, found 2"),
        (True, r": expected 1 dimension, found shape \(\)"),
    ],
)
@pytest.mark.parametrize("field", ["terminated", "truncated"])
def test_flags_that_are_none_are_refused(field, flags, expected):
    with pytest.raises(UserError, match=rf"arrays: field {field}{expected}$"):
        data.from_arrays(**arrays(**{field: flags}))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"truncated": None}, r"field next_obs\[1, 0\]: expected obs\[2, 0\], of the same episode, 6.0, found 4.0"),
        ({"action": np.zeros((2, 1))}, r"field action: expected 3 rows, one a step, found 2"),
        ({"reward": np.zeros(0)}, r"field obs: expected at least 1 rows"),
        ({"obs": np.zeros(3)}, r"field obs: expected 2 dimensions, found shape \(3,\)"),
        ({"next_obs": np.zeros((3, 4))}, r"field next_obs: expected rows of shape \(2,\) as in obs, found \(4,\)"),
        ({"reward": np.zeros((3, 1))}, r"field reward: expected 1 dimension, found shape \(3, 1\)"),
        ({"reward": 1.0}, r"field reward: expected 1 dimension, found shape \(\)"),
        ({"action": np.array([["a"], ["b"], ["c"]])}, r"field action: expected numbers, found <U1"),
        ({"action": [[1.0], [2.0, 3.0], [4.0]]}, r"field action: expected an array, found .*inhomogeneous"),
        ({"action": np.zeros((3, 1), object)}, r"field action: expected numbers, found object"),
        ({"action": np.zeros((3, 1), complex)}, r"field action: expected numbers, found complex128"),
        ({"action": np.ma.array([[1], [2], [3]], mask=[[0], [1], [0]])}, r"field action\[1, 0\]: expected a value"),
        ({"state": np.zeros((3, 1))}, r"field next_state: expected beside the other, found none"),
        ({"state": np.zeros((3, 1)), "next_state": np.zeros((3, 2))}, r"field next_state: expected rows of shape \(1,\)"),
        ({"state": np.zeros((3, 2, 2)), "next_state": np.zeros((3, 2, 2))}, r"field state: expected 2 dimensions"),
        ({"card": {"task": "toy", "on": datetime.date(2026, 1, 1)}}, r"field card.on: expected what JSON has, found date \("),
        ({"card": {"task": "toy", "mean": float("nan")}}, r"field card.mean: expected what JSON has, found float \("),
        ({"card": {}}, r"field card.task: expected text, found None"),
        ({"card": None}, r"field card: expected an object, found NoneType"),
        ({"tolerance": -1.0}, r"tolerance: expected a number of at least 0, found -1.0"),
        ({"tolerance": "0.1"}, r"tolerance: expected a number of at least 0, found '0.1'"),
        ({"tolerance": float("nan")}, r"tolerance: expected a number of at least 0, found nan"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong, expected):
    with pytest.raises(UserError, match=f"^arrays: {expected}"):
        data.from_arrays(**arrays(**wrong))


def test_a_gap_is_told_in_one_short_line():
    rows = np.random.default_rng(0).normal(size=(37, 20_000)).astype(np.float32)
    low_level = {"state": np.zeros((36, 1)), "next_state": np.zeros((36, 1))}
    logs = {**walk(), **low_level, "obs": rows[:-1], "next_obs": spoiled(rows[1:], (30, 7), 9.0)}
    with pytest.raises(UserError, match=r"^arrays: field next_obs\[30, 7\]: expected obs\[31, 7\].{1,60}, found 9.0$"):
        data.from_arrays(**logs)


def test_a_mask_that_masks_nothing_is_none():
    plain = data.from_arrays(**arrays())
    masked = data.from_arrays(**arrays(action=np.ma.array(arrays()["action"]), truncated=np.ma.array([0, 1, 0], mask=False)))
    assert masked.digest == plain.digest and type(masked.action) is np.ndarray


def test_switches_are_numbers_as_well():
    assert data.from_arrays(**arrays(action=np.array([[True], [False], [True]]))).action.tolist() == [[1], [0], [1]]


# --- Numbers that stop being numbers


@pytest.mark.parametrize("field", ["obs", "next_obs", "action", "reward", "state"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_is_not_finite_is_named_by_its_own_row(field, value):
    given = walk() | {"state": walk()["obs"], "next_state": walk()["next_obs"]}
    place = r"\[30\]" if field == "reward" else r"\[30, 0\]"
    with pytest.raises(UserError, match=rf"^arrays: field {field}{place}: expected a finite number in float32, found "):
        data.from_arrays(**{**given, field: spoiled(given[field], 30, value)})


def test_a_few_bad_steps_fail_alone(tmp_path):
    """Segments of four steps, nine in all. Row 30 is of the eighth, and so is the step before it, which led there."""
    line = toy.line_task()
    task = replace(line, interfaces={"ohio": replace(line.interfaces["ohio"], steps=4)})
    bad = {**walk(), "obs": spoiled(walk()["obs"], 30), "reward": spoiled(walk()["reward"], 5, -np.inf)}
    logs = data.from_arrays(**bad, allow_nan=True)
    assert logs.card == {"task": "line", "nonfinite_steps": 3} and np.flatnonzero(~logs.finite).tolist() == [5, 29, 30]
    data.save(tmp_path / "logs.npz", logs)
    back = data.load(tmp_path / "logs.npz", "trajectories")
    clean, found = (relabel(x, task, "ohio", "analytic") for x in (data.from_arrays(**walk()), back))
    assert np.flatnonzero(found.status == FAILED).tolist() == [1, 7] and found.card["failed"] == 2
    assert np.flatnonzero(found.weight == 0).tolist() == [1, 7] and found.card["nonfinite_steps"] == 3
    others = np.isin(np.arange(9), [1, 7], invert=True)
    for name in ("obs", "action", "reward", "next_obs", "status", "residual"):
        np.testing.assert_array_equal(getattr(found, name)[others], getattr(clean, name)[others], err_msg=name)
    rewards = walk()["reward"]
    np.testing.assert_allclose(found.episode_return[0], rewards[:12].sum() - rewards[5])
    data.save(tmp_path / "found.npz", found)
    assert data.load(tmp_path / "found.npz", "transitions").digest == found.digest


def test_nothing_to_admit_leaves_the_card_alone():
    card = {"task": "line", "nonfinite_steps": 7, "rounded_steps": 2}  # of the logs they were taken from
    assert data.from_arrays(**{**walk(), "card": card}, allow_nan=True).card == {"task": "line", "rounded_steps": 2}


# --- Numbers that a file rounds, and numbers that float32 rounds


def test_rounded_next_observations_within_a_tolerance():
    exact, rounded = walk(), {**walk(), "next_obs": np.round(walk()["next_obs"], 4)}
    with pytest.raises(UserError, match=r"field next_obs\[0, 0\]: expected obs\[1, 0\], of the same episode"):
        data.from_arrays(**rounded)
    logs, clean = data.from_arrays(**rounded, tolerance=np.float32(1e-4)), data.from_arrays(**exact)
    inside = np.isin(np.arange(39), [12, 25, 38], invert=True)  # not the last of an episode
    np.testing.assert_array_equal(logs.obs[inside], clean.obs[inside])
    assert logs.card == {"task": "line", "rounded_steps": 33} and clean.card == {"task": "line"}
    # What lies farther away than tolerance * (1 + |obs|) is a gap all the same.
    at = exact["obs"][21, 0] + 9.0
    far = {**exact, "obs": exact["obs"] + 9.0, "next_obs": spoiled(exact["next_obs"] + 9.0, 20, at + 0.01)}
    least = 0.01 / (1.0 + at)
    assert data.from_arrays(**far, tolerance=1.01 * least).card["rounded_steps"] == 1
    with pytest.raises(UserError, match=r"field next_obs\[20, 0\]: expected obs\[21, 0\], of the same episode"):
        data.from_arrays(**far, tolerance=0.99 * least)


def stamped(stamps):
    """Logs that observe these 37 numbers one after the other."""
    stamps = np.asarray(stamps)[:, None]
    low_level = {"state": walk()["obs"], "next_state": walk()["next_obs"]}
    return {**walk(), **low_level, "obs": stamps[:-1], "next_obs": stamps[1:], "truncated": None}


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_times_since_1970_are_refused(kind):
    times = 1_700_000_000 + 60 * np.arange(37, dtype=kind)
    found = r"found 1700000000 to 1700002100, which it counts in steps of 128; take an offset off"
    with pytest.raises(UserError, match=rf"^arrays: field obs, column 0: expected numbers that float32 tells apart, {found}$"):
        data.from_arrays(**stamped(times))
    assert len(np.unique(data.from_arrays(**stamped(times - times[0])).obs)) == 37
    with pytest.raises(UserError, match=r"field state, column 1: expected numbers that float32 tells apart"):
        state = np.stack([np.zeros(37), np.float64(times)], axis=1)
        data.from_arrays(**{**walk(), "state": state[:-1], "next_state": state[1:]})


@pytest.mark.parametrize("marker", [0.0, -1.0, 3e9, np.nan, np.inf, -np.inf])
def test_a_number_that_stands_for_none_hides_no_times(marker):
    """A column whose range it widens, or which has none any more, holds times all the same."""
    times = 1_700_000_000 + 60 * np.arange(37.0)
    times[5] = marker
    found = r"found 17000000\d\d to 170000\d{4}, which it counts in steps of 128; take an offset off"
    with pytest.raises(UserError, match=rf"^arrays: field obs, column 0: expected numbers that float32 tells apart, {found}$"):
        data.from_arrays(**stamped(times), allow_nan=True)


@pytest.mark.parametrize(
    "numbers",
    [
        273.15 + 20.0 + 0.1 * np.sin(np.arange(37.0)),  # a room in Kelvin
        1_000_000.0 + np.arange(37),  # whole, and so exact
        1_700_000_000.0 + 128.0 * np.arange(37),
        np.where(np.arange(37) % 2, 9.81, np.nextafter(9.81, 10)),  # constant but for rounding
        1.0 - 0.9 ** np.arange(0.0, 37 * 8, 8),  # which settles
        np.where(np.arange(37) == 5, 0.0, 1_000_000.0 + np.arange(37)),
        np.where(np.arange(37) == 5, -1.0, 9.81),
        np.arange(37) * 1e-30,
    ],
)
def test_numbers_that_float32_serves_well_are_kept(numbers):
    np.testing.assert_allclose(np.ravel(data.from_arrays(**stamped(numbers)).obs), numbers, rtol=1e-7)


def test_lists_and_other_orders_of_bytes_are_arrays():
    logs = {name: array.tolist() if isinstance(array, np.ndarray) else array for name, array in arrays().items()}
    swapped = arrays(reward=arrays()["reward"].astype(">f8"), action=arrays()["action"].astype(">i8"))
    for given in (logs, swapped):
        found = data.from_arrays(**given)
        np.testing.assert_array_equal(found.reward, arrays()["reward"])
        np.testing.assert_array_equal(found.action, arrays()["action"])
        assert found.reward.dtype.isnative and found.action.dtype.isnative
