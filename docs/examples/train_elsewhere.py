"""A policy trained elsewhere: named data as `.npz`, a learner in NumPy alone, scores of our simulator, a run file to submit."""

import time
from dataclasses import asdict
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ohio_bench.runner import store
from ohio_envs import datasets

from ohio_jax import data, provenance
from ohio_jax.relabel import relabel
from ohio_jax.rollout import Episodes, episode_keys, rollouts
from ohio_jax.streams import Selection, Stream, Test

NAME, INTERFACE, INVERSE, RUNS, EPISODES = "1w3s-heur-v1", "ohio", "analytic", 5, 100  # as the table has them
TASK = datasets.task_of(NAME)


def save(data_seed: int) -> tuple[Path, dict]:
    """The transitions of a data seed as a file, and their card."""
    transitions = relabel(datasets.load_dataset(NAME, data_seed).train, TASK, INTERFACE, INVERSE)
    path = Path(f"transitions-{data_seed}.npz")
    data.save(path, transitions)
    return path, transitions.card


def learn(path: Path, penalty: float):
    """Stands for your learner, which knows the file alone: ridge regression. Returns obs [B, n] -> action [B, ...], in NumPy."""
    with np.load(path) as file:
        obs, action, weight = (file[name].astype(np.float64) for name in ("obs", "action", "weight"))
    mean, deviation = obs.mean(axis=0), obs.std(axis=0) + 1e-6
    features = lambda obs: np.insert((obs - mean) / deviation, 0, 1.0, axis=1)
    x, wx = features(obs), weight[:, None] * features(obs)
    theta = np.linalg.solve(wx.T @ x + penalty * np.eye(x.shape[1]), wx.T @ action)
    return lambda obs: features(obs) @ theta


def played(policy, stream: Stream) -> Episodes:
    """What a policy earns on the first episodes of a stream."""
    spec, seed = TASK.interfaces[INTERFACE].spec, stream.seed
    call, made = lambda obs: np.asarray(policy(np.asarray(obs)), np.float32), jax.ShapeDtypeStruct(spec.shape, jnp.float32)
    ask = lambda obs: jax.pure_callback(call, made, obs, vmap_method="expand_dims")  # once a decision, for all episodes
    act = lambda params, env, key, state: spec.project(ask(state.obs))
    return rollouts(TASK.high_level(INTERFACE), act, (), TASK.instances(seed, EPISODES), episode_keys(seed, EPISODES))


if __name__ == "__main__":
    score = lambda episodes: float(TASK.score(episodes.returns).mean())
    tried, _ = save(10_000)  # nothing is chosen on the data, or on the episodes, of the runs below
    chosen = {penalty: score(played(learn(tried, penalty), Selection())) for penalty in (1.0, 1e4)}
    penalty = max(chosen, key=lambda penalty: chosen[penalty])
    paths, cards = zip(*map(save, range(RUNS)), strict=True)  # run r learns from data seed r
    start = time.monotonic()
    policies = [learn(path, penalty) for path in paths]
    seconds = {"train": time.monotonic() - start}
    tests = [played(policy, Test()) for policy in policies]
    print(f"penalty {penalty:g}: score {np.mean([*map(score, tests)]):.1f}; of those tried, on the selection stream: {chosen}")
    place = {"table": "supply-chain", "preset": "cpu", "row": "1W3S-HEUR", "column": "Ridge regression BC", "author": "Your name"}
    config = {"task": TASK.name, "settings": TASK.settings, "data_set": NAME, "interface": INTERFACE, "inverse": INVERSE}
    config["plan"] = {"learner": "bc", "updates": 1, "seeds": RUNS, "penalty": penalty}  # what makes the training again
    config |= {"test_stream": "test", "test_episodes": EPISODES}
    found = {"returns": [of.returns.tolist() for of in tests], "seconds": seconds, "data": list(cards)}
    found["metrics"] = {name: [of.metrics[name].tolist() for of in tests] for name in tests[0].metrics}
    origin = {"reference": asdict(TASK.reference), "command": "python train_elsewhere.py", "provenance": provenance.collect()}
    store.write(Path("ridge.json"), {**place, "config": config, **found, **origin}, "submission")  # checks it first
    assert chosen[1.0] > chosen[1e4] and np.shape(found["returns"]) == (RUNS, EPISODES)
