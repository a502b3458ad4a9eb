"""A task made of logs alone: goals are recovered and learned from, and nothing can be played."""

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.learners import bc
from ohio_jax.relabel import relabel
from ohio_jax.task import of_logs
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan
from tests.ohio_jax import toy


@pytest.fixture(scope="module")
def task():
    return of_logs("line", 1, toy.line_task().interfaces)


def test_logs_are_relabeled_and_learned_from(task):
    x = np.array([[0.0], [0.2], [0.4]])
    logs = data.from_arrays(x[:2], x[1:] - x[:2], -x[1:, 0], x[1:], {"task": "line"}, terminated=[False, True])
    goals = relabel(logs, task, "ohio", "analytic")
    np.testing.assert_allclose(goals.action, [[0.4], [0.6]], atol=1e-6)  # the low level goes half of the way
    assert goals.terminal.tolist() == [False, True]
    trained = train(Plan("bc", bc.Config(), hidden=4, updates=2, batch=2, block=2), task, "ohio", goals)
    assert np.isfinite(trained.curve["actor_loss"]).all()


def test_nothing_can_be_played(task):
    with pytest.raises(UserError, match=r"task 'line': expected a simulator to play episodes in, found logs alone"):
        evaluate_policy(task, "half", 1, seed=0)
    with pytest.raises(UserError, match=r"unknown policy for line 'half'"):
        collect(task, "half", 1, seed=0)
