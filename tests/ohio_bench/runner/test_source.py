"""Sources of cells: which modules count, what changes a digest and what does not; which stored cells are stale; sentinels."""

import json
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from ohio_bench.experiments import TABLES, of_table
from ohio_bench.report import markdown
from ohio_bench.runner import freshness, sentinel, source, table
from ohio_bench.runner.run import run
from ohio_envs import registry

from ohio_jax.errors import UserError
from tests.ohio_bench.tiny import PART

RUNS = Path(__file__).resolve().parents[3] / "results" / "runs"
PLAN = {"learner": "iql", "config": {}, "seeds": 2, "updates": 10}
LEARNED = {"task": "reacher", "settings": {}, "interface": "ohio", "inverse": "least_squares", "plan": PLAN}


def config(**more):
    return {**LEARNED, "data_set": "reacher-expert-v1", "test_stream": "test", "test_episodes": 4, **more}


@pytest.fixture
def suite(tmp_path, monkeypatch) -> Path:
    """A copy of the method, the tasks and the runner, whose files a test may change; it is what `Code` reads."""
    for name in ("ohio_jax", "ohio_envs", "ohio_bench"):
        shutil.copytree(source.SUITE[name], tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setitem(source.SUITE, name, tmp_path / name)
    return tmp_path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


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


# --- Stale cells ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results of a small table: two learners, three scripted policies."""
    folder = tmp_path_factory.mktemp("fresh") / "results"
    run(of_table(PART), "tiny", results=folder)
    return folder


@pytest.fixture
def results(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results", ignore=shutil.ignore_patterns(".work")))


def fresh(results: Path) -> freshness.Freshness:
    return markdown.report(PART, results, "tiny").freshness


def states(results: Path) -> dict[str, str]:
    sources = freshness.Sources(results)
    paths = (results / "runs/routing/tiny").glob("*.json")
    return {path.stem: sources.state(json.loads(path.read_text())) for path in paths}


def rerun(results: Path, *only: str):
    return sentinel.rerun(of_table(PART), of_table(table.with_runs(PART, "tiny", 1)), "tiny", only, results)


def test_cells_name_their_sources(results):
    for path in (results / "runs").rglob("*.json"):
        cell = json.loads(path.read_text())
        kept = json.loads((results / "sources/tiny" / f"{cell['sources']}.json").read_text())
        assert kept == source.Code().sources(cell["config"]) and source.name_of(kept) == cell["sources"]
    assert fresh(results) == freshness.Freshness(5)
    assert "Stale" not in (results / "routing-tiny.md").read_text()


def test_a_changed_learner_makes_its_cells_stale_and_no_others(results, suite):
    edit(suite / "ohio_jax/learners/iql.py", "def update(", "EXTRA = 1\n\n\ndef update(")
    assert {name for name, state in states(results).items() if state != "current"} == {"tiny-dtv.ohio.iql"}
    found = fresh(results)
    assert found == freshness.Freshness(5, 1, 0, ("ohio_jax.learners.iql",))
    assert found.text() == "Stale: 1 of 5 cells was made by other sources than today's."
    assert found.text(named=True).endswith("than today's (changed: ohio_jax.learners.iql).")
    markdown.report(PART, results, "tiny").write()
    page = (results / "routing-tiny.md").read_text()
    assert found.text() in page and "ohio_jax.learners.iql" not in page
    edit(suite / "ohio_jax/learners/iql.py", "EXTRA = 1\n\n\n", "")
    assert fresh(results).stale == 0


def test_stale_cells_are_run_again_where_that_is_asked_for(made, results, suite):
    """And nothing that other code trained is taken up."""
    before = json.loads((results / "runs/routing/tiny/tiny-dtv.ohio.iql.json").read_text())
    shutil.copytree(made / ".work", results / ".work")
    edit(suite / "ohio_jax/learners/iql.py", "def update(", "EXTRA = 1\n\n\ndef update(")
    trained = lambda: {path.name for path in (results / ".work/train").iterdir()}
    had = trained()
    assert run(of_table(PART), "tiny", results=results).ran == 0
    assert run(of_table(PART), "tiny", results=results, stale=True).ran == 1 and fresh(results).stale == 0
    assert {name.rpartition(".")[0] for name in trained() - had} == {"routing-synthetic.dtv.ohio.iql"}
    after = json.loads((results / "runs/routing/tiny/tiny-dtv.ohio.iql.json").read_text())
    assert after["sources"] != before["sources"] and after["returns"] == before["returns"]


def test_cells_without_sources_are_stale(results):
    for name in ("tiny-dtv.ohio.bc", "tiny.policy.none"):
        path = results / "runs/routing/tiny" / f"{name}.json"
        cell = json.loads(path.read_text())
        del cell["sources"]
        path.write_text(json.dumps(cell))
    assert fresh(results).text(named=True) == "Stale: 2 of 5 cells were made before sources were recorded."
    with pytest.raises(UserError, match=r"cell tiny-dtv\.ohio\.bc: expected a run file that names its sources, found"):
        rerun(results, "tiny-dtv.ohio.bc")
    with pytest.raises(UserError, match="expected a stale cell that learns and names its sources, found none"):
        rerun(results)


def test_a_sentinel_that_returns_the_same_keeps_what_shares_its_code(results, suite):
    before = {path: path.read_bytes() for path in (results / "runs").rglob("*.json")}
    assert rerun(results) is None, "no cell is stale"
    edit(suite / "ohio_jax/rollout.py", "def episode_keys", "EXTRA = 1\n\n\ndef episode_keys")
    edit(suite / "ohio_jax/learners/iql.py", "def update(", "EXTRA = 1\n\n\ndef update(")
    assert set(states(results).values()) == {"stale"}
    assert sentinel._pick(of_table(PART), "tiny", (), results)[0] == "tiny-dtv.ohio.iql", "which has all that the other has"
    seconds = lambda name: sum(json.loads((results / f"runs/routing/tiny/{name}.json").read_text())["seconds"].values())
    learned = ("tiny-dtv.ohio.bc", "tiny-dtv.ohio.iql")
    assert rerun(results, learned[0]) == sentinel.Rerun(learned[0], 1)
    found = states(results)
    assert found.pop(learned[1]) == "stale" and set(found.values()) == {"equivalent"}
    assert fresh(results) == freshness.Freshness(5, 1, 0, ("ohio_jax.learners.iql",))
    assert rerun(results) == sentinel.Rerun(learned[1], 2), "the only stale one"
    assert fresh(results).stale == 0 and rerun(results) is None
    assert {path: path.read_bytes() for path in before} == before
    notes = json.loads((results / "sources/tiny/equivalent.json").read_text())["routing"]
    fields = {"cell", "time", "revision", "before", "after"}
    assert [(note["cell"], set(note)) for note in notes] == [(name, fields) for name in learned]
    assert all((results / "sources/tiny" / f"{note[when]}.json").exists() for note in notes for when in freshness.WHEN)
    # A second change of the same module is another one; where it is taken back, what was shown holds.
    edit(suite / "ohio_jax/rollout.py", "EXTRA = 1", "EXTRA = 2")
    assert fresh(results).stale == 5
    edit(suite / "ohio_jax/rollout.py", "EXTRA = 2\n\n\n", "")
    assert states(results)[learned[0]] == "current" and seconds(learned[0]) > 0


def test_equivalence_leads_from_change_to_change(results, suite):
    for number in (1, 2):
        edit(suite / "ohio_jax/rollout.py", "def episode_keys", f"EXTRA_{number} = 1\n\n\ndef episode_keys")
        assert fresh(results).stale == 5
        rerun(results, "tiny-dtv.ohio.iql")
        assert set(states(results).values()) == {"equivalent"}


def test_what_was_shown_together_is_not_taken_apart(results, suite):
    """Of two that changed together neither is equivalent beside the other's old one, nor are two that changed one by one."""
    both = {f"ohio_jax.{name}": suite / f"ohio_jax/{name}.py" for name in ("rollout", "task")}
    old = {name: path.read_text() for name, path in both.items()}

    def written(*changed: str) -> set[str]:
        for name, path in both.items():
            path.write_text(old[name] + "\nEXTRA = 1\n" * (name in changed))
        return set(states(results).values())

    assert written(*both) == {"stale"}
    rerun(results, "tiny-dtv.ohio.iql")
    assert written(*both) == {"equivalent"} and written() == {"current"}
    for name in both:
        assert written(name) == {"stale"} and fresh(results).changed == (name,)
    (results / "sources/tiny/equivalent.json").unlink()
    for name in both:
        written(name)
        rerun(results, "tiny-dtv.ohio.iql")
        assert written(name) == {"equivalent"}
    assert written(*both) == {"stale"}, "each was shown beside the other's old one"


def test_a_sentinel_that_returns_otherwise_notes_nothing(results, suite, command):
    edit(suite / "ohio_jax/rollout.py", "def episode_keys", "EXTRA = 1\n\n\ndef episode_keys")
    path = results / "runs/routing/tiny/tiny-dtv.ohio.bc.json"
    cell = json.loads(path.read_text())
    cell["returns"][0][2] += 1.0
    path.write_text(json.dumps(cell))
    message = r"^cell tiny-dtv\.ohio\.bc: expected the returns of its run file, found others in 1 of 4 episodes .episode 2: "
    with pytest.raises(UserError, match=message):
        rerun(results, "tiny-dtv.ohio.bc")
    assert not (results / "sources/tiny/equivalent.json").exists() and set(states(results).values()) == {"stale"}


def test_what_a_sentinel_cannot_compare_with(results, suite):
    with pytest.raises(UserError, match=r"tiny-mars\.json: expected a run file to compare with, found none"):
        rerun(results, "tiny-mars")
    with pytest.raises(
        UserError, match=r"tiny\.policy\.none: expected one that learns, found one that does not; --stale runs it again"
    ):
        rerun(results, "tiny.policy.none")  # of other logs, say, it would show nothing
    with pytest.raises(UserError, match="--only: expected one cell with --sentinel, found 2"):
        rerun(results, "tiny-dtv.ohio.bc", "tiny-dtv.ohio.iql")
    path = results / "runs/routing/tiny/tiny-dtv.ohio.bc.json"
    cell = json.loads(path.read_text())
    path.write_text(json.dumps({**cell, "config": {**cell["config"], "weights": "drop"}}))
    with pytest.raises(UserError, match="expected today's configuration, found another"):
        rerun(results, "tiny-dtv.ohio.bc")
    cell["provenance"]["hardware"]["platform"] = "gpu"
    path.write_text(json.dumps(cell))
    with pytest.raises(UserError, match="expected gpu, on which it was run, found cpu"):
        rerun(results, "tiny-dtv.ohio.bc")


def test_damaged_sources_are_named(results):
    kept = sorted((results / "sources/tiny").glob("*.json"))
    sound = kept[0].read_text()
    kept[0].write_text('{"ohio_jax.rollout": "0123456789ab"}')
    with pytest.raises(UserError, match=f"{kept[0].name}: expected sources whose digest is {kept[0].stem}, found others"):
        fresh(results)
    kept[0].write_text(sound)  # which of the two files is read first depends on the digests
    for text in ('{"routing": 1}', '{"routing": [{"before": "a", "after": "b"}]}', "[]"):
        (results / "sources/tiny/equivalent.json").write_text(text)
        with pytest.raises(UserError, match=r"equivalent\.json: expected an? "):
            fresh(results)


def test_the_command_says_what_is_stale_and_what_to_do(results, suite, command, monkeypatch):
    """`bench` at its end, and `--sentinel`."""
    monkeypatch.setitem(TABLES, "routing", PART)
    edit(suite / "ohio_jax/learners/iql.py", "def update(", "EXTRA = 1\n\n\ndef update(")
    code, out, _ = command("bench routing --preset tiny")
    line = "Stale: 1 of 5 cells was made by other sources than today's (changed: ohio_jax.learners.iql); --sentinel reruns one"
    assert code == 0 and out.splitlines()[-1].startswith(line)
    code, out, _ = command("bench routing --preset tiny --sentinel")
    assert (code, out) == (0, "tiny-dtv.ohio.iql: returns as before; 1 changed module is noted as equivalent\n")
    code, out, _ = command("bench routing --preset tiny --sentinel --json")
    expected = {"cells": 5, "stale": 0, "unrecorded": 0, "changed": [], "groups": []}
    assert json.loads(out) == {"sentinel": None, "modules": 0, "freshness": expected}
    code, _, err = command("bench routing --preset tiny --sentinel --force")
    assert code == 2 and "--force: expected without --sentinel" in err
