"""Nonlinear MPC: the linear optimum where the world is linear, a local optimum of the reacher, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from ohio_bench.runner.sensitivity import low_levels
from ohio_envs.reacher.simulator import Body, advance

from ohio_jax.controllers import ilqr as controller
from ohio_jax.dynamics.model import Model
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import FAILED, UNIQUE, Segment
from ohio_jax.solvers import ilqr
from tests.ohio_jax import quadratic

H, WEIGHT, EFFORT = 8, (10.0, 10.0, 1.0, 1.0), (0.1, 0.1)


def cost(model, x0, goal, u):
    """The objective, step by step."""
    price = lambda x, u: 0.5 * jnp.sum(jnp.array(WEIGHT) * (x - goal) ** 2) + 0.5 * jnp.sum(jnp.array(EFFORT) * u**2)
    last, prices = jax.lax.scan(lambda x, u: (model.step(x, u), price(x, u)), x0, u)
    return jnp.sum(prices) + price(last, 0.0 * u[0])


def reacher(bound, dtype=float):
    array = lambda x: jnp.asarray(x, dtype)
    Q, R = jnp.diag(array(WEIGHT)), jnp.diag(array(EFFORT))
    return ilqr.OptimalControl(Model(Body(), advance, 2), Q, R, Q, -array([bound] * 2), array([bound] * 2))


def cases(away, dtype=float, seed=0):
    """16 states and goals at a distance; the wrist keeps off its limit, where the arm's dynamics have a kink."""
    random = np.random.default_rng(seed)
    x0 = np.stack([random.uniform(-3, 3, 16), random.uniform(-2, 2, 16), *random.normal(size=(2, 16))], axis=1)
    return jnp.asarray(x0, dtype), jnp.asarray(x0 + away * random.normal(size=x0.shape), dtype)


@jax.jit
def search(program, x0, goal, start):
    return jax.vmap(lambda *z: ilqr.solve(program, *z))(x0, goal, start)


def solve(program, x0, goal):
    return search(program, x0, goal, jnp.zeros((16, H, 2), x0.dtype))


AWAY = [0.1, 1.0, 5.0]  # nothing binds, something does, most does


@pytest.mark.parametrize("tight", [0.1, 100.0])
def test_on_linear_dynamics_it_is_the_linear_program(tight, x64):
    p, x0, goal = (jax.tree.map(jnp.asarray, x) for x in quadratic.program(4, 2, H, 0, tight))
    model = Model((p.A[0], p.B[0], p.c[0]), low_levels.plant, 2)
    still = p._replace(**{name: jnp.broadcast_to(getattr(p, name)[0], getattr(p, name).shape) for name in "ABc"})
    wanted = quadratic.solve(still, x0, goal)
    found = alone(ilqr.OptimalControl(model, p.Q, p.R, p.P, p.low, p.high), x0, goal, jnp.zeros((H, 2)))
    assert found.converged and bool((wanted.active != 0).any()) == (tight < 1.0)
    np.testing.assert_allclose(found.u, wanted.u, atol=1e-10)
    np.testing.assert_allclose(found.x, wanted.x, atol=1e-10)
    np.testing.assert_array_equal(found.active, wanted.active)


alone = jax.jit(ilqr.solve)


@pytest.mark.parametrize("away", AWAY)
def test_the_reachers_optimum_meets_its_conditions(away, x64):
    program, (x0, goal) = reacher(0.8), cases(away)
    found = solve(program, x0, goal)
    assert found.converged.all() and jnp.max(jnp.abs(found.u)) <= 0.8
    slope = value_and_slope(program.model, x0, goal, found.u)[1]
    assert jnp.max(jnp.where(found.active == 0, jnp.abs(slope), 0.0)) < 1e-8
    assert jnp.min(jnp.where(found.active == 0, 0.0, -slope * found.active)) >= 0.0
    np.testing.assert_array_equal(found.u[found.active != 0], 0.8 * found.active[found.active != 0])
    assert bool((found.active != 0).any()) == (away > 0.1)


value_and_slope = jax.jit(jax.vmap(jax.value_and_grad(cost, 3), (None, 0, 0, 0)))


def test_the_reachers_optimum_is_scipys(x64):
    """L-BFGS-B on the actions of all 16 cases at once: the sum of their costs."""
    program = reacher(0.8)
    for away in AWAY:
        x0, goal = cases(away, seed=1)

        def total(u, x0=x0, goal=goal):
            value, slope = value_and_slope(program.model, x0, goal, jnp.asarray(u.reshape(16, H, 2)))
            return float(jnp.sum(value)), np.asarray(slope).ravel()

        found, u = solve(program, x0, goal), np.zeros(16 * H * 2)
        options = {"maxiter": 5000, "maxfun": 10000, "ftol": 0.0, "gtol": 1e-9}
        for _ in range(3):  # from anew: its line search gives up early
            u = scipy.optimize.minimize(total, u, jac=True, bounds=[(-0.8, 0.8)] * u.size, options=options).x
        np.testing.assert_allclose(found.u.ravel(), u, atol=1e-5)


def test_where_the_simulator_clips_itself_it_still_converges(x64):
    """At the arm's own bound the slope of its clip is neither one nor zero."""
    found = solve(reacher(1.0), *cases(5.0))
    assert found.converged.all() and (found.active != 0).mean() > 0.3


@pytest.mark.slow  # as `test_everything_the_optimum_depends_on_differentiates`, on the arm
@pytest.mark.parametrize("away", AWAY)
def test_actions_differentiate_through_the_optimum(away, x64):
    """Those of the controller, against central differences of the solution."""
    program, (x0, goal) = reacher(0.8), cases(away, seed=2)
    Q, R, one = jnp.array(WEIGHT), jnp.array(EFFORT), jnp.ones(4)
    p = controller.Params(program.model, program.model, Q, R, Q, program.high, one, one, H, 1)
    ours, u = derivative(p, x0, goal)
    np.testing.assert_allclose(u, solve(program, x0, goal).u[:, 0], atol=1e-9)
    tiny = 1e-5
    for i in range(4):
        step = tiny * jnp.eye(4)[None, i]
        central = (solve(program, x0, goal + step).u - solve(program, x0, goal - step).u)[:, 0] / (2 * tiny)
        np.testing.assert_allclose(ours[..., i], central, atol=1e-5)
    assert jnp.max(jnp.abs(ours)) > 0.01


def first(p, x, goal):
    u, _ = controller.act(p, controller.init(p), x, goal)
    return u, u


derivative = jax.jit(jax.vmap(jax.jacfwd(first, 2, has_aux=True), (None, 0, 0)))


def test_float32_agrees_with_float64_and_alone_with_batched():
    program, (x0, goal) = reacher(1.0, jnp.float32), cases(1.0, jnp.float32)
    found = solve(program, x0, goal)
    assert found.converged.all() and found.u.dtype == jnp.float32
    same = solve(program, *(jnp.tile(x[3:4], (16, 1)) for x in (x0, goal)))
    np.testing.assert_allclose(same.u, jnp.tile(found.u[3:4], (16, 1, 1)), atol=1e-5)
    with jax.enable_x64(True):
        double = solve(reacher(1.0), *(jnp.asarray(np.asarray(x), float) for x in (x0, goal)))
        np.testing.assert_allclose(found.u, double.u, atol=1e-3)


def test_a_warm_start_takes_less():
    """One step on, the shifted plan is nearly optimal."""
    program, (x0, goal) = reacher(1.0, jnp.float32), cases(1.0, jnp.float32)
    found = solve(program, x0, goal)
    warm = search(program, found.x[:, 1], goal, jnp.concatenate([found.u[:, 1:], found.u[:, -1:]], axis=1))
    cold = solve(program, found.x[:, 1], goal)
    np.testing.assert_allclose(warm.u, cold.u, atol=1e-3)
    assert warm.converged.all() and warm.iterations.mean() < cold.iterations.mean()


def test_nothing_finite_is_reported_and_alone():
    program, (x0, goal) = reacher(1.0, jnp.float32), cases(1.0, jnp.float32)
    found, clean = solve(program, x0.at[1].set(jnp.nan), goal), solve(program, x0, goal)
    assert not found.converged[1] and found.iterations[1] <= 1
    keep = np.arange(16) != 1
    np.testing.assert_array_equal(found.converged[keep], True)
    np.testing.assert_array_equal(found.u[keep], clean.u[keep])


def swing(constants, x, u):
    """As many actions as states, whose effect bends with the state."""
    return x + 0.2 * jnp.sin(x[::-1]) + (1.0 + 0.3 * jnp.cos(x)) * (constants @ u)


EFFECT = np.array([[0.5, 0.1], [-0.2, 0.4]])


def test_everything_the_optimum_depends_on_differentiates(x64):
    """Forward and backward: dynamics, state, goal, weights and bounds, where some actions are on their bounds."""
    one = jnp.ones(2)

    def plan(effect, x0, goal, Q, high):
        program = ilqr.OptimalControl(Model(effect, swing, 2), jnp.diag(Q), 0.1 * jnp.eye(2), jnp.eye(2), -0.8 * one, high)
        return ilqr.solve(program, x0, goal, jnp.zeros((5, 2))).u

    at = (jnp.asarray(EFFECT), jnp.array([0.5, -1.0]), jnp.array([-0.3, 1.0]), one, 0.9 * one)
    some, of_u = np.random.default_rng(0), np.random.default_rng(1).normal(size=(5, 2))
    along, tiny = tuple(jnp.asarray(some.normal(size=x.shape)) for x in at), 1e-6

    @jax.jit
    def look(*at):
        """The plan, how it moves along `along`, and what the pull `of_u` on it is in the inputs."""
        u, push = jax.linearize(plan, *at)
        return u, push(*along), jax.linear_transpose(push, *at)(jnp.asarray(of_u))

    there = lambda t: look(*(x + t * d for x, d in zip(at, along, strict=True)))[0]
    u, forward, back = look(*at)
    assert 0 < jnp.sum(u == 0.9) < 10
    np.testing.assert_allclose(forward, (there(tiny) - there(-tiny)) / (2 * tiny), atol=1e-5)
    backward = sum(jnp.sum(slope * d) for slope, d in zip(back, along, strict=True))
    np.testing.assert_allclose(backward, jnp.sum(forward * of_u), rtol=1e-9)


@pytest.fixture(scope="module")
def played():
    """A controller on `swing`, goals, and the segments it makes of them; the last one starts from nothing finite."""
    model, one = Model(jnp.asarray(EFFECT, jnp.float32), swing, 2), jnp.ones(2)
    p = controller.Params(model, model, one, 0.1 * one, one, 0.8 * one, 5 * one, 0.01 * one, 5, 3)
    goal, start = jax.random.normal(jax.random.key(0), (16, 2)), jax.random.normal(jax.random.key(1), (16, 2))

    def play(x, goal):
        def step(carry, _):
            x, memory = carry
            u, memory = controller.act(p, memory, x, goal)
            after = p.model.step(x, u)
            return (after, memory), (x, u, after)

        return Segment(*jax.lax.scan(step, (x, controller.plan(p, controller.init(p), x, goal)), None, p.steps)[1])

    return p, goal, jax.jit(jax.vmap(play))(start.at[15].set(jnp.nan), goal)


def test_goals_come_back_where_they_show(played):
    p, goal, segments = played
    found = jax.jit(jax.vmap(lambda segment: INVERSES["least_squares"](controller.problem(p), segment)))(segments)
    assert found.status[15] == FAILED and not found.converged[15]
    unique = np.asarray(found.status == UNIQUE)
    assert unique.mean() > 0.5 and jnp.max(jnp.abs(segments.action)) == np.float32(0.8)
    right = np.abs(found.goal - goal).max(axis=1) < 5e-3
    assert right[unique].mean() > 0.9


def test_actions_are_finite_whatever_the_state(played):
    _, _, segments = played
    assert jnp.isfinite(segments.action).all()
    np.testing.assert_array_equal(segments.action[15], 0.0)
