"""A cell of fine-tuning: learn offline, test, fine-tune online, test again."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ohio_bench.runner import source
from ohio_bench.runner.store import short_hash, slug
from ohio_bench.runner.work import WorkFolder, each_run, joined, tested
from ohio_jax.learners import sac
from ohio_jax.streams import Test
from ohio_jax.task import Task
from ohio_jax.training.online import OnlinePlan, online
from ohio_jax.training.plan import Plan


def finetuned(
    task: Task, offline_plan: Plan, online_plan: OnlinePlan, config: dict[str, Any], words: tuple[str, ...], work: WorkFolder
) -> dict[str, Any]:
    """What the cell of this configuration finds. words: of the names of what it keeps."""
    interface, method = config["interface"], config["method"]
    cards, firsts, lasts = [], [], []
    by = source.name_of(source.Code().sources(config))
    for plan, further in zip(each_run(offline_plan), each_run(online_plan.plan), strict=True):
        logged = work.dataset(config["data_set"], plan.first_seed, config.get("data_episodes"))
        transitions = work.labeled(task, logged, interface)
        first = work.trained(plan, task, interface, transitions, (*words, plan.learner))
        states = first.states
        if further.learner != plan.learner:
            keys = jax.vmap(jax.random.key)(np.array([plan.first_seed]))
            adopted = jax.vmap(lambda state, key, config=further.config: sac.adopt(state, key, config))(states.state, keys)
            states = states._replace(state=adopted)
        identity = {**config, "run": plan.first_seed, "sources": by}
        with work.kept(f"finetune/{slug(*words, method['name'])}.{short_hash(identity)}") as folder:
            old = transitions if method["keeps"] else None
            lasts.append(online(replace(online_plan, plan=further), task, interface, folder, states, old, work.deadline))
        cards.append(transitions.card)
        firsts.append(first)
    first, last = joined(firsts), joined(lasts)
    played = lambda plan, trained: tested(task, interface, plan, trained, config["test_episodes"], Test())
    tests = {when: played(*of) for when, of in (("start", (offline_plan, first)), ("end", (online_plan.plan, last)))}
    return {
        "data": cards,
        "curve": {name: value.tolist() for name, value in last.curve.items()},
        "tests": {when: {"returns": of["returns"], **of["metrics"]} for when, of in tests.items()},
        "seconds": {"offline": first.seconds, "online": last.seconds},
    }
