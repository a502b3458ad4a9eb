"""Relabeling over a Ray cluster makes what one process makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ohio_bench.runner import relabeling
from ohio_bench.runner.executors import here
from ohio_envs import registry

from ohio_jax import data, relabel
from ohio_jax.collect import collect_to
from ohio_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def task():
    return registry.make("routing-synthetic", regions=4, horizon=5)


@pytest.fixture
def logs(task, tmp_path):
    return collect_to(tmp_path / "logs", task, "dtv", 24, 1)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(task, logs, tmp_path):
    """Three parts on two workers, of which one is killed in the middle of one: bit by bit what one call makes."""
    pytest.importorskip("ray")
    of_ray = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    env = {**os.environ, **of_ray, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "benchmarks")))}
    program = [sys.executable, "-m", "tests.ohio_bench.relabel_on_ray"]
    done = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    whole, found = relabel.relabel(logs, task, "ohio", "analytic"), data.load(tmp_path / "transitions", "transitions")
    assert found.digest == whole.digest and found.card | whole.card == found.card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "logs", "transitions"]


def test_parts_that_fail_keep_the_others(task, logs, tmp_path, monkeypatch):
    """And those that are there are not made again."""
    monkeypatch.setattr(relabel, "PART", 40)
    asked = []

    def failing(wanted, again, work):
        asked.append([cell.name for cell in wanted])
        for name, outcome in here(wanted, again, work):
            yield name, outcome
            if name.startswith("000008"):
                yield "000016-000024", UserError("its worker died 4 times")
                return

    fill = lambda execute: relabeling.fill(execute, tmp_path / "logs", task, "ohio", "analytic", tmp_path / "out")
    with pytest.raises(UserError, match="part 000016-000024: its worker died 4 times; 1 of 3 parts failed, the others are kept"):
        fill(failing)
    fill(failing)
    assert asked == [["000000-000008", "000008-000016", "000016-000024"], ["000016-000024"]]
    assert sorted(os.listdir(tmp_path / ".out.parts")) == asked[0]
