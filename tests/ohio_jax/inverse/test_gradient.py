"""The paper's descent on torques beside a transcription in NumPy: its steps, when it stops, and which goal it returns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import ActionModel, Problem, Segment

A = np.array([[3.0, 0.5], [0.2, -2.0], [1.0, 1.0]])  # actions of a goal: A goal, within [-1, 1]
TORQUES = 300.0 * A  # those of a stiff one, within [-80, 80]
OFFSET, SPREAD, LOGGED = (0.05, 0.1), (0.2, 0.8), (0.07, 0.05)


def problem(A=A, bound=1.0):
    action = ActionModel(
        unclipped=lambda goal, at: jnp.broadcast_to(jnp.asarray(A) @ goal, at.action.shape),
        scale=lambda segment, at: 1.0,
        bounds=lambda unclipped, at: (-bound, bound),
    )
    return Problem(
        project=lambda goal: goal,
        start=lambda segment, at: jnp.full(2, 0.1),
        action=action,
        logged=lambda segment: jnp.array(LOGGED),
        released=(OFFSET, SPREAD),
    )


def mean_square(A, bound, goal, actions):
    """The original's loss: summed over steps, a mean over joints."""
    return np.square(np.clip(A @ goal, -bound, bound)[None] - actions).sum() / 3


def transcribed(actions, last, start=(0.1, 0.1), A=A, bound=1.0):
    """The original's loop (specification, robotics, 2.5) with Adam written out; (goal, least loss, iterations)."""
    goal, m, v, best, least, stalled = np.array(start), np.zeros(2), np.zeros(2), np.array(start), np.inf, 0
    for i in range(10_000):
        wish = A @ goal
        off = np.clip(wish, -bound, bound)[None] - actions
        loss = mean_square(A, bound, goal, actions)
        stalled = 0 if least - loss >= 1e-3 else stalled + 1
        if loss < least:
            best, least = goal.copy(), loss
        slope = A.T @ (2 / 3 * off * (np.abs(wish) < bound)).sum(axis=0)
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        step = 0.01 * 0.01 ** (i // 2000) * (m / (1 - 0.9 ** (i + 1))) / (np.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-8)
        goal = goal - step
        if stalled > 20 or least < 1e-4:
            break
    return goal if last else best, least, i + 1


def searched(actions, A, bound):
    """The original's cross-entropy method (the same place), on the draws of JAX's generator; (goal, least loss, iterations)."""
    mean, deviation, answer, least, stalled = np.full(2, 0.1), np.array(SPREAD), None, np.inf, 0
    for i in range(10_000):
        draws = np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(0), i), (50, 2)))
        goals = mean + deviation * draws
        losses = np.array([mean_square(A, bound, goal, actions) for goal in goals])
        order = np.argsort(losses, kind="stable")
        elite = goals[order[:10]]
        mean, deviation = elite.mean(axis=0), elite.std(axis=0, ddof=1)
        if losses[order[0]] < least - 0.1:
            least, answer, stalled = losses[order[0]], mean, 0
        else:
            stalled += 1
        if stalled == 4 or least < 1e-6:
            break
    return answer, least, i + 1


@pytest.mark.parametrize(("name", "last"), [("gradient", False), ("gradient_compat", True)])
def test_descent_is_the_originals(name, last, x64):
    """Actions that some goal explains, that none does, and that lie on a bound; the last goal is not the best one."""
    random = np.random.default_rng(0)
    explained = np.repeat((A @ [0.25, 0.2])[None], 5, axis=0)
    cases = np.stack([explained, explained + 0.2 * random.normal(size=(5, 3)), np.clip(explained * 3, -1, 1)])
    segments = Segment(np.zeros((3, 5, 1)), cases, np.zeros((3, 5, 1)))
    found = jax.jit(jax.vmap(lambda segment: INVERSES[name](problem(), segment)))(segments)
    for i, actions in enumerate(cases):
        goal, _, iterations = transcribed(actions, last)
        np.testing.assert_allclose(found.goal[i], goal, atol=1e-9)
        assert found.iterations[i] == iterations
    assert found.converged.all()
    np.testing.assert_allclose(found.goal[0], [0.25, 0.2], atol=0.05)
    other = "gradient_compat" if name == "gradient" else "gradient"
    another = jax.vmap(lambda segment: INVERSES[other](problem(), segment))(segments)
    assert np.abs(another.goal - found.goal).max() > 1e-3


@pytest.mark.parametrize("cem", [False, True], ids=["descent", "cross-entropy"])
@pytest.mark.parametrize("name, start", [("compat", (0.1, 0.1)), ("released", OFFSET), ("logged", LOGGED)])
def test_as_released(name, start, cem, x64):
    """From each of its starts, then again by the cross-entropy method where the descent ends with a loss of 100 or more, as it
    does where the start saturates in other directions than were logged.
    """
    goals = np.array([[0.06, 0.02], [-0.05, -0.12], [0.3, -0.1]])
    cases = np.stack([np.repeat(np.clip(TORQUES @ goal, -80, 80)[None], 5, axis=0) for goal in goals])
    cases[0] += 5.0 * np.random.default_rng(0).normal(size=(5, 3))
    given = {"A": TORQUES, "bound": 80.0}
    without = "gradient_compat" if name == "compat" else f"gradient_{name}_no_cem"
    inverse = INVERSES[f"gradient_{name}{'_cem' * (name == 'compat')}" if cem else without]
    segments = Segment(np.zeros((3, 5, 1)), cases, np.zeros((3, 5, 1)))
    found = jax.jit(jax.vmap(lambda segment: inverse(problem(**given), segment)))(segments)
    again = []
    for i, actions in enumerate(cases):
        goal, loss, iterations = transcribed(actions, True, start, **given)
        again.append(loss >= 100.0)
        if cem and again[-1]:
            goal, loss, more = searched(actions, **given)
            iterations += more
        np.testing.assert_allclose(found.goal[i], goal, atol=1e-9)
        np.testing.assert_allclose(found.loss[i], loss, rtol=1e-4)
        assert found.iterations[i] == iterations
    assert any(again) and not all(again)


@pytest.mark.parametrize(
    "name, less, message",
    [
        ("gradient", {"action": None}, "inverse 'gradient': expected a low level that says how it acts"),
        ("gradient_released", {"released": None}, "inverse 'gradient': expected a low level that the original searches"),
        ("gradient_logged", {"logged": None}, "inverse 'gradient': expected a low level whose high-level actions were logged"),
        ("rescaled", {"rescaled": None}, "inverse 'rescaled': expected a low level that rescales logged high-level actions"),
    ],
)
def test_low_levels_that_do_not_offer_what_is_needed_are_refused(name, less, message):
    with pytest.raises(UserError, match=message):
        INVERSES[name](problem()._replace(**less), Segment(np.zeros((5, 1)), np.zeros((5, 3)), np.zeros((5, 1))))
