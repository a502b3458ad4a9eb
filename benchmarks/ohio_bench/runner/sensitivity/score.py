"""What a model's error costs in the end: the score of a policy cloned from the goals that an inverse recovered with it."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from ohio_bench.runner.sensitivity import arm
from ohio_bench.speed.work import segments
from ohio_jax import scores
from ohio_jax.controllers import relative
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan

SPACE = "ohio_true"


def scored(
    belief: arm.Belief, steps: int, noise: float, inverse: str, plan: Plan, test_seed: int, test_episodes: int, **amounts: int
) -> dict[str, Any]:
    """Scores of every seed and test episode: the expert's logs relabeled, cloned, and played under the same torque noise.

    Args:
        **amounts: episodes of the logs, and updates of learned models.
    """
    clock = [time.monotonic()]
    lap = lambda: clock.append(time.monotonic()) or clock[-1] - clock[-2]
    task, logs = arm.task(steps, noise), arm.logs(amounts["episodes"], noise)
    model = arm.believed(belief, amounts["episodes"], amounts["updates"], noise)
    tolerance = arm.tolerance(noise, segments(logs, steps, 1024), arm.regulator(steps))
    seconds = {"prepare": lap()}
    problem = relative.problem(arm.regulator(steps, model, tolerance))
    task = replace(task, interfaces={SPACE: replace(task.interfaces[SPACE], problem=problem)})
    transitions = relabel(logs, task, SPACE, inverse)
    seconds["invert"] = lap()
    trained = train(plan, task, SPACE, transitions)
    seconds["train"] = lap()
    played = evaluate_learner(task, SPACE, LEARNERS[plan.learner], trained.states, test_episodes, test_seed)
    seconds["evaluate"] = lap()
    returns = np.asarray(played.returns, np.float64)
    normal = np.asarray(scores.normalize(returns, task.reference.zero, task.reference.full))
    return {
        "data": {"return_mean": logs.card["return_mean"], **{k: transitions.card[k] for k in COUNTS}},
        "score": float(normal.mean()),
        "score_deviation": float(normal.std()),
        "score_of_seeds": normal.mean(axis=1).tolist(),
        "returns": returns.tolist(),
        "seconds": seconds,
    }


COUNTS = ("transitions", "residual_max", "weight_mean", "ambiguous", "unexplained", "failed")
