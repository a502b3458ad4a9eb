"""Riccati gains against a dense solution of the same optimum, and the regulator built from them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.controllers import lqr
from ohio_jax.dynamics.model import Model
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, UNEXPLAINED, UNIQUE
from ohio_jax.solvers import riccati
from tests.ohio_jax.linear import STEPS as H
from tests.ohio_jax.linear import lqr_params, plant, play, play_all, system


def dense_actions(A, B, c, Q, R, P, x0, goal):
    """Float64[h, m], the optimal actions as one least-squares problem over all of them."""
    n, m = B.shape
    root = lambda M: np.linalg.cholesky(M).T
    # x_t = power x0 + effect u + drift, all steps stacked.
    rows, right = [], []
    effect, free = np.zeros((n, H * m)), x0.copy()
    for t in range(H + 1):
        weight = root(P if t == H else Q)
        rows.append(weight @ effect)
        right.append(weight @ (goal - free))
        if t < H:
            effect, free = A @ effect, A @ free + c
            effect[:, t * m : (t + 1) * m] += B
    rows.append(np.kron(np.eye(H), root(R)))
    right.append(np.zeros(H * m))
    return np.linalg.lstsq(np.vstack(rows), np.concatenate(right), rcond=None)[0].reshape(H, m)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (4, 2), (5, 3)])
def test_gains_give_the_optimal_actions(n, m, x64):
    A, B, c = system(n, m)
    random = np.random.default_rng(1)
    Q, R, P = np.diag(random.uniform(0.5, 2, n)), np.diag(random.uniform(0.5, 2, m)), np.diag(random.uniform(0.5, 2, n))
    x, goal = random.normal(size=n), random.normal(size=n)
    wanted = dense_actions(A, B, c, Q, R, P, x, goal)
    gains = riccati.gains(*(jnp.asarray(y) for y in (A, B, c, Q, R, P)), H)
    for t in range(H):
        u = np.asarray(gains.K[t] @ (x - goal) + gains.k[t] @ np.append(goal, 1.0))
        np.testing.assert_allclose(u, wanted[t], atol=1e-10)
        x = A @ x + B @ u + c


@pytest.fixture(scope="module")
def goals():
    return 2.0 * jax.random.normal(jax.random.key(0), (32, 3)), jax.random.normal(jax.random.key(1), (32, 3))


EXACT = ["analytic", "least_squares"]


@functools.partial(jax.jit, static_argnums=0)
def invert(inverse, p, segments):
    return jax.vmap(lambda segment: INVERSES[inverse](lqr.problem(p), segment))(segments)


@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("inverse", EXACT)
def test_goals_of_its_own_segments_come_back(inverse, drift, goals):
    p = lqr_params(drift=drift)
    found = invert(inverse, p, play_all(lqr, p, goals[1], goals[0]))
    assert found.converged.all()
    # Without drift the closed form does not know it, and says so.
    if drift or inverse == "least_squares":
        np.testing.assert_allclose(found.goal, goals[0], atol=2e-3)
        assert (found.status == UNIQUE).all()
    else:
        assert (found.status == UNEXPLAINED).all()


@pytest.mark.parametrize("inverse", ["ridge", "reg_analytic", "numerical", "cross_entropy"])
def test_approximate_inverses_come_closer_than_their_start(inverse, goals):
    p = lqr_params()
    segments = play_all(lqr, p, goals[1], goals[0])
    found, start = invert(inverse, p, segments), invert("observed", p, segments)
    assert np.isfinite(found.goal).all()
    assert np.median(found.residual) < 0.5 * np.median(start.residual)


def test_what_saturates_is_flagged(goals):
    """At a bound of nearly nothing no goal shows, so none is taken for the only one; none of the inverses breaks."""
    p = lqr_params(bound=1e-3)
    found = invert("least_squares", p, play_all(lqr, p, goals[1], goals[0]))
    explained = found.residual < lqr.problem(p).tolerance
    assert (found.status == np.where(explained, AMBIGUOUS, UNEXPLAINED)).all() and np.isfinite(found.goal).all()


def test_actions_stay_in_their_bounds_and_differentiate(x64):
    A, B, c = (jnp.asarray(x) for x in system(3, 2))
    model, one = Model((A, B, c), plant, 2), jnp.ones(3)
    p = lqr.Params(model, model, one, 0.1 * jnp.ones(2), one, 0.5 * jnp.ones(2), 50 * one, one, H, True)
    x, goal = jnp.array([0.1, -0.2, 0.3]), jnp.array([0.2, 0.1, -0.1])

    @jax.jit
    def actions(goal):
        return play(lqr, p, x, goal).action

    assert jnp.max(jnp.abs(actions(100 * goal))) <= 0.5
    slope, tiny = jax.jit(jax.jacfwd(actions))(goal), 1e-6
    for i in range(3):
        beside = tiny * jnp.eye(3)[i]
        central = (actions(goal + beside) - actions(goal - beside)) / (2 * tiny)
        np.testing.assert_allclose(slope[..., i], central, atol=1e-6)
