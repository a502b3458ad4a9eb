"""The supply chain's low levels: the closed form is the optimum of the paper's program, and goals come back."""

from dataclasses import replace

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.controllers import inventory, orders
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Segment
from tests.ohio_jax.warehouse import CORRECTED, LIMIT, RELEASED, STORAGE, STORES, goals, program, segments, states

SMOOTH = inventory.Params(jnp.float32(LIMIT), jnp.float32(STORAGE), "none")
LARGEST = jnp.array([50.0, 50.0, 50.0, 25.0])
FAIR, ASKING = orders.Params(LARGEST), orders.Params(LARGEST, within_stock=False)


@pytest.mark.parametrize("amount", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_the_closed_form_is_the_programs_optimum(amount):
    state, goal = states(amount), goals(amount)
    state[:, -1] = np.minimum(state[:, -1], STORAGE)  # above it the program has to destroy what is there
    action = np.asarray(jax.jit(jax.vmap(lambda s, g: inventory.act(RELEASED, (), s, g)[0]))(state, goal))
    binding = 0
    for s, g, a in zip(state, goal, action, strict=True):
        want, make = np.floor(g[:STORES] * s[-1]), np.floor(g[-1] * LIMIT)
        overfill, deviation = program(s.astype(np.float64), want, make, STORAGE)
        ship, produce = a[:-1], a[-1]
        assert (ship <= s[:-1]).all() and ship.sum() <= s[-1] and 0 <= produce <= LIMIT
        assert s[-1] + produce - ship.sum() <= STORAGE and overfill == pytest.approx(0.0, abs=1e-7)
        assert np.abs(ship - want).sum() + abs(produce - make) == pytest.approx(deviation, abs=1e-5)
        binding += produce < make
    assert binding > 0.05 * amount


@pytest.mark.parametrize("low, params", [(inventory, CORRECTED), (orders, FAIR)], ids=["inventory", "orders"])
def test_every_action_of_the_low_level_comes_back(low, params):
    """In whole units from the goal in float32, and what is ambiguous is said to be."""
    given, problem = segments(params, low), low.problem(params)
    found = jax.jit(jax.vmap(lambda segment: INVERSES["analytic"](problem, segment)))(given)
    again = jax.vmap(lambda s, g: low.act(params, (), s, g)[0])(given.state[:, 0], found.goal)
    np.testing.assert_array_equal(again, given.action[:, 0])
    assert (found.residual == 0).all() and set(np.unique(found.status)) == {UNIQUE, AMBIGUOUS}
    nothing = given.state[:, 0, -1] == 0
    assert (found.status[nothing] == AMBIGUOUS).all()
    if low is inventory:
        full = (given.action[:, 0, :-1] >= given.state[:, 0, :-1]).any(axis=1)
        np.testing.assert_array_equal(found.status == AMBIGUOUS, full | nothing)


def test_orders_that_are_not_rounded_come_back():
    """Up to float32, which does not make them unexplained; a tenth of a unit does."""
    given, problem = segments(SMOOTH, inventory), inventory.problem(SMOOTH)
    invert = jax.jit(jax.vmap(lambda segment: INVERSES["analytic"](problem, segment)))
    found = invert(given)
    assert set(np.unique(found.status)) == {UNIQUE, AMBIGUOUS} and 0 < found.residual.max() < 1e-2
    unique = found.status == UNIQUE
    np.testing.assert_allclose(found.goal[unique], goals(500)[unique], atol=1e-5)
    state, action = given.state[:, 0], given.action[:, 0]
    more = 0.1 * ((action[:, 0] == state[:, 0]) & (state[:, 3] > 0))  # than the first store has room for
    assert more.any()
    wrong = invert(given._replace(action=given.action.at[:, 0, 0].add(more)))
    np.testing.assert_array_equal(wrong.status == UNEXPLAINED, more > 0)


def test_what_the_low_level_would_not_do_is_unexplained():
    """More than a store has room for, more than there is, production where the warehouse is full."""
    state = jnp.array([[10.0, 10.0, 10.0, 40.0]] * 4)
    action = jnp.array([[12.0, 0, 0, 5], [10, 10, 25, 5], [1, 2, 3, 20], [1, 2, 3, 5]])
    problem = inventory.problem(RELEASED)
    given = Segment(state[:, None], action[:, None], state[:, None])
    found = jax.vmap(lambda segment: INVERSES["analytic"](problem, segment))(given)
    assert (found.status[:3] == UNEXPLAINED).all()
    spoiled = Segment(state[:, None].at[0].set(jnp.nan), action[:, None], state[:, None])
    found = jax.vmap(lambda segment: INVERSES["analytic"](inventory.problem(CORRECTED), segment))(spoiled)
    assert found.status[0] == FAILED and jnp.isfinite(found.goal).all() and found.status[3] == UNIQUE


def test_the_originals_requests_come_back_up_to_its_cut():
    given, problem = segments(ASKING, orders), orders.problem(ASKING)
    found = jax.vmap(lambda segment: INVERSES["analytic"](problem, segment))(given)
    again = jax.vmap(lambda s, g: orders.act(ASKING, (), s, g)[0])(given.state[:, 0], found.goal)
    np.testing.assert_allclose(again[:, :-1], given.action[:, 0, :-1], atol=1e-4)
    assert (jnp.abs(again[:, -1] - given.action[:, 0, -1]) <= 1).all()


reals = st.floats(-1e6, 1e6, width=32) | st.sampled_from([float("nan"), float("inf"), float("-inf")])


@hypothesis.given(goal=st.lists(reals, min_size=5, max_size=5), row=st.integers(0, 99))
@hypothesis.settings(max_examples=60)
def test_any_goal_makes_a_feasible_action(goal, row):
    state = states(100)[row]
    for params in (CORRECTED, RELEASED):
        action, _ = inventory.act(params, (), state, jnp.array(goal, jnp.float32))
        ship, produce = action[:-1], action[-1]
        assert (ship >= 0).all() and (ship <= state[:-1]).all() and ship.sum() <= state[-1] and 0 <= produce <= LIMIT
        np.testing.assert_array_equal(action, jnp.round(action))
    ship = orders.act(FAIR, (), state, jnp.array(goal[1:], jnp.float32))[0][:-1]
    assert (ship >= 0).all() and ship.sum() <= state[-1]


def test_unrounded_actions_have_a_derivative():
    params = replace(SMOOTH, storage=jnp.float32(np.inf))
    state, goal = jnp.array([5.0, 20.0, 20.0, 30.0]), jnp.array([0.4, 0.2, 0.1, 0.3, 0.5])
    slope = jax.jacfwd(lambda goal: inventory.act(params, (), state, goal)[0])(goal)
    assert (slope[0] == 0).all() and float(slope[3, 4]) == LIMIT  # the first store is full
    np.testing.assert_allclose(slope[1, :4], 30.0 * (np.eye(4)[1] - 0.2), rtol=1e-5)
