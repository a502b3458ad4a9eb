"""Files are whole or not there, whatever happens to the writer."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from ohio_jax import files


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
