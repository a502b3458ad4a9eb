"""The paper's descent on torques beside a transcription in NumPy: its steps, when it stops, and which goal it returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import ActionModel, Problem, Segment

A = np.array([[3.0, 0.5], [0.2, -2.0], [1.0, 1.0]])  # actions of a goal: A goal, within [-1, 1]


def problem():
    action = ActionModel(
        unclipped=lambda goal, at: jnp.broadcast_to(jnp.asarray(A) @ goal, at.action.shape),
        scale=lambda segment, at: 1.0,
        bounds=lambda unclipped, at: (-1.0, 1.0),
    )
    return Problem(project=lambda goal: goal, start=lambda segment, at: jnp.full(2, 0.1), action=action)


def transcribed(actions, last):
    """The original's loop (specification, robotics, 2.5) with Adam written out; (goal, iterations)."""
    goal, m, v, best, least, bored = np.full(2, 0.1), np.zeros(2), np.zeros(2), np.full(2, 0.1), np.inf, 0
    for i in range(10_000):
        wish = A @ goal
        off = np.clip(wish, -1, 1)[None] - actions
        loss = np.square(off).sum() / 3
        bored = 0 if least - loss >= 1e-3 else bored + 1
        if loss < least:
            best, least = goal.copy(), loss
        slope = A.T @ (2 / 3 * off * (np.abs(wish) < 1)).sum(axis=0)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        step = 0.01 * 0.01 ** (i // 2000) * (m / (1 - 0.9 ** (i + 1))) / (np.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-8)
        goal = goal - step
        if bored > 20 or least < 1e-4:
            break
    return goal if last else best, i + 1


@pytest.mark.parametrize(("name", "last"), [("gradient", False), ("gradient_compat", True)])
def test_descent_is_the_originals(name, last, x64):
    """Actions that some goal explains, that none does, and that lie on a bound; the last goal is not the best one."""
    random = np.random.default_rng(0)
    explained = np.repeat((A @ [0.25, 0.2])[None], 5, axis=0)
    cases = np.stack([explained, explained + 0.2 * random.normal(size=(5, 3)), np.clip(explained * 3, -1, 1)])
    segments = Segment(np.zeros((3, 5, 1)), cases, np.zeros((3, 5, 1)))
    found = jax.jit(jax.vmap(lambda segment: INVERSES[name](problem(), segment)))(segments)
    for i, actions in enumerate(cases):
        goal, iterations = transcribed(actions, last)
        np.testing.assert_allclose(found.goal[i], goal, atol=1e-9)
        assert found.iterations[i] == iterations
    assert found.converged.all()
    np.testing.assert_allclose(found.goal[0], [0.25, 0.2], atol=0.05)
    other = "gradient_compat" if name == "gradient" else "gradient"
    another = jax.vmap(lambda segment: INVERSES[other](problem(), segment))(segments)
    assert np.abs(another.goal - found.goal).max() > 1e-3


def test_low_levels_that_do_not_say_how_they_act_are_refused():
    with pytest.raises(UserError, match="inverse 'gradient': expected a low level that says how it acts"):
        INVERSES["gradient"](problem()._replace(action=None), Segment(np.zeros((5, 1)), np.zeros((5, 3)), np.zeros((5, 1))))
