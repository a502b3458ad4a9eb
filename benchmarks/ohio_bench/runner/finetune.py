"""A cell of fine-tuning: learn offline, test, fine-tune online, test again."""

from typing import Any

import jax
import numpy as np

from ohio_bench.runner.store import short_hash, slug
from ohio_bench.runner.work import WorkFolder
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS, sac
from ohio_jax.task import Task
from ohio_jax.training.online import OnlinePlan, online
from ohio_jax.training.plan import Plan


def tuned(
    task: Task, offline_plan: Plan, online_plan: OnlinePlan, config: dict[str, Any], words: tuple[str, ...], work: WorkFolder
) -> dict[str, Any]:
    """What the cell of this configuration finds. words: of the names of what it keeps."""
    interface, method = config["interface"], config["method"]
    logged = work.dataset(task, config["behavior_policy"], config["data_episodes"], config["data_seed"])
    transitions = work.labeled(task, logged, interface)
    first = work.trained(offline_plan, task, interface, transitions, (*words, offline_plan.learner))
    states = first.states
    if online_plan.plan.learner != offline_plan.learner:
        keys = jax.vmap(jax.random.key)(np.arange(offline_plan.seeds))
        adopted = jax.vmap(lambda state, key: sac.adopt(state, key, online_plan.plan.config))(states.state, keys)
        states = states._replace(state=adopted)
    with work.kept(f"finetune/{slug(*words, method['name'])}.{short_hash(config)}") as folder:
        last = online(online_plan, task, interface, folder, states, transitions if method["keeps"] else None, work.deadline)

    def test(learner: str, states) -> dict[str, Any]:
        played = evaluate_learner(task, interface, LEARNERS[learner], states, config["test_episodes"], config["test_seed"])
        return {"returns": np.asarray(played.returns).tolist(), **{k: np.asarray(v).tolist() for k, v in played.metrics.items()}}

    return {
        "data": transitions.card,
        "curve": {name: value.tolist() for name, value in last.curve.items()},
        "tests": {"start": test(offline_plan.learner, first.states), "end": test(online_plan.plan.learner, last.states)},
        "seconds": {"offline": first.seconds, "online": last.seconds},
    }
