"""Peak memory of every step from logs to a policy on Lift, for data of any size; each is a command in a process of its own.

`python -m tests.ohio_bench.large_data FOLDER EPISODES REAL`: REAL episodes of 2,500 low-level steps are collected, and repeated
with noise on observations and rewards until there are EPISODES. It prints what each step took, a JSON object a line.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ohio_jax import data
from ohio_jax.data.mapped import blocks

NOISE = 1e-4
NOISY = ("obs", "reward", "first_reward")
TRAIN = "--learner iql --seeds 2 --updates 2000 --batch 256"


def repeat(real: str, path: str, episodes: int) -> None:
    """Writes the repeated logs, block by block."""
    logs = data.load(real, "trajectories")
    times = episodes // (len(logs.offset) - 1)

    def column(name: str, array: Any) -> Iterator[np.ndarray]:
        for number in range(times):
            for first, rows in blocks(array):
                rng = np.random.default_rng((number, first))
                yield rows + rng.normal(scale=NOISE, size=rows.shape).astype(rows.dtype) if name in NOISY else rows

    columns: dict[str, Any] = {name: column(name, array) for name, array in logs.arrays.items()}
    columns["offset"] = [np.cumsum(np.concatenate([[0], *[np.diff(logs.offset)] * times]))]
    card = {name: logs.card[name] for name in ("task", "settings", "behavior_policy", "seed")}
    data.write(path, data.Trajectories, columns, lambda logs: {**card, "repeated": times})


def measured(name: str, words: list[str], folder: Path) -> None:
    """Runs a step; prints its seconds and its peak resident memory, mapped pages included."""
    start = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", *words], cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        said = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, name
    seconds, cpu = time.monotonic() - start, used.ru_utime + used.ru_stime
    found = {"step": name, "peak_gb": used.ru_maxrss * 1024 / 1e9, "seconds": seconds, "cpu_seconds": cpu}
    print(json.dumps({name: round(x, 2) if isinstance(x, float) else x for name, x in found.items()}), said.strip(), flush=True)


def main(folder: Path, episodes: int, real: int) -> None:
    ours = lambda line: ["ohio_bench", *line.split()]
    measured("collect", ours(f"collect lift --policy mixed --episodes {real} --seed 1 --out real"), folder)
    measured("repeat", ["tests.ohio_bench.large_data", "real", "logs", str(episodes)], folder)
    measured("verify", ours("data verify logs"), folder)
    measured("invert", ours("invert logs --inverse least_squares --out transitions"), folder)
    for place in ("device", "host"):
        measured(f"train, data on {place}", ours(f"train transitions {TRAIN} --data-on {place} --out on-{place}"), folder)


if __name__ == "__main__":
    if Path(sys.argv[1], "card.json").exists():
        repeat(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
