"""Progress speaks on standard error only: a bar on a terminal, a line now and then elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from ohio_jax import progress as module
from ohio_jax.progress import progress

SCRIPT = """
from ohio_jax.progress import progress
with progress("train nyc", 40, "update", done=10) as bar:
    for _ in range(3):
        bar.update(10)
print("result")
"""


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_short_work_says_nothing_in_a_log():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("result\n", "")


def test_long_work_gives_a_line_every_ten_seconds(clock, capsys):
    with progress("collect", 1000, "episode") as bar:
        for _ in range(50):
            clock[0] += 1.0
            bar.update(20)
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 5
    assert lines[0] == "collect:  20% 200/1000 [00:10<00:40, 20.00 episode/s]"
    assert lines[-1] == "collect: 100% 1000/1000 [00:50<00:00, 20.00 episode/s]"


def test_the_rate_leaves_out_what_an_earlier_run_did(clock, capsys):
    with progress("train", 1000, "update", done=800) as bar:
        clock[0] += 10.0
        bar.update(100)
    assert capsys.readouterr().err == "train:  90% 900/1000 [00:10<00:10, 10.00 update/s]\n"


def test_a_terminal_sees_a_bar():
    reader, terminal = pty.openpty()
    done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=terminal, check=True)
    os.close(terminal)
    shown = b""
    try:
        while chunk := os.read(reader, 4096):
            shown += chunk
    except OSError:  # Linux reports the end of a terminal this way
        pass
    os.close(reader)
    assert done.stdout == b"result\n"
    assert "train nyc: 100%" in shown.decode()
    assert "40/40" in shown.decode()
    assert "update/s" in shown.decode()
