"""Columns as released, cut short: every method of the block is learned, acts at test as its script does, and has its run file."""

import dataclasses
import json

import numpy as np
import pytest
from ohio_bench.experiments import manipulation, of_table, routing
from ohio_bench.runner.run import run
from ohio_envs import registry

from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS
from ohio_jax.streams import Test
from ohio_jax.training.checkpoint import load_policy
from tests.ohio_bench.tiny import tiny


def shortened(columns):
    """The preset `released` of routing on a tiny city."""
    made = routing.TABLE.preset("released")
    short = {"updates": 4, "block": 2, "hidden": 8, "batch": 20}
    plans = {key: dataclasses.replace(plan, **short) for key, plan in made.plans.items()}
    row = dataclasses.replace(tiny().rows[0], paper={})
    preset = dataclasses.replace(tiny(), rows=(row,), plans=plans, columns=columns, policies=("none",), runs=1)
    return dataclasses.replace(routing.TABLE, presets={"tiny": lambda: preset})


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param(tuple(c for c in routing.RELEASED if c.learner == "bc"), id="bc"),
        pytest.param(tuple(c for c in routing.RELEASED if c.learner != "bc"), id="the rest", marks=pytest.mark.slow),
    ],
)
def test_every_method_as_released_fills_its_cell(tmp_path, monkeypatch, columns):
    monkeypatch.chdir(tmp_path)
    paths = run(of_table(shortened(columns)), "tiny", results=tmp_path / "results").paths
    cells = {cell["column"]: cell for cell in (json.loads(path.read_text()) for path in paths)}
    assert set(cells) == {"none", *(column.name for column in columns)}
    for column in columns:
        config = cells[column.name]["config"]
        assert config.get("acting", "mean") == column.acting and config["plan"]["normalize"] is False
        (folder,) = [path.parent for path in (tmp_path / "results" / ".work" / "train").rglob("run.json") if same(path, config)]
        task, interface, plan, states = load_policy(folder, registry.make)
        play = lambda by_mean, of=(task, interface, LEARNERS[plan.learner], states): (
            evaluate_learner(*of, 4, Test().seed, by_mean).returns
        )
        np.testing.assert_array_equal(cells[column.name]["returns"], play(column.acting == "mean"))


def same(path, config) -> bool:
    found = json.loads(path.read_text())
    return found["interface"] == config["interface"] and found["plan"] == config["plan"]


def test_lift_and_door_as_released_search_as_released():
    """From the constant start, with the cross-entropy method; its last iterate."""
    assert {column.inverse for column in manipulation.RELEASED} == {"least_squares", "gradient_released"}
