"""What no data set holds: refused in one line by `save`, before anything is written, and by `load`, under a right digest."""

import datetime
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.data.arrays import digest_v1
from ohio_jax.errors import UserError
from tests.ohio_jax.data.logs import sealed, trajectories, transitions

GIVEN = {"trajectories": trajectories, "transitions": transitions}
# Six steps of three episodes, of three, one and two steps.
WRONG_LOGS = [
    ("obs", np.zeros((9, 4, 1)), r"field obs: expected 2 dimensions, found shape \(9, 4, 1\)"),
    ("obs", np.zeros((9, 0)), r"field obs: expected rows of at least 1 number, found shape \(9, 0\)"),
    ("obs", np.zeros((6, 4)), r"field obs: expected 9 rows, of 6 steps and 3 episodes, found 6"),
    ("state", np.zeros((6, 2), object), r"field state: expected numbers, found object"),
    ("state", np.full((6, 2), 2**40), r"field state\[0, 0\]: expected a whole number of 32 bits, found 1099511627776"),
    ("next_state", np.zeros((6, 3)), r"field next_state: expected rows of shape \(2,\) as in state, found \(3,\)"),
    ("action", np.full((6, 2, 2), "a"), r"field action: expected numbers, found <U1"),
    ("action", np.zeros((5, 2, 2)), r"field action: expected 6 rows as in reward, found 5"),
    ("reward", np.zeros((6, 1)), r"field reward: expected 1 dimension, found shape \(6, 1\)"),
    ("reward", np.array(1.0), r"field reward: expected 1 dimension, found shape \(\)"),
    ("reward", np.zeros(6, complex), r"field reward: expected numbers, found complex128"),
    ("reward", np.array([0, np.nan, 0, 0, 0, 0]), r"field reward\[1\]: expected a finite number in float32, found nan"),
    ("reward", np.full(6, 1e300), r"field reward\[0\]: expected a finite number in float32, found 1e\+300"),
    ("reward", np.full(6, np.inf, np.float16), r"field reward\[0\]: expected a finite number in float32, found inf"),
    ("first_reward", np.zeros(2), r"field first_reward: expected 3 rows, of 6 steps and 3 episodes, found 2"),
    ("terminated", np.zeros(6, int), r"field terminated: expected true or false, found int64"),
    ("terminated", np.arange(6) == 4, r"field terminated\[4\]: expected ends at episodes' last rows, found one inside"),
    ("truncated", np.ones(6, bool), r"field truncated\[0\]: expected ends at episodes' last rows, found one inside"),
    ("offset", np.array([0.0, 3.0, 4.0, 6.0]), r"field offset: expected whole numbers, found float64"),
    ("offset", np.array([0, 3, 3, 6]), r"field offset: expected increasing from 0 to 6, found \[0, 3, 3, 6\]"),
    ("offset", np.array([0, 9, 3, 6]), r"field offset: expected increasing from 0 to 6"),
]
# Six transitions of two episodes, of up to four steps each.
WRONG_TRANSITIONS = [
    ("obs", np.zeros((6, 4, 1)), r"field obs: expected 2 dimensions"),
    ("next_obs", np.zeros((6, 3)), r"field next_obs: expected rows of shape \(4,\) as in obs, found \(3,\)"),
    ("action", np.zeros(6), r"field action: expected at least 2 dimensions, found shape \(6,\)"),
    ("action", np.full((6, 2), np.inf), r"field action\[0, 0\]: expected a finite number in float32, found inf"),
    ("reward", np.zeros(6, complex), r"field reward: expected numbers, found complex128"),
    ("elapsed", np.array([4, 4, 0, 4, 4, 4]), r"field elapsed\[2\]: expected 1 to 4, the steps of card.steps, found 0"),
    ("elapsed", np.full(6, 5), r"field elapsed\[0\]: expected 1 to 4, the steps of card.steps, found 5"),
    ("elapsed", np.ones(6), r"field elapsed: expected whole numbers, found float64"),
    ("terminal", np.ones(6), r"field terminal: expected true or false, found float64"),
    ("weight", np.full(6, "1"), r"field weight: expected numbers, found <U1"),
    ("weight", np.array([1.0, -1.0, 1, 1, 1, 1]), r"field weight\[1\]: expected a number of at least 0, found -1.0"),
    ("weight", np.zeros(6), r"field weight: expected some above 0, found none"),
    ("weight", np.full(6, np.nan), r"field weight\[0\]: expected a finite number in float32, found nan"),
    ("residual", np.full(6, -0.5), r"field residual\[0\]: expected a number of at least 0, found -0.5"),
    ("status", np.array([0, 1, 2, 3, 4, 0]), r"field status\[4\]: expected a code from 0 to 3, found 4"),
    ("episode", np.array([0, 0, 1, 0, 1, 1]), r"field episode\[3\]: expected no less than the row before, found 0"),
    ("episode", np.arange(6), r"field episode\[2\]: expected 0 to 1, a row of episode_return, found 2"),
    ("episode", np.arange(6) - 1, r"field episode\[0\]: expected 0 to 1, a row of episode_return, found -1"),
    ("episode_return", np.array([0.0, np.nan]), r"field episode_return\[1\]: expected a finite number in float32, found nan"),
    ("episode_return", np.zeros(3), r"field episode_return: expected 2 rows, one an episode, found 3"),
]
WRONG_CARDS = [
    ("trajectories", {"task": 5}, r"field card.task: expected text, found 5"),
    ("trajectories", {"task": None}, r"field card.task: expected text, found None"),
    ("trajectories", {"settings": []}, r"field card.settings: expected an object, found \[\]"),
    ("trajectories", {"corruption": None}, r"field card.corruption: expected a list, found None"),
    ("trajectories", {"nonfinite_steps": 2}, r"field card.nonfinite_steps: expected 0, as there are, found 2"),
    ("trajectories", {"nonfinite_steps": -1}, r"field card.nonfinite_steps: expected a whole number from 0 on, found -1"),
    ("transitions", {"interface": ["ohio"]}, r"field card.interface: expected text, found \['ohio'\]"),
    ("transitions", {"interface": None}, r"field card.interface: expected text, found None"),
    ("transitions", {"steps": "5"}, r"field card.steps: expected a whole number from 1 on, found '5'"),
    ("transitions", {"steps": 0}, r"field card.steps: expected a whole number from 1 on, found 0"),
    ("transitions", {"steps": True}, r"field card.steps: expected a whole number from 1 on, found True"),
    ("transitions", {"note": float("nan")}, r"field card.note: expected what JSON has, found float"),
]


def refused(call, *arguments) -> str:
    """The one line of the UserError that a call ends in."""
    with pytest.raises(UserError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 700, message
    return message


@pytest.mark.parametrize(
    ("kind", "field", "value", "expected"),
    [*(("trajectories", *case) for case in WRONG_LOGS), *(("transitions", *case) for case in WRONG_TRANSITIONS)],
)
def test_arrays_that_no_data_set_has(tmp_path, kind, field, value, expected):
    wrong = replace(GIVEN[kind](), **{field: value})
    for name in ("new.npz", "new"):
        with pytest.raises(UserError, match=rf"{name}: {expected}"):
            data.save(tmp_path / name, wrong)
    assert not list(tmp_path.iterdir())
    if value.dtype.kind == "O":
        return  # no file holds these
    sealed(tmp_path / "d.npz", wrong)
    assert len(refused(data.load, tmp_path / "d.npz", kind)) < 300
    if value.ndim and value.dtype.kind in "biuf":  # others are not even hashed, and of old files all of these are seen first
        with pytest.raises(UserError, match=rf"d\.npz: {expected}"):
            data.load(tmp_path / "d.npz", kind)


@pytest.mark.parametrize(("kind", "changes", "expected"), WRONG_CARDS)
def test_cards_that_no_data_set_has(tmp_path, kind, changes, expected):
    good = GIVEN[kind]()
    with pytest.raises(UserError, match=rf"new\.npz: {expected}"):
        data.save(tmp_path / "new.npz", replace(good, card={**good.card, **changes}))
    assert not list(tmp_path.iterdir())
    sealed(tmp_path / "d.npz", good, **changes)
    with pytest.raises(UserError, match=rf"d\.npz: {expected}"):
        data.load(tmp_path / "d.npz", kind)


def test_a_card_is_an_object_of_json(tmp_path):
    good = trajectories()
    dated = replace(good, card={**good.card, "recorded": datetime.date(2026, 1, 1)})
    with pytest.raises(UserError, match=r"field card.recorded: expected what JSON has, found date \(Object of type date is not"):
        data.save(tmp_path / "new.npz", dated)
    assert not list(tmp_path.iterdir())
    for text, found in {"null": "None", "[]": r"\[\]", '"x"': "'x'", "5": "5"}.items():
        np.savez(tmp_path / "d.npz", card=np.array(text), **good.arrays)
        with pytest.raises(UserError, match=rf"d\.npz: field card: expected an object, found {found}$"):
            data.load(tmp_path / "d.npz", "trajectories")
    for version in (None, True, [], 4, "3"):
        sealed(tmp_path / "d.npz", good, format=version)
        assert "field card.format: expected 1 to 3, found " in refused(data.load, tmp_path / "d.npz", "trajectories")
    for text in ("[" * 5000, "{", "1" * 5000):
        np.savez(tmp_path / "d.npz", card=np.array(text), **good.arrays)
        assert "damaged or no dataset" in refused(data.load, tmp_path / "d.npz", "trajectories")


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("field", ["task", "kind", "sha256", "format"])
def test_a_field_that_a_card_lacks_is_named(tmp_path, kind, field):
    good = GIVEN[kind]()
    sealed(tmp_path / "d.npz", good)
    with np.load(tmp_path / "d.npz") as file:
        card = json.loads(str(file["card"]))
    del card[field]
    np.savez(tmp_path / "d.npz", card=np.array(json.dumps(card)), **good.arrays)
    assert f"d.npz: field card.{field}: " in refused(data.load, tmp_path / "d.npz", kind)


def test_messages_about_damaged_files_are_short(tmp_path):
    """A header of 8,000 characters, one of 256 TiB, and entries that are no arrays."""
    path, header = tmp_path / "d.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**45,)})
    long = b"{'descr': '<f8', 'fortran_order': False, 'shape': (" + 4000 * b"1," + b")}\n"
    entries = [
        {"reward.npy": b"\x93NUMPY\x01\x00" + len(long).to_bytes(2, "little") + long},
        {"reward.npy": header.getvalue()},
        {"word/document.xml": b"<x/>"},
        {"card.npy": b"x"},
    ]
    for content in entries:
        with zipfile.ZipFile(path, "w") as file:
            for name, text in content.items():
                file.writestr(name, text)
        assert "d.npz: damaged or no dataset (" in refused(data.load, path, "trajectories")
    sealed(path, trajectories())
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("text\n" * 100, b"no array")
    refused(data.load, path, "trajectories")


def test_no_transitions_at_all(tmp_path):
    for kind, good in GIVEN.items():
        nothing = replace(good(), **{name: array[:0] for name, array in good().arrays.items()})
        sealed(tmp_path / "d.npz", nothing)
        message = refused(data.load, tmp_path / "d.npz", kind)
        assert "field obs: expected at least 1 row, found none" in message
        assert message.replace("d.npz", "e.npz") == refused(data.save, tmp_path / "e.npz", nothing)


def test_a_discount_of_old_files_is_an_end_or_none(tmp_path):
    arrays = {("goal" if name == "action" else name): array for name, array in transitions().arrays.items()}
    for name in ("elapsed", "terminal"):
        del arrays[name]
    for discount, expected in ((np.full(6, 7.0), "field discount[0]: expected 0 or 1, found 7.0"), (np.ones(6), None)):
        given = {**arrays, "discount": discount}
        card = {"task": "toy", "space": "ohio", "steps": 4, "format": 1, "kind": "transitions", "sha256": digest_v1(given)}
        np.savez(tmp_path / "old.npz", card=np.array(json.dumps(card)), **given)
        if expected:
            assert expected in refused(data.load, tmp_path / "old.npz", "transitions")
        else:
            assert data.load(tmp_path / "old.npz", "transitions").card["interface"] == "ohio"


# --- Steps that were admitted though they are not finite


def test_as_many_bad_steps_as_the_card_says(tmp_path):
    good = trajectories((3, 3))
    obs, reward = good.obs.copy(), good.reward.copy()
    obs[1], reward[5] = np.nan, np.inf  # of the first and second step's observations, and of the last step
    bad = replace(good, obs=obs, reward=reward)
    assert bad.finite.tolist() == [False, False, True, True, True, False]
    np.testing.assert_allclose(bad.returns, [good.returns[0], good.returns[1] - good.reward[5]])
    with pytest.raises(UserError, match=r"field obs\[1, 0\]: expected a finite number in float32, found nan"):
        data.save(tmp_path / "d.npz", bad)
    with pytest.raises(UserError, match=r"field card.nonfinite_steps: expected 3, as there are, found 2"):
        data.save(tmp_path / "d.npz", replace(bad, card={**good.card, "nonfinite_steps": 2}))
    data.save(tmp_path / "d.npz", replace(bad, card={**good.card, "nonfinite_steps": 3}))
    back = data.load(tmp_path / "d.npz", "trajectories")
    for name, array in bad.arrays.items():
        np.testing.assert_array_equal(getattr(back, name), array, err_msg=name)


def test_an_episode_without_a_flag_ends_without_a_true_end():
    good = trajectories((3, 1, 2))
    none = replace(good, truncated=np.zeros(6, bool))
    none.check("logs")
    assert none.as_dict()["timeouts"].tolist() == [False, False, True, True, False, True]
    assert not none.as_dict()["terminals"].any()


def test_both_ends_at_once_are_a_true_end():
    good = trajectories((3, 3))
    both = replace(good, terminated=good.truncated)
    both.check("logs")
    assert both.as_dict()["terminals"].tolist() == good.truncated.tolist() and not both.as_dict()["timeouts"].any()
