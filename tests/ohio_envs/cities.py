"""Cities for tests: a tiny file that can be broken on purpose, and the published ones where they are at hand."""

import functools
import json
import os
from pathlib import Path

import numpy as np
import pytest
from ohio_envs.routing import scenario

CONSTANTS = {
    "nyc": ("scenario_nyc_brooklyn.json", 19, 9, 0.5),
    "shenzhen": ("scenario_shenzhen_downtown_west.json", 8, 2.5, 0.5),
}

published = pytest.mark.skipif(
    not os.environ.get("OHIO_DATA"), reason="needs the published city files in the folder named by OHIO_DATA"
)


@functools.cache
def city(name: str, minutes: int, horizon: int = 20) -> scenario.City:
    """A published city; use only in tests marked `published`."""
    file, hour, ratio, cost = CONSTANTS[name]
    return scenario.load(Path(os.environ["OHIO_DATA"]) / file, hour, ratio, cost, minutes, horizon)


def tiny_content() -> dict:
    """A valid file of three regions: two hours from 7:00, trips 0 -> 1 and 1 -> 2."""
    return {
        "nlat": 3,
        "nlon": 1,
        "demand": [
            {"time_stamp": 420 + m, "origin": i, "destination": i + 1, "demand": 0.2, "travel_time": 10, "price": 12.5}
            for m in range(120)
            for i in (0, 1)
        ],
        "totalAcc": [{"hour": 7, "acc": 31}, {"hour": 8, "acc": 20}],
        "rebTime": [
            {"time_stamp": hour, "origin": i, "destination": j, "reb_time": 1 if i == j else 7.0 + i}
            for hour in (7, 8)
            for i in range(3)
            for j in range(3)
        ],
        "topology_graph": [{"i": 0, "j": 1}, {"i": 1, "j": 2}],
    }


def load_text(folder: Path, text: str, minutes: int = 4, horizon: int = 5) -> scenario.City:
    path = folder / "scenario_tiny.json"
    path.write_text(text)
    return scenario.load(path, 7, 2.0, 0.5, minutes, horizon)


def load_content(folder: Path, content: dict, **settings) -> scenario.City:
    return load_text(folder, json.dumps(content), **settings)


def line_city(T: int = 6, **replace) -> scenario.City:
    """Two regions: trips 0 -> 1 only, 10 $ each, two steps long; empty moves take one step; a step costs 1 $."""
    steps = 2 * T + 7
    trip = np.array([[0, 1], [0, 0]])
    values = {
        "name": "line",
        "minutes": 2,
        "horizon": T,
        "lam": np.tile(3.0 * trip, (steps, 1, 1)),
        "price": np.tile(10.0 * trip, (steps, 1, 1)),
        "pax_time": np.tile(2 * trip, (steps, 1, 1)),
        "reb_time": np.array([[0, 1], [1, 0]]),
        "adjacency": trip > 0,
        "vehicles": 2,
        "cost": 1.0,
    }
    return scenario.City(**(values | replace))
