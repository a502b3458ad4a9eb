"""A task made of logs alone: goals are recovered and learned from, nothing can be played; sizes are compared, not broadcast."""

import re
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.learners import bc
from ohio_jax.low_level import AMBIGUOUS, ActionModel, Problem, StateModel
from ohio_jax.networks.heads import Box
from ohio_jax.relabel import relabel
from ohio_jax.task import check_trajectories, check_transitions, of_logs
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


# --- Sizes


def logged(**more):
    """Twelve steps on the line, in episodes of six, and what else or other is said of them."""
    x = np.cumsum(np.random.default_rng(0).uniform(-0.05, 0.05, (2, 7)), axis=1).astype(np.float32)
    obs, next_obs = (part.reshape(-1, 1) for part in (x[:, :-1], x[:, 1:]))
    given = {
        "obs": obs,
        "next_obs": next_obs,
        "action": next_obs - obs,
        "reward": -obs[:, 0],
        "state": obs,
        "next_state": next_obs,
    }
    return data.from_arrays(**{**given, **more}, truncated=np.arange(12) % 6 == 5, card={"task": "line"})


def told(*shape):
    """What a message about logged actions of this shape begins with."""
    states = rf"trajectories: states of shape \(1,\) and actions of shape {re.escape(str(shape))}"
    return rf"{states}, for line ohio: low level: action model: "


WIDE = np.zeros((12, 3), np.float32)
AS = r"expected shape \(1,\) a row, as"
LOGS = [
    ({"obs": WIDE, "next_obs": WIDE}, rf"trajectories: field obs: {AS} line has it, found \(3,\)"),
    ({"action": WIDE}, told(3) + r"expected actions of shape \(1, 3\) as logged, found \(1, 1\)"),
    ({"action": WIDE[:, 0]}, told() + r"expected actions of shape \(1,\) as logged, found \(1, 1\)"),
]
TASKS = {"simulated": toy.line_task(), "logs alone": of_logs("line", 1, toy.line_task().interfaces)}


@pytest.mark.parametrize("given", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(("wrong", "expected"), LOGS)
def test_logs_of_other_sizes_are_refused(given, wrong, expected):
    check_trajectories(logged(), given, "ohio")
    with pytest.raises(UserError, match=f"^{expected}$"):
        relabel(logged(**wrong), given, "ohio", "analytic")


def test_states_of_other_sizes_are_refused(task):
    wide = logged(state=WIDE, next_state=WIDE)
    with pytest.raises(UserError, match=rf"^trajectories: field state: {AS} line has it, found \(3,\)$"):
        relabel(wide, toy.line_task(), "ohio", "analytic")
    where = r"low level of line ohio, told states of shape \(3,\) and actions of shape \(1,\)"
    with pytest.raises(UserError, match=rf"^{where}: high-level action where searches start: {AS} the interface's spec has it, "):
        relabel(wide, task, "ohio", "analytic")
    with pytest.raises(UserError, match=r"^unknown action interface for line 'low'"):
        check_trajectories(logged(), task, "low")


def test_a_low_level_that_cannot_read_the_logs(task):
    gains = jnp.ones((2, 2))
    pairs = task.interfaces["ohio"].problem._replace(start=lambda segment, at: gains @ segment.state[0])
    with pytest.raises(UserError, match=r"^trajectories: expected states and actions that the low level of line ohio can read"):
        relabel(logged(), with_problem(task, pairs), "ohio", "analytic")


def with_problem(task, problem: Problem):
    return replace(task, interfaces={"ohio": replace(task.interfaces["ohio"], problem=problem)})


HALF = toy.PROBLEM
acting = lambda unclipped: HALF._replace(action=ActionModel(unclipped, lambda *_: 1.0))
COLUMNS = [
    (acting(lambda goal, at: toy.HALF * (goal - at.state[0])[:, None, None]), "action model"),
    (acting(lambda goal, at: toy.HALF * (goal - at.state[0])), "action model"),
    (HALF._replace(closed_form=lambda segment, at: (segment.state[0][:, None], AMBIGUOUS)), "high-level action in closed form"),
    (HALF._replace(closed_form=lambda segment, at: (segment.state[0], segment.state[0])), "status in closed form"),
]
LEADS = [
    (lambda goal, at: goal[None, :, None], lambda segment, at: segment.next_state[-1]),
    (lambda goal, at: goal, lambda segment, at: segment.next_state[-1]),
    (lambda goal, at: goal[None, :, None], lambda segment, at: segment.next_state[-1][:, None]),
]
COLUMNS += [(HALF._replace(action=None, state=StateModel(*model, lambda *_: 1.0)), "state model") for model in LEADS]


@pytest.mark.parametrize(("problem", "what"), COLUMNS)
def test_a_residual_that_is_a_column_is_refused(task, problem, what):
    """Else every segment would be AMBIGUOUS."""
    with pytest.raises(UserError, match=rf"^(trajectories|low level of line ohio).*{what}: expected .* found .*\)$"):
        relabel(logged(), with_problem(task, problem), "ohio", "analytic")


def test_transitions_of_other_sizes_are_refused(task):
    goals = relabel(logged(), task, "ohio", "analytic")
    check_transitions(goals, task, "ohio")
    for field, shape in {"obs": (12, 3), "next_obs": (12, 3), "action": (12, 2)}.items():
        expected = rf"^transitions: field {field}: expected shape \(1,\) a row, as line ohio has it, found \({shape[1]},\)$"
        with pytest.raises(UserError, match=expected):
            check_transitions(replace(goals, **{field: np.zeros(shape)}), task, "ohio")
    # Goals of one number are not those of a box of two.
    interface = replace(task.interfaces["ohio"], spec=Box((1.0, 1.0)))
    with pytest.raises(UserError, match=r"field action: expected shape \(2,\) a row, as line ohio has it, found \(1,\)"):
        check_transitions(goals, replace(task, interfaces={"ohio": interface}), "ohio")
    with pytest.raises(UserError, match=r"where searches start: expected shape \(2,\) a row"):
        check_trajectories(logged(), replace(task, interfaces={"wide": interface}), "wide")
