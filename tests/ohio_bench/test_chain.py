"""The table of the documentation's example, smaller: tuned, filled and judged by three commands, interrupted or not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ohio_bench import cli
from ohio_bench.experiments import EXPERIMENTS, TABLES
from ohio_bench.runner import executors, freshness
from ohio_envs import datasets, registry

from ohio_jax.learners import LEARNERS

ROOT = Path(__file__).resolve().parents[2]
SMALLER = (
    ("updates=500, batch=128, block=500", "updates=10, batch=32, block=10"),
    ("episodes=100, validation_episodes=10", "episodes=6, validation_episodes=1"),
    ("test_episodes=50", "test_episodes=4"),
    ("hidden=32", "hidden=8"),
    # A method of the suite beside it, of which nothing is tried; and a claim of each verdict.
    ('"end_to_end", "analytic", "rwr")', '"end_to_end", "analytic", "rwr"), Column("OHIO", "ohio", "analytic", "bc")'),
    ('("end_to_end", "rwr"): plan', '("ohio", "bc"): Plan("bc", bc.Config(), 8, 10, 32, 10), ("end_to_end", "rwr"): plan'),
    ("import LEARNERS", "import LEARNERS, bc"),
    ("CLAIMS = (", 'CLAIMS = (\n    *(Claim(f"a-{n}", "It scores {difference} a number.", "OHIO RWR", n) for n in (-1e4, 1e4)),'),
)
MODULES = ("add_task", "add_learner", "own_table")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Iterator[Path]:
    """A folder with the example in it, where commands are typed."""
    folder = tmp_path_factory.mktemp("own")
    for name in MODULES:
        shutil.copy(ROOT / "docs/examples" / f"{name}.py", folder)
    path = folder / "own_table.py"
    text = path.read_text()
    for old, new in SMALLER:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)
    before, searched = Path.cwd(), list(sys.path)
    os.chdir(folder)
    yield folder
    os.chdir(before)
    sys.path[:] = searched
    joined = ((TABLES, "cart"), (EXPERIMENTS, "cart"), (registry.TASKS, "cart"), (LEARNERS, "rwr"))
    for known, name in (*joined, (datasets.RECIPES, "cart-random-v1"), *((sys.modules, name) for name in MODULES)):
        known.pop(name, None)


def typed(capsys, line: str, results: str, expected: int = 0) -> dict:
    code = cli.main(cli.parser().parse_args([*line.split(), "--results", results, "--json"]))
    out = capsys.readouterr()
    assert code == expected, out.err
    return json.loads(out.out) if out.out else {}


def cells(results: str, place: str) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in Path(results, place, "cart/cpu").glob("*.json")}


LINES = ("tune own_table: --preset cpu", "bench own_table: --preset cpu", "claims own_table:")


def killed(own: Path, line: str, results: str, amount: int) -> None:
    """The command in a process of its own, killed -9 once it has finished so many cells."""
    path = os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "benchmarks")))
    typed = [sys.executable, "-m", "ohio_bench", *line.split(), "--results", results]
    process = subprocess.Popen(typed, cwd=own, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL)
    while len(list(Path(results).glob("*/cart/cpu/*.json"))) < amount and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_own_table_from_trials_to_claims(own, capsys, monkeypatch):
    for line in LINES:
        whole = typed(capsys, line, "whole")
    killed(own, LINES[0], "stopped", 2)
    had = len(cells("stopped", "selection"))
    assert (
        typed(capsys, LINES[0], "stopped")["ran"] == 18 - had < 18
    )  # eight trials of each learner, and the best with twice the updates

    here = executors.here

    def interrupted(*given):
        for number, found in enumerate(here(*given)):
            yield found
            if number == 2:
                raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(executors, "here", interrupted)
        assert typed(capsys, LINES[1], "stopped", 130) == {}
    assert len(cells("stopped", "runs")) == 3
    assert typed(capsys, LINES[1], "stopped")["ran"] == 2
    stopped = typed(capsys, LINES[2], "stopped")

    for place, amount in (("selection", 18), ("runs", 5)):
        one, other = cells("whole", place), cells("stopped", place)
        assert len(one) == amount and one.keys() == other.keys()
        for name, cell in one.items():
            same = ("config", "returns", "sources", "command")
            assert [cell[field] for field in same] == [other[name][field] for field in same], name
            assert cell.get("selection") == other[name].get("selection")
    assert stopped == whole

    # The table learns by what was best, and as declared where nothing was tried.
    trials, runs = cells("whole", "selection"), cells("whole", "runs")
    for interface, kind in (("ohio", "hierarchy"), ("end-to-end", "end-to-end")):
        means = [np.mean(trials[f"rwr.{kind}.{number}"]["returns"]) for number in range(8)]
        best = trials[f"rwr.{kind}.{int(np.argmax(means))}"]["changes"]
        cell = runs[f"cart-random.{interface}.rwr"]
        plan = {**cell["config"]["plan"], **cell["config"]["plan"]["config"]}
        assert {name: plan[name] for name in best} == best and cell["selection"].startswith("tuned ")
    assert runs["cart-random.ohio.bc"]["selection"] == "declared"
    assert cell["command"].startswith("ohio-jax bench own_table: --preset cpu --only cart-random.end-to-end.rwr")
    page = Path("whole/cart-cpu.md").read_text()
    assert "`ohio-jax bench own_table: --preset cpu`" in page and "| Cart-Random |" in page

    verdicts = {of["claim"]["name"]: of["verdict"] for of in whole["claims"]}
    assert list(verdicts) == ["a--10000.0", "a-10000.0", "marks", "operator"]
    assert list(verdicts.values())[:2] == ["holds", "fails"] and verdicts["marks"] == "undecided"
    assert not any(of["stale"] for of in whole["claims"])

    # Of the learner's source, its own cells; of the table's, none; of the task's, all.
    stale = lambda: {name for name, cell in runs.items() if freshness.Sources(Path("whole")).state(cell) == "stale"}
    own_cells = {"cart-random.ohio.rwr", "cart-random.end-to-end.rwr"}
    for name, expected in (("own_table", set()), ("add_learner", own_cells), ("add_task", set(runs))):
        text = Path(f"{name}.py").read_text()
        Path(f"{name}.py").write_text(text + "\nEXTRA = 1\n")
        assert stale() == expected, name
        if name == "add_learner":
            judged = typed(capsys, LINES[2], "whole")["claims"]
            assert all(of["stale"] for of in judged) and {of["claim"]["name"]: of["verdict"] for of in judged} == verdicts
        Path(f"{name}.py").write_text(text)
    assert stale() == set()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tune no_table:", "expected a module 'no_table', found none that can be imported"),
        ("bench json:", "table 'json:': expected a module with a Table TABLE, found NoneType"),
        ("claims json:dumps", "table 'json:dumps': expected module: alone, found a name after it"),
        ("bench of_routing:", "table 'of_routing:': expected a name that is free, found 'routing' taken"),
        ("bench cars", "unknown table 'cars'"),
    ],
)
def test_what_is_no_table_is_one_line(command, line, words):
    Path("of_routing.py").write_text("from ohio_bench.experiments.routing import TABLE\n")
    code, _, err = command(line)
    assert code == 2 and words in err and err.count("\n") == 1
