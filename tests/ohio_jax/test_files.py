"""Files are whole or not there, whatever happens to the writer."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time

import numpy as np
import pytest

from ohio_jax import files
from ohio_jax.errors import UserError


def visible(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def start(code: str, *arguments) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen) -> None:
    with process:
        os.kill(process.pid, signal.SIGKILL)


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    files.write_text(path, "één")
    assert path.read_bytes() == "één".encode()
    files.write_bytes(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert os.listdir(path.parent) == ["a.txt"]


def test_mode_follows_the_umask(tmp_path):
    before = os.umask(0o022)
    try:
        files.write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    files.write_bytes(path, b"old")

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("where", ["a", "folder"])
def test_an_error_of_the_disk_names_what_was_to_be_written(tmp_path, monkeypatch, where):
    """Not the temporary file, and not nothing, which is what the system says of a full disk."""

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        if where == "a":
            files.write_bytes(tmp_path / where, b"new")
        else:
            with files.new_folder(tmp_path / where) as part:
                (part / "b").write_bytes(b"new")
    assert caught.value.filename == str(tmp_path / where) and os.listdir(tmp_path) == []

    def read_only(path, *_):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(type(tmp_path), "open", read_only)
    monkeypatch.setattr(type(tmp_path), "mkdir", lambda path, **_: None if path == tmp_path else read_only(path))
    with pytest.raises(OSError, match="Read-only") as caught:
        if where == "a":
            files.write_bytes(tmp_path / where, b"new")
        else:
            with files.new_folder(tmp_path / where):
                pytest.fail("there is no such folder")
    assert caught.value.filename == str(tmp_path / where)


def test_json_round_trip(tmp_path):
    fields = {"name": "x", "returns": [[1.5, 2.0], [3.25, -4e30]], "none": None, "nested": {"é": [True]}}
    files.write_json(tmp_path / "a.json", fields)
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == fields
    assert len(text.splitlines()) == len(fields) + 2
    files.write_json(tmp_path / "empty.json", {})
    assert json.loads((tmp_path / "empty.json").read_text()) == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), [1.0, {"deep": float("-inf")}], np.float64("nan")])
def test_json_refuses_what_is_no_number(tmp_path, bad):
    files.write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(ValueError, match=r"a\.json"):
        files.write_json(tmp_path / "a.json", {"x": bad})
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_refuses_arrays(tmp_path):
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"x": np.zeros(2)})
    assert os.listdir(tmp_path) == []


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert files.sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_killed_before_the_rename_keeps_the_old_content(tmp_path):
    path = tmp_path / "a"
    files.write_bytes(path, b"old")
    code = """
import os, sys, time
from ohio_jax import files
os.fsync = lambda descriptor: (print("in the middle", flush=True), time.sleep(60))
files.write_bytes(sys.argv[1], b"new" * 100_000)
"""
    writer = start(code, path)
    assert writer.stdout.readline() == "in the middle\n"
    kill(writer)
    assert path.read_bytes() == b"old"
    assert visible(tmp_path) == ["a"]


@pytest.mark.parametrize("delay", [0.0, 0.013, 0.029, 0.071])
def test_killed_at_any_moment_leaves_a_whole_file(tmp_path, delay):
    path, size = tmp_path / "a", 3_000_000
    files.write_bytes(path, b"0" * size)
    code = """
import itertools, sys
from ohio_jax import files
print("started", flush=True)
for digit in itertools.cycle(b"123456789"):
    files.write_bytes(sys.argv[1], bytes([digit]) * int(sys.argv[2]))
"""
    writer = start(code, path, size)
    assert writer.stdout.readline() == "started\n"
    time.sleep(delay)
    kill(writer)
    content = path.read_bytes()
    assert len(content) == size
    assert len(set(content)) == 1
    assert visible(tmp_path) == ["a"]


# --- What a killed process leaves


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path):
    """Of its own target alone, and nothing that only looks like it."""
    others = [f".b.{'0' * 32}.part", ".a.mine.part", f"a.{'0' * 32}.part", f".a.{'0' * 31}z.part"]
    for name in (f".a.{'0' * 32}.part", f".a.{'f' * 32}.part", *others):
        (tmp_path / name).write_text("half")
    files.write_bytes(tmp_path / "a", b"whole")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a"])


def test_what_another_process_writes_is_left_alone(tmp_path):
    path = tmp_path / "a"
    code = """
import os, sys
from ohio_jax import files
sync = os.fsync
os.fsync = lambda descriptor: (print("in the middle", flush=True), sys.stdin.readline(), sync(descriptor))
files.write_bytes(sys.argv[1], b"slow")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "in the middle\n"
        files.write_bytes(path, b"quick")
        assert len(os.listdir(tmp_path)) == 2 and path.read_bytes() == b"quick"
        writer.communicate("\n", timeout=60)
    assert writer.returncode == 0 and path.read_bytes() == b"slow" and os.listdir(tmp_path) == ["a"]


def test_a_lock_leaves_nothing(tmp_path):
    """Neither its own file nor that of a killed command."""
    (tmp_path / ".a.lock").touch()
    with files.file_lock(tmp_path / "a"):
        assert os.listdir(tmp_path) == [".a.lock"]
    assert os.listdir(tmp_path) == []


def test_a_lock_keeps_others_out(tmp_path):
    """Also those that waited for a lock whose file its holder deleted: no two hold it at a time."""
    code = """
import os, sys
from ohio_jax import files
for _ in range(30):
    with files.file_lock(sys.argv[1]):
        os.mkdir(sys.argv[1])
        os.rmdir(sys.argv[1])
"""
    workers = [start(code, tmp_path / "a") for _ in range(2)]
    for worker in workers:
        with worker:
            assert worker.wait(timeout=60) == 0
    assert os.listdir(tmp_path) == []


# --- Whether a file can be written


@pytest.mark.parametrize("name", ["a", "new/folder/a", "../{folder}/a"])
def test_an_output_is_tried_and_nothing_stays(tmp_path, name):
    files.try_output(tmp_path / name.format(folder=tmp_path.name))
    assert os.listdir(tmp_path) == []


def test_a_kill_while_an_output_is_tried_leaves_nothing(tmp_path, monkeypatch):
    open_one, seen = tempfile.TemporaryFile, []

    def opened(**where):
        file = open_one(**where)
        seen.append(os.listdir(tmp_path))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", opened)
    files.try_output(tmp_path / "a")
    assert seen == [[]]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("folder", "expected a file to write, found a folder"),
        ("file/a", "Not a directory"),
        ("file/new/a", "Not a directory"),
        ("x" * 300, "File name too long"),
        ("x" * 230, "File name too long"),  # with what is added while it is written
        ("new/" + "x" * 300 + "/a", "File name too long"),
        ("a\0b", "null byte"),
        ("/proc/a", "No such file|Permission denied"),
    ],
)
def test_what_cannot_be_written(tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=words):
        files.try_output(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no file that is always full")
def test_a_full_disk_is_known_before_the_work(tmp_path, monkeypatch):
    """There files can be made, but not filled."""
    full = lambda dir, buffering: open("/dev/full", "wb", buffering=buffering)  # noqa: SIM115
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(UserError, match=r"a: expected a file that can be written, found: No space left on device"):
        files.try_output(tmp_path / "a")


def test_only_an_earlier_result_of_the_same_command_is_replaced(tmp_path):
    path, made = tmp_path / "a.npz", {"seed": 1, "settings": {"gains": (1.0, 2.0)}}
    files.check_replaceable(path, made)
    files.write_npz(path, {**made, "episodes": 4}, {"x": np.zeros(3)})
    files.check_replaceable(path, made)
    with pytest.raises(UserError, match=r"field card.seed: expected 2, found 1, .*give another name"):
        files.check_replaceable(path, made | {"seed": 2})
    np.savez(path, x=np.zeros(3))
    with pytest.raises(UserError, match="an earlier result of this command, found another; give another name"):
        files.check_replaceable(path, made)
