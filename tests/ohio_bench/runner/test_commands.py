"""The lines that make a cell again: typed one after another, they end in the cell's own returns."""

import dataclasses
import json
from pathlib import Path

import pytest
from ohio_bench.experiments import of_table
from ohio_bench.runner import commands
from ohio_bench.runner.run import run
from ohio_bench.runner.table import Column

from tests.ohio_bench.tiny import PART, TINY, tiny


def test_step_by_step_gives_the_same_returns(command, tmp_path):
    paths = run(of_table(PART), "tiny", results=tmp_path / "results").paths
    found = {path.stem: json.loads(path.read_text()) for path in paths}
    for name in ("tiny-dtv.ohio.bc", "tiny.policy.dtv"):
        cell, returns = found[name], []
        for line in cell["steps"]:
            program, _, words = line.partition(" ")
            code, out, err = command(f"{words} --json")
            assert program == "ohio-jax" and code == 0, err
            returns += json.loads(out)["returns"] if words.startswith("evaluate") else []
        assert returns == pytest.approx([of for row in cell["returns"] for of in row], abs=0)
    assert Path("run-0/run.json").exists() and Path("run-1/run.json").exists()


def test_how_a_column_acts_and_how_far_it_looks(command, tmp_path):
    """Sampled at test, three decisions ahead, at a discount of its own; and one that is none of these, whose file is silent."""
    plain = Column("OHIO", "ohio", "analytic", "iql")
    other = Column("OHIO, other", "ohio", "analytic", "iql", acting="sample", ahead=3, config=(("discount", 0.5),))
    preset = dataclasses.replace(tiny(), rows=tiny().rows[:1], columns=(plain, other), policies=(), runs=1)
    paths = run(of_table(dataclasses.replace(TINY, presets={"tiny": lambda: preset})), "tiny", results=tmp_path / "r").paths
    cells = {cell["column"]: cell for cell in (json.loads(path.read_text()) for path in paths)}
    silent, cell = cells["OHIO IQL"]["config"], cells["OHIO, other IQL"]
    assert "acting" not in silent and "ahead" not in silent["plan"] and silent["plan"]["config"]["discount"] == 0.97
    config = cell["config"]
    assert (config["acting"], config["plan"]["ahead"], config["plan"]["config"]["discount"]) == ("sample", 3, 0.5)
    *_, train, evaluate = cell["steps"]
    assert evaluate.endswith("--sample-actions") and "--ahead 3" in train and "discount=0.5" in train
    for line in cell["steps"]:
        code, out, err = command(f"{line.partition(' ')[2]} --json")
        assert code == 0, err
    assert json.loads(out)["returns"] == pytest.approx([of for row in cell["returns"] for of in row], abs=0)
    by_mean = json.loads(command(f"{evaluate.partition(' ')[2].removesuffix(' --sample-actions')} --json")[1])["returns"]
    assert by_mean != json.loads(out)["returns"]


def test_the_line_of_a_cell():
    assert commands.of_cell("bench routing --learner own:Mine", "cpu", "nyc-inf.ohio.mine") == (
        "ohio-jax bench routing --learner own:Mine --preset cpu --only nyc-inf.ohio.mine --force"
    )


PLAN = {"learner": "bc", "config": {"actor_lr": 1e-3}, "hidden": 8, "updates": 5, "batch": 4, "seeds": 2, "first_seed": 0}


def test_each_run_has_lines_of_its_own():
    config = {
        "task": "lift", "settings": {"gains": "damping"}, "data_set": "lift-noisy-v1", "data_episodes": 24, "zero_shot": False,
        "interface": "ohio", "inverse": "least_squares", "acting": "sample", "test_stream": "test", "test_episodes": 3,
        "plan": {**PLAN, "first_seed": 4, "sampling": "uniform", "normalize": True},
    }  # fmt: skip
    make, *lines = commands.steps(config)
    assert make == "ohio-jax data make lift-noisy-v1 --data-seed 4 --data-seed 5 --episodes 24"
    for seed in (4, 5):
        invert, train, evaluate, *lines = lines
        assert invert.startswith(f"ohio-jax invert lift-noisy-v1 --data-seed {seed} --episodes 24 --interface ohio")
        assert invert.endswith(f"--set gains=damping --out transitions-{seed}.npz")
        assert f"transitions-{seed}.npz --learner bc --seeds 1 --first-seed {seed} " in train
        assert evaluate == f"ohio-jax evaluate --checkpoint run-{seed} --episodes 3 --stream test --sample-actions"
    assert lines == []
    _, invert, _, evaluate, *_ = commands.steps({**config, "zero_shot": True})
    assert "--set" not in invert and evaluate.endswith("--set gains=damping")


def test_changed_settings_are_said_where_they_change():
    """Of cells whose runs all learned from the logs of one seed."""
    config = {
        "task": "lift", "settings": {"gains": "damping"}, "data_settings": {"gains": "original"}, "behavior_policy": "expert",
        "data_seed": 1, "data_episodes": 2, "interface": "ohio", "inverse": "least_squares", "weights": "drop",
        "plan": {**PLAN, "sampling": "uniform", "normalize": False}, "test_seed": 10, "test_episodes": 3,
    }  # fmt: skip
    collect, invert, train, evaluate = commands.steps(config)
    assert collect == "ohio-jax collect lift --policy expert --episodes 2 --seed 1 --set gains=original --out logs.npz"
    assert "--weights drop --set gains=damping" in invert and "--set" not in evaluate
    assert "--no-normalize --config actor_lr=0.001" in train
    _, invert, _, evaluate = commands.steps({**config, "zero_shot": True})
    assert "--set" not in invert and evaluate.endswith("--set gains=damping")
    assert commands.steps({"kind": "cost"}) == []
