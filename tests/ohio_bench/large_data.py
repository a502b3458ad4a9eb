"""Peak memory of every step from logs to a policy on Lift, for data of any size; each is a command in a process of its own.

`python -m tests.ohio_bench.large_data FOLDER EPISODES`: episodes of 500 decisions and 2,500 low-level steps each, so that 4,000
are the ten million steps of docs/scaling.md. It prints what each step took, a JSON object a line; killed, it goes on where it
stopped.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

TRAIN = "train transitions --learner iql --seeds 2 --updates 2000 --batch 256 --out on"
STEPS = {
    "collect": "collect lift --policy mixed --episodes {} --seed 1 --out logs",
    "verify": "data verify logs",
    "invert": "invert logs --inverse least_squares --out transitions",
    **{f"train on {place}": f"{TRAIN}-{place} --data-on {place}" for place in ("device", "host")},
}


def main(folder: Path, episodes: int) -> None:
    for name, line in STEPS.items():
        start, words = time.monotonic(), [sys.executable, "-m", "ohio_bench", *line.format(episodes).split()]
        process = subprocess.Popen(words, cwd=folder)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, name
        seconds, cpu = round(time.monotonic() - start), round(used.ru_utime + used.ru_stime)
        peak = round(used.ru_maxrss * 1024 / 1e9, 2)  # resident, mapped pages included
        print(json.dumps({"step": name, "peak_gb": peak, "seconds": seconds, "cpu_seconds": cpu}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
