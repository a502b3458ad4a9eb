"""The manipulation table, tiny: every method on changed gains, from logs made once under the original ones."""

import dataclasses
import json

import pytest
from ohio_bench.experiments import EXPERIMENTS, manipulation, of_table
from ohio_bench.report import policies
from ohio_bench.runner import table
from ohio_bench.runner.run import chosen, run
from ohio_envs import datasets

from ohio_jax import inverse
from ohio_jax.inverse import gradient

pytest.importorskip("mujoco")


def test_rows_say_what_changes():
    rows = {row.name: row for row in manipulation.ROWS}
    assert len(rows) == 18 and {row.instance_family for row in manipulation.ROWS} == {"Lift", "Door"}
    sets = {(row.data_set, "Replay" in row.name) for row in manipulation.ROWS if not row.name.endswith("Mixture")}
    assert sets == {(f"{scene}-{name}-v1", name == "replay") for scene in ("lift", "door") for name in ("replay", "noisy")}
    assert {row.name.split("-")[1] for row in manipulation.ROWS if row.unforeseen} == {"Payload", "Friction"}
    assert rows["Door-Mixture"].recipe.settings == {"logged": "all"} and rows["Door-Mixture"].settings == {}
    assert rows["Lift-Damping"].paper == {} and rows["Lift-Replay-Damping"].paper == {
        ("Logged high-level actions", "iql"): (24.1, 11.1),
        ("OHIO gradient from a constant, CEM", "iql"): (75.8, 30.5),
    }
    by = {column.name: column for column in manipulation.COLUMNS}
    assert by["Logged high-level actions IQL"].zero_shot and not by["OHIO least squares IQL"].zero_shot
    assert "HRL joint BC" not in by and "OHIO least squares TD3_BC" in by and "End-to-end torques BC" in by


def test_the_gradient_inverse_has_every_start_without_and_with_the_cross_entropy_method():
    """On the paper's rows, to the last iterate as released; the published figures stand beside the released start with it."""
    made = manipulation.gradient()
    assert {row.name.replace("Replay-", "") for row in made.rows} == set(manipulation.PAPER) and made.runs == 5
    given = lambda name: getattr(inverse.INVERSES[name].__wrapped__, "keywords", {})
    searches = {column.inverse: given(column.inverse) for column in made.columns if "gradient" in column.inverse}
    last = {(of.get("start"), of.get("cem", False)) for of in searches.values() if of.get("last")}
    assert last == {(start, cem) for start in (None, gradient.released_start, gradient.logged_start) for cem in (False, True)}
    best = [name for name, of in searches.items() if not of.get("last")]
    assert sorted(best) == ["gradient", "gradient_released_best"]
    (published,) = {family for row in made.rows for family, _ in row.paper if family != manipulation.LOGGED}
    assert next(column.inverse for column in made.columns if column.family == published) == "gradient_released"


def test_torques_are_learned_once_a_data_set(tmp_path, monkeypatch):
    """A row finds them where another row's cell left them, and under other gains they earn the same to the bit: one policy."""
    columns = tuple(column for column in manipulation.COLUMNS if column.name == "End-to-end torques BC")
    paths = run(of_table(tiny(("Lift-Original", "Lift-Damping"), columns, monkeypatch)), "tiny", results=tmp_path).paths
    learned = [cell for cell in map(json.loads, (path.read_text() for path in paths)) if "policy" not in cell["config"]]
    assert [cell["config"]["settings"]["gains"] for cell in learned] == ["original", "damping"]
    assert len(list((tmp_path / ".work/train").glob("*/run.json"))) == 1
    assert learned[0]["returns"] == learned[1]["returns"] and policies.first_of(learned) == [0, 0]


def test_a_row_alone_has_the_cells_it_has_among_all():
    """Those of its place's policies too, though the logs of this row were made elsewhere than those of the place's first."""
    whole, alone = (
        {cell.name: (cell.config, cell.head) for cell in chosen(EXPERIMENTS["manipulation"], manipulation.scripted(), only)}
        for only in ((), ("Lift-Mixture",))
    )
    assert alone and alone == {name: of for name, of in whole.items() if of[1]["row"] in ("Lift", "Lift-Mixture")}


def tiny(names, columns, monkeypatch):
    """The table with these rows and methods, cut short."""
    short = {"horizon": 12}
    of = lambda recipe: dataclasses.replace(recipe, episodes=4, validation_episodes=1, settings={**recipe.settings, **short})
    monkeypatch.setattr(datasets, "RECIPES", {f"{name}-tiny": of(recipe) for name, recipe in datasets.RECIPES.items()})
    rows = tuple(
        dataclasses.replace(row, data_set=f"{row.data_set}-tiny", changes={**row.settings, **short})
        for row in manipulation.ROWS
        if row.name in names
    )
    plans = {key: dataclasses.replace(plan, updates=2, block=2, hidden=8) for key, plan in manipulation.quick().plans.items()}
    preset = table.Preset(rows, plans, runs=1, test_episodes=2, policies=("none", "expert"), columns=columns)
    return dataclasses.replace(manipulation.TABLE, presets={"tiny": lambda: preset})


@pytest.mark.slow
def test_every_method_has_a_score(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("Lift-Damping", "Lift-Mixture", "Lift-Payload")
    columns = tuple(column for column in manipulation.COLUMNS if column.learner == "iql")
    paths, _, report, _ = run(of_table(tiny(names, columns, monkeypatch)), "tiny", results=tmp_path / "results")
    assert len(paths) == 2 + len(names) * len(columns)
    assert {entry.row for entry in report.board.entries} == {"Lift", *names}
    for path in paths:
        cell = json.loads(path.read_text())
        assert {"success", "unstable"} <= set(cell["metrics"]) and cell["metrics"]["unstable"] == [[0.0, 0.0]]
        if "policy" not in cell["config"]:
            carried, (card,) = cell["config"]["zero_shot"], cell["data"]
            assert card["settings"]["gains"] == ("damping" if "damping" in path.name and not carried else "original")
            assert card["settings"]["payload"] == 0.0
            assert card["transitions"] == 4 * 12 * (5 if card["interface"] == "end_to_end" else 1) == card["trained_on"]
            assert set(card["label_errors"]) == {"segments", "torque_nm", "position_m", "rotation_rad"}
    page = (tmp_path / "results" / "manipulation-tiny.md").read_text()
    assert "## What the methods learned from" in page
    assert "HRL OSC" in page and "*(paper 24.1 ± 11.1; " in page
