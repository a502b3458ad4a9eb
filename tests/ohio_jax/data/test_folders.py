"""Data sets as folders: what is in memory and in a file, chunk by chunk; and what is damaged is named when it is read."""

import hashlib
import json
import os
import shutil
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.data import arrays, folders, mapped
from ohio_jax.data.mapped import Mapped
from ohio_jax.errors import UserError
from ohio_jax.files import CARD
from tests.ohio_jax.data.logs import trajectories, transitions

GIVEN = {"trajectories": trajectories, "transitions": transitions}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Two rows of four numbers in float32."""
    monkeypatch.setattr(mapped, "CHUNK", 32)


@pytest.mark.parametrize("kind", GIVEN)
def test_a_folder_holds_what_a_file_does(tmp_path, kind):
    given = GIVEN[kind]()
    assert data.save(tmp_path / "d", given) == data.save(tmp_path / "d.npz", given) == given.digest
    folder, file = (data.load(tmp_path / name, kind) for name in ("d", "d.npz"))
    assert folder.digest == given.digest and folder.card == file.card
    for name, array in given.arrays.items():
        stored = getattr(folder, name)
        assert isinstance(stored, Mapped if array.ndim > 1 else np.ndarray)
        np.testing.assert_array_equal(stored, array, err_msg=name)
        assert (stored.dtype, stored.shape, stored.nbytes) == (array.dtype, array.shape, array.nbytes)
    # And back.
    assert data.save(tmp_path / "e.npz", folder) == data.save(tmp_path / "e", folder) == given.digest
    for name, array in folder.as_dict().items():
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, given.as_dict()[name])


@pytest.mark.parametrize(
    "index",
    [
        slice(None),
        slice(3, 8),
        slice(8, 3),
        slice(-4, None),
        slice(0, 9, 3),
        3,
        -1,
        (2, 1),
        np.array([4, 5, 4, 7]),
        np.array([[0, 1], [1, 2]]),
        np.array([0, 19]),
        np.array([[19], [0]], np.int32),
        np.array([-1, 3]),
        np.zeros(0, int),
        np.arange(20) % 7 == 0,
        [1, 2],
    ],
)
def test_what_is_asked_of_an_array_in_a_file(tmp_path, index):
    array = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    folders.write(tmp_path / "d", {"x": [array[:3], array[3:]]}, lambda arrays: {})
    stored = folders.read(tmp_path / "d")[1]["x"]
    found = stored[index]
    assert found.dtype == array.dtype and not isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, array[index])


def test_pieces_do_not_matter(tmp_path):
    """Nor do they where blocks of another type come later: these are refused, and nothing is left."""
    array = np.arange(24.0).reshape(12, 2)
    for name, cuts in {"a": [12], "b": [1, 5, 12], "c": [6, 12]}.items():
        parts = np.split(array, cuts[:-1])
        folders.write(tmp_path / name, {"x": iter(parts)}, lambda arrays: {})
    contents = [{file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in "abc"]
    assert contents[0] == contents[1] == contents[2]
    np.testing.assert_array_equal(np.load(tmp_path / "a" / "x.npy"), array)
    for bad in (array.astype(np.float32), array[:, :1]):
        with pytest.raises(UserError, match=r"row 12: expected rows of .* like those before, found"):
            folders.write(tmp_path / "d", {"x": [array, bad]}, lambda arrays: {})
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"]


# --- Damage


@pytest.fixture
def stored(tmp_path):
    data.save(tmp_path / "d", trajectories())
    return tmp_path / "d"


def flip(path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0xFF
    path.write_bytes(raw)


def test_a_chunk_is_checked_when_it_is_read(stored):
    """Nine rows of observations in chunks of two, of which the third is damaged."""
    flip(stored / "obs.npy", -80)
    logs = data.load(stored, "trajectories")
    words = r"d/obs\.npy: chunk 2 \(rows 4 to 5\): damaged, or of another data set: expected SHA-256 \w+, found \w+$"
    np.testing.assert_array_equal(logs.obs[:4], trajectories().obs[:4])
    np.testing.assert_array_equal(logs.obs[np.array([0, 8])], trajectories().obs[[0, 8]])
    for rows in (slice(3, 5), np.array([0, 4, 8]), slice(None)):
        with pytest.raises(UserError, match=words):
            logs.obs[rows]
    with pytest.raises(UserError, match=words):
        data.verify(stored)


@pytest.mark.parametrize("name", ["obs", "action", "reward", "offset", "terminated"])
def test_any_byte_of_any_file(stored, name):
    """Of the header and of the last row; what every use reads is checked as the data set is opened."""
    path = stored / f"{name}.npy"
    good = path.read_bytes()
    for place in (*range(0, 118, 13), len(good) - 1):
        flip(path, place)
        with pytest.raises(UserError, match=rf"d/{name}\.npy: "):
            data.verify(stored)
        if good[:128] == path.read_bytes()[:128] and name not in ("obs", "action"):
            with pytest.raises(UserError, match=rf"d/{name}\.npy: chunk \d+ "):
                data.load(stored, "trajectories")
        path.write_bytes(good)
    for content in (good[:-1], good + b"x", good[:100], b"", b"x" * 999):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"d/{name}\.npy: expected "):
            data.load(stored, "trajectories")
    path.unlink()
    with pytest.raises(UserError, match=rf"d/{name}\.npy: expected an array in NumPy's format, found .*No such file"):
        data.load(stored, "trajectories")


def test_a_file_or_a_card_of_another_data_set(stored, tmp_path):
    data.save(tmp_path / "other", trajectories(seed=1))
    shutil.copytree(stored, tmp_path / "mixed")
    shutil.copy(tmp_path / "other" / CARD, tmp_path / "mixed" / CARD)
    with pytest.raises(UserError, match=r"mixed/reward\.npy: chunk 0 .*of another data set"):
        data.load(tmp_path / "mixed", "trajectories")
    shutil.copy(stored / CARD, tmp_path / "mixed" / CARD)
    shutil.copy(tmp_path / "other" / "state.npy", tmp_path / "mixed" / "state.npy")
    with pytest.raises(UserError, match=r"mixed/state\.npy: chunk 0 .*of another data set"):
        data.verify(tmp_path / "mixed")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "0" * 64}, r"d: field card\.sha256: arrays are damaged"),
        ({"format": 4}, r"d: field card\.format: expected 1 to 3, found 4"),
        ({"kind": "transitions"}, r"d: field card\.kind: expected 'trajectories', found 'transitions'"),
        ({"arrays": {}}, r"d: fields: expected "),
        ({"arrays": 3}, r"d/card\.json: field arrays: expected SHA-256 and chunks"),
        ({"arrays": {"../x": {"sha256": "", "rows": 1, "chunks": []}}}, r"d/card\.json: field arrays: expected"),
        ({"arrays": {"x": {"sha256": "", "rows": 0, "chunks": []}}}, r"d/card\.json: field arrays: expected"),
        ({"arrays": {"obs": {"sha256": "", "rows": 1, "chunks": []}}}, r"d/obs\.npy: expected 0 chunks of 1 rows"),
    ],
)
def test_cards_that_say_something_else(stored, change, words):
    card = json.loads((stored / CARD).read_text()) | change
    del card["card_sha256"]
    sealed = hashlib.sha256(json.dumps(card, sort_keys=True).encode()).hexdigest()
    (stored / CARD).write_text(json.dumps({**card, "card_sha256": sealed}))
    with pytest.raises(UserError, match=words):
        data.load(stored, "trajectories")


def test_any_byte_of_a_card(stored):
    good = (stored / CARD).read_bytes()
    for place in range(0, len(good), len(good) // 40):
        flip(stored / CARD, place)
        with pytest.raises(UserError, match=r"d/card\.json: "):
            data.load(stored, "trajectories")
        (stored / CARD).write_bytes(good)
    (stored / CARD).write_bytes(good.replace(b'"toy"', b'"boy"'))
    with pytest.raises(UserError, match=r"d/card\.json: field card_sha256: damaged, expected \w+, found \w+$"):
        data.load(stored, "trajectories")


def test_folders_that_are_no_data_set(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match=r"d/card\.json: expected a readable file"):
        data.load(tmp_path / "d", "trajectories")
    for text in ("{", "[]", "3"):
        (tmp_path / "d" / CARD).write_text(text)
        with pytest.raises(UserError, match=r"d/card\.json: expected "):
            data.load(tmp_path / "d", "trajectories")


def test_numbers_that_no_data_set_holds_under_right_hashes(tmp_path):
    """Whoever wrote them: what is read in part is looked at in part."""
    good = trajectories()
    obs = good.obs.copy()
    obs[5, 1] = np.nan
    bad = replace(good, obs=obs)
    card = {**bad.card, "kind": "trajectories", "format": 3, "sha256": bad.digest}
    folders.write(tmp_path / "d", {name: [array] for name, array in bad.arrays.items()}, lambda arrays: card)
    logs = data.load(tmp_path / "d", "trajectories")
    np.testing.assert_array_equal(logs.obs[:4], obs[:4])
    with pytest.raises(UserError, match=r"d: field obs\[5, 1\]: expected a finite number in float32, found nan"):
        logs.obs[4:6]
    with pytest.raises(UserError, match=r"d: field obs\[5, 1\]: expected a finite number"):
        data.verify(tmp_path / "d")
    data.save(tmp_path / "e", replace(bad, card={**good.card, "nonfinite_steps": 1}))
    assert data.verify(tmp_path / "e")[0].card["nonfinite_steps"] == 1


# --- Writing


def test_blocks_that_make_no_data_set_leave_nothing(tmp_path):
    good = trajectories()
    arrays = {name: [array] for name, array in good.arrays.items()} | {"obs": [good.obs[:4], good.obs[4:] * np.inf]}
    with pytest.raises(UserError, match=r"new: field obs\[4, 0\]: expected a finite number in float32, found -?inf"):
        data.write(tmp_path / "new", data.Trajectories, arrays, lambda logs: good.card)
    assert os.listdir(tmp_path) == []


def test_an_earlier_folder_is_replaced_as_a_whole(stored):
    data.save(stored, trajectories((2, 2), seed=3))
    assert data.verify(stored)[0].offset.tolist() == [0, 2, 4] and os.listdir(stored.parent) == ["d"]


def test_memory_does_not_grow_with_the_data(tmp_path, monkeypatch):
    """Sixteen episodes of 4 MB, joined and read in part: a few chunks of 1 MB at a time."""
    monkeypatch.setattr(mapped, "CHUNK", 1 << 20)
    rng = np.random.default_rng(0)

    def part() -> data.Trajectories:
        given = trajectories((256,))
        wide = {name: rng.normal(size=(256, 2048)).astype(np.float32) for name in ("state", "next_state")}
        return replace(given, **wide)

    for number in range(16):
        data.save(tmp_path / f"part{number}", part())
    parts = [data.load(tmp_path / f"part{number}", "trajectories") for number in range(16)]
    tracemalloc.start()
    try:
        data.write(tmp_path / "whole", data.Trajectories, data.columns(parts), lambda logs: parts[0].card)
        data.verify(tmp_path / "whole")
        whole = data.load(tmp_path / "whole", "trajectories")
        some = whole.episodes(7, 9)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert whole.state.nbytes == 16 * 2**21 and peak < 0.4 * whole.state.nbytes
    np.testing.assert_array_equal(some.state[256:], parts[8].state)
    np.testing.assert_array_equal(some.obs, np.concatenate([parts[7].obs, parts[8].obs]))
    assert some.offset.tolist() == [0, 256, 512]


def test_a_data_set_that_is_checked_again_is_not_read_again(tmp_path, monkeypatch):
    """What is asked later is asked of chunks that were read before as well."""
    data.save(tmp_path / "d", transitions())
    stored = data.load(tmp_path / "d", "transitions")
    np.asarray(stored.obs)
    with monkeypatch.context() as patch:
        patch.setattr(Mapped, "_read", lambda *given: pytest.fail("was read"))
        stored.check("again")
    assert len(stored.obs._checks) == 1 and not stored.obs._unread
    arrays.check_range("d", "obs", stored.obs, 0.0, -1.0, "nothing")
    with pytest.raises(UserError, match=r"^d: field obs\[0, 0\]: expected nothing"):
        stored.obs[:1]
