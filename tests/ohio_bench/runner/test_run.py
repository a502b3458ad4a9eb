"""The one runner, on an experiment of sums: what is missing is run, wherever an executor does it, and reported."""

import dataclasses
import functools
import json

import pytest
from ohio_bench import experiments
from ohio_bench.experiments import EXPERIMENTS
from ohio_bench.runner import store
from ohio_bench.runner.cell import Cell, Experiment, Report
from ohio_bench.runner.run import run

from ohio_jax.errors import UserError
from ohio_jax.files import write_text

FIELDS = ("config", "sum", "provenance")


def cells(most: int, signs):
    for sign in signs:
        for n in range(most):
            config = {"sign": sign, "terms": tuple(range(n + 1))}
            yield Cell(f"{sign}/{n}", config, functools.partial(added, sign, n), {"row": sign})


def added(sign: str, n: int) -> dict:
    return {"sum": (1 if sign == "plus" else -1) * n * (n + 1) // 2}


def report(results, preset: str) -> Report:
    place = store.folder("sums", preset, results)
    found = [cell["sum"] for sign in ("plus", "minus") for cell in store.read_all(place / sign, FIELDS)]
    write_text(results / "sums.md", f"{found}")
    return Report([results / "sums.md"])


SUMS = Experiment("sums", "sums", FIELDS, "sign", lambda most: ("plus", "minus"), cells, report, {"few": lambda: 3})


def test_what_is_missing_is_run_and_reported(tmp_path):
    ran = run(SUMS, "few", results=tmp_path)
    assert ran.ran == len(ran.paths) == 6 and ran.report.written == [tmp_path / "sums.md"]
    cell = json.loads((tmp_path / "runs" / "sums" / "few" / "minus" / "2.json").read_text())
    head = {"version": store.VERSION, "table": "sums", "preset": "few", "row": "minus", "steps": []}
    head["command"] = "ohio-jax sums --preset few --only minus/2 --force"
    assert (
        {name: cell[name] for name in head} == head
        and cell["config"] == {"sign": "minus", "terms": [0, 1, 2]}
        and cell["sum"] == -3
    )
    assert {"time", "revision", "versions", "hardware"} <= set(cell["provenance"])
    assert (tmp_path / "sums.md").read_text() == "[0, 1, 3, 0, -1, -3]"
    assert run(SUMS, "few", results=tmp_path) == ran._replace(ran=0)


def test_all_experiments_in_one_process(command, monkeypatch):
    """`bench all` fills every experiment of the paper in its order, then the leaderboard."""
    assert set(experiments.ALL) == set(EXPERIMENTS) - {"gains", "sensitivity"}
    other = dataclasses.replace(SUMS, name="others", command="others")
    for of in (SUMS, other):
        monkeypatch.setitem(EXPERIMENTS, of.name, of)
    monkeypatch.setattr(experiments, "ALL", ("others", "sums"))
    code, out, _ = command("bench all --preset few --json")
    found = json.loads(out)
    assert code == 0 and [(of["experiment"], of["ran"]) for of in found["experiments"]] == [("others", 6), ("sums", 6)]
    assert found["written"] == ["results/sums.md"] * 2
    code, out, _ = command("bench all --preset few")
    assert code == 0 and out.count("nothing to run") == 2
    assert command("bench all --preset few --only plus")[2] == "ohio-jax bench: --only: expected with one table, found with all\n"


def test_what_was_made_otherwise_is_run_again(tmp_path):
    path = run(SUMS, "few", ["plus/1"], tmp_path).paths[0]
    path.write_text(json.dumps({**json.loads(path.read_text()), "config": {"sign": "plus"}}))
    assert run(SUMS, "few", results=tmp_path).ran == 6
    path.write_text("{")
    with pytest.raises(UserError, match=r"1\.json: expected a run file, found damage"):
        run(SUMS, "few", results=tmp_path)


def test_an_executor_gets_the_cells_and_how_to_list_them_again(tmp_path):
    seen = []

    def backwards(wanted, again):
        listed = {cell.name: cell for cell in again()}
        assert list(listed) == [f"minus/{n}" for n in range(3)] and all(
            listed[cell.name].config == cell.config for cell in wanted
        )
        for cell in reversed(wanted):
            seen.append(cell.name)
            yield cell.name, {**listed[cell.name].work(), "provenance": {}}

    assert run(SUMS, "few", ["minus"], tmp_path, backwards).ran == 3
    assert seen == ["minus/2", "minus/1", "minus/0"] and run(SUMS, "few", ["minus"], tmp_path).ran == 0


@pytest.mark.parametrize("experiment", [SUMS, *EXPERIMENTS.values()], ids=lambda experiment: experiment.name)
def test_names_that_are_not_there_are_named(experiment, tmp_path):
    with pytest.raises(UserError, match=f"unknown preset of {experiment.name} 'huge'"):
        run(experiment, "huge", results=tmp_path)
    groups = list(experiment.groups(experiment.preset("few" if experiment is SUMS else "quick")))
    assert groups and len(groups) == len(set(groups))
    assert list(tmp_path.iterdir()) == []


def test_only_knows_groups_and_cells(tmp_path):
    place = store.folder("sums", "few", tmp_path)
    names = lambda *only: [path.relative_to(place).as_posix() for path in run(SUMS, "few", only, tmp_path).paths]
    assert names("minus") == ["minus/0.json", "minus/1.json", "minus/2.json"]
    assert names("minus", "plus/2") == ["plus/2.json", *names("minus")]
    with pytest.raises(UserError, match="unknown sign of sums 'times': expected one of minus, plus"):
        names("minus", "times")
