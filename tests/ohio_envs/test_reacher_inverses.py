"""The published worked example: LQR gains at one state of the reacher, and what each inverse makes of five steps."""

import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.reacher.simulator import Body, advance

from ohio_jax.controllers import lqr
from ohio_jax.dynamics.model import Homogeneous, Model
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.problem import Segment

START, TORQUES = (0.5, 1.2, 1.0, -2.0), (0.3, -0.2)


def jacobians(body, x):
    """A and B where the original's network would stand: the exact ones."""
    return Model(body, advance, 2).linear(x)[:2]


@pytest.fixture
def example(x64):
    true = Model(Body(), advance, 2)
    cost = jnp.array([10.0, 10.0, 1.0, 1.0])
    wide = jnp.full(4, 1e3)

    def params(model, drift):
        return lqr.Params(true, model, cost, jnp.full(2, 0.1), cost, jnp.ones(2), wide, jnp.ones(4), 5, drift)

    x, u = [jnp.array(START)], jnp.array(TORQUES)
    for _ in range(5):
        x.append(advance(Body(), x[-1], u))
    segment = Segment(jnp.stack(x[:-1]), jnp.tile(u, (5, 1)), jnp.stack(x[1:]))
    return params, true, segment


def test_gains(example):
    params, true, segment = example
    p = params(true, drift=False)
    gains = lqr.plan(p, lqr.init(p), segment.state[0], segment.state[0]).gains
    first = [[-1.10668344, -0.34043467, -0.97657844, -0.23057551], [-0.21962972, -0.24476462, -0.23003424, -0.17484317]]
    last = [[-0.22693858, -0.15244777, -0.95502554, -0.22481543], [-0.04483919, 0.03966341, -0.22421388, -0.17326851]]
    np.testing.assert_allclose(gains.K[0], first, atol=1e-6)
    np.testing.assert_allclose(gains.K[4], last, atol=1e-6)


def test_the_originals_inverses(example):
    params, _, segment = example
    end = segment.next_state[-1]
    np.testing.assert_allclose(end, [0.60480851, 1.0763755, 1.14487012, -1.12337788], atol=1e-8)
    problem = lqr.problem(params(Homogeneous(Body(), jacobians), drift=False))
    T1, T2 = (lambda J, r: (-J, r + end))(*problem.affine(segment))
    np.testing.assert_allclose(T1[0], [-0.05484472, -0.01729569, -0.07649186, -0.010742], atol=1e-6)
    np.testing.assert_allclose(T2, [0.46728348, 1.14313575, -0.22346669, -0.08794835], atol=1e-6)
    assert abs(np.linalg.cond(T1) - 29.7693) < 1e-3
    goal = INVERSES["analytic"](problem, segment).goal
    np.testing.assert_allclose(goal, [0.13204914, 0.97929149, 1.8443416, -2.58162366], atol=1e-6)
    residual = problem.residual(end, segment)
    np.testing.assert_allclose(residual + end, [0.58921727, 1.13713097, 0.81709261, -0.49745849], atol=1e-6)
    np.testing.assert_allclose(jnp.mean(residual**2), 0.1257869, atol=1e-6)
    np.testing.assert_allclose(jnp.sum((T1.T @ (end - (T2 - T1 @ end))) ** 2), 0.0776980, atol=1e-6)


def test_the_exact_inverse(example):
    params, true, segment = example
    found = INVERSES["least_squares"](lqr.problem(params(true, drift=False)), segment)
    np.testing.assert_allclose(found.goal, [0.2541022, 0.84209025, 2.1046836, -3.57205269], atol=1e-6)
    assert found.residual < 1e-9


def test_knowing_the_drift_makes_the_closed_form_exact(example):
    """What the missing drift costs: the original's answer ends 0.35 away, the same closed form with drift 3e-5."""
    params, true, segment = example
    away = {drift: INVERSES["analytic"](lqr.problem(params(true, drift)), segment).residual for drift in (False, True)}
    assert away[True] < 1e-4 < 0.3 < away[False]
