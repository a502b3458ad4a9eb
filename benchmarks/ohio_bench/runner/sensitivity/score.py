"""What a model's error costs in the end: the score of a policy cloned from the goals that an inverse recovered with it."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from ohio_bench.runner.sensitivity import arm
from ohio_bench.runner.work import each_run, joined
from ohio_bench.speed.work import segments
from ohio_jax import scores
from ohio_jax.controllers import relative
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.streams import STREAMS, Test, require
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan

SPACE = "ohio_true"


def scored(
    belief: arm.Belief, steps: int, noise: float, inverse: str, plan: Plan, test_stream: str, test_episodes: int, **amounts: int
) -> dict[str, Any]:
    """Mean score of each run, and the return of each of its test episodes.

    The expert's logs are relabeled and cloned, and the policies played under the same torque noise.

    Args:
        plan: run r has a training seed and logs of its own.
        **amounts: episodes of the logs, and updates of learned models.
    """
    cards, runs, seconds = [], [], dict.fromkeys(("prepare", "invert", "train", "evaluate"), 0.0)
    noisy = arm.task(steps, noise)
    for run in each_run(plan):
        clock = [time.monotonic()]
        lap = lambda clock=clock: clock.append(time.monotonic()) or clock[-1] - clock[-2]
        logs = arm.logs(amounts["episodes"], noise, run.first_seed)
        model = arm.believed(belief, amounts["episodes"], amounts["updates"], noise, run.first_seed)
        tolerance = arm.tolerance(noise, segments(logs, steps, 1024), arm.regulator(steps))
        seconds["prepare"] += lap()
        problem = relative.problem(arm.regulator(steps, model, tolerance))
        task = replace(noisy, interfaces={SPACE: replace(noisy.interfaces[SPACE], problem=problem)})
        transitions = relabel(logs, task, SPACE, inverse)
        seconds["invert"] += lap()
        runs.append(train(run, task, SPACE, transitions))
        seconds["train"] += lap()
        cards.append({"return_mean": logs.card["return_mean"], **{k: transitions.card[k] for k in COUNTS}})
    start = time.monotonic()
    stream = require(STREAMS[test_stream](), Test)
    played = evaluate_learner(noisy, SPACE, LEARNERS[plan.learner], joined(runs).states, test_episodes, stream.seed)
    seconds["evaluate"] = time.monotonic() - start
    returns = np.asarray(played.returns, np.float64)
    normal = np.asarray(scores.normalize(returns, noisy.reference.zero, noisy.reference.full))
    return {
        "data": cards,
        "scores": normal.mean(axis=1).tolist(),
        "returns": returns.tolist(),
        "seconds": seconds,
    }


COUNTS = ("transitions", "residual_max", "weight_mean", "ambiguous", "unexplained", "failed")
