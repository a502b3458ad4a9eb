"""Run files made by hand, for tests of what is made of them: two methods beside a third, two seeds, a scripted policy."""

from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax.files import write_json

EPISODES = 6
EVIL = "<script>document.title='run'</script></script><b>x|y</b> IQL"  # a column's name


def cell(row: str, column: str, score: float, **more: Any) -> dict[str, Any]:
    """A run file of the reacher's table, whose seeds score about `score`; `more` replaces fields."""
    learned = column.split(" ")[-1]
    config = {
        "task": "reacher",
        "settings": {"horizon": 1000, "steps": 5},
        "behaviour": row.split("-")[1].lower(),
        "data_seed": 1000,
        "data_episodes": 300,
        "space": "end_to_end" if column.startswith("End") else "ohio",
        "inverse": "analytic",
        "plan": {"learner": learned.lower(), "updates": 100, "seeds": 2, "config": {"discount": 0.99}},
        "test_seed": 10,
        "test_episodes": EPISODES,
    }
    returns = 9.806 * (score + np.add.outer([-0.5, 0.5], np.linspace(-1.0, 1.0, EPISODES)))
    data = {"task": "reacher", "settings": config["settings"], "behaviour": config["behaviour"], "episodes": 300, "seed": 1000}
    return {
        "table": "reacher",
        "preset": "cpu",
        "row": row,
        "column": column,
        "config": config,
        "reference": {"zero": 0.0, "full": 980.6, "how": "by hand (`true`)"},
        "command": "ohio-jax bench reacher --preset cpu",
        "data": {**data, "return_mean": 500.0, "return_std": 10.0, "quality": 0.5, "coverage": 0.25},
        "returns": returns.tolist(),
        "metrics": {"touching": returns.tolist()},
        "curve": {"actor_loss": [[3.0, 2.0], [1.0, 1.5], [0.5, 0.25]]},
        "seconds": {"train": 12.5, "evaluate": 1.0},
        "provenance": {
            "time": "2026-01-31T12:00:00+00:00",
            "revision": "0123456789abcdef",
            "dirty": False,
            "versions": {"jax": "0.10.2"},
            "hardware": {"cpu": "A processor", "cores": 2, "platform": "cpu", "device": "cpu", "load": [1.0]},
        },
        **more,
    }


def scripted(column: str, score: float) -> dict[str, Any]:
    """A run file of a scripted policy."""
    made = cell("Reacher-Expert", column, score)
    del made["data"], made["curve"]
    config = {name: made["config"][name] for name in ("task", "settings", "test_seed", "test_episodes")}
    return {**made, "row": "Reacher", "config": {**config, "policy": column}, "returns": made["returns"][:1], "metrics": {}}


def submission(column: str = "Ours IQL", **more: Any) -> dict[str, Any]:
    return cell("Reacher-Expert", column, 95.0, **{"author": "Somebody", "source": "https://example.org/code", **more})


def fill(results: Path) -> None:
    """Writes a small board: on expert data the interval of OHIO BC lies above the others', on mixed data all are equal."""
    made = [scripted("expert", 100.0)]
    for row, best in (("Reacher-Expert", 99.0), ("Reacher-Mixed", 50.0)):
        made += [cell(row, "OHIO analytical BC", best), cell(row, "OHIO analytical IQL", 50.0), cell(row, "End-to-end BC", 49.8)]
    for i, of in enumerate(made):
        write_json(results / "runs" / "reacher" / "cpu" / f"{i}.json", of)
