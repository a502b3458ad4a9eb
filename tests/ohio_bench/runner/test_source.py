"""Sources of cells: which modules count, what changes a digest and what does not."""

import json
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from ohio_bench.runner import freshness, source
from ohio_envs import registry

from tests.ohio_bench.copies import edit

RUNS = Path(__file__).resolve().parents[3] / "results" / "runs"
PLAN = {"learner": "iql", "config": {}, "seeds": 2, "updates": 10}
LEARNED = {"task": "reacher", "settings": {}, "interface": "ohio", "inverse": "least_squares", "plan": PLAN}


def config(**more):
    return {**LEARNED, "data_set": "reacher-expert-v1", "test_stream": "test", "test_episodes": 4, **more}


def test_what_counts_is_what_a_cell_imports():
    found = source.Code().sources(config())
    used = "training.offline relabel collect evaluate streams labels learners.iql inverse.least_squares controllers.lqr"
    assert {f"ohio_jax.{name}" for name in used.split()} <= set(found)
    assert {"ohio_envs.reacher.task", "ohio_envs.reacher.policies", "ohio_envs.reacher/agents.npz"} <= set(found)
    assert {"ohio_jax.learners[iql]", "ohio_jax.inverse[least_squares]", "ohio_envs.registry[reacher]"} <= set(found)
    assert {"ohio_envs.datasets[reacher-expert-v1]", "ohio_envs.recipe"} <= set(found)
    assert {"ohio_bench.runner.methods", "ohio_bench.runner.work", "ohio_jax.controllers", "ohio_jax.training"} <= set(found)
    others = (
        *("ohio_jax.learners.td3_bc", "ohio_jax.inverse.gradient", "ohio_envs.routing"),
        "ohio_jax.training.online",
        "ohio_jax.training.hdpo",
        "ohio_bench.experiments",
        "ohio_bench.report",
        "ohio_bench.runner.table",
    )
    assert not [name for name in found if name.startswith(others)]
    policy = source.Code().sources({"task": "reacher", "settings": {}, "policy": "expert"})
    assert "ohio_jax.inverse.least_squares" not in policy and "ohio_envs.recipe" not in policy
    assert {"ohio_bench.runner.methods", "ohio_bench.runner.work"} <= set(policy)


def test_who_runs_a_cell_counts_by_its_kind():
    """Fine-tuning and sensitivity have files of their own; what is kept for several cells depends on none of them."""
    kinds = {
        "table": config(),
        "fine-tuning": {**config(online={"plan": PLAN}), "method": {"name": "IQL"}},
        "sensitivity": {"belief": {"mass": 1.0}, "steps": 5},
    }
    found = {
        kind: {name for name in source.Code().sources(of) if name.startswith("ohio_bench.runner.")} for kind, of in kinds.items()
    }
    work = "ohio_bench.runner.work"
    assert found["table"] == {work, "ohio_bench.runner.methods"} and found["fine-tuning"] == {work, "ohio_bench.runner.finetune"}
    assert {work, "ohio_bench.runner.sensitivity", "ohio_bench.runner.sensitivity.score"} <= found["sensitivity"]
    of_part = source.Code().of(source.chosen({"task": "reacher", "inverse": "least_squares"}))
    assert not [name for name in of_part if name.startswith("ohio_bench")]


def test_sources_of_every_committed_cell_are_found_quickly():
    code, configs = source.Code(), [json.loads(path.read_text())["config"] for path in RUNS.rglob("*.json")]
    start = time.monotonic()
    found = [code.sources(config) for config in configs]
    assert time.monotonic() - start < 2.0, "of a busy machine"
    assert all(len(of) > 40 for of in found)


def test_committed_sources_are_those_of_committed_cells():
    """Those of `make bench` stay everyone's own, as its run files do."""
    listed = subprocess.run(["git", "ls-files", "results"], cwd=RUNS.parents[1], capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout: which results are committed is not known")
    files = [RUNS.parents[1] / line for line in listed.stdout.splitlines()]
    kept = {path for path in files if path.parent.parent.name == "sources"}
    notes = {path for path in kept if path.name == freshness.EQUIVALENT}
    cells = [json.loads(path.read_text()) for path in files if {"runs", "selection"} & set(path.parts) and path.suffix == ".json"]
    named = {(cell["preset"], cell["sources"]) for cell in cells if "sources" in cell}
    shown = [(path.parent.name, note) for path in notes for of in json.loads(path.read_text()).values() for note in of]
    named |= {(preset, note[when]) for preset, note in shown for when in freshness.WHEN}
    assert {(path.parent.name, path.stem) for path in kept - notes} == named


def test_sources_of_quick_cells_are_ignored_like_their_run_files(tmp_path):
    places = [freshness.folder(preset, Path("results")) / "0123456789ab.json" for preset in ("quick", "cpu")]
    asked = subprocess.run(["git", "check-ignore", *map(str, places)], cwd=RUNS.parents[1], capture_output=True, text=True)
    if asked.returncode == 128:
        pytest.skip("not a git checkout")
    assert asked.stdout.split() == [str(places[0])]


@pytest.mark.parametrize(
    ("file", "old", "new", "moved"),
    [
        ("ohio_jax/learners/iql.py", "", "# a comment\n", []),
        ("ohio_jax/learners/iql.py", '"""', '"""Another docstring. ', []),
        ("ohio_jax/learners/iql.py", "", "\nEXTRA = 1\n", ["ohio_jax.learners.iql"]),
        ("ohio_jax/learners/td3_bc.py", "", "\nEXTRA = 1\n", []),
        ("ohio_jax/relabel.py", "", "\nEXTRA = 1\n", ["ohio_jax.relabel"]),
        ("ohio_jax/streams.py", "place = 4", "place = 5", ["ohio_jax.streams"]),  # of the test episodes
        ("ohio_envs/plans.py", "", "\nEXTRA = 1\n", []),
        ("ohio_envs/routing/task.py", "", "\nEXTRA = 1\n", []),
        ("ohio_jax/learners/__init__.py", '    "bc": bc,', '    "bc": bc,\n    "copy": bc,', []),
        ("ohio_jax/learners/__init__.py", '    "iql": iql,', '    "iql": riql,', ["ohio_jax.learners[iql]"]),
        ("ohio_jax/inverse/__init__.py", "of_logged(problem", "of_log(problem", ["ohio_jax.inverse"]),
        # Who runs the cell and logs its data; a package on the way.
        (
            "ohio_bench/runner/work.py",
            "stream.seed, deterministic)",
            "stream.seed + 1, deterministic)",
            ["ohio_bench.runner.work"],
        ),
        ("ohio_bench/runner/methods.py", "home if config", "task if config", ["ohio_bench.runner.methods"]),
        ("ohio_envs/recipe.py", "min(CHUNK", "max(CHUNK", ["ohio_envs.recipe"]),
        ("ohio_jax/controllers/__init__.py", "", "\nEXTRA = 1\n", ["ohio_jax.controllers"]),
        # Declarations, and what packages offer.
        ("ohio_bench/experiments/reacher.py", "Score = 100 J / J_ref", "Scores are J / J_ref", []),
        ("ohio_bench/runner/table.py", "", "\nEXTRA = 1\n", []),
        ("ohio_envs/datasets.py", "", "\nEXTRA = 1\n", []),
        ("ohio_jax/controllers/__init__.py", '    "pd": pd,', '    "pd": pd,\n    "p_d": pd,', []),
        ("ohio_jax/__init__.py", "__version__ = ", "__version__ = '9' + ", []),
    ],
)
def test_what_changes_a_digest(suite, file, old, new, moved):
    """Code does; comments, docstrings, other learners, new entries of registries and plans do not."""
    before, path = source.Code().sources(config()), suite / file
    if old == '"""':
        path.write_text(path.read_text().replace(old, new, 1))
    elif old:
        edit(path, old, new)
    else:
        path.write_text(path.read_text() + new)
    assert list(source.changes(before, source.Code().sources(config()))) == moved


def test_assets_count(suite):
    before = source.Code().sources(config())
    (suite / "ohio_envs/reacher/agents.npz").write_bytes(b"others")
    assert list(source.changes(before, source.Code().sources(config()))) == ["ohio_envs.reacher/agents.npz"]


def test_digests_are_the_same_under_every_python(tmp_path, monkeypatch):
    """Syntax trees differ between versions of Python in fields that are empty, which are left out."""
    monkeypatch.chdir(tmp_path)
    text = (
        "class A:\n    x: int = 1\n\n\n@property\nasync def f(a, /, *, b=(1.5, 'é')):\n    return f'{a!r:>{b}}' if a else [*b]\n"
    )
    Path("own_anchor.py").write_text(text)
    found = source.Code().sources(config(plan={**PLAN, "learner": "own_anchor", "learner_from": "own_anchor"}))
    assert found["own_anchor"] == "a189a5dd38cf"


def test_a_learner_from_elsewhere_counts_with_what_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_net.py").write_text("WIDTH = 8\n")
    Path("own_learner.py").write_text("import own_net\nfrom ohio_jax.learners.iql import Config, init, update, act\n")
    plan = {**PLAN, "learner": "own_learner", "learner_from": "own_learner"}
    before = source.Code().sources(config(plan=plan))
    assert {"own_learner", "own_net", "ohio_jax.learners.iql"} <= set(before) and "ohio_jax.learners[iql]" not in before
    Path("own_net.py").write_text("WIDTH = 16\n")
    assert list(source.changes(before, source.Code().sources(config(plan=plan)))) == ["own_net"]
    Path("own_learner.py").unlink()  # what is gone is named
    assert "own_learner" in source.changes(before, source.Code().sources(config(plan=plan)))


def test_what_a_script_declares_counts_as_the_module_it_is(tmp_path, monkeypatch):
    """Not as `__main__`, which is another module to the next command."""
    script = types.ModuleType("__main__")
    script.__file__ = str(tmp_path / "own_script.py")
    Path(script.__file__).write_text("def task(given): ...\n")
    monkeypatch.setitem(sys.modules, "__main__", script)
    monkeypatch.syspath_prepend(tmp_path)
    exec(compile(Path(script.__file__).read_text(), script.__file__, "exec"), vars(script))
    monkeypatch.setitem(registry.TASKS, "own", vars(script)["task"])
    before = source.Code().sources({"task": "own", "policy": "none"})
    assert "own_script" in before and "__main__" not in before
    Path(script.__file__).write_text("def task(given): return 1\n")
    assert list(source.changes(before, source.Code().sources({"task": "own", "policy": "none"}))) == ["own_script"]


def test_packages_and_files_beside_a_learner_from_elsewhere_count_if_it_uses_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for package in ("own_nets", "own_others"):
        Path(package).mkdir()
        if package == "own_others":  # the other is a namespace package
            Path(package, "__init__.py").write_text("")
        Path(package, "wide.py").write_text("from pathlib import Path\nWIDTH = Path(__file__).with_name('width.json')\n")
        Path(package, "width.json").write_text("8")
    Path("data").mkdir()
    for file in ("prior.npz", "data/table.csv", "data/unused.csv"):
        Path(file).write_text("prior")
    Path("results.json").write_text("1")
    Path("own_wide.py").write_text(
        "import own_nets.wide\nfrom ohio_jax.learners.iql import *\nPRIOR = 'prior.npz', 'data/table.csv'\n"
    )
    plan = {**PLAN, "learner": "own_wide", "learner_from": "own_wide"}
    before = source.Code().sources(config(plan=plan))
    used = ["data/table.csv", "own_nets.wide", "own_nets/width.json", "prior.npz"]
    for file in ("data/table.csv", "own_nets/wide.py", *used[2:], "own_others/wide.py", "results.json", "data/unused.csv"):
        Path(file).write_text("8.0")
    assert list(source.changes(before, source.Code().sources(config(plan=plan)))) == used


def test_an_installed_module_does_not_bring_those_installed_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "INSTALLED", {str(tmp_path)})
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_beside.py").write_text("")
    (tmp_path / "own_installed.py").write_text("import own_beside\nfrom ohio_jax.learners.iql import *\n")
    found = source.Code().sources(config(plan={**PLAN, "learner": "own_installed", "learner_from": "own_installed"}))
    assert "own_installed" in found and "own_beside" not in found
