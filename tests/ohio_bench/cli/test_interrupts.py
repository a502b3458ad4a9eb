"""Ctrl-C and SIGTERM on the command as it runs: one line, what was done is kept, and the same command ends as if undisturbed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ohio_bench import cli
from ohio_bench.cli import arguments
from ohio_envs import registry

from ohio_jax import data, interrupts
from ohio_jax.collect import collect

SMALL = "routing-synthetic --set regions=4,horizon=5 --policy dtv"


def typed(line: str) -> list[str]:
    return [sys.executable, "-m", "ohio_bench", *line.split()]


def interrupted(line: str, folder: Path, begun: Callable[[str], bool], number: int, times: int = 1) -> tuple[int, list[str]]:
    """Exit code and messages of a command that gets so many signals once it has begun, as its messages up to then say."""
    with tempfile.TemporaryFile("w+") as err:
        said = lambda: os.pread(err.fileno(), 2**20, 0).decode()
        with subprocess.Popen(typed(line), cwd=folder, stdout=subprocess.DEVNULL, stderr=err) as process:
            end = time.monotonic() + 120
            while not begun(said()) and process.poll() is None and time.monotonic() < end:
                time.sleep(0.05)
            for _ in range(times):
                process.send_signal(number)
                time.sleep(0.01)
            process.wait(timeout=120)
        return process.returncode, [line for line in said().splitlines() if "%" not in line]  # without progress


def test_collecting(tmp_path):
    line = f"collect {SMALL} --episodes 1000 --out cut.npz"
    code, said = interrupted(line, tmp_path, lambda _: (tmp_path / ".cut.npz.parts").exists(), signal.SIGTERM)
    assert (code, said) == (143, ["ohio-jax collect: interrupted; the same command goes on"])
    assert [path.name for path in tmp_path.iterdir()] == [".cut.npz.parts"]
    assert cli.main(cli.parser().parse_args(line.replace("cut.npz", str(tmp_path / "cut.npz")).split())) == 0
    task = registry.make("routing-synthetic", regions=4, horizon=5)
    whole = collect(task, "dtv", 1000, 0)
    assert data.load(tmp_path / "cut.npz", "trajectories").digest == whole.digest
    assert [path.name for path in tmp_path.iterdir()] == ["cut.npz"]


def test_training(command, tmp_path):
    """Twenty times Ctrl-C."""
    for line in (f"collect {SMALL} --episodes 8 --out d.npz", "invert d.npz --out g.npz"):
        assert command(line)[0] == 0
    line = "train g.npz --learner bc --seeds 1 --hidden 8 --updates 1000000 --out run"
    code, said = interrupted(line, tmp_path, lambda said: "%" in said, signal.SIGINT, times=20)
    assert (code, said) == (130, ["ohio-jax train: interrupted; the same command goes on"])
    (kept,) = (tmp_path / "run" / "checkpoint").iterdir()
    assert int(kept.name) > 0


def test_a_signal_that_could_not_be_raised_is_raised_before_the_result(monkeypatch, capsys):
    """As one while modules are imported, which is all that `list` does."""
    monkeypatch.setattr(interrupts, "_first", signal.SIGTERM)
    with pytest.raises(interrupts.Interrupted):
        arguments.say("a result")
    assert capsys.readouterr().out == ""


LATE = """
import os, sys

class Late:
    def __del__(self, kill=os.kill, process=os.getpid()):
        kill(process, {number})

late, sys.argv = Late(), ["ohio-jax", "list"]
from ohio_bench.__main__ import run
run()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_interpreter_is_taken_down_is_too_late(number):
    """Python then has a signal end the process: a command that did all it was asked for would end as if killed."""
    done = subprocess.run([sys.executable, "-c", LATE.format(number=int(number))], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "routing-synthetic" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("wait", [1.0, 2.0, 4.0])
def test_evaluating_at_any_moment(tmp_path, number, code, wait):
    line = "evaluate reacher --policy expert --episodes 2000"
    with subprocess.Popen(typed(line), cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(wait)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    assert process.returncode == code and said == "ohio-jax evaluate: interrupted\n"
