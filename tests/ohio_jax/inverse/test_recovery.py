"""Goals that are known come back: from actions through MPC's optimality conditions, and with honest error bars."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import low_level
from ohio_jax.controllers import lqr, mpc
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.posterior import spread
from ohio_jax.low_level import AMBIGUOUS, UNEXPLAINED, UNIQUE, ActionModel, Problem, Segment, StateModel
from tests.ohio_jax import linear

N = 16


def draw(n=N, size=3, scale=2.0):
    x, goal = jax.random.normal(jax.random.key(0), (2, n, size))
    return jnp.asarray(x), scale * jnp.asarray(goal)


@jax.jit
def imitate(p, batch):
    return jax.vmap(lambda segment: INVERSES["implicit"](mpc.problem(p), segment))(batch)


play = functools.partial(linear.play_all, mpc)


def double(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def test_actions_give_goals_away(x64):
    """As many actions as states: goals come back to 1e-5, all where no bound is near; what explains the actions replays them."""
    x, goal = double(draw())
    for bound, least, most in ((1e6, 1.0, 1.0), (2.0, 0.7, 0.85), (1e-3, 0.0, 1.0)):
        p = double(linear.mpc_params(bound, m=3, horizon=3, steps=3))
        batch = play(p, x, goal)
        found = imitate(p, batch)
        sure, bound_everywhere = found.status == UNIQUE, (jnp.abs(batch.action) >= bound).all(axis=(1, 2))
        # From one start the search may end in a corner that later actions' bounds make; its residual tells.
        explained = found.residual < 1e-5
        assert explained.mean() >= most and explained[sure].all()
        np.testing.assert_allclose(play(p, x, found.goal).action[explained], batch.action[explained], atol=1e-4)
        assert sure.mean() >= least
        # Later actions' bounds may let another goal, away from this one, make the same actions.
        wrong = sure & (jnp.max(jnp.abs(found.goal - goal), axis=1) > 1e-5)
        assert wrong.sum() <= (0.1 * sure.sum() if bound < 1e6 else 0)
        assert (found.status[bound_everywhere] == AMBIGUOUS).all()
        assert bound > 1e-3 or bound_everywhere.all()


@pytest.mark.slow
def test_what_actions_show_comes_back(x64):
    """Fewer actions than states, one linear plant: two directions of three show, and are recovered to 1e-5."""
    x, goal = double(draw())
    p = double(linear.mpc_params(1e6, horizon=3, steps=3))
    batch = play(p, x, goal)
    found = imitate(p, batch)
    assert (found.status == AMBIGUOUS).all()
    problem = mpc.problem(p)
    derivative = jax.jacfwd(lambda goal, at: low_level.action_residual(problem, goal, at))
    J = jax.jit(jax.vmap(lambda goal, segment: derivative(goal, low_level.prepare(problem, segment))))(goal, batch)
    seen = np.linalg.pinv(J, rcond=1e-8) @ J
    np.testing.assert_allclose(np.linalg.matrix_rank(J, rtol=1e-8), 2)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", seen, found.goal - goal), 0, atol=1e-5)


def test_where_states_saturate_few_goals_are_unique():
    """Goals far beyond the bound: of those called unique hardly any was another one, off by more than the residual can tell."""
    p = linear.lqr_params(bound=1.0)
    problem = lqr.problem(p)

    def one(x, goal):
        segment = linear.play(lqr, p, x, goal)
        found, at = INVERSES["least_squares"](problem, segment), low_level.prepare(problem, segment)
        J = jax.jacfwd(lambda goal: low_level.residual(problem, goal, at))(found.goal)
        return found.status, jnp.linalg.norm(J @ (found.goal - goal)) > 1.0

    status, other = jax.jit(jax.vmap(one))(*draw(200, scale=10.0))
    unique = status == UNIQUE
    assert unique.mean() > 0.2 and (unique & other).sum() <= 0.1 * unique.sum()  # 0.4 by the derivative alone


def test_other_peoples_actions_are_not_explained(x64):
    p = double(linear.mpc_params(2.0, m=3, horizon=3, steps=3))
    x, goal = double(draw())
    batch = play(p, x, goal)
    random = 0.5 * jnp.asarray(np.random.default_rng(0).normal(size=batch.action.shape))
    assert (imitate(p, batch._replace(action=random)).status == UNEXPLAINED).mean() > 0.8


def test_one_side_of_a_bound():
    wish = jnp.array([3.0, 0.5, -3.0, -0.5, 0.7, 3.0])
    action, bound = jnp.array([1.0, 1.0, -1.0, -1.0, 0.2, 0.2]), jnp.ones(6)
    model = ActionModel(
        unclipped=lambda goal, at: goal[None],
        scale=lambda segment, at: 0.5,
        bounds=lambda unclipped, at: (-bound, bound),
    )
    problem = Problem(project=lambda goal: goal, start=lambda segment, at: wish, action=model)
    at = low_level.prepare(problem, Segment(action[None], action[None], action[None]))
    away = low_level.residual(problem, wish, at)
    np.testing.assert_allclose(away, [0.0, -1.0, 0.0, 1.0, 1.0, 5.6], rtol=1e-6)


def test_implicit_refuses_a_low_level_that_compares_no_actions():
    state = StateModel(lambda goal, at: goal[None], lambda segment, at: 0.0, lambda segment, at: 1.0)
    plain = Problem(project=lambda goal: goal, start=lambda segment, at: segment.state[0], state=state)
    with pytest.raises(UserError, match="implicit"):
        INVERSES["implicit"](plain, Segment(np.zeros((1, 2)), None, None))


def test_deviations_are_those_of_the_inverse_matrix():
    random = np.random.default_rng(0)
    J, width = random.normal(size=(2, 4)) * 100, np.array([1.0, 12.0, 5.0, 20.0])  # two directions never show
    exact = np.sqrt(np.diag(np.linalg.inv(J.T @ J + np.diag(width**-2.0))))
    np.testing.assert_allclose(spread(jnp.asarray(J, jnp.float32), jnp.asarray(width, jnp.float32)), exact, rtol=1e-3)


@functools.cache
def noisy(steps, n=1024):
    """(error, deviation, whitened error J (goal - truth)) of `posterior` where the reached state has the noise it is told."""
    p = linear.lqr_params(steps=steps)
    problem = lqr.problem(p)
    x, goal = draw(n)
    key = jax.random.key(5)

    def one(x, goal, key):
        segment = linear.play(lqr, p, x, goal)
        end = segment.next_state.at[-1].add(p.noise * jax.random.normal(key, (3,)))
        segment = segment._replace(next_state=end)
        found = INVERSES["posterior"](problem, segment)
        J = jax.jacfwd(lambda goal: low_level.residual(problem, goal, low_level.prepare(problem, segment)))(found.goal)
        return found.goal - goal, found.deviation, J @ (found.goal - goal), found.status

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(x, goal, jax.random.split(key, n)))


@pytest.mark.parametrize("steps", [5, pytest.param(10, marks=pytest.mark.slow)])
def test_the_posterior_is_calibrated(steps):
    """Errors in units of the deviation it states: mean 0, variance 1, for known noise."""
    error, deviation, _, status = noisy(steps)
    assert (status == UNIQUE).all() and (deviation > 0).all()
    standard = error / deviation
    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(standard.var(axis=0), 1, atol=0.15)
    assert np.mean(np.abs(standard) < 1.96) == pytest.approx(0.95, abs=0.02)


def test_one_step_shows_two_directions():
    """h = 1, two actions, three entries: calibrated in what shows, wide open in what does not."""
    _, deviation, whitened, status = noisy(1)
    assert set(status) == {AMBIGUOUS, UNEXPLAINED}  # with this noise most segments are not explained
    assert np.mean(np.sum(whitened**2, axis=1)) == pytest.approx(2.0, rel=0.1)
    assert np.all(deviation < 50.0) and np.all(deviation.max(axis=1) > 10.0)  # the prior's width is 50
