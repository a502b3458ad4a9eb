"""Which stored cells are stale, what a sentinel shows, and what the command says of both."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from ohio_bench.experiments import TABLES, of_table
from ohio_bench.report import evidence, markdown
from ohio_bench.runner import freshness, sentinel, source, store, table
from ohio_bench.runner.run import run
from ohio_envs import datasets

from ohio_jax.errors import UserError
from tests.ohio_bench.copies import edit
from tests.ohio_bench.tiny import PART


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
    assert found.text() == "Stale: 1 of 5 cells: 1 of other sources than today's."
    assert found.text(named=True).endswith("than today's (changed: ohio_jax.learners.iql).")
    markdown.report(PART, results, "tiny").write()
    page = (results / "routing-tiny.md").read_text()
    assert found.text() in page and "ohio_jax.learners.iql" not in page
    edit(suite / "ohio_jax/learners/iql.py", "EXTRA = 1\n\n\n", "")
    assert fresh(results).stale == 0


def test_another_declaration_makes_cells_stale(results, monkeypatch):
    """Page and claims say so: other updates, other test episodes, a method, a row or a policy that is gone."""
    monkeypatch.setitem(datasets.RECIPES, "tiny-five-v1", datasets.Recipe("routing-synthetic", "dtv", 6, 2, {"regions": 5}))
    made = PART.preset("tiny")
    longer = {key: plan.lasting(20) for key, plan in made.plans.items() if key[1] == "iql"}
    for changes, stale in (
        ({}, 0),
        ({"plans": {**made.plans, **longer}}, 1),
        ({"test_episodes": 5}, 5),
        ({"data_episodes": 5}, 2),
        ({"policies": ("none", "dtv")}, 1),
        ({"columns": made.columns[:1]}, 0),  # the other cell's learner may be asked for beside these
        ({"columns": made.columns[:1], "plans": {**made.plans, **longer}}, 1),
        ({"columns": tuple(dataclasses.replace(column, family="Ours") for column in made.columns)}, 2),
        ({"rows": tuple(dataclasses.replace(row, data_set="tiny-five-v1") for row in made.rows)}, 5),
        ({"rows": tuple(dataclasses.replace(row, changes={"regions": 5}) for row in made.rows)}, 2),
        ({"rows": tuple(dataclasses.replace(row, name="Tiny-OTHER") for row in made.rows)}, 2),
    ):
        other = table.changed(PART, "tiny", dataclasses.replace(made, **changes))
        found = markdown.report(other, results, "tiny")
        assert found.freshness == freshness.Freshness(5, stale, other=stale), changes
        text = f"Stale: {stale} of 5 cells: {stale} of another configuration than is declared."
        assert (text in found.files[results / "routing-tiny.md"].decode()) == bool(stale)
        assert sum(of.stale for of in evidence.of_table(other, results, "tiny").values()) == stale


@pytest.mark.parametrize("name", TABLES)
def test_what_is_declared_is_known_without_making_tasks(name):
    """Every cell has the configuration that its declaration is compared by."""
    declared = TABLES[name]
    for preset in ("cpu", *(other for other in declared.presets if other not in ("cpu", "quick", "paper", "released"))):
        made = declared.preset(preset)
        cells = list(table.cells(declared, made, [row.name for row in made.rows if not row.task.startswith("routing")]))
        assert cells or name == "routing"  # whose cities need files
        assert all(table.as_declared(declared, made, {**cell.head, "config": store.plain(cell.config)}) for cell in cells)


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
    assert fresh(results).text(named=True) == "Stale: 2 of 5 cells: 2 without sources."
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
    path.write_text(json.dumps({**cell, "config": {**cell["config"], "plan": {**cell["config"]["plan"], "hidden": 9}}}))
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
    line = "Stale: 1 of 5 cells: 1 of other sources than today's (changed: ohio_jax.learners.iql); --sentinel reruns one"
    assert code == 0 and out.splitlines()[-1].startswith(line)
    code, out, _ = command("bench routing --preset tiny --sentinel")
    assert (code, out) == (0, "tiny-dtv.ohio.iql: returns as before; 1 changed module is noted as equivalent\n")
    code, out, _ = command("bench routing --preset tiny --sentinel --json")
    expected = {"cells": 5, "stale": 0, "unrecorded": 0, "changed": [], "groups": [], "other": 0}
    assert json.loads(out) == {"sentinel": None, "modules": 0, "freshness": expected}
    code, _, err = command("bench routing --preset tiny --sentinel --force")
    assert code == 2 and "--force: expected without --sentinel" in err
