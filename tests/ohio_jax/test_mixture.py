"""Mixtures: each state's own low level acts, and explains."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.controllers import lqr, mixture
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.problem import Segment
from tests.ohio_jax import test_lqr

which = lambda state: (state[0] > 0).astype(jnp.int32)


@pytest.fixture(scope="module")
def several():
    first = test_lqr.params()
    both = [first, replace(first, R=20.0 * first.R)]
    return both, mixture.Params(mixture.stack(both), lqr, which)


def test_each_state_has_its_own(several):
    each, mixed = several
    x, goal = jax.random.normal(jax.random.key(0), (2, 8, 3))
    steps = jax.vmap(lambda p, x, goal: test_lqr.play(p, x, goal), (None, 0, 0))
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
    logs = [jax.vmap(lambda x, goal, p=p: test_lqr.play(p, x, goal))(x, goal) for p in each]
    segments = Segment(*(np.stack([leaves[index][i] for i, index in enumerate(own)]) for leaves in zip(*logs, strict=True)))
    invert = lambda problem: jax.vmap(lambda segment: INVERSES[inverse](problem, segment))
    found = invert(mixture.problem(mixed))(segments)
    for index, p in enumerate(each):
        there = own == index
        np.testing.assert_allclose(found.goal[there], invert(lqr.problem(p))(segments).goal[there], atol=1e-4)
        np.testing.assert_array_equal(found.status[there], invert(lqr.problem(p))(segments).status[there])
    if inverse != "observed":
        np.testing.assert_allclose(found.goal, goal, atol=1e-2)
