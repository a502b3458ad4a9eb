"""Datasets: what is saved comes back, and what is damaged is refused with the file and the field."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax import data
from ohio_jax.data import arrays as module
from ohio_jax.data import mapped
from ohio_jax.errors import UserError
from tests.ohio_jax.data.logs import trajectories


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
    with pytest.raises(UserError, match=r"none\.npz: expected a readable file, found No such file or directory"):
        data.load(tmp_path / "none.npz", "trajectories")
    np.savez(tmp_path / "twice.npz", card=np.array('{"format": 3, "format": 3}'))
    with pytest.raises(UserError, match=r"twice\.npz: damaged or no dataset \(UserError: field 'format': expected once"):
        data.load(tmp_path / "twice.npz", "trajectories")


# --- Digests


def test_the_digest_is_the_files(tmp_path):
    logs = trajectories()
    assert data.save(tmp_path / "d.npz", logs) == logs.digest
    back = data.load(tmp_path / "d.npz", "trajectories")
    assert back.digest == back.card["sha256"] == logs.digest
    # Whatever the order of bytes in memory.
    assert dataclasses.replace(logs, action=np.asfortranarray(logs.action)).digest == logs.digest


def test_the_digest_does_not_know_names_or_pieces(monkeypatch):
    @dataclasses.dataclass
    class Renamed(module.Arrays):
        seen: np.ndarray
        done: np.ndarray
        card: dict

    @dataclasses.dataclass
    class Named(module.Arrays):
        obs: np.ndarray
        action: np.ndarray
        card: dict

    obs, action = np.arange(12.0).reshape(6, 2), np.zeros((0, 3), np.int32)
    whole = Named(obs, action, {"a": 1}).digest
    assert Renamed(obs, action, {}).digest == whole
    monkeypatch.setattr(mapped, "CHUNK", 40)
    assert Named(obs, action, {}).digest == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda x: {"reward": -x.reward},
        lambda x: {"reward": x.reward.astype(np.float64)},
        lambda x: {"action": x.action.reshape(-1, 4)},
        lambda x: {"state": x.next_state, "next_state": x.state},
    ],
)
def test_the_digest_sees_every_change(change):
    logs = trajectories()
    assert dataclasses.replace(logs, **change(logs)).digest != logs.digest


def old_file(path, dataset, **card) -> str:
    """Writes a file of format 1; returns its digest."""
    arrays = dataset.arrays
    sha = hashlib.sha256()
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}\n".encode() + arrays[name].tobytes())
    card = {**dataset.card, "format": 1, "kind": "trajectories", "sha256": sha.hexdigest(), **card}
    np.savez_compressed(path, card=np.array(json.dumps(card)), **arrays)
    return sha.hexdigest()


def test_files_of_format_1_are_read(tmp_path):
    logs = trajectories()
    old = old_file(tmp_path / "old.npz", logs)
    back = data.load(tmp_path / "old.npz", "trajectories")
    assert back.card["sha256"] == back.digest == logs.digest and back.card["sha256_v1"] == old
    # What is made again is known to be what they hold.
    data.save(tmp_path / "new.npz", logs)
    assert data.load(tmp_path / "new.npz", "trajectories").card["sha256_v1"] == old
    old_file(tmp_path / "bad.npz", dataclasses.replace(logs, reward=-logs.reward), sha256=old)
    with pytest.raises(UserError, match=r"bad\.npz: field card\.sha256: arrays are damaged, expected "):
        data.load(tmp_path / "bad.npz", "trajectories")
    old_file(tmp_path / "later.npz", logs, format=4)
    with pytest.raises(UserError, match=r"later\.npz: field card\.format: expected 1 to 3, found 4"):
        data.load(tmp_path / "later.npz", "trajectories")
