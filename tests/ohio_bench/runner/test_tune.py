"""Trials on a tiny city: eight for each learner and kind, on the selection stream alone, and what a table makes of them."""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.experiments import TABLES, of_table, trials_of
from ohio_bench.runner import store, table, trials, tune, work
from ohio_bench.runner.run import run
from ohio_envs import datasets, registry

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, outside
from ohio_jax.streams import Data, Selection, Test
from ohio_jax.training import offline
from tests.ohio_bench.tiny import GRID, TINY, TUNED, tuned

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Results of all trials of `TUNED`, BC of a hierarchy and end to end, then of the best with twice the updates."""
    folder = tmp_path_factory.mktemp("trials") / "results"
    assert [run(trials_of(TUNED), "tiny", results=folder).ran for _ in range(3)] == [16, 2, 0]
    return folder


@pytest.fixture
def results(made, tmp_path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results", ignore=shutil.ignore_patterns(".work")))


def records(results: Path) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (results / "selection/routing/tiny").glob("*.json")}


def argmax(results: Path, group: str) -> int:
    """By hand: of eight means the highest, of equals the first."""
    found = records(results)
    means = [np.mean(found[f"{group}.{number}"]["returns"]) for number in range(8)]
    return max(range(8), key=lambda number: (means[number], -number))


def used(results: Path, learner: str = "bc", interface: str = "ohio"):
    preset = tune.settled(TUNED, TUNED.preset("tiny"), "tiny", results)
    return preset.plans[interface, learner], preset.selection.get((interface, learner), "declared")


def test_every_learner_and_kind_has_eight_trials_of_two_runs_on_the_selection_stream(made):
    found = records(made)
    assert set(found) == {f"bc.{kind}.{number}" for kind in ("hierarchy", "end-to-end") for number in range(9)}
    for name, cell in found.items():
        group, _, number = name.rpartition(".")
        best = {**GRID.grid["bc"][argmax(made, group)], "updates": 20}
        assert (cell["group"], cell["number"]) == (group, int(number))
        assert cell["changes"] == (best if number == "8" else dict(GRID.grid["bc"][int(number)]))
        config = cell["config"]
        assert (config["selection_stream"], config["selection_episodes"], len(cell["returns"])) == ("selection", 4, trial_runs())
        assert not {"test_stream", "test_seed", "test_episodes"} & set(config)
        assert config["plan"]["first_seed"] == tune.FIRST_SEED and len({card["sha256"] for card in cell["data"]}) == trial_runs()
        assert cell["command"] == f"ohio-jax tune routing --preset tiny --only {name} --force" and cell["sources"]


def trial_runs() -> int:
    return 2


def test_no_trial_touches_the_test_stream(made, monkeypatch):
    """What plays a trial takes no other stream; and no seed of another one is ever played."""
    given: Any = (None, "ohio", None, None, 4)  # which is not looked at before the stream
    with pytest.raises(TypeError, match=r"expected episodes of Selection, found Test"):
        work.tried(*given, Test())
    with pytest.raises(TypeError, match=r"expected episodes of Test, found Selection"):
        work.tested(*given, Selection())
    seeds = []
    played = work.evaluate_learner
    monkeypatch.setattr(work, "evaluate_learner", lambda *given: seeds.append(given[5]) or played(*given))
    run(trials_of(TUNED), "tiny", ["bc.hierarchy.0"], made, force=True)
    assert seeds == [Selection().seed] and Selection().seed not in (Test().seed, Data(tune.FIRST_SEED).seed)


def test_a_table_uses_the_best_trial(results):
    for interface, group in (("ohio", "bc.hierarchy"), ("end_to_end", "bc.end-to-end")):
        best = argmax(results, group)
        plan, how = used(results, interface=interface)
        declared = TUNED.preset("tiny").plans[interface, "bc"]
        assert plan == trials.applied(declared, GRID.grid["bc"][best])
        assert how.startswith("tuned ") and len(how) == 18
    # What is played as released, and learners without trials, are as declared.
    assert used(results, "bc", "end_to_end_compat") == (TUNED.preset("tiny").plans["end_to_end_compat", "bc"], "declared")
    assert used(results, "iql", "ohio")[1] == "declared"


def test_run_files_say_how_their_plan_was_chosen(results):
    paths = run(of_table(TUNED), "tiny", ["tiny-dtv.ohio.bc", "tiny-dtv.ohio.iql"], results).paths
    bc, iql = (json.loads(path.read_text()) for path in paths)
    best = argmax(results, "bc.hierarchy")
    assert iql["selection"] == "declared" and bc["selection"] == used(results)[1]
    wanted = trials.applied(TUNED.preset("tiny").plans["ohio", "bc"], GRID.grid["bc"][best])
    assert {**bc["config"]["plan"], "seeds": 1} == {**store.plain(wanted.as_json()), "seeds": 1}
    assert run(of_table(TUNED), "tiny", ["tiny-dtv.ohio.bc"], results).ran == 0


def other_best(results: Path, number: int) -> None:
    path = results / f"selection/routing/tiny/bc.hierarchy.{number}.json"
    cell = json.loads(path.read_text())
    path.write_text(json.dumps({**cell, "returns": [[1e6 for _ in of] for of in cell["returns"]]}))


def test_a_trial_that_diverges_is_the_worst(results, monkeypatch):
    """It has no returns, and keeps no other from being chosen; where all diverge the declared plan stays."""
    best, page = argmax(results, "bc.hierarchy"), results / "selection/routing-tiny.md"
    update = LEARNERS["bc"].update

    def diverging(state, batch):
        state, metrics = update(state, batch)
        return state, {name: value * jnp.nan for name, value in metrics.items()}

    monkeypatch.setattr(LEARNERS["bc"], "update", diverging)
    offline.make_block.cache_clear()
    run(trials_of(TUNED), "tiny", [f"bc.hierarchy.{best}"], results, force=True)
    cell = records(results)[f"bc.hierarchy.{best}"]
    assert "returns" not in cell and re.search("expected a finite number, found nan in seed 10000", cell["diverged"])
    assert "| diverged |" in page.read_text()
    means = {number: np.mean(records(results)[f"bc.hierarchy.{number}"]["returns"]) for number in range(8) if number != best}
    second = max(means, key=lambda number: (means[number], -number))
    assert used(results)[0] == trials.applied(TUNED.preset("tiny").plans["ohio", "bc"], GRID.grid["bc"][second])
    run(trials_of(TUNED), "tiny", ["bc.hierarchy"], results, force=True)
    assert used(results)[0] == TUNED.preset("tiny").plans["ohio", "bc"]
    offline.make_block.cache_clear()


def test_of_equals_the_first_is_taken(results):
    before = used(results)[1]
    for number in (5, 3):
        other_best(results, number)
    assert argmax(results, "bc.hierarchy") == 3
    plan, how = used(results)
    assert plan == trials.applied(TUNED.preset("tiny").plans["ohio", "bc"], GRID.grid["bc"][3]) and how != before


def test_until_all_trials_are_there_the_declared_plan_is_used(results):
    other_best(results, 3)
    path = results / "selection/routing/tiny/bc.hierarchy.6.json"
    cell = json.loads(path.read_text())
    for how in ("gone", "made otherwise"):
        path.unlink() if how == "gone" else path.write_text(
            json.dumps({**cell, "config": {**cell["config"], "plan": {**cell["config"]["plan"], "hidden": 9}}})
        )
        assert used(results) == (TUNED.preset("tiny").plans["ohio", "bc"], "declared")
        assert used(results, interface="end_to_end")[1].startswith("tuned ")
        report = trials_of(TUNED).report(results, "tiny").write()
        assert "Missing: 1 of 8 trials; until all are there, the declared plan is used." in report.paths[0].read_text()


def test_every_trial_is_on_the_page_and_the_best_is_marked(results):
    other_best(results, 3)
    (path,) = trials_of(TUNED).report(results, "tiny").write().paths
    assert path == results / "selection" / "routing-tiny.md"
    text = path.read_text()
    assert text.count("| as declared |") == 2 and "| actor\\_lr 0.003 | **" in text and text.count("**") == 2 * 2
    assert "## OHIO BC on Tiny-DTV, for every hierarchy" in text and "E2E (fair) BC on Tiny-DTV, for every end-to-end" in text
    assert "2 runs each" in text and "4 episodes of the selection stream" in text


def test_twice_the_updates_are_shown_and_never_chosen(results):
    """The best plan, whose falling rate falls over as many; its difference from the best is a paired one of two runs."""
    best = argmax(results, "bc.hierarchy")
    path, before = results / "selection/routing/tiny/bc.hierarchy.8.json", used(results)
    cell, first = json.loads(path.read_text()), records(results)[f"bc.hierarchy.{best}"]
    plan, config = cell["config"]["plan"], first["config"]["plan"]["config"]
    assert (plan["updates"], first["config"]["plan"]["updates"]) == (20, 10)
    falls = config["actor_lr_decay_steps"] == 10
    assert plan["config"] == {**config, "actor_lr_decay_steps": 20.0 if falls else config["actor_lr_decay_steps"]}
    longer = [[more + value for value in of] for more, of in zip((1e3, 3e3), first["returns"], strict=True)]
    path.write_text(json.dumps({**cell, "returns": longer}))
    assert used(results) == before
    text = trials_of(TUNED).report(results, "tiny").write().paths[0].read_text()
    more = 1e5 / (first["reference"]["full"] - first["reference"]["zero"])  # than the best: once and three times as much
    half = 12.7062 * more  # Student's quantile of two runs, whose mean has the deviation `more`
    said = "The last line is the best trial with twice the updates, which is not chosen: "
    change = f"{2 * more:.1f} ({2 * more - half:.1f} to {2 * more + half:.1f}) over the best."
    assert said + change in text and text.count(said) == 2
    other_best(results, (best + 1) % 8)  # by which the longer one is of another plan
    assert trials_of(TUNED).report(results, "tiny").write().paths[0].read_text().count(said) == 1


def test_presets_are_tuned_as_another(results):
    made = dataclasses.replace(TUNED.preset("tiny"), tuned_as="tiny")
    both = dataclasses.replace(TUNED, presets={**TUNED.presets, "other": lambda: made})
    preset = tune.settled(both, made, "other", results)
    assert (preset.plans["ohio", "bc"], preset.selection["ohio", "bc"]) == used(results)
    with pytest.raises(UserError, match="preset other: expected tiny, by whose trials its plans are chosen"):
        tune.require(both, "other")
    named = {
        (name, preset): TABLES[name].preset(preset).tuned_as
        for name in ("reacher", "manipulation")
        for preset in TABLES[name].presets
    }
    chosen_elsewhere = {("reacher", name): "horizon" for name in ("cpu", "long")}
    chosen_elsewhere |= {("manipulation", name): "cpu" for name in ("scripted", "gradient")}
    assert {place: by for place, by in named.items() if by} == chosen_elsewhere


def test_tuning_goes_on_after_kills(made, tmp_path):
    """Killed -9 in the middle, twice, it ends with the numbers of an undisturbed one."""
    script = (
        "from pathlib import Path; from ohio_bench.experiments import trials_of; from ohio_bench.runner.run import run\n"
        "from tests.ohio_bench.tiny import TUNED\n"
        "run(trials_of(TUNED), 'tiny', ['bc.hierarchy'], results=Path('results'))\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "benchmarks")))}
    done = lambda: list((tmp_path / "results" / "selection").rglob("*.json"))
    for amount in (1, 3):
        process = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
        while len(done()) < amount and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", script], check=True, env=env, capture_output=True, cwd=tmp_path)
    found, whole = records(tmp_path / "results"), records(made)  # one call: what twice the updates do is not known yet
    assert set(found) == {f"bc.hierarchy.{number}" for number in range(8)}
    for name, cell in found.items():
        assert (cell["config"], cell["returns"]) == (whole[name]["config"], whole[name]["returns"])


def test_pages_are_made_of_run_files_alone(results, monkeypatch):
    """No task is made for them, which may need files that are not at hand."""
    run(of_table(TUNED), "tiny", ["tiny-dtv.ohio.bc"], results)
    monkeypatch.setattr(registry, "make", lambda *given: pytest.fail("a task was made"))
    monkeypatch.setattr(datasets, "task_of", lambda *given: pytest.fail("a task was made"))
    found = of_table(TUNED).report(results, "tiny")
    assert found.freshness.cells and not found.freshness.stale and trials_of(TUNED).report(results, "tiny").files
    assert of_table(TUNED).measured(results, "tiny")


def test_stale_trials_choose_and_pages_say_so(results, monkeypatch, command):
    """That of the trials for each group, that of the table, and the command."""
    stale = lambda text: re.findall(r"Stale: .*? (?:without sources|today's)\.", text)
    tuned, page = (results / "selection/routing-tiny.md"), results / "routing-tiny.md"
    trials_of(TUNED).report(results, "tiny").write()
    assert not stale(tuned.read_text())
    before = used(results)
    run(of_table(TUNED), "tiny", ["tiny-dtv.ohio.bc", "tiny-dtv.ohio.iql"], results)
    said = "Plans of 1 of 2 learned cells were chosen by [trials](selection/routing-tiny.md); the others are as declared."
    assert f"\n{said}\n" in page.read_text()
    for number in (1, 2):
        path = results / f"selection/routing/tiny/bc.hierarchy.{number}.json"
        cell = json.loads(path.read_text())
        del cell["sources"]
        path.write_text(json.dumps(cell))
    assert used(results) == before, "they still choose"
    trials_of(TUNED).report(results, "tiny").write()
    one = lambda of: f"Stale: 2 of {of} cells, trials of bc.hierarchy: 2 without sources."
    text = tuned.read_text()
    head, flat, hierarchy = re.split("^## ", text, flags=re.MULTILINE)
    assert "for every hierarchy" in hierarchy
    assert [stale(part) for part in (head, hierarchy, flat)] == [[one(18)], [one(9)], []]  # with those of twice the updates
    of_table(TUNED).report(results, "tiny").write()
    assert f"\n{said} {one(8)}\n" in page.read_text()
    monkeypatch.setitem(TABLES, "routing", TUNED)
    code, out, _ = command(f"tune routing --preset tiny --results {results}")
    assert code == 0 and out.splitlines()[-1] == f"{one(18)[:-1]}; --stale runs them again"
    # Trials that came out otherwise since are others.
    other_best(results, 3)
    of_table(TUNED).report(results, "tiny").write()
    assert f"\n{said} 1 of them by trials that are no longer there.\n" in page.read_text()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("diverged", "It did.", "field diverged: expected in place of returns, found beside them"),
        ("returns", None, "field returns: expected, found none"),
        ("number", 4, "expected a run file of the cell that it is named by, found one of 'bc.hierarchy.4'"),
        ("group", "bc.end-to-end", "expected a run file of the cell that it is named by, found one of 'bc.end-to-end.3'"),
        ("changes", {"batch": 512}, "field changes: expected {'actor_lr': 0.003}, as declared, found {'batch': 512}"),
        ("row", "Tiny-INF", "field row: expected 'Tiny-DTV', as declared, found 'Tiny-INF'"),
    ],
)
def test_trials_that_contradict_themselves_are_refused(results, command, monkeypatch, field, value, message):
    """Also by the table whose plans they choose."""
    monkeypatch.setitem(TABLES, "routing", TUNED)
    path = results / "selection/routing/tiny/bc.hierarchy.3.json"
    cell = {name: of for name, of in {**json.loads(path.read_text()), field: value}.items() if of is not None}
    path.write_text(json.dumps(cell))
    for line in ("tune", "bench"):
        code, out, err = command(f"{line} routing --preset tiny --results {results}")
        assert (code, out) == (2, "") and err == f"ohio-jax {line}: {path}: {message}\n"


def test_a_trial_earns_no_more_than_its_task_allows(results):
    """No choice rests on a return that cannot be."""
    path = results / "selection/routing/tiny/bc.hierarchy.3.json"
    limited = dataclasses.replace(TUNED, shares=("returns",))
    with pytest.raises(UserError, match=r"field returns: expected at most 1 an episode, found "):
        tune.chosen(limited, limited.preset("tiny"), "tiny", results)
    assert path.exists() and tune.chosen(TUNED, TUNED.preset("tiny"), "tiny", results)


def test_trials_of_a_task_have_one_unit_and_others_are_stale(results):
    """Which a page says, and no command that runs them anew is kept from it."""
    path = results / "selection/routing/tiny/bc.hierarchy.3.json"
    cell = json.loads(path.read_text())
    path.write_text(json.dumps({**cell, "reference": {**cell["reference"], "full": 1.0}}))
    with pytest.raises(UserError, match=r"bc\.hierarchy\.3\.json: field reference\.full: expected .*, found 1\.0"):
        trials_of(TUNED).report(results, "tiny")
    assert len(records(results)) == 18
    path.write_text(json.dumps(cell))
    only = dataclasses.replace(TUNED, trials=dataclasses.replace(GRID, families={"hierarchy": "OHIO"}))
    columns = tuple(column for column in tuned().columns or TUNED.columns if column.family == "OHIO")
    found = trials_of(table.changed(only, "tiny", dataclasses.replace(tuned(), columns=columns))).report(results, "tiny")
    assert found.freshness.text() == "Stale: 9 of 18 cells: 9 of another configuration than is declared."


OWN_GRID = ({}, *({"actor_lr": rate} for rate in (1e-3, 3e-3, 1e-2)), *({"batch": size} for size in (4, 8, 32, 64)))
MINE = "from ohio_jax.learners.bc import Config, init, update, act\n"


def test_an_own_learner_gets_its_trials_by_declaration(tmp_path, monkeypatch, command):
    (tmp_path / "own_cloner.py").write_text(MINE)
    declared = dataclasses.replace(TUNED, trials=dataclasses.replace(GRID, grid={"own_cloner": OWN_GRID}))
    monkeypatch.setitem(TABLES, "routing", declared)
    try:
        code, out, err = command("tune routing --preset tiny --learner own_cloner: --only own_cloner.hierarchy --json")
        assert code == 0, err
        found = json.loads(out)
        assert found["ran"] == 9 and found["written"] == ["results/selection/routing-tiny.md"]
        report = trials_of(declared).report(tmp_path / "results", "tiny")  # without the learner's flag
        assert found["freshness"] == report.freshness.as_json() and report.freshness.stale == 0
        assert "## OHIO OWN_CLONER on Tiny-DTV" in report.files[report.paths[0]].decode()
        code, _, err = command("tune routing --preset tiny --learner iql")
        assert code == 2 and "table routing: expected trials declared for iql, found none" in err
        code, _, err = command("bench routing --preset tiny --learner own_cloner: --only tiny-dtv.ohio.own_cloner")
        assert code == 0, err
        (path,) = (tmp_path / "results/runs").rglob("tiny-dtv.ohio.own_cloner.json")
        assert json.loads(path.read_text())["selection"].startswith("tuned ")
    finally:
        LEARNERS.pop("own_cloner", None)
        outside.FROM.pop("own_cloner", None)
        sys.path.remove("")


def test_a_task_with_a_plan_of_its_own_keeps_what_it_has_otherwise(results):
    made = TUNED.preset("tiny")
    own = dataclasses.replace(made.plans["ohio", "bc"], hidden=16)
    given = dataclasses.replace(made, plans={**made.plans, ("another", "ohio", "bc"): own})
    best = GRID.grid["bc"][argmax(results, "bc.hierarchy")]
    assert tune.settled(TUNED, given, "tiny", results).plans["another", "ohio", "bc"] == trials.applied(own, best)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_published_hyperparameters_are_not_tuned(preset):
    with pytest.raises(UserError, match=f"preset {preset}: expected another, since its hyperparameters are the published ones"):
        tune.require(TABLES["routing"], preset)


def test_the_trials_of_a_domain_choose_for_its_other_tables(results):
    other = dataclasses.replace(TINY, name="other", tuned_by=TUNED)
    preset = tune.settled(other, other.preset("tiny"), "tiny", results)
    assert preset.plans["ohio", "bc"] == used(results)[0] and preset.selection["ohio", "bc"] == used(results)[1]


def test_committed_tables_use_the_best_of_what_was_tried():
    """Of every committed run file whose plan was chosen by trying."""
    for declared, preset in ((of, preset) for of in TABLES.values() for preset in of.presets):
        judge, as_which = declared.tuned_by or declared, declared.preset(preset).tuned_as or preset
        kept = {
            path.stem: json.loads(path.read_text())
            for path in store.folder(judge.name, as_which, ROOT / "results", "selection").glob("*.json")
        }
        for path in store.folder(declared.name, preset, ROOT / "results").glob("*.json"):
            cell = json.loads(path.read_text())
            if not cell.get("selection", "").startswith("tuned"):
                continue
            plan, kind = cell["config"]["plan"], trials.kind_of(cell["config"]["interface"])
            means = [np.mean(kept[f"{store.slug(plan['learner'], kind)}.{number}"]["returns"]) for number in range(8)]
            best = kept[f"{store.slug(plan['learner'], kind)}.{int(np.argmax(means))}"]["changes"]
            assert {name: {**plan, **plan["config"]}[name] for name in best} == best, path
