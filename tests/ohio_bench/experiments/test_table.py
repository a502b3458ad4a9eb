"""A table from declaration to Markdown on a tiny synthetic city; killed and resumed; rebuilt from run files alone."""

import csv
import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ohio_bench.experiments import TABLES, gains, of_table
from ohio_bench.report import claims, marked
from ohio_bench.report import markdown as render
from ohio_bench.report.claims import Claim
from ohio_bench.report.leaderboard import page
from ohio_bench.runner import executors, store, table
from ohio_bench.runner.run import chosen, run
from ohio_envs import registry
from ohio_envs.plans import INTERFACES

from ohio_jax import relabel
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, outside
from tests.ohio_bench.tiny import CITY, COLUMNS, TINY, tiny
from tests.ohio_jax.processes import free_port, together


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ran = run(of_table(TINY), "tiny", results=folder / "results")
    return folder, ran.paths, ran.report.board.entries


def test_every_cell_has_a_run_file_with_what_makes_it_again(filled):
    _, paths, _ = filled
    assert len(paths) == 3 + 2 * 3 * 2  # policies once a city; two rows, three families, two learners
    for path in paths:
        cell = json.loads(path.read_text())
        assert cell["command"] == f"ohio-jax bench routing --preset tiny --only {path.stem} --force"
        assert cell["provenance"]["versions"]["jax"] and cell["provenance"]["hardware"]["cpu"]
        if "policy" not in cell["config"]:
            assert len(cell["returns"]) == 2 and len(cell["returns"][0]) == 4
            assert {"collect", "invert", "compile", "train", "evaluate"} <= set(cell["seconds"])
            assert cell["config"]["data_set"] and [card["data_seed"] for card in cell["data"]] == [0, 1]


def test_finished_cells_are_not_run_again_and_changed_ones_are(filled, monkeypatch):
    folder, paths, _ = filled
    monkeypatch.chdir(folder)
    stamps = {path: path.stat().st_mtime_ns for path in paths}
    assert run(of_table(TINY), "tiny", results=folder / "results").ran == 0
    assert {path: path.stat().st_mtime_ns for path in paths} == stamps
    one = next(path for path in paths if path.name.startswith("tiny-inf.ohio.bc"))
    cell = json.loads(one.read_text())
    cell["config"]["test_episodes"] = 99
    cell["returns"] = [[0.0] * 99] * 2
    cell["metrics"] = {}
    one.write_text(json.dumps(cell))
    assert run(of_table(TINY), "tiny", ["Tiny-INF"], folder / "results").ran == 1
    again = json.loads(one.read_text())
    assert again["config"]["test_episodes"] == 4
    assert run(of_table(TINY), "tiny", [one.stem], folder / "results").ran == 0
    assert run(of_table(TINY), "tiny", [one.stem], folder / "results", force=True).ran == 1
    assert json.loads(one.read_text())["returns"] == again["returns"]
    assert {path: path.stat().st_mtime_ns for path in paths if path != one} == {p: s for p, s in stamps.items() if p != one}


def test_only_names_rows_or_cells(filled):
    preset, experiment = tiny(), of_table(TINY)
    every = [cell.name for cell in chosen(experiment, preset)]
    of_row = [cell.name for cell in chosen(experiment, preset, ["Tiny-INF"])]
    assert set(every) > set(of_row) == {name for name in every if "policy" in name or name.startswith("tiny-inf")}
    assert [cell.name for cell in chosen(experiment, preset, ["tiny-dtv.ohio.bc"])] == ["tiny-dtv.ohio.bc"]
    both = [cell.name for cell in chosen(experiment, preset, ["tiny-dtv.ohio.bc", "Tiny-INF"])]
    assert both == [name for name in every if name in of_row or name == "tiny-dtv.ohio.bc"]
    with pytest.raises(UserError, match="unknown row of routing 'Tiny-MARS': expected one of Tiny-DTV, Tiny-INF"):
        chosen(experiment, preset, ["Tiny-DTV", "Tiny-MARS"])


def test_on_a_cluster_a_killed_worker_loses_nothing(filled, tmp_path):
    """Two workers, of which one is killed in the middle of a cell: every cell comes once, with the numbers of one process."""
    pytest.importorskip("ray")
    root = Path(__file__).resolve().parents[3]
    # No secret in the reader's home for a cluster that lasts for one test; and workers as quick as the test itself.
    of_ray = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    env = {**os.environ, **of_ray, "PYTHONPATH": os.pathsep.join(map(str, (root, root / "envs", root / "benchmarks")))}
    program = [sys.executable, "-m", "tests.ohio_bench.on_ray"]
    done = subprocess.run(program, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    names = assert_part(tmp_path / "results", filled[1])
    assert sorted((tmp_path / "written").read_text().splitlines()) == sorted(names)


def assert_part(results: Path, paths: list[Path]) -> list[str]:
    """The cells of `PART`, with the numbers that the whole table has there; their names."""
    found = {path.stem: json.loads(path.read_text()) for path in (results / "runs").rglob("*.json")}
    whole = {path.stem: json.loads(path.read_text()) for path in paths}
    assert set(found) == {name for name in whole if "policy" in name or name.startswith("tiny-dtv.ohio")}
    for name, cell in found.items():
        for field in ("config", "returns", "metrics"):
            assert cell[field] == whole[name][field], (name, field)
    return list(found)


@pytest.mark.slow
def test_two_processes_fill_the_same_table(filled, tmp_path):
    """With one device each; the first one writes, and the folder of datasets and checkpoints is theirs together."""
    address = f"127.0.0.1:{free_port()}"
    script = (
        "import sys; from pathlib import Path\n"
        "from ohio_bench.experiments import of_table; from ohio_bench.runner.run import run; from ohio_jax import mesh\n"
        "from tests.ohio_bench.tiny import PART\n"
        f"mesh.join('{address}', 2, int(sys.argv[1]))\n"
        "run(of_table(PART), 'tiny', results=Path('results'))\n"
        "mesh.barrier()\n"
    )
    for done in together([[sys.executable, "-c", script, str(process)] for process in range(2)], tmp_path, 500):
        assert done.returncode == 0, done.stderr
    assert_part(tmp_path / "results", filled[1])
    assert (tmp_path / "results" / "routing-tiny.md").exists()


def test_what_a_cluster_needs(monkeypatch):
    with pytest.raises(UserError, match="--cell-cpus: expected with --executor ray alone"):
        executors.executor("local", cpus=2)
    with pytest.raises(UserError, match="--cell-gpus: expected with --executor ray alone"):
        executors.executor("local", gpus=0.5)
    with pytest.raises(UserError, match="unknown executor 'slurm': expected one of local, ray"):
        executors.executor("slurm")
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"RAY_ADDRESS: expected a cluster at 127\.0\.0\.1:1, found none"):
        executors.executor("ray")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'ohio-jax\[cluster\]'"):
        executors.executor("ray")


def test_table_and_csv_agree_with_the_run_files(filled):
    folder, paths, listed = filled
    rows = list(csv.DictReader(io.StringIO((folder / "results" / "routing-tiny.csv").read_text())))
    assert len(rows) == len(paths) == len(listed)
    by_name = {(row["row"], row["column"]): row for row in rows}
    cell = json.loads(next(path for path in paths if path.name == "tiny-dtv.ohio.bc.json").read_text())
    flat = [x for seed in cell["returns"] for x in seed]
    row = by_name["Tiny-DTV", "OHIO BC"]
    assert float(row["mean_return"]) == pytest.approx(sum(flat) / len(flat), abs=1e-3)
    assert float(row["low"]) <= float(row["score"]) <= float(row["high"])
    assert float(by_name["Tiny", "oracle"]["of_bound"]) == pytest.approx(100)
    text = (folder / "results" / "routing-tiny.md").read_text()
    assert "*(paper 50.0 ± 1.0; " in text and "Tiny-INF" in text and "E2E (fair)" in text
    assert (folder / "results" / "routing-tiny.png").read_bytes().startswith(b"\x89PNG")


def test_rebuilding_from_run_files_changes_no_byte(filled):
    folder, _, _ = filled
    files = [folder / "results" / f"routing-tiny.{kind}" for kind in ("md", "csv", "tex", "png")]
    render.report(TINY, folder / "results", "tiny").write()
    before = [path.read_bytes() for path in files]
    render.report(TINY, folder / "results", "tiny").write()
    assert [path.read_bytes() for path in files] == before


def test_one_run_has_no_interval(filled, tmp_path):
    """Said so on the page, which without scripted policies has no table of them either."""
    _, paths, _ = filled
    place = store.folder("routing", "tiny", tmp_path)
    place.mkdir(parents=True)
    text = lambda: (tmp_path / "routing-tiny.md").read_text()
    for path in paths:
        cell = json.loads(path.read_text())
        if "policy" not in cell["config"]:
            cell["config"]["plan"]["seeds"] = 1
            one = {
                "data": cell["data"][:1],
                "returns": cell["returns"][:1],
                "metrics": {name: value[:1] for name, value in cell["metrics"].items()},
            }
            (place / path.name).write_text(json.dumps({**cell, **one}))
    render.report(TINY, tmp_path, "tiny").write()
    assert "1 run of 4 test episodes" in text() and "Cells of one run have no interval and no rank." in text()
    assert "Scripted policies" not in text()
    shutil.copy(next(path for path in paths if path.name.endswith("policy.none.json")), place)
    render.report(TINY, tmp_path, "tiny").write()
    assert "Scripted policies" in text()


def test_too_few_transitions_are_a_cell_that_says_so(tmp_path, monkeypatch):
    """Of the runs of one cell 20 and 4 of 30 transitions are exact, and 15 are expected."""
    left = iter((20, 4))
    monkeypatch.setitem(relabel.WEIGHTS, "drop", lambda found: np.arange(len(found("status"))) < next(left))
    exact = table.Column("OHIO, exact segments only", "ohio", "analytic", "bc", "drop")
    columns = (COLUMNS[0], exact)
    made = dataclasses.replace(tiny(), rows=tiny().rows[:1], columns=columns, policies=())
    declared = dataclasses.replace(TINY, presets={"tiny": lambda: made})
    claims_of = [
        Claim("few", "It scores {difference} the other.", exact.name, columns[0].name, preset="tiny"),
        Claim("absent", "It scores {difference} the other.", "None BC", columns[0].name, preset="tiny"),
    ]
    experiment = of_table(declared, tuple(claims_of))
    ran = run(experiment, "tiny", results=tmp_path)
    cell = store.read(ran.paths[1], table.KIND)
    assert cell["untrained"].startswith(
        "dataset: expected at least 15 segments of weight above 0 under weights 'drop', found 4 of 30"
    )
    assert [card["trained_on"] for card in cell["data"]] == [20, 4] and not {"returns", "metrics", "curve"} & set(cell)
    assert run(experiment, "tiny", results=tmp_path).ran == 0  # it is no cell that is missing
    board, files = ran.report.board, {path.suffix: content.decode("latin-1") for path, content in ran.report.files.items()}
    assert [entry.column for entry in board.entries] == [of.column.name for of in board.aggregates] == [columns[0].name]
    said = "not trained: 4 to 20 transitions"
    assert files[".md"].count(f"| {said} |") == 2 and "a run has fewer than 16 transitions" in files[".md"]
    assert "| Tiny-DTV | OHIO, exact segments only | 4 to 20 |" in files[".md"] and said in files[".tex"]
    (line,) = [of for of in csv.DictReader(io.StringIO(files[".csv"])) if of["column"] == exact.name]
    assert (line["untrained"], line["score"]) == (said, "")
    shown = io.StringIO()
    render.show(declared, board.shown, shown, False)
    assert said in shown.getvalue() and render.as_json(board.shown)[1]["text"] == said
    few, absent = claims.of_experiment(experiment, tmp_path)["tiny"]
    assert few.why == "not trained, since too few transitions were left: OHIO, exact segments only BC on Tiny-DTV"
    assert absent.why == "no run file of Tiny-DTV None BC"
    assert [marked.verdict(of) for of in (few, absent)] == ["undecided", "not run"]
    assert "OHIO, exact segments only BC on Tiny-DTV (4 to 20)" in page.text([board], [], [], {})
    ran.paths[0].unlink()  # of a table that has no other cell there is a page all the same
    alone = experiment.report(tmp_path, "tiny")
    assert [path.suffix for path in alone.files] == [".md", ".csv"] and said in next(iter(alone.files.values())).decode()


def test_a_damaged_run_file_is_named(filled, tmp_path):
    path = tmp_path / "cell.json"
    path.write_text('{"config": 1')
    with pytest.raises(UserError, match=r"cell\.json"):
        store.read(path, table.KIND)


def test_what_is_transferred_is_learned_once(tmp_path, monkeypatch):
    """Two places to be tested in, one to be logged in: data once, the transferred method trained once, the other in each."""
    monkeypatch.chdir(tmp_path)
    rows = tuple(table.Row(f"Tiny-{how}", "tiny-dtv-v1", changes={**CITY, "dynamics": how}) for how in ("strict", "conserving"))
    columns = tuple(
        table.Column(name, "ohio", "analytic", "bc", zero_shot=zero_shot) for name, zero_shot in (("A", True), ("B", False))
    )
    preset = dataclasses.replace(tiny(), rows=rows, columns=columns, policies=("none",))
    declared = dataclasses.replace(TINY, columns=columns, presets={"tiny": lambda: preset})
    paths = run(of_table(declared), "tiny", results=tmp_path).paths
    cells = {path.stem: json.loads(path.read_text()) for path in paths}
    assert set(cells) == {"tiny.policy.none", *(f"tiny-{how}.{family}.bc" for how in ("strict", "conserving") for family in "ab")}
    home = registry.make("routing-synthetic", CITY).settings
    assert cells["tiny.policy.none"]["config"]["settings"] == home
    for name, cell in cells.items():
        if name != "tiny.policy.none":
            config, zero_shot = cell["config"], ".a." in name
            assert config["zero_shot"] is zero_shot
            assert config["settings"]["dynamics"] == name.split(".")[0].removeprefix("tiny-")
            assert all(card["settings"] == (home if zero_shot else config["settings"]) for card in cell["data"])
    # Of two runs: goals in each place, of which home is one.
    assert len(list((tmp_path / ".work" / "data").glob("*.npz"))) == 2 * 2 and home["dynamics"] == "conserving"
    assert len(list((tmp_path / ".work" / "train").glob("routing-*.a.bc.*"))) == 2


MINE = """
from ohio_jax.learners import iql

class Mine:  # a learner of its own name and numbers, made of another's parts
    class Config(iql.Config):
        expectile: float = 0.6

    init, update, act = staticmethod(iql.init), staticmethod(iql.update), staticmethod(iql.act)

half = Mine.Config
"""


def test_gains_are_drawn_as_maps(tmp_path):
    """From run files by hand: three scores of the sixteen, each in its place, and the rest left blank."""
    entry = lambda row, column, score: SimpleNamespace(row=row, column=column, score=score)
    listed = [entry("Lift-15-0.3", "Logged high-level actions IQL", 10.0), entry("Lift-15-0.3", "OHIO least squares IQL", 90.0)]
    chart = gains.TABLE.chart
    assert chart is not None
    one = chart([*listed, entry("Lift-300-6", "Logged high-level actions IQL", 40.0)])
    assert one.startswith(b"\x89PNG") and one != chart(listed)
    assert {row.name for row in gains.ROWS} >= {"Lift-15-0.3", "Lift-300-6", "Door-150-1"} and len(gains.ROWS) == 2 * 16
    assert {column.name for column in gains.COLUMNS} == {"Logged high-level actions IQL", "OHIO least squares IQL"}


def test_a_learner_from_elsewhere_fills_a_table(tmp_path, monkeypatch):
    """A file beside the reader's work: on every method of the table, on IQL's budget, and shown beside the table's own."""
    monkeypatch.chdir(tmp_path)
    Path("my_learner.py").write_text(MINE)
    columns = tuple(column for column in COLUMNS if column.family == "OHIO")
    preset = dataclasses.replace(tiny(), rows=tiny().rows[:1], policies=("none",), columns=columns)
    declared = dataclasses.replace(TINY, presets={"tiny": lambda: preset})
    try:
        mine = table.with_learner(declared, "tiny", outside.find("my_learner:Mine"))
        report = run(of_table(table.with_runs(mine, "tiny", 1)), "tiny", results=tmp_path / "results").report
        for name, words in {
            "my_learner:half": "expected Config, init, update, act, found no Config",
            "my_learner:None": "found no Config",
            "no_learner:Mine": "expected a module 'no_learner', found none",
            "ohio_jax.learners.bc:Config": "found no Config",
            "magic": "unknown learner 'magic'",
        }.items():
            with pytest.raises(UserError, match=words):
                outside.find(name)
        assert outside.find("my_learner:Mine") == "mine" and outside.find("iql") == "iql"
        Path("taken.py").write_text(MINE.replace("Mine", "IQL"))
        with pytest.raises(UserError, match="expected a name that is free, found 'iql' taken"):
            outside.find("taken:IQL")
    finally:
        LEARNERS.pop("mine", None)
        sys.path.remove("")
    assert {entry.column for entry in report.board.entries} == {"none", "OHIO MINE"}
    like, (path,) = preset.plans["ohio", "iql"], (tmp_path / "results" / "runs").rglob("*.mine.json")
    plan = json.loads(path.read_text())["config"]["plan"]
    assert (plan["learner"], plan["updates"], plan["seeds"]) == ("mine", like.updates, 1)
    assert plan["config"]["expectile"] == 0.6 and plan["config"]["reward_scale"] == like.config.reward_scale
    page = report.paths[0].read_text()
    assert "| Tiny-DTV |" in page and "MINE" in page


def test_declarations_name_what_exists():
    """Every learner, interface and row that a preset mentions is one that is there (a typo would silently drop a cell)."""
    for declared in TABLES.values():
        for name in declared.presets:
            preset = declared.preset(name)
            assert {row.name for row in preset.rows}
            wanted = {(column.interface, column.learner) for column in declared.columns}
            # Beside the columns', only plans for the other interfaces of its tasks, which `ohio-jax train` may ask for.
            interfaces = {interface for family in INTERFACES.values() for interface in family}
            allowed = {(interface, learner) for interface in interfaces for learner in LEARNERS}
            allowed |= {(task, *key) for task in registry.TASKS for key in allowed}
            assert wanted <= set(preset.plans) <= allowed
            assert all(plan.learner == key[-1] for key, plan in preset.plans.items())
            families = {(column.family, column.learner) for column in (*declared.columns, *preset.columns)}
            for row in preset.rows:
                assert set(row.paper) <= families
            for column in preset.columns:
                table.plan_of(preset, column, preset.rows[0]).check()
                config = preset.plans[column.interface, column.learner].config
                assert all(hasattr(config, name) for name, _ in column.config)


def test_bench_survives_kills(filled, tmp_path):
    """Killed -9 soon after one and three of its five cells, the table ends with the numbers of an undisturbed run."""
    script = (
        "from pathlib import Path; from ohio_bench.experiments import of_table; from ohio_bench.runner.run import run\n"
        "from tests.ohio_bench.tiny import PART\n"
        "run(of_table(PART), 'tiny', results=Path('results'))\n"
    )
    program = [sys.executable, "-c", script]
    root = Path(__file__).resolve().parents[3]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (root, root / "envs", root / "benchmarks")))}
    done = lambda: list((tmp_path / "results" / "runs").rglob("*.json"))
    for cells in (1, 3):
        process = subprocess.Popen(program, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
        while len(done()) < cells and process.poll() is None:
            time.sleep(0.02)
        time.sleep(0.1 * cells)  # into the next one
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in done():
            json.loads(path.read_text())
    subprocess.run(program, check=True, env=env, capture_output=True, cwd=tmp_path)
    assert len(assert_part(tmp_path / "results", filled[1])) == 5
    every = lambda folder: {path.relative_to(folder) for path in (folder / "results").rglob("*") if path.is_file()}
    files = lambda folder: {path for path in every(folder) if ".work" not in path.parts}
    assert all(path.name.endswith(".part") for path in files(tmp_path) - files(filled[0]))


def test_a_run_file_of_this_cell_that_says_it_is_another_is_not_believed(filled, tmp_path):
    folder, _, _ = filled
    shutil.copytree(folder / "results" / "runs", tmp_path / "runs")
    path = tmp_path / "runs" / "routing" / "tiny" / "tiny-dtv.ohio.bc.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"column": "E2E (fair) BC"}))
    said = (
        r"field column: expected 'OHIO BC', as declared, found 'E2E \(fair\) BC'; --force with --only tiny-dtv.ohio.bc makes it"
    )
    with pytest.raises(UserError, match=said):
        run(of_table(TINY), "tiny", results=tmp_path)


@pytest.mark.parametrize("what", ["rows", "columns"])
def test_names_that_would_share_a_run_file_are_refused(what):
    made = TINY.preset("tiny")
    given = {"rows": made.rows, "columns": made.columns or TINY.columns}
    again = dataclasses.replace(given[what][0], **{"rows": {"changes": {}}, "columns": {"inverse": "ridge"}}[what])
    twice = dataclasses.replace(made, **{what: (*given[what], again)})
    with pytest.raises(UserError, match=r"cells of routing: expected names that differ, found .* 2 times"):
        chosen(of_table(TINY), twice)
