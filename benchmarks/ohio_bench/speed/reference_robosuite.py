"""How fast robosuite 1.4.1 plays: `python reference_robosuite.py lift|door SECONDS` prints control steps a second as JSON.

Stands alone, since robosuite needs versions of NumPy and MuJoCo that this project does not: it is run by another Python.
"""

import json
import sys
import time


def make(name: str):
    """robosuite's environment of a scene, at the paper's rate of 100 decisions a second."""
    import robosuite  # pyright: ignore[reportMissingImports]
    from robosuite.controllers import load_controller_config  # pyright: ignore[reportMissingImports]

    return robosuite.make(
        name.capitalize(),
        robots="Panda",
        controller_configs=load_controller_config(default_controller="OSC_POSE"),
        has_renderer=False,
        has_offscreen_renderer=False,
        use_camera_obs=False,
        control_freq=100,
        reward_shaping=True,
        ignore_done=True,
        hard_reset=False,
    )


def measure(name: str, seconds: float) -> dict[str, float]:
    """Control steps a second of one environment in robosuite's own loop, under random goals; best and median of five windows."""
    import numpy as np

    env = make(name)
    env.reset()
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (1000, 7))
    rates, k = [], 0
    for _ in range(5):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            env.step(actions[k % len(actions)])
            k, done = k + 1, done + 1
            if k % 500 == 0:
                env.reset()
        rates.append(done / (time.perf_counter() - start))
    return {"best": max(rates), "median": sorted(rates)[2]}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], float(sys.argv[2]))))
