"""From the name of a data set to a test score: load, relabel, train, check on held-out episodes, choose, test."""

import dataclasses

import jax
import numpy as np
from ohio_envs import load_dataset

from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.scores import t_interval
from ohio_jax.streams import Selection, Test
from ohio_jax.training import train

INTERFACE, LEARNER, EPISODES = "ohio", LEARNERS["iql"], 100

if __name__ == "__main__":
    task, *logs = load_dataset("1w3s-heur-v1", data_seed=0)
    data, held_out = (relabel(of, task, INTERFACE, "analytic") for of in logs)  # to train on; to validate with
    print(f"{len(data.reward)} transitions of behavior that scores {task.score(logs[0].returns).mean():.1f}")

    def score(agents, stream) -> np.ndarray:
        """Of each training seed."""
        played = evaluate_learner(task, INTERFACE, LEARNER, agents, EPISODES, stream.seed)
        return task.score(played.returns).mean(axis=1)

    def error(agents, of) -> float:
        """Of the first seed's policy: how far its actions are from recovered ones, in the mean."""
        made = agents.of_seed(0).act(LEARNER, of.obs, jax.random.key(0), deterministic=True)
        return float(np.abs(made - of.action)[of.weight > 0].mean())

    declared = dataclasses.replace(task.plan("iql", INTERFACE).lasting(500), seeds=2)
    tried = {}
    for beta in (0.3, 3.0):
        plan = dataclasses.replace(declared, config=declared.config.replace(beta=beta))
        agents = train(plan, task, INTERFACE, data).states
        tried[beta] = score(agents, Selection()).mean(), agents
        gap = f"error {error(agents, data):.4f} on the data, {error(agents, held_out):.4f} held out"
        print(f"beta {beta}: {gap}; score {tried[beta][0]:.1f} on the selection stream")

    beta = max(tried, key=lambda beta: tried[beta][0])
    tests = score(tried[beta][1], Test())  # once, of what was chosen
    low, high = t_interval(tests)
    print(f"beta {beta}: score {tests.mean():.1f} [{low:.1f}, {high:.1f}] on the test stream")
    assert tests.mean() > 60 and error(tried[beta][1], held_out) < 0.1
