"""A cell of fine-tuning: learn offline, test, go on online, test again."""

from typing import Any

import jax
import numpy as np

from ohio_bench.runner import work
from ohio_bench.runner.store import short_hash, slug
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.files import alone
from ohio_jax.learners import LEARNERS, sac
from ohio_jax.task import Task
from ohio_jax.training.online import OnlinePlan, online
from ohio_jax.training.plan import Plan


def tuned(task: Task, begins: Plan, goes_on: OnlinePlan, config: dict[str, Any], words: tuple[str, ...]) -> dict[str, Any]:
    """What the cell of this configuration finds. words: of the names of its work folders."""
    space, method = config["space"], config["method"]
    logged = work.dataset(task, config["behaviour"], config["data_episodes"], config["data_seed"])
    transitions = work.labelled(task, logged, space)
    first = work.trained(begins, task, space, transitions, (*words, begins.learner))
    states = first.states
    if goes_on.plan.learner != begins.learner:
        keys = jax.vmap(jax.random.key)(np.arange(begins.seeds))
        adopted = jax.vmap(lambda state, key: sac.adopt(state, key, goes_on.plan.config))(states.state, keys)
        states = states._replace(state=adopted)
    folder = work.WORK / "finetune" / f"{slug(*words, method['name'])}.{short_hash(config)}"
    with alone(folder):
        last = online(goes_on, task, space, folder, states, transitions if method["keeps"] else None)

    def test(learner: str, states) -> dict[str, Any]:
        played = evaluate_learner(task, space, LEARNERS[learner], states, config["test_episodes"], config["test_seed"])
        return {"returns": np.asarray(played.returns).tolist(), **{k: np.asarray(v).tolist() for k, v in played.metrics.items()}}

    return {
        "data": transitions.card,
        "curve": {name: value.tolist() for name, value in last.curve.items()},
        "tests": {"start": test(begins.learner, first.states), "end": test(goes_on.plan.learner, last.states)},
        "seconds": {"offline": first.seconds, "online": last.seconds},
    }
