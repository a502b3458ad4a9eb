"""Run files made by hand, for tests of what is made of them: three methods, two seeds, a scripted policy, and fine-tuning."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from ohio_bench.report import finetune
from ohio_bench.runner.store import VERSION, slug

from ohio_jax.files import write_json

EPISODES = 6
EVIL = "<script>document.title='run'</script></script><b>x|y</b> IQL"  # a column's name


def cell(row: str, column: str, score: float, **more: Any) -> dict[str, Any]:
    """A run file of the reacher's table, whose seeds score about `score`; `more` replaces fields."""
    learned = column.split(" ")[-1]
    config = {
        "task": "reacher",
        "settings": {"horizon": 1000, "steps": 5},
        "data_set": f"{row.lower()}-v1",
        "interface": "end_to_end" if column.startswith("End") else "ohio",
        "inverse": "analytic",
        "plan": {"learner": learned.lower(), "updates": 100, "seeds": 2, "config": {"discount": 0.99}},
        "test_stream": "test",
        "test_episodes": EPISODES,
    }
    cards = [{"data_seed": 0}, {"data_seed": 1}]
    if row == "Reacher-Mixed":  # as before data sets had names; collected under other settings than it is learned under
        cards = [{}]
        del config["data_set"], config["test_stream"]
        config |= {"behavior_policy": "mixed", "data_seed": 1000, "data_episodes": 300, "test_seed": 10}
        config["data_settings"] = {"horizon": 1000, "steps": 10}
    # Runs are paired: what is end to end does well where the others do badly. No two methods differ alike in both.
    apart = 0.5 + 1e-4 * len(column) * column.endswith("IQL")
    luck = [apart, -apart] if column.startswith("End") else [-apart, apart]
    returns = 9.806 * (score + np.add.outer(luck, np.linspace(-1.0, 1.0, EPISODES)))
    data = {
        "task": "reacher",
        "settings": config["settings"],
        "behavior_policy": row.split("-")[1].lower(),
        "episodes": 300,
        "seed": 1000,
        **{name: config[name] for name in ("data_set", "interface", "inverse") if name in config},
    }
    return {
        "version": VERSION,
        "table": "reacher",
        "preset": "cpu",
        "row": row,
        "column": column,
        "config": config,
        "reference": {"zero": 0.0, "full": 980.6, "how": "by hand (`true`)"},
        "command": f"ohio-jax bench reacher --preset cpu --only {slug(row, column)} --force",
        "steps": ["ohio-jax collect reacher --out logs.npz", "ohio-jax evaluate --checkpoint run"],
        "data": [{**data, **of, "return_mean": 500.0, "return_std": 10.0, "quality": 0.5, "coverage": 0.25} for of in cards],
        "returns": returns.tolist(),
        "metrics": {"touching": returns.tolist()},
        "curve": {"actor_loss": [[3.0, 2.0], [1.0, 1.5], [0.5, 0.25]]},
        "seconds": {"train": 12.5, "evaluate": 1.0},
        "provenance": provenance(),
        **more,
    }


def provenance() -> dict[str, Any]:
    hardware = {"cpu": "A processor", "cores": 2, "platform": "cpu", "device": "cpu", "devices": 1, "load": [1.0]}
    head = {"time": "2026-01-31T12:00:00+00:00", "revision": "0123456789abcdef", "dirty": False}
    return {**head, "versions": {"jax": "0.10.2"}, "hardware": hardware}


def scored(config: dict[str, Any], score: float) -> dict[str, Any]:
    """What a cell of kind "score" is configured by and finds; the smallest run file there is. config: what tells cells apart."""
    belief = {"quantity": "masses", "factor": 1.0, "share": 0.0, "noise": 0.0}
    arm = {"belief": belief, "steps": 1, "noise": 0.0, "inverse": "analytic"}
    return {"config": {**arm, **config}, "found": {"scores": [score]}}


def scripted(column: str, score: float) -> dict[str, Any]:
    """A run file of a scripted policy."""
    made = cell("Reacher-Expert", column, score)
    del made["data"], made["curve"]
    config = {name: made["config"][name] for name in ("task", "settings", "test_stream", "test_episodes")}
    return {**made, "row": "Reacher", "config": {**config, "policy": column}, "returns": made["returns"][:1], "metrics": {}}


def submission(column: str = "Ours IQL", **more: Any) -> dict[str, Any]:
    return cell("Reacher-Expert", column, 95.0, **{"author": "Somebody", "source": "https://example.org/code", **more})


def fill(results: Path, preset: str = "cpu") -> None:
    """Writes a small board: on expert data OHIO BC is better than the others, on mixed data all are equal."""
    made = [scripted("expert", 100.0)]
    for row, best in (("Reacher-Expert", 99.0), ("Reacher-Mixed", 50.0)):
        made += [cell(row, "OHIO analytical BC", best), cell(row, "OHIO analytical IQL", 50.0), cell(row, "End-to-end BC", 49.8)]
    for of in made:
        write(results, of | {"preset": preset})


def write(results: Path, cell: dict[str, Any]) -> Path:
    """Writes a run file of the reacher's table under its name, which is returned."""
    family, _, learner = cell["column"].rpartition(" ")
    name = slug(cell["row"], *(("policy", cell["column"]) if "policy" in cell["config"] else (family, learner)))
    path = results / "runs" / "reacher" / cell["preset"] / f"{name}.json"
    write_json(path, cell)
    return path


def finetuned(interface: str, before: float, during: float, after: float) -> dict[str, Any]:
    """A run file of fine-tuning: two seeds, whose scores differ by one, afterwards by half of it; ten rounds of two episodes."""
    about = lambda score, apart: (score + apart * np.array([-0.5, 0.5]))[:, None] + np.zeros((2, EPISODES))
    tests = {"start": {"returns": about(before, 1.0).tolist()}, "end": {"returns": about(after, 0.5).tolist()}}
    rounds = np.ones((10, 2))
    made = cell("Reacher-Expert", "OHIO analytical IQL", 0.0)
    plan = {"learner": "iql", "updates": 100, "seeds": 2, "config": {"discount": 0.99}}
    config = {
        "domain": "1W3S-HEUR",
        "interface": interface,
        "method": {"name": "IQL"},
        "horizon": 30,
        "offline": plan,
        "online": {"envs": 2, "learning_starts": 0, "plan": plan},
        "test_episodes": EPISODES,
    }
    curve = {"return": during * rounds, "episodes": 2 * rounds, "infeasible_requests": 0.5 * rounds}
    return {
        "version": VERSION,
        "command": f"ohio-jax finetune --preset cpu --only {slug('1W3S-HEUR', interface, 'IQL')} --force",
        "config": config,
        "data": [{"return_mean": 39.0}, {"return_mean": 41.0}],
        "reference": {"zero": 0.0, "full": 100.0, "how": "by hand"},
        "curve": {name: values.tolist() for name, values in curve.items()},
        "tests": tests,
        "provenance": made["provenance"],
    }


def fill_finetuning(results: Path) -> None:
    """Writes fine-tuning of a hierarchical and of an end-to-end policy."""
    for of in (finetuned("ohio", 50.0, 60.0, 70.0), finetuned("end_to_end", 50.0, 20.0, 30.0)):
        write_json(results / "runs" / "finetune" / "cpu" / f"{finetune.file_name(of)}.json", of)


def data_of(text: str) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])
