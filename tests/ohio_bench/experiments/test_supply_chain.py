"""The supply-chain table on a short horizon: HDPO beside the scripted policies, and what is violated; its speed test."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from ohio_bench.experiments import of_table, supply_chain
from ohio_bench.runner import table
from ohio_bench.runner.run import run
from ohio_bench.speed import reference_supply_chain as reference
from ohio_bench.speed import supply_chain as speed
from ohio_bench.speed.pages import page
from ohio_envs import datasets

from ohio_jax.training.loop import Trained

datasets.RECIPES["tiny-heur-v1"] = datasets.Recipe("supply-chain-1w3s", "s_policy", 6, 2, {"horizon": 5})


def tiny() -> table.Preset:
    whole = supply_chain.quick()
    plans = {
        key: dataclasses.replace(plan, updates=6, block=3, hidden=8, batch=16)
        for key, plan in whole.plans.items()
        if key[1] == "bc"
    }
    assert whole.hdpo is not None
    return dataclasses.replace(
        whole,
        rows=(table.Row("1W3S-HEUR", "tiny-heur-v1"),),
        plans=plans,
        policies=("none", "random"),
        data_episodes=None,
        test_episodes=4,
        hdpo=dataclasses.replace(whole.hdpo, updates=4, block=2, batch=3, hidden=8),
    )


TINY = dataclasses.replace(supply_chain.TABLE, presets={"tiny": tiny})


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        paths, _, report, _ = run(of_table(TINY), "tiny", results=folder / "results")
        return folder, paths, report.board.entries


def test_hdpo_stands_among_the_policies(filled):
    folder, paths, listed = filled
    assert [path.stem for path in paths[:3]] == ["1w3s.policy.none", "1w3s.policy.random", "1w3s.policy.hdpo"]
    cell = json.loads(paths[2].read_text())
    assert np.shape(cell["returns"]) == (2, 4) and np.shape(cell["curve"]["return"]) == (2, 2)
    assert "smooth" in cell["config"]["settings"] and cell["config"]["settings"]["smooth"] == 0  # tested as the task is
    text = (folder / "results" / "supply-chain-tiny.md").read_text()
    assert "| 1W3S | hdpo |" in text and "infeasible requests" in text
    assert {entry.column for entry in listed if entry.row == "1W3S"} == {"none", "random", "hdpo"}


def test_only_the_original_interface_can_ask_for_too_much(filled):
    _, paths, _ = filled
    asked = {path.stem: np.sum(json.loads(path.read_text())["metrics"]["infeasible_requests"]) for path in paths}
    assert asked["1w3s-heur.ohio.bc"] == asked["1w3s-heur.e2e-fair.bc"] == asked["1w3s.policy.hdpo"] == 0
    assert asked["1w3s-heur.e2e-paper.bc"] > 0  # cloned for six updates, it asks as it began: for half a warehouse


def test_finished_cells_are_not_run_again(filled, monkeypatch):
    folder, paths, _ = filled
    monkeypatch.chdir(folder)
    stamps = [path.stat().st_mtime_ns for path in paths]
    assert run(of_table(TINY), "tiny", results=folder / "results").paths == paths
    assert [path.stat().st_mtime_ns for path in paths] == stamps


def test_speed_is_measured_on_the_same_work():
    budget = speed.Budget(1, 0.01, (1, 2), 2, supply_chain.hdpo(8, 2))
    part = speed.periods("supply-chain-1w3s", budget)
    names = {"batch_1", "batch_2", "batch_1, low level", "batch_2, low level"}
    assert set(part["steps_per_second"]) == names | {"numpy"} and set(part["ratio_to_numpy"]) == names
    assert part["largest_difference_of_return"] < 1.0  # of thousands


def test_time_to_99_percent(monkeypatch):
    """Of a curve that is known."""
    curve = np.array([[0.0], [90.0], [99.5], [98.0], [99.2], [100.0], [100.0], [100.0], [100.0], [100.0]])
    seconds = {"compile": 3.0, "train": 20.0}
    monkeypatch.setattr(speed, "hdpo", lambda *_, **__: Trained(None, {"return": curve}, seconds))
    plan = dataclasses.replace(supply_chain.hdpo(8, 50), block=5)
    found = speed.training("supply-chain-1w3s", speed.QUICK._replace(plan=plan))
    assert found["periods_per_second"] == 50 * 64 * 30 / 20.0
    assert found["last_return"] == 100.0 and found["updates_to_99_percent"] == 25 and found["seconds_to_99_percent"] == 10.0
    made = {
        "quick": True, "windows": 1, "window_seconds": 0.1,
        "simulator": {"supply-chain-1w3s": {
            "steps_per_second": {"numpy": {"best": 1200.0, "median": 1.0, "per_cpu_second": 1.0, "compile_seconds": 0.0}},
            "ratio_to_numpy": {}, "largest_difference_of_return": 0.0,
        }},
        "hdpo": {"supply-chain-1w3s": found}, "load_before": [0.0], "load_after": [0.0],
        "provenance": {"time": "", "revision": None, "dirty": False, "versions": {"jax": ""},
                       "hardware": {"cpu": "", "cores": 2, "devices": 2, "device": "cpu", "platform": "cpu"}},
    }  # fmt: skip
    assert "| supply-chain-1w3s | 1 | 50 | 64 | 100 | 25 | 10 | 20 | 3 | 4,800 | 4 |" in page("supply-chain", made)


def test_the_numpy_chain_ends_where_its_demand_does():
    from ohio_envs import registry

    task = registry.make("supply-chain-1w3s", {"horizon": "3"})
    instance = jax.tree.map(lambda x: np.asarray(x)[0], task.instances(0, 1))
    chain = reference.chain(task.env.scenario, *instance)
    for _ in range(3):
        chain.step(np.zeros(4))
    assert chain.t == 3 and chain.owed.sum() > 0
