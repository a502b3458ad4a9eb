"""Returns of policies on the toy world, and what an inverse makes of its logs."""

import numpy as np
import pytest

from ohio_jax import relabel
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from tests.ohio_jax import toy


def test_an_episode_does_not_depend_on_its_neighbors():
    few, many = (evaluate_policy(toy.line_task(), "wander", episodes, 7) for episodes in (4, 9))
    np.testing.assert_array_equal(few.returns, many.returns[:4])


def test_unknown_policy():
    with pytest.raises(UserError, match=r"unknown policy for line 'fast'.*half"):
        evaluate_policy(toy.line_task(), "fast", 1, 0)


def test_relabel_recovers_the_goals_up_to_the_time_limit():
    task = toy.line_task(horizon=6)
    logged = collect(task, "half", 10, 1)
    transitions = relabel.relabel(logged, task, "ohio", "analytic")
    assert len(transitions.reward) == 10 * 6
    np.testing.assert_allclose(transitions.action, 0.0, atol=1e-6)  # halfway to zero is halfway to the goal zero
    np.testing.assert_allclose(transitions.residual, 0.0, atol=1e-6)
    np.testing.assert_allclose(transitions.next_obs, 0.5 * transitions.obs, atol=1e-6)
    assert not transitions.terminal.any() and (transitions.elapsed == 1).all() and (transitions.weight == 1).all()
    np.testing.assert_allclose(transitions.episode_return, logged.returns)


def test_segments_do_not_cross_episodes():
    starts, lengths = relabel.segments_of(np.array([0, 5, 7, 8]), 2)
    assert starts.tolist() == [0, 2, 4, 5, 7] and lengths.tolist() == [2, 2, 1, 2, 1]


@pytest.mark.parametrize(
    ("interface", "inverse", "message"),
    [
        ("low", "analytic", "unknown action interface for line 'low'"),
        ("ohio", "magic", "unknown inverse 'magic'"),
        ("ohio", "observed", "inverse 'observed'"),
    ],
)
def test_relabel_refuses_what_it_does_not_know(interface, inverse, message):
    task = toy.line_task()
    with pytest.raises(UserError, match=message):
        relabel.relabel(collect(task, "half", 2, 1), task, interface, inverse)
