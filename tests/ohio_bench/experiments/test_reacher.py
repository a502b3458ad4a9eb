"""The reacher under equal horizons and backups, as an independent measurement found it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from ohio_bench.experiments.reacher import TABLE
from ohio_bench.runner import methods
from ohio_bench.runner.table import plan_of, training_config
from ohio_bench.runner.tune import FIRST_SEED
from ohio_bench.runner.work import WorkFolder
from ohio_envs import datasets
from scipy.stats import t

# Scores of IQL on Reacher-Medium, 8,000 updates: means of two runs on a hundred episodes of their own, measured at 0277efd.
FOUND = {
    "OHIO least squares": 81.8,
    "Observed state": 83.8,
    "End-to-end, discount 0.99": 59.4,
    "End-to-end": 61.2,
    "End-to-end, 5-step": 82.7,
    "End-to-end, 25-step": 91.1,
}
THEIR_RUNS, THEIR_EPISODES, EPISODES = 2, 100, 1000


@pytest.mark.slow
@pytest.mark.parametrize("family", FOUND)
def test_scores_on_medium_data_are_those_measured_before(family, tmp_path):
    """Five runs on data sets of their own, played on selection episodes; one to three minutes each.

    The difference of two means of independent runs on independent episodes lies within an interval that holds for all six at once
    with 95 % (Bonferroni). Its variance is that between our runs, for 5 and for 2 of them, and that between episodes, for
    1000 and 100 of them; degrees of freedom after Welch and Satterthwaite.
    """
    made = TABLE.preset("horizon")
    plans = {key: replace(plan, first_seed=FIRST_SEED) for key, plan in made.plans.items()}
    made = replace(made, plans=plans)
    row = next(row for row in made.rows if row.name == "Reacher-Medium")
    column = next(column for column in made.columns if (column.family, column.learner) == (family, "iql"))
    task = datasets.task_of(row.data_set)
    config = {**training_config(made, column, row, task.settings), "selection_episodes": EPISODES}
    played = methods.trial(task, task, plan_of(made, column, row), config, (row.name, family), WorkFolder(tmp_path))
    scores = task.score(np.array(played["returns"]))
    runs, episodes = scores.mean(axis=1), scores.mean(axis=0)
    between_runs = runs.var(ddof=1) * (1 / len(runs) + 1 / THEIR_RUNS)
    between_episodes = episodes.var(ddof=1) * (1 / EPISODES + 1 / THEIR_EPISODES)
    variance = between_runs + between_episodes
    freedom = variance**2 / (between_runs**2 / (len(runs) - 1) + between_episodes**2 / (THEIR_EPISODES - 1))
    half = t.ppf(1 - 0.025 / len(FOUND), freedom) * math.sqrt(variance)
    print(f"{family}: {runs.mean():.1f}, runs {runs.round(1)}, found before {FOUND[family]}, +- {half:.1f}")
    assert abs(runs.mean() - FOUND[family]) < half
    assert half < 15  # or it would say nothing
