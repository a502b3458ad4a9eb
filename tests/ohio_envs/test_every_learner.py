"""Every learner on every task, by the plan of its `quick` preset cut short: it learns, and plays what it learned."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from ohio_envs import plans, registry

from ohio_jax.collect import collect
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.training.offline import train

# Settings with which an episode is short, and whose logs are learned from.
SHORT = {
    "routing-synthetic": ({"regions": "4", "horizon": "6"}, "uniform"),
    "inventory-one-store": ({"horizon": "10"}, "random"),
    "inventory-serial": ({"lead": "1", "horizon": "16"}, "random"),
    "inventory-many-stores": ({"horizon": "20"}, "random"),
    "supply-chain-1w3s": ({"horizon": "6"}, "s_policy_fresh"),
    "supply-chain-1w10s": ({"horizon": "6"}, "s_policy_fresh"),
    "reacher": ({"horizon": "100"}, "pd"),
    "lift": ({"horizon": "10"}, "noisy-0.3"),
    "door": ({"horizon": "10"}, "noisy-0.3"),
}
ELSEWHERE = {"routing-nyc", "routing-shenzhen", "reacher-mjx", "reacher-brax"}  # the same interfaces on other cities and bodies


def test_every_task_is_here():
    assert set(registry.TASKS) - ELSEWHERE == set(SHORT)


@functools.lru_cache(maxsize=1)
def goals(name):
    """The task and the transitions that were recovered from its logs."""
    settings, behavior = SHORT[name]
    if name in ("lift", "door"):
        pytest.importorskip("mujoco")
    task = registry.make(name, settings)
    return task, relabel(
        collect(task, behavior, 4, 0), task, "ohio", "least_squares" if task.interfaces["ohio"].steps > 1 else "analytic"
    )


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("name", SHORT)
def test_it_learns_and_plays(name, learner):
    task, transitions = goals(name)
    plan = plans.plan(name, learner, "ohio")
    short = dataclasses.replace(plan, seeds=1, updates=4, block=2, batch=20, hidden=8)
    trained = train(short, task, "ohio", transitions)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(trained.states) if np.issubdtype(np.asarray(x).dtype, np.floating))
    played = evaluate_learner(task, "ohio", LEARNERS[learner], trained.states, 1, 10)
    assert played.returns.shape == (1, 1) and np.isfinite(played.returns).all()
