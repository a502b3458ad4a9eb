"""Ordering up to levels as a low level: what it orders, how that moves with the goal, and goals read off its orders."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.controllers import order_up_to
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Segment

LARGEST = np.array([20.0, 50.0, 100.0], np.float32)
PARAMS = order_up_to.Params(jnp.asarray(LARGEST))


def act(state, goal):
    return order_up_to.act(PARAMS, order_up_to.init(PARAMS), jnp.asarray(state, jnp.float32), jnp.asarray(goal, jnp.float32))[0]


def invert(state, action, inverse="analytic"):
    """An inverse of a batch of one-step segments."""
    state, action = (jnp.asarray(x, jnp.float32)[:, None] for x in (state, action))
    problem = order_up_to.problem(PARAMS)
    return jax.jit(jax.vmap(lambda segment: INVERSES[inverse](problem, segment)))(Segment(state, action, state))


def test_orders_lead_to_the_level_and_have_a_derivative():
    state, goal = np.array([5.0, 60.0, -3.0]), np.array([0.5, 0.5, 0.5])
    np.testing.assert_allclose(act(state, goal), [5.0, 0.0, 53.0])
    slope = jax.jacfwd(lambda goal: act(state, goal))(jnp.asarray(goal, jnp.float32))
    np.testing.assert_allclose(slope, np.diag([20.0, 0.0, 100.0]))


def test_every_order_comes_back():
    """As the level it led to; where a node ordered nothing any level below its position would have done, and that is said."""
    random = np.random.default_rng(0)
    state, goal = random.uniform(0, 1, (500, 3)) * LARGEST, random.uniform(0, 1, (500, 3))
    action = jax.vmap(act)(state, goal)
    found = invert(state, action)
    np.testing.assert_allclose(jax.vmap(act)(state, found.goal), action, atol=1e-4)
    ordered = np.asarray(action) > 0
    np.testing.assert_allclose(np.asarray(found.goal)[ordered], goal[ordered], atol=1e-6)
    np.testing.assert_allclose(np.asarray(found.goal)[~ordered], (state / LARGEST)[~ordered], atol=1e-6)
    np.testing.assert_array_equal(found.status, np.where(ordered.all(axis=1), UNIQUE, AMBIGUOUS))
    assert 0.02 < (found.status == UNIQUE).mean() < 0.98


def test_a_search_finds_levels_from_below_the_position():
    """An order says where its level is, also to a search that begins at levels at which nothing is ordered."""
    random = np.random.default_rng(1)
    state, goal = random.uniform(0.5, 1, (500, 3)) * LARGEST, random.uniform(0.5, 1, (500, 3))
    action = jax.vmap(act)(state, goal)
    found = invert(state, action, "least_squares")
    assert np.isin(found.status, (UNIQUE, AMBIGUOUS)).all()
    ordered = np.asarray(action) > 0
    np.testing.assert_allclose(np.asarray(found.goal)[ordered], goal[ordered], atol=1e-5)
    assert (np.asarray(found.goal)[~ordered] <= (state / LARGEST)[~ordered] + 1e-5).all()


def test_what_the_low_level_would_not_do():
    """Orders above the largest level, none below a level of nothing, and numbers that are none."""
    state = np.array([[5.0, 5.0, 5.0], [-1.0, 5.0, 5.0], [np.nan, 5.0, 5.0], [5.0, 5.0, 5.0]])
    action = np.array([[16.0, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]])
    found = invert(state, action)
    np.testing.assert_array_equal(found.status, [UNEXPLAINED, UNEXPLAINED, FAILED, UNIQUE])
    assert np.isfinite(found.goal).all()


reals = st.floats(-1e6, 1e6, width=32) | st.sampled_from([float("nan"), float("inf"), float("-inf")])


@hypothesis.given(goal=st.lists(reals, min_size=3, max_size=3))
@hypothesis.settings(max_examples=60)
def test_any_goal_makes_orders(goal):
    order = np.asarray(act([5.0, 60.0, -3.0], goal))
    assert (order >= 0).all() and (order <= LARGEST + 3.0).all()
