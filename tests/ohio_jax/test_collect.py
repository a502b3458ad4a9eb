"""Logs of the toy world: they are what was played, whichever call made them, and lie in memory once."""

import dataclasses
import os
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import collect as collection
from ohio_jax import data
from ohio_jax.collect import CHUNK, collect, collect_to
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from tests.ohio_jax import toy


def test_collected_returns_are_the_evaluated_ones():
    task = toy.line_task()
    episodes = CHUNK + 3
    logged = collect(task, "wander", episodes, 5)
    played = evaluate_policy(task, "wander", episodes, 5)
    np.testing.assert_allclose(logged.returns, played.returns, rtol=1e-5)
    assert logged.card["episodes"] == episodes and logged.card["behavior_policy"] == "wander"
    assert logged.truncated.sum() == episodes and not logged.terminated.any()
    # Each row of the log is the step the simulator would make.
    np.testing.assert_allclose(logged.state + logged.action, logged.next_state, atol=1e-6)
    np.testing.assert_allclose(logged.obs[logged.obs_index + 1], logged.next_state, atol=1e-6)


@pytest.fixture
def played(monkeypatch):
    """Notes every chunk that is played."""
    played = []
    monkeypatch.setattr(collection, "_log", lambda *given, log=collection._log: played.append(1) or log(*given))
    return played


@pytest.mark.parametrize("name", ["d", "d.npz"])
def test_a_killed_call_goes_on_from_its_chunks(tmp_path, monkeypatch, played, name):
    """The second of three is damaged meanwhile; chunks of another run are not taken for this one's."""
    task, episodes, path = toy.line_task(), 2 * CHUNK + 5, tmp_path / name
    for seed in (6, 5):
        with monkeypatch.context() as patch:
            patch.setattr(data, "write", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                collect_to(path, task, "wander", episodes, seed)
    parts = sorted((tmp_path / f".{name}.parts").iterdir())
    assert [part.name for part in parts] == ["000000-000064", "000064-000128", "000128-000133"]
    assert len(played) == 6 and not path.exists()
    file = parts[1] / "obs.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    again = collect_to(path, task, "wander", episodes, 5)
    assert len(played) == 7 and os.listdir(tmp_path) == [name]
    whole = collect(task, "wander", episodes, 5)
    assert again.digest == whole.digest and again.card | whole.card == again.card


def test_the_logs_lie_in_memory_once():
    """At most as large a part more of them as one field is, while its chunks are joined."""
    wide = lambda state: jnp.tile(toy.place(state), 1024)
    task, episodes = dataclasses.replace(toy.line_task(), controller_obs=wide, next_controller_obs=wide), 4 * CHUNK
    tracemalloc.start()
    try:
        logged = collect(task, "half", episodes, 5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(array.nbytes for array in logged.arrays.values())
    assert logged.state.shape == (6 * episodes, 1024)
    assert peak < size + 1.25 * logged.state.nbytes


def test_a_file_of_logs_and_what_lies_beside_it(tmp_path):
    """A killed call's chunks are taken up and removed; what they never were stays, whatever it is called."""
    task, episodes, path = toy.line_task(), CHUNK + 5, tmp_path / "d.npz"
    (tmp_path / "d.parts").mkdir()
    (tmp_path / "d.parts" / "000000-000064").write_text("precious")
    parts = tmp_path / ".d.npz.parts"
    (parts / "000064-000069").mkdir(parents=True)
    (parts / "000064-000069" / "obs.npy").write_text("half a chunk")
    (parts / f".000000-000064.{'0' * 32}.part").mkdir()
    whole = collect_to(path, task, "wander", episodes, 5)
    assert not parts.exists()
    assert data.load(path, "trajectories").digest == whole.digest == collect(task, "wander", episodes, 5).digest
    assert (tmp_path / "d.parts" / "000000-000064").read_text() == "precious"
    parts.mkdir()
    (parts / "notes.txt").write_text("mine")
    collect_to(path, task, "wander", CHUNK, 5)  # the same command, of fewer episodes
    assert [file.name for file in parts.iterdir()] == ["notes.txt"] and len(data.load(path, "trajectories").returns) == CHUNK


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_full_disk_keeps_what_was_finished_and_nothing_else(tmp_path, monkeypatch, chunks):
    task, path, sync = toy.line_task(), tmp_path / "d.npz", os.fsync
    first = tmp_path / ".d.npz.parts" / f"000000-{CHUNK:06d}"

    def full(descriptor):
        if first.exists() or not chunks:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            collect_to(path, task, "wander", 2 * CHUNK, 5)
    kept = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_dir())
    assert kept == [".d.npz.parts", f".d.npz.parts/{first.name}"][: 2 * chunks]
    assert str(tmp_path / ".d.npz.parts") in caught.value.filename
    collect_to(path, task, "wander", 2 * CHUNK, 5)
    assert [file.name for file in tmp_path.iterdir()] == ["d.npz"]


def test_what_is_not_collected():
    for episodes in (0, 2.0, 10**9):
        with pytest.raises(UserError, match=rf"^episodes: expected an integer from 1 to 1000000, found {episodes}"):
            collect(toy.line_task(), "half", episodes, 5)
    with jax.enable_x64(True), pytest.raises(UserError, match="jax_enable_x64: expected it unset, found it set"):
        collect(toy.line_task(), "half", 1, 5)


@pytest.mark.parametrize(("policy", "seed", "field"), [("half", 5, "behavior_policy"), ("wander", 6, "seed")])
def test_logs_of_another_run_are_not_lost(tmp_path, policy, seed, field):
    task, path = toy.line_task(), tmp_path / "d.npz"
    collect_to(path, task, "wander", 3, 5)
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"field card.{field}: expected .*, found .*; give another name"):
        collect_to(path, task, policy, 3, seed)
    data.save(path, dataclasses.replace(data.load(path, "trajectories"), card={"task": "line"}))  # somebody's own
    with pytest.raises(UserError, match="give another name"):
        collect_to(path, task, "wander", 3, 5)
    path.write_bytes(before[:-100])
    with pytest.raises(UserError, match="found another; give another name"):
        collect_to(path, task, "wander", 3, 5)
    assert path.read_bytes() == before[:-100] and [file.name for file in tmp_path.iterdir()] == ["d.npz"]
