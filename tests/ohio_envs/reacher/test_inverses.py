"""The published worked example: LQR gains at one state of the reacher, and what each inverse makes of five steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.reacher.simulator import Body, advance

from ohio_jax import low_level
from ohio_jax.controllers import lqr, mpc
from ohio_jax.dynamics.model import Homogeneous, Model
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, Segment

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

    x, u, step = [jnp.array(START)], jnp.array(TORQUES), jax.jit(advance)
    for _ in range(5):
        x.append(step(Body(), x[-1], u))
    segment = Segment(jnp.stack(x[:-1]), jnp.tile(u, (5, 1)), jnp.stack(x[1:]))
    return params, true, segment


@functools.partial(jax.jit, static_argnums=0)
def explain(inverse, p, segment):
    """Parameters are an argument, so that one program serves all of a form."""
    return INVERSES[inverse](lqr.problem(p), segment)


@jax.jit
def affine(p, segment):
    """(J, r) of the closed form, and the residual of the reached state read as the goal."""
    problem = lqr.problem(p)
    at = low_level.prepare(problem, segment)
    return *low_level.affine(problem, at), low_level.residual(problem, segment.next_state[-1], at)


def test_gains(example):
    params, true, segment = example
    p = params(true, drift=False)
    gains = jax.jit(lambda x: lqr.plan(p, lqr.init(p), x, x).gains)(segment.state[0])
    first = [[-1.10668344, -0.34043467, -0.97657844, -0.23057551], [-0.21962972, -0.24476462, -0.23003424, -0.17484317]]
    last = [[-0.22693858, -0.15244777, -0.95502554, -0.22481543], [-0.04483919, 0.03966341, -0.22421388, -0.17326851]]
    np.testing.assert_allclose(gains.K[0], first, atol=1e-6)
    np.testing.assert_allclose(gains.K[4], last, atol=1e-6)


def test_the_originals_inverses(example):
    params, _, segment = example
    end = segment.next_state[-1]
    np.testing.assert_allclose(end, [0.60480851, 1.0763755, 1.14487012, -1.12337788], atol=1e-8)
    p = params(Homogeneous(Body(), jacobians), drift=False)
    J, r, residual = affine(p, segment)
    T1, T2 = -J, r + end
    np.testing.assert_allclose(T1[0], [-0.05484472, -0.01729569, -0.07649186, -0.010742], atol=1e-6)
    np.testing.assert_allclose(T2, [0.46728348, 1.14313575, -0.22346669, -0.08794835], atol=1e-6)
    assert abs(np.linalg.cond(T1) - 29.7693) < 1e-3
    goal = explain("analytic", p, segment).goal
    np.testing.assert_allclose(goal, [0.13204914, 0.97929149, 1.8443416, -2.58162366], atol=1e-6)
    np.testing.assert_allclose(residual + end, [0.58921727, 1.13713097, 0.81709261, -0.49745849], atol=1e-6)
    np.testing.assert_allclose(jnp.mean(residual**2), 0.1257869, atol=1e-6)
    np.testing.assert_allclose(jnp.sum((T1.T @ (end - (T2 - T1 @ end))) ** 2), 0.0776980, atol=1e-6)


def test_the_exact_inverse(example):
    params, true, segment = example
    found = explain("least_squares", params(true, drift=False), segment)
    np.testing.assert_allclose(found.goal, [0.2541022, 0.84209025, 2.1046836, -3.57205269], atol=1e-6)
    assert found.residual < 1e-9


def test_knowing_the_drift_makes_the_closed_form_exact(example):
    """What the missing drift costs: the original's answer ends 0.35 away, the same closed form with drift 3e-5."""
    params, true, segment = example
    away = {drift: explain("analytic", params(true, drift), segment).residual for drift in (False, True)}
    assert away[True] < 1e-4 < 0.3 < away[False]


def test_the_originals_descent(example):
    """`reg_analytic` against the original's loop written out in NumPy: the goal after the last step, the loss before it."""
    params, _, segment = example
    p = params(Homogeneous(Body(), jacobians), drift=False)
    J, r, _ = (np.asarray(x) for x in affine(p, segment))
    goal, m, v, before, calm = np.asarray(segment.next_state[-1]).copy(), 0.0, 0.0, 1000.0, 0
    for i in range(1000):
        error = J.T @ (J @ goal + r)
        loss, slope = error @ error, 2 * J.T @ J @ error
        m, v = 0.9 * m + 0.1 * slope, 0.999 * v + 0.001 * slope**2
        goal -= 0.01 * (m / (1 - 0.9 ** (i + 1))) / (np.sqrt(v / (1 - 0.999 ** (i + 1))) + 1e-8)
        if i % 10 == 0:
            calm, before = (calm + 1 if abs(before - loss) < 1e-6 else 0), loss
            if calm == 2:
                break
    found = explain("reg_analytic", p, segment)
    assert found.iterations == i + 1 and found.converged == (calm == 2)
    np.testing.assert_allclose(found.goal, goal, atol=1e-6)
    np.testing.assert_allclose(found.loss, loss, atol=1e-9)


@functools.partial(jax.jit, static_argnums=0)
def play(controller, p, x, goals):
    def one(x, goal):
        def step(carry, _):
            x, memory = carry
            u, memory = controller.act(p, memory, x, goal)
            after = p.model.step(x, u)
            return (after, memory), (x, u, after)

        memory = controller.plan(p, controller.init(p), x, goal)
        return Segment(*jax.lax.scan(step, (x, memory), None, p.steps)[1])

    return jax.vmap(one)(x, goals)


def known(controller, p, spread, n=64):
    """(segments, goals): arms in all poses that the low level drives toward goals `spread` away."""
    random = np.random.default_rng(0)
    x = np.concatenate([random.uniform(-2, 2, (n, 2)), 2 * random.normal(size=(n, 2))], axis=1)
    goals = x + spread * random.normal(size=(n, 4)) * [1, 1, 3, 3]
    dtype = p.Q.dtype
    return play(controller, p, jnp.asarray(x, dtype), jnp.asarray(goals, dtype)), goals


def parameters(controller, *horizon):
    true = Model(Body(), advance, 2)
    cost, noise, limit = jnp.array([10.0, 10.0, 1.0, 1.0]), jnp.array([0.01, 0.01, 0.1, 0.1]), jnp.full(4, 20.0)
    return controller.Params(true, true, cost, jnp.full(2, 0.1), cost, jnp.ones(2), limit, noise, *horizon)


# Largest median error of a goal (rad, rad/s) that does not saturate.
RECOVERY = {"analytic": 1e-3, "least_squares": 1e-3, "implicit": 1e-4}


def test_recovery_on_the_true_arm():
    """Goals nearby, most torques within their bounds: those called unique are right. Far ones: most are called ambiguous."""
    p = parameters(lqr, 5, True)
    (near, goals), (far, _) = known(lqr, p, 0.2), known(lqr, p, 3.0)
    free = np.asarray(jnp.max(jnp.abs(near.action), axis=(1, 2)) < 1)
    assert free.mean() > 0.5 and jnp.mean(jnp.abs(far.action) >= 1) > 0.5
    for inverse, most in RECOVERY.items():
        invert = jax.jit(jax.vmap(lambda segment, name=inverse: INVERSES[name](lqr.problem(p), segment)))
        found, saturated = invert(near), invert(far)
        error = np.abs(found.goal - goals).max(axis=1)
        assert np.median(error[free]) < most, inverse
        assert (found.status[free] == UNIQUE).mean() > 0.95, inverse
        assert np.isfinite(saturated.goal).all() and (saturated.status != UNIQUE).mean() > 0.5, inverse
        if inverse == "implicit":  # an action on its bound holds the goal to one side, never to the wrong one
            assert np.quantile(saturated.residual, 0.9) < 0.5
            all_on = np.asarray((jnp.abs(far.action) >= 1).all(axis=(1, 2)))
            assert (np.asarray(saturated.status)[all_on] == AMBIGUOUS).all()


@pytest.mark.slow
@pytest.mark.parametrize("inverse", ["least_squares", "implicit"])
def test_recovery_under_mpc_on_the_true_arm(inverse, x64):
    """To 1e-5 in the directions of the goal that its residual shows, in float64."""
    p = parameters(mpc, 10, 5)
    segments, goals = known(mpc, p, 0.2, 32)
    problem = mpc.problem(p)
    found = jax.jit(jax.vmap(lambda segment: INVERSES[inverse](problem, segment)))(segments)
    residual = low_level.action_residual if inverse == "implicit" else low_level.residual
    derivative = jax.jacfwd(lambda goal, at: residual(problem, goal, at))
    of_one = lambda goal, segment: derivative(goal, low_level.prepare(problem, segment))
    J = np.asarray(jax.jit(jax.vmap(of_one))(jnp.asarray(goals), segments))
    seen = np.linalg.pinv(J, rcond=1e-4) @ J
    error = np.abs(np.einsum("bij,bj->bi", seen, found.goal - goals)).max(axis=1)
    free = np.asarray(jnp.max(jnp.abs(segments.action), axis=(1, 2)) < 1)
    assert free.sum() > 8 and np.median(error[free]) < 1e-5
