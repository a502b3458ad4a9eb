"""Mixtures: each state's own low level acts, and explains."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.runner.sensitivity import free_panda as arm

from ohio_jax.controllers import lqr, mixture, osc
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from tests.ohio_jax import linear

which = lambda state: (state[0] > 0).astype(jnp.int32)


@pytest.fixture(scope="module")
def several():
    first = linear.lqr_params()
    both = [first, replace(first, R=20.0 * first.R)]
    return both, mixture.Params(mixture.stack(both), lqr, which)


def test_each_state_has_its_own(several):
    each, mixed = several
    x, goal = jax.random.normal(jax.random.key(0), (2, 8, 3))
    steps = jax.vmap(lambda p, x, goal: linear.play(lqr, p, x, goal), (None, 0, 0))
    alone = [steps(p, x, goal) for p in each]
    memory = jax.vmap(lambda x, goal: mixture.plan(mixed, mixture.init(mixed), x, goal))(x, goal)
    actions = jax.vmap(lambda m, x, goal: mixture.act(mixed, m, x, goal)[0])(memory, x, goal)
    own = np.asarray(x[:, 0] > 0).astype(int)
    assert set(own) == {0, 1}
    for i, index in enumerate(own):
        np.testing.assert_allclose(actions[i], alone[index].action[i, 0], atol=1e-5)
    assert np.abs(alone[0].action[:, 0] - alone[1].action[:, 0]).max() > 0.1


@pytest.mark.parametrize("inverse", ["analytic", "least_squares", "observed"])
def test_goals_come_back_from_whoever_acted(several, inverse):
    each, mixed = several
    x, goal = jax.random.normal(jax.random.key(1), (2, 16, 3))
    own = np.asarray(x[:, 0] > 0).astype(int)
    logs = [jax.vmap(lambda x, goal, p=p: linear.play(lqr, p, x, goal))(x, goal) for p in each]
    segments = jax.tree.map(lambda *leaves: np.stack([leaves[index][i] for i, index in enumerate(own)]), *logs)
    invert = lambda problem: jax.vmap(lambda segment: INVERSES[inverse](problem, segment))
    found = invert(mixture.problem(mixed))(segments)
    for index, p in enumerate(each):
        there = own == index
        np.testing.assert_allclose(found.goal[there], invert(lqr.problem(p))(segments).goal[there], atol=1e-4)
        np.testing.assert_array_equal(found.status[there], invert(lqr.problem(p))(segments).status[there])
    if inverse != "observed":
        np.testing.assert_allclose(found.goal, goal, atol=1e-2)


def test_torques_on_their_bounds_are_as_one_sided_as_they_are_alone():
    """A third of all torques on their bounds: a search that is not told their sides ends elsewhere, and later."""
    both = mixture.stack([arm.osc_params(), arm.osc_params(arm.STIFFNESS)])
    x, goal = arm.states(32, still=0.3), arm.goals(32, arm.OUTPUT)
    own = (x[:, 0] > 0).astype(int)
    played = [arm.play(osc, jax.tree.map(lambda leaf, i=i: leaf[i], both), x, goal) for i in (0, 1)]
    segments = jax.tree.map(lambda *two: np.where(own.reshape(-1, *[1] * (two[0].ndim - 1)), two[1], two[0]), *played)
    assert arm.saturated(segments).mean() > 0.3 and 0.2 < own.mean() < 0.8
    invert = lambda problem, segment: INVERSES["least_squares"](problem, segment)
    mixed = jax.jit(jax.vmap(lambda segment: invert(mixture.problem(mixture.Params(both, osc, which)), segment)))(segments)
    theirs = jax.tree.map(lambda leaf: leaf[own], both)
    alone = jax.jit(jax.vmap(lambda p, segment: invert(osc.problem(p), segment)))(theirs, segments)
    np.testing.assert_array_equal(mixed.iterations, alone.iterations)
    np.testing.assert_allclose(mixed.goal, alone.goal, atol=1e-3)


class Closed:
    """A low level whose problem keeps its parameters to itself, where a mixture could not change them."""

    @staticmethod
    def problem(params):
        return lqr.problem(params)._replace(start=lambda segment, at: params.limit)


def test_a_low_level_that_keeps_its_parameters_to_itself_is_refused(several):
    _, mixed = several
    with pytest.raises(UserError, match="mixture: expected a low level whose problem reads its parameters from the context"):
        mixture.problem(replace(mixed, controller=Closed))
