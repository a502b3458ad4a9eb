"""Records an episode of robosuite 1.4.1 under random goals: `python robosuite_episode.py lift|door FILE.npz`.

Stands alone, since robosuite needs versions of NumPy and MuJoCo that this project does not: it is run by another Python.
"""

import sys
from pathlib import Path

import numpy as np

DECISIONS, HELD = 50, 10  # length of the episode, and of each goal


def record(name: str) -> dict[str, np.ndarray]:
    """q, v: [251, *] before and after each sub-step; torques, command: [250, *] of it; obs: [51, *], reward: [50] of decisions;
    place: Float[7] of cube or door; size: Float[3] of the cube."""
    from reference_robosuite import make

    np.random.seed(3)
    env = make(name)
    seen = lambda obs: np.concatenate([obs["robot0_proprio-state"], obs["object-state"]])
    obs = [seen(env.reset())]
    model, data = env.sim.model._model, env.sim.data._data
    q, v, torques, command, reward = [data.qpos.copy()], [data.qvel.copy()], [], [], []
    door = name == "door"
    place = np.concatenate([model.body("Door_main").pos, model.body("Door_main").quat]) if door else data.qpos[9:16].copy()
    size = np.zeros(3) if door else model.geom("cube_g0").size.copy()
    plain = env.sim.step

    def step():
        torques.append(data.ctrl[:7].copy())
        plain()
        q.append(data.qpos.copy())
        v.append(data.qvel.copy())

    env.sim.step = step
    random = np.random.default_rng(0)
    for decision in range(DECISIONS):
        if decision % HELD == 0:
            action = np.append(0.5 * random.normal(size=6), random.choice([-1.0, 1.0]))
        after, earned, _, _ = env.step(action)
        obs.append(seen(after))
        reward.append(earned)
        command.extend([action[6]] * 5)
    names = ("q", "v", "torques", "command", "obs", "reward", "place", "size")
    return dict(zip(names, map(np.array, (q, v, torques, command, obs, reward, place, size)), strict=True))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "ohio_bench" / "speed"))
    np.savez(sys.argv[2], **record(sys.argv[1]))
