"""Another project's Minari data set in, one of recovered actions out. The room and its thermostat are those of `your_data`."""

import os
import tempfile
import warnings

import numpy as np
from your_data import ROOM, STEPS, play

from ohio_jax.data import minari as bridge
from ohio_jax.relabel import relabel


def theirs(name: str, asked: np.ndarray) -> None:
    """Writes what somebody else's data set is: observations, actions and rewards, nothing of ours."""
    import gymnasium
    import minari

    goals = iter(asked)
    arrays = play(lambda x: next(goals)[:, None], episodes=asked.shape[1])
    each = {key: np.split(value, asked.shape[1]) for key, value in arrays.items()}
    buffers = [
        minari.data_collector.EpisodeBuffer(
            observations=np.concatenate([obs, after[-1:]]),
            actions=action,
            rewards=reward,
            terminations=np.zeros_like(ends),
            truncations=ends,
        )
        for obs, action, reward, after, ends in zip(*each.values(), strict=True)
    ]
    box = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
    with warnings.catch_warnings(action="ignore"):  # Minari warns of metadata left out
        minari.create_dataset_from_buffers(name, buffers, observation_space=box, action_space=box)


def relabeled(source: str, target: str):
    """Reads the first, recovers its high-level actions, writes them as the second; returns what any Minari reader sees."""
    # What the thermostat saw is what was observed; elsewhere it may be a part of it, or in the episode's infos.
    logs = bridge.load(source, ROOM, state=lambda episode: episode.observations)
    return bridge.export(relabel(logs, ROOM, "ohio", "least_squares", weights="drop"), target, author="you")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as store:
        os.environ["MINARI_DATASETS_PATH"] = store
        asked = np.random.default_rng(0).uniform(-2, 3, (10, 20)).astype(np.float32)  # decision, episode
        theirs("room/logs-v0", asked)
        written = relabeled("room/logs-v0", "room/ohio-v0")
        episodes = list(written.iterate_episodes())
        unique = [e.infos["status"][1:] == 0 for e in episodes]
        error = np.concatenate([np.abs(e.actions[:, 0] - asked[:, e.id])[of] for e, of in zip(episodes, unique, strict=True)])
        print(f"{len(episodes)} episodes, {STEPS} steps a decision; {len(error)} unique, error at most {error.max():.1e}")
        assert len(error) > 100 and error.max() < 1e-3
