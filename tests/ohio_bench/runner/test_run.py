"""The one runner, on an experiment of sums: what is missing is run, wherever an executor does it, and reported."""

import dataclasses
import functools
import itertools
import json
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ohio_bench import experiments
from ohio_bench.experiments import EXPERIMENTS, of_table
from ohio_bench.runner import executors, store, table
from ohio_bench.runner.cell import Cell, Experiment, Report
from ohio_bench.runner.executors import here, outcome
from ohio_bench.runner.run import chosen, run
from ohio_bench.runner.work import WorkFolder

from ohio_jax.data import parts
from ohio_jax.deadline import Deadline, OutOfTime
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, outside
from tests.ohio_bench import boards
from tests.ohio_bench.tiny import PART


def cells(most: int, signs):
    for sign in signs:
        for n in range(most):
            config = boards.scored({"sign": sign, "terms": tuple(range(n + 1))}, 0.0)["config"]
            yield Cell(f"{sign}/{n}", config, functools.partial(added, sign, n), {"row": sign})


def added(sign: str, n: int, work) -> dict:
    return {"found": boards.scored({}, (1 if sign == "plus" else -1) * n * (n + 1) // 2)["found"]}


def report(results, preset: str) -> Report:
    place = store.folder("sums", preset, results)
    found = [cell["found"]["scores"][0] for sign in ("plus", "minus") for cell in store.read_all(place / sign, kind(sign))]
    return Report({results / "sums.md": f"{found}".encode()})


def kind(name: str) -> str:
    return "score"


SUMS = Experiment("sums", "sums", kind, "sign", lambda most: ("plus", "minus"), cells, report, {"few": lambda: 3})


def test_what_is_missing_is_run_and_reported(tmp_path):
    ran = run(SUMS, "few", results=tmp_path)
    assert ran.ran == len(ran.paths) == 6 and ran.report.paths == [tmp_path / "sums.md"]
    cell = json.loads((tmp_path / "runs" / "sums" / "few" / "minus" / "2.json").read_text())
    head = {"version": store.VERSION, "table": "sums", "preset": "few", "row": "minus", "steps": []}
    head["command"] = "ohio-jax sums --preset few --only minus/2 --force"
    assert (
        {name: cell[name] for name in head} == head
        and cell["config"] == boards.scored({"sign": "minus", "terms": [0, 1, 2]}, 0.0)["config"]
        and cell["found"]["scores"][0] == -3
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
    made = json.loads(path.read_text())
    path.write_text(json.dumps({**made, "config": boards.scored({"sign": "plus"}, 0.0)["config"]}))
    assert run(SUMS, "few", results=tmp_path).ran == 6
    path.write_text("{")
    with pytest.raises(
        UserError, match=r"1\.json: expected JSON in UTF-8, found damage .*; --force with --only plus/1 makes it again"
    ):
        run(SUMS, "few", results=tmp_path)
    path.write_text(json.dumps({**made, "preset": "many"}))
    with pytest.raises(UserError, match=r"1\.json: field preset: expected 'few', whose folder .*; --force with --only plus/1"):
        run(SUMS, "few", results=tmp_path)


def test_a_cell_of_other_logs_is_run_again(tmp_path):
    """Than those that its data set now is on the platform that made them."""
    filled = lambda: run(of_table(PART), "tiny", ["tiny-dtv.ohio.bc"], tmp_path)
    (path,) = filled().paths
    assert filled().ran == 0
    cell = json.loads(path.read_text())
    for platform, ran in (("another", 0), (cell["data"][1]["platform"], 1)):
        other = json.loads(json.dumps(cell))
        other["data"][1] |= {"source_sha256": "0" * 64, "platform": platform}
        path.write_text(json.dumps(other))
        assert filled().ran == ran
    assert json.loads(path.read_text())["data"] == cell["data"]


def test_an_executor_gets_the_cells_and_how_to_list_them_again(tmp_path):
    seen = []

    def backwards(wanted, again, work):
        listed = {cell.name: cell for cell in again()}
        assert list(listed) == [f"minus/{n}" for n in range(3)] and all(
            listed[cell.name].config == cell.config for cell in wanted
        )
        for cell in reversed(wanted):
            seen.append(cell.name)
            yield cell.name, outcome(listed[cell.name], work)

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


def failing(most, signs):
    """The same cells, one of which ends in an error, and one finds no number."""
    for cell in cells(most, signs):
        if cell.name == "plus/1":
            cell = cell._replace(work=diverging)
        yield cell._replace(work=lambda work: {"returns": [[float("nan")]]}) if cell.name == "minus/0" else cell


def diverging(work):
    raise UserError("update 3: loss: NaN")


FAILING = dataclasses.replace(SUMS, name="failing", command="failing", cells=failing)


def test_a_cell_that_fails_keeps_no_other_from_being_run(tmp_path, capsys):
    """Wherever it fails, in its work or because its numbers are none: one line at the end, and the next call runs it alone."""
    experiment = dataclasses.replace(SUMS, cells=failing)
    message = "^cell plus/1: update 3: loss: NaN; 2 of 6 cells failed, what the others found is stored$"
    with pytest.raises(UserError, match=message):
        run(experiment, "few", results=tmp_path)
    said = capsys.readouterr().err.splitlines()
    assert "cell plus/1: update 3: loss: NaN" in said
    assert "cell minus/0: field returns[0][0]: expected a finite number, found NaN" in said
    place = store.folder("sums", "few", tmp_path)
    assert not (place / "plus" / "1.json").exists() and not (place / "minus" / "0.json").exists()
    assert (tmp_path / "sums.md").read_text() == "[0, 3, -1, -3]"
    with pytest.raises(UserError, match=r"^cell minus/0: field returns\[0\]\[0\]: expected a finite number, found NaN; 1 of 1"):
        run(experiment, "few", ["minus"], tmp_path)
    assert run(SUMS, "few", results=tmp_path).ran == 2


def test_of_several_processes_none_goes_on_alone(tmp_path, monkeypatch):
    """What one of them met keeps none of the others, which are still in the cell, waiting for it."""
    monkeypatch.setattr(executors.mesh, "joined", lambda: True)
    with pytest.raises(UserError, match=r"^update 3: loss: NaN$"):
        outcome(Cell("a", {}, diverging), WorkFolder())


def test_experiments_that_fail_keep_no_other_from_being_run(command, monkeypatch, tmp_path):
    """Nor the leaderboard: all are named at the end, in one line."""
    for of in (SUMS, FAILING):
        monkeypatch.setitem(EXPERIMENTS, of.name, of)
    monkeypatch.setattr(experiments, "ALL", ("failing", "sums"))
    (tmp_path / "results").mkdir()
    code, out, err = command("bench all --preset few --json")
    found = json.loads(out)
    assert code == 2 and [of["experiment"] for of in found["experiments"]] == ["sums"]
    assert found["written"] == ["results/sums.md"] * 2
    of_cells = "cell plus/1: update 3: loss: NaN; 2 of 6 cells failed, what the others found is stored"
    assert err.splitlines()[-1] == f"ohio-jax bench: failing: {of_cells}; 1 of 2 experiments failed"
    (tmp_path / "results" / "runs" / "sums" / "few" / "plus" / "0.json").write_text("{")
    code, out, err = command("bench all --preset few")
    assert code == 2 and err.splitlines()[-1].endswith("; 2 of 2 experiments failed")
    assert command("bench all --preset huge")[2].count("\n") == 1


def test_a_folder_that_cannot_be_written_to_is_named_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    never = dataclasses.replace(SUMS, cells=lambda most, signs: [Cell("a", {}, lambda work: pytest.fail("was run"))])
    with pytest.raises(UserError, match=r"few/cell\.json: expected a file that can be written, found: Not a directory"):
        run(never, "few", results=tmp_path / "file")


def test_force_makes_anew_what_the_work_folder_holds(tmp_path):
    """Files and training directories, each once for all cells that share it; without force they are taken up again."""
    made = []

    def shared(name: str, work):
        with work.kept(name) as path:
            if not path.exists():
                time.sleep(0.05)
                described = path / "run.json" if name == "trained" else path
                described.parent.mkdir(parents=True, exist_ok=True)
                described.write_text("made")
                made.append(name)
        return added("plus", 1, work)

    def listed(most, signs):
        config = boards.scored({"most": most}, 0.0)["config"]
        return [Cell(f"plus/{n}", config, functools.partial(shared, name)) for n, name in enumerate(("data", "trained") * 2)]

    with_config = lambda most: dataclasses.replace(SUMS, cells=listed, presets={"few": lambda: most})
    run(with_config(1), "few", results=tmp_path)
    kept = parts.folder(tmp_path / ".work" / "data")
    kept.mkdir()
    parts.keep(kept / "000000-000064", {"made": "by an earlier call, killed since"}, {"a": np.zeros(3)})
    assert run(with_config(2), "few", results=tmp_path).ran == 4 and made == ["data", "trained"]
    (tmp_path / ".work" / "other").write_text("mine")
    for path in (tmp_path / ".work").rglob("*"):
        os.utime(path, (1e9, 1e9))
    assert run(with_config(2), "few", results=tmp_path, force=True).ran == 4 and made == ["data", "trained"] * 2
    assert (tmp_path / ".work" / "other").read_text() == "mine" and not kept.exists()


def test_a_learner_whose_code_changed_is_another_configuration(tmp_path, monkeypatch):
    """A cell names where its learner lives, and the digest of its source."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    found = []
    try:
        for sign in ("1.0", "-1.0"):
            Path("changing.py").write_text(f"from ohio_jax.learners.bc import Config, init, update, act\nSIGN = {sign}\n")
            mine = of_table(table.with_learner(PART, "tiny", outside.find("changing:")))
            found.append({cell.name: cell.config["plan"] for cell in chosen(mine, mine.preset("tiny")) if "plan" in cell.config})
            for known in (LEARNERS, outside.FROM):
                known.pop("changing")
            sys.modules.pop("changing")
    finally:
        for known in (LEARNERS, outside.FROM, sys.modules):
            known.pop("changing", None)
    first, second = found
    assert first and first.keys() == second.keys()
    for name, plan in first.items():
        assert plan["learner_from"] == second[name]["learner_from"] == "changing:"
        assert plan["learner_sha256"] != second[name]["learner_sha256"]


# --- With a deadline


def rather(works: dict, declared=SUMS) -> Experiment:
    """The experiment with other work in some cells."""

    def others(most, signs):
        for cell in declared.cells(most, signs):
            yield cell._replace(work=works.get(cell.name, cell.work))

    return dataclasses.replace(declared, cells=others)


def too_long(work):
    raise OutOfTime(7200.0)


def test_what_cannot_end_is_given_up_and_the_rest_is_run(tmp_path):
    """Those given up keep no other from being run, and the next call runs them alone."""
    ran = run(rather({"plus/1": too_long, "minus/0": too_long}), "few", results=tmp_path, deadline=Deadline.after(10.0))
    assert ran.late == {"plus/1": 7200.0, "minus/0": 7200.0} and ran.ran == len(ran.paths) == 4
    assert all(path.exists() for path in ran.paths) and (tmp_path / "sums.md").read_text() == "[0, 3, -1, -3]"
    again = run(SUMS, "few", results=tmp_path, deadline=Deadline.after(10.0))
    assert (again.ran, again.late, len(again.paths)) == (2, {}, 6)


def test_once_the_time_is_up_nothing_is_started(tmp_path, capsys):
    never = rather(dict.fromkeys(("plus/1", "minus/0"), lambda work: pytest.fail("was run")))
    ran = run(never, "few", results=tmp_path, deadline=Deadline(at=0.0))
    assert ran.ran == 0 and ran.late == dict.fromkeys(f"{sign}/{n}" for sign in ("plus", "minus") for n in range(3))
    assert ran.report.paths == [tmp_path / "sums.md"] and "cell 1 of" not in capsys.readouterr().err
    # What came before its end is kept.
    ended = Deadline(at=time.time() + 0.2)
    slow = rather({"plus/1": lambda work: time.sleep(0.3) or added("plus", 1, work)})
    ran = run(slow, "few", results=tmp_path, deadline=ended)
    assert ran.ran == 2 and list(ran.late) == ["plus/2", "minus/0", "minus/1", "minus/2"]


def test_time_is_kept_for_the_test_of_what_is_trained():
    """As much as the longest so far took."""
    seen = []

    def noted(seconds: float, work):
        seen.append(work.deadline.reserve)
        return {"curve": {}, "seconds": {"evaluate": seconds}}

    listed = [Cell(str(seconds), {}, functools.partial(noted, seconds)) for seconds in (2.0, 5.0, 3.0, 1.0)]
    assert all(isinstance(found, dict) for _, found in here(listed, lambda: listed, WorkFolder(deadline=Deadline.after(9.0))))
    assert seen == [0.0, 2.0, 5.0, 5.0]


def test_a_cell_without_memory_fails_alone():
    def full(work):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes.")

    found = outcome(Cell("a", {}, full), WorkFolder())
    assert isinstance(found, UserError) and str(found).startswith("out of memory: RESOURCE_EXHAUSTED")


@pytest.fixture
def two(monkeypatch):
    """`bench all` fills two experiments of sums; returns what replaces the work of cells of the first."""
    works: dict = {}
    first = dataclasses.replace(rather(works), name="others", command="others")
    for of in (first, SUMS):
        monkeypatch.setitem(EXPERIMENTS, of.name, of)
    monkeypatch.setattr(experiments, "ALL", ("others", "sums"))
    return works


def test_one_deadline_for_all_experiments(command, two):
    two |= {"plus/1": too_long, "plus/2": too_long}
    code, out, _ = command("bench all --preset few --minutes 10")
    assert code == 0 and out.splitlines()[-1] == "not started: 2 cells; would need about 4 h"
    code, out, _ = command("bench all --preset few --minutes 10 --json")
    (others, sums), _ = json.loads(out).values()
    assert others["not_started"] == {"cells": ["plus/1", "plus/2"], "hours": {"plus/1": 2.0, "plus/2": 2.0}}
    assert sums["not_started"] == {"cells": [], "hours": {}} and sums["ran"] == 0
    two["plus/1"] = lambda work: time.sleep(0.7) or added("plus", 1, work)
    code, out, _ = command("bench all --preset few --minutes 0.01 --force")
    assert code == 0 and out.splitlines()[-1] == "not started: 10 cells" and "nothing to run" not in out
    two |= {"plus/0": too_long, "plus/1": lambda work: time.sleep(0.7) or added("plus", 1, work)}
    code, out, _ = command("bench all --preset few --minutes 0.01 --force")
    assert code == 0 and out.splitlines()[-1] == "not started: 11 cells; 1 of them, which were timed, would need about 2 h"


def test_a_table_of_which_nothing_was_started(command, monkeypatch):
    monkeypatch.setitem(experiments.TABLES, "routing", PART)
    monkeypatch.setattr(Deadline, "after", staticmethod(lambda minutes: Deadline(at=0.0)))
    assert command("bench routing --preset tiny --minutes 5")[:2] == (0, "not started: 5 cells\n")
    # Nor is there anything to rebuild a leaderboard from.
    monkeypatch.setitem(EXPERIMENTS, "routing", of_table(PART))
    monkeypatch.setattr(experiments, "ALL", ("routing",))
    assert command("bench all --preset tiny --minutes 5")[:2] == (0, "not started: 5 cells\n")


def test_run_files_alone_are_enough_elsewhere(tmp_path, monkeypatch):
    """Copied to another machine, without the work folder: nothing is run again, whichever engine MuJoCo's steps had there."""
    monkeypatch.chdir(tmp_path)
    here, there = tmp_path / "here", tmp_path / "there"
    assert run(of_table(PART), "tiny", results=here).ran == 5 and (here / ".work" / "data").is_dir()
    shutil.copytree(here / "runs", there / "runs")
    assert run(of_table(PART), "tiny", results=there).ran == 0 and not (there / ".work").exists()
    on = lambda engine, **more: {"settings": {"gains": "original", "backend": engine}, **more}
    assert store.same(on("mjx"), on("c")) and not store.same(on("mjx", seed=1), on("c", seed=2))
    assert store.same({"data_settings": {"backend": "c"}}, {"data_settings": {"backend": "mjx"}})
    assert not store.same(on("spring"), on("c")) and not store.same(None, on("c"))


def test_dearest_cells_come_first():
    """Of one instance family after another, and scripted policies last; names that no column has would sort nothing."""
    names = [cell.name for cell in chosen(EXPERIMENTS["supply-chain"], EXPERIMENTS["supply-chain"].preset("paper"))]
    assert names[:4] == [f"1w3s-{of}.ohio.cql" for of in ("mpc", "fresh", "heur", "mixed")]
    assert all("policy" in name for name in names[-18:]) and not any("policy" in name for name in names[:-18])
    families = [family for family, _ in itertools.groupby(names[:-18], lambda name: name.split("-")[0])]
    assert families == ["1w3s", "1w10s"]
    for declared in experiments.TABLES.values():
        for preset in map(declared.preset, declared.presets):
            assert set(preset.dearest) <= {column.name for column in preset.columns or declared.columns}
            listed = [(column.name, row.name) for column, row in preset.learned(preset.columns or declared.columns, preset.rows)]
            assert len(listed) == len(set(listed)) == len(preset.columns or declared.columns) * len(preset.rows)
