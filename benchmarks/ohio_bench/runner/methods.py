"""What the cells of a table do: learn a method run by run and play it, or play a scripted policy.

What decides a return is the cell's configuration and its sources, of which this module and `work` are two; declarations lie
elsewhere.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ohio_bench.runner.work import WorkFolder, each_run, joined, tested, tried
from ohio_jax.deadline import OutOfTime
from ohio_jax.errors import DivergedError, TooFewError, one_line
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.streams import Selection, Test
from ohio_jax.task import Task
from ohio_jax.training.loop import Trained
from ohio_jax.training.plan import Plan

Config = dict[str, Any]  # of a cell
Words = tuple[str, ...]  # of the names of folders of checkpoints


def policy(task: Task, config: Config, work: WorkFolder) -> dict[str, Any]:
    """A scripted policy, played."""
    start = time.monotonic()
    played = jax.tree.map(np.asarray, evaluate_policy(task, config["policy"], config["test_episodes"], Test().seed))
    return {
        "returns": [played.returns.tolist()],
        "metrics": {name: [value.tolist()] for name, value in played.metrics.items()},
        "seconds": {"evaluate": time.monotonic() - start},
    }


def hdpo(task: Task, plan: Plan, config: Config, work: WorkFolder) -> dict[str, Any]:
    """A policy trained on smooth quantities, tested on the task as it is."""
    trained = work.trained_hdpo(plan, task, "ohio")
    return tested(task, "ohio", plan, trained, config["test_episodes"], Test())


def learned(task: Task, home: Task, plan: Plan, config: Config, words: Words, work: WorkFolder) -> dict[str, Any]:
    """A method, learned and tested. home: the task the data come from."""

    def play(trained: Trained) -> dict[str, Any]:
        return tested(task, config["interface"], plan, trained, config["test_episodes"], Test(), _by_mean(config))

    try:
        return _played(task, home, plan, config, words, work, play)
    except TooFewError as few:  # which is what the table has to say of this method
        return {"data": few.cards, "untrained": one_line(str(few)), "seconds": {}}


def trial(task: Task, home: Task, plan: Plan, config: Config, words: Words, work: WorkFolder) -> dict[str, Any]:
    """The same on the selection stream; that it diverged is what a trial has to say, too."""

    def play(trained: Trained) -> dict[str, Any]:
        return tried(task, config["interface"], plan, trained, config["selection_episodes"], Selection(), _by_mean(config))

    try:
        return _played(task, home, plan, config, words, work, play)
    except DivergedError as error:
        return {"diverged": one_line(str(error)), "seconds": {}}


def _by_mean(config: Config) -> bool:
    return config.get("acting", "mean") == "mean"


def _played(
    task: Task, home: Task, plan: Plan, config: Config, words: Words, work: WorkFolder, play: Callable[[Trained], dict[str, Any]]
) -> dict[str, Any]:
    cards, trained, seconds = _train_runs(task, home, plan, config, words, work)
    found = play(trained)
    return {"data": cards, **found, "seconds": {**seconds, **found["seconds"]}}


def _train_runs(
    task: Task, home: Task, plan: Plan, config: Config, words: Words, work: WorkFolder
) -> tuple[list[dict[str, Any]], Trained, dict[str, float]]:
    """The runs of a method: (cards of what each learned from, policies and curves of all, seconds of making the data).

    Raises:
        OutOfTime: with what this run needs and those after it.
        TooFewError: with the cards of all runs, if there is too little for one of them.
    """
    learned_in, interface = home if config.get("zero_shot") else task, config["interface"]
    each, cards, runs = each_run(plan), [], []
    clock, seconds, refused = [time.monotonic()], {"collect": 0.0, "invert": 0.0}, []
    lap = lambda: clock.append(time.monotonic()) or clock[-1] - clock[-2]
    for once in each:
        lap()
        logged = work.dataset(config["data_set"], once.first_seed, config.get("data_episodes"))
        seconds["collect"] += lap()
        try:
            transitions = work.labeled(learned_in, logged, interface, config["inverse"], config.get("weights"))
        except TooFewError as few:
            refused.append(str(few))
            cards += few.cards
            continue
        seconds["invert"] += lap()
        card = transitions.card
        if task.errors is not None:
            card = card | {"label_errors": work.label_errors(task, interface, logged, transitions, home)}
            seconds["label_errors"] = seconds.get("label_errors", 0.0) + lap()
        cards.append(card)
        if refused:
            continue
        try:
            runs.append(work.trained(once, learned_in, interface, transitions, words))
        except OutOfTime as late:
            raise OutOfTime(late.seconds and late.seconds * (len(each) - len(runs))) from None
    if refused:
        raise TooFewError(refused[0], cards)
    return cards, joined(runs), seconds
