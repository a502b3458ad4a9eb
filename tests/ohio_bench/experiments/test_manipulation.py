"""The manipulation table, tiny: every method on changed gains, from logs made once under the original ones."""

import dataclasses
import json

import pytest
from ohio_bench.experiments import EXPERIMENTS, manipulation, of_table
from ohio_bench.runner import table
from ohio_bench.runner.run import chosen, run
from ohio_envs import datasets

pytest.importorskip("mujoco")


def test_rows_say_what_changes():
    rows = {row.name: row for row in manipulation.ROWS}
    assert len(rows) == 12 and {row.instance_family for row in manipulation.ROWS} == {"Lift", "Door"}
    assert {row.data_set for row in manipulation.ROWS if not row.name.endswith("Mixture")} == {"lift-noisy-v1", "door-noisy-v1"}
    assert {row.name.split("-")[1] for row in manipulation.ROWS if row.unforeseen} == {"Payload", "Friction"}
    assert rows["Door-Mixture"].recipe.settings == {"logged": "all"} and rows["Door-Mixture"].settings == {}
    assert rows["Lift-Damping"].paper == {
        ("Logged high-level actions", "iql"): (24.1, 11.1),
        ("OHIO gradient", "iql"): (75.8, 30.5),
    }
    by = {column.name: column for column in manipulation.COLUMNS}
    assert by["Logged high-level actions IQL"].zero_shot and not by["OHIO least squares IQL"].zero_shot
    assert "OHIO gradient BC" not in by and "OHIO least squares TD3_BC" in by


def test_a_row_alone_has_the_cells_it_has_among_all():
    """Those of its place's policies too, though the logs of this row were made elsewhere than those of the place's first."""
    whole, alone = (
        {cell.name: (cell.config, cell.head) for cell in chosen(EXPERIMENTS["manipulation"], manipulation.cpu(), only)}
        for only in ((), ("Lift-Mixture",))
    )
    assert alone and alone == {name: of for name, of in whole.items() if of[1]["row"] in ("Lift", "Lift-Mixture")}


# Under changed damping four episodes of twelve steps hold no transition that is explained: dropping leaves none to learn from.
KEPT, DROPPED = ("Lift-Damping", "Lift-Mixture", "Lift-Payload"), ("Lift-Mixture", "Lift-Payload")


@pytest.mark.slow
@pytest.mark.parametrize("names, dropping", [(KEPT, False), (DROPPED, True)])
def test_every_method_has_a_score(names, dropping, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = {"horizon": 12}
    of = lambda recipe: dataclasses.replace(recipe, episodes=4, validation_episodes=1, settings={**recipe.settings, **short})
    monkeypatch.setattr(datasets, "RECIPES", {f"{name}-tiny": of(recipe) for name, recipe in datasets.RECIPES.items()})
    rows = tuple(
        dataclasses.replace(row, data_set=f"{row.data_set}-tiny", changes={**row.settings, **short})
        for row in manipulation.ROWS
        if row.name in names
    )
    plans = {key: dataclasses.replace(plan, updates=2, block=2, hidden=8) for key, plan in manipulation.quick().plans.items()}
    iql = (column for column in manipulation.COLUMNS if column.learner == "iql")
    columns = tuple(column for column in iql if (column.weights == "drop") == dropping)
    preset = table.Preset(rows, plans, runs=1, test_episodes=2, policies=("none", "expert"), columns=columns)
    tiny = dataclasses.replace(manipulation.TABLE, presets={"tiny": lambda: preset})
    paths, _, report, _ = run(of_table(tiny), "tiny", results=tmp_path / "results")
    assert len(paths) == 2 + len(names) * len(columns)
    assert {entry.row for entry in report.board.entries} == {"Lift", *names}
    for path in paths:
        cell = json.loads(path.read_text())
        assert {"success", "unstable"} <= set(cell["metrics"]) and cell["metrics"]["unstable"] == [[0.0, 0.0]]
        if "policy" not in cell["config"]:
            carried, (card,) = cell["config"]["zero_shot"], cell["data"]
            assert card["settings"]["gains"] == ("damping" if "damping" in path.name and not carried else "original")
            assert card["settings"]["payload"] == 0.0
            assert card["transitions"] == 4 * 12 and 0 < card["trained_on"] <= 4 * 12
            assert set(card["label_errors"]) == {"segments", "torque_nm", "position_m", "rotation_rad"}
            assert not dropping or card["unexplained"] < 4 * 12
    page = (tmp_path / "results" / "manipulation-tiny.md").read_text()
    assert "## What the methods learned from" in page
    assert dropping or ("HRL OSC" in page and "*(paper 24.1 ± 11.1; " in page)
    assert not dropping or "exact segments only" in page
