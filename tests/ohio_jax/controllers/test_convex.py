"""A user's own CVXPY problem as a low level: the same answers, slopes and goals as the solver that was written for it."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.controllers import convex, mpc
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import FAILED, UNIQUE, Segment
from tests.ohio_jax import linear

cvxpy = pytest.importorskip("cvxpy")
N, M, H, BOUND = 3, 3, 3, 0.8


def own_mpc(nearest=0.0, **options):
    """`mpc`'s problem in CVXPY; no solution where the first entry of the state is below `nearest` - 10."""
    A, B, c = linear.system(N, M)
    x0, goal, first = cvxpy.Parameter(N, name="x0"), cvxpy.Parameter(N, name="goal"), cvxpy.Variable(M, name="first")
    x, u = cvxpy.Variable((H + 1, N)), cvxpy.Variable((H, M))
    cost = 0.5 * cvxpy.sum_squares(x[H] - goal)
    rules = [x[0] == x0, first == u[0], cvxpy.abs(u) <= BOUND, x[0, 0] >= nearest - 10.0]
    for t in range(H):
        cost += 0.5 * cvxpy.sum_squares(x[t] - goal) + 0.05 * cvxpy.sum_squares(u[t])
        rules.append(x[t + 1] == A @ x[t] + B @ u[t] + c)
    return convex.program(cvxpy.Problem(cvxpy.Minimize(cost), rules), x0, goal, first, **options)


@pytest.fixture(scope="module")
def params():
    return convex.Params(own_mpc(), 5.0 * jnp.ones(N), 0.01 * jnp.ones(M))


@pytest.fixture(scope="module")
def cases():
    random = np.random.default_rng(0)
    return random.normal(size=(6, N)), random.normal(size=(6, N))


def reference(dtype):
    p = linear.mpc_params(BOUND, m=M, horizon=H)
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), p)


def exact():
    """The reference in float64, its plant not rounded."""
    p = reference(float)
    model = p.model.replace(constants=tuple(jnp.asarray(x) for x in linear.system(N, M)))
    return p.replace(dynamics=model, model=model, R=jnp.full(M, 0.1))


@pytest.fixture
def double():
    """float64 for all threads: those of callbacks do not see a context's."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def test_it_is_mpc_with_its_derivative(params, cases, double):
    """In jit and vmap, forward and backward, inside and at active constraints."""
    x, goal = (jnp.asarray(y) for y in cases)
    ours = lambda x, goal: convex.act(params, convex.init(params), x, goal)[0]
    p = exact()
    theirs = lambda x, goal: mpc.act(p, mpc.init(p), x, goal)[0]
    batch = lambda f: jax.jit(jax.vmap(f))
    u = batch(ours)(x, goal)
    np.testing.assert_allclose(u, batch(theirs)(x, goal), atol=1e-6)
    np.testing.assert_allclose(ours(x[0], goal[0]), u[0], atol=1e-7)
    held = jnp.abs(u) > BOUND - 1e-6
    assert held.any() and not held.all()
    forward = batch(jax.jacfwd(ours, (0, 1)))(x, goal)
    for mine, other, back in zip(
        forward, batch(jax.jacfwd(theirs, (0, 1)))(x, goal), batch(jax.jacrev(ours, (0, 1)))(x, goal), strict=True
    ):
        np.testing.assert_allclose(mine, other, atol=1e-5)
        np.testing.assert_allclose(mine, back, atol=1e-12)
        assert jnp.max(jnp.abs(mine)) > 0.1


def test_derivative_against_central_differences(params, cases, double):
    x, goal = (jnp.asarray(y) for y in cases)
    many = jax.jit(jax.vmap(lambda x, goal: convex.optimum(params.program, x, goal)))
    slope = jax.jit(jax.vmap(jax.jacfwd(lambda x, goal: convex.optimum(params.program, x, goal), 1)))(x, goal)
    tiny = 1e-3  # piecewise linear: only what the solver leaves counts
    for i in range(N):
        step = tiny * jnp.eye(N)[None, i]
        np.testing.assert_allclose(slope[..., i], (many(x, goal + step) - many(x, goal - step)) / (2 * tiny), atol=1e-5)


def test_goals_come_back_where_they_show(params, cases):
    """From one logged step each; an action on its bound hides what it does not reach."""
    x, push = (jnp.asarray(y, jnp.float32) for y in cases)
    goal = jax.vmap(reference(jnp.float32).model.step)(x, 0.8 * push)
    u = jax.vmap(lambda x, goal: convex.act(params, convex.init(params), x, goal)[0])(x, goal)
    after = jax.vmap(reference(jnp.float32).model.step)(x, u)
    segments = Segment(x[:, None], u[:, None], after[:, None])
    invert = jax.jit(jax.vmap(lambda segment: INVERSES["least_squares"](convex.problem(params), segment)))
    found = invert(segments)
    inside = np.abs(u).max(axis=1) < BOUND - 1e-4
    assert 0 < inside.sum() < 6
    np.testing.assert_array_equal(found.status[inside], UNIQUE)
    np.testing.assert_allclose(found.goal[inside], goal[inside], atol=1e-3)
    assert jnp.max(found.residual) < 0.1
    poisoned = invert(segments._replace(state=segments.state.at[1].set(jnp.nan).at[2, :, 0].set(-20.0)))
    np.testing.assert_array_equal(poisoned.status[1:3], FAILED)
    keep = np.array([0, 3, 4, 5])
    np.testing.assert_array_equal(poisoned.goal[keep], found.goal[keep])


def test_what_has_no_solution_is_flagged_alone(params, cases):
    x, goal = (jnp.asarray(y, jnp.float32) for y in cases)
    step = jax.jit(jax.vmap(lambda x, goal: convex.act(params, convex.init(params), x, goal)))
    slope = jax.jit(jax.vmap(jax.grad(lambda goal, x: jnp.sum(convex.act(params, convex.init(params), x, goal)[0]))))
    bad, keep = x.at[1, 0].set(-20.0).at[4].set(jnp.nan), np.array([0, 2, 3, 5])
    u, solved = step(bad, goal)
    np.testing.assert_array_equal(solved, [True, False, True, True, False, True])
    np.testing.assert_array_equal(u[np.array([1, 4])], 0.0)
    np.testing.assert_array_equal(u[keep], step(x, goal)[0][keep])
    np.testing.assert_array_equal(slope(goal, bad)[np.array([1, 4])], 0.0)
    np.testing.assert_array_equal(slope(goal, bad)[keep], slope(goal, x)[keep])


def test_a_solver_that_gives_up_is_flagged(cases):
    x, goal = (jnp.asarray(y[0], jnp.float32) for y in cases)
    assert jnp.isnan(convex.optimum(own_mpc(max_iter=2), x, goal)).all()
    assert jnp.isnan(convex.optimum(own_mpc(solve_method="none"), x, goal)).all()


def test_parameters_may_multiply_variables_and_be_zero(double):
    """The least |u - goal|^2 with state * u <= 1, whose entries of the constraints' matrix vanish with the state."""
    state, goal, u = cvxpy.Parameter(2, name="state"), cvxpy.Parameter(2, name="goal"), cvxpy.Variable(2, name="u")
    problem = cvxpy.Problem(cvxpy.Minimize(cvxpy.sum_squares(u - goal)), [cvxpy.multiply(state, u) <= 1.0])
    program = convex.program(problem, state, goal, u)
    at = jnp.array([0.0, 2.0]), jnp.array([3.0, 4.0])
    np.testing.assert_allclose(convex.optimum(program, *at), [3.0, 0.5], atol=1e-6)
    of_state, of_goal = jax.jacfwd(lambda *z: convex.optimum(program, *z), (0, 1))(*at)
    np.testing.assert_allclose(of_state, [[0.0, 0.0], [0.0, -0.25]], atol=1e-5)
    np.testing.assert_allclose(of_goal, [[1.0, 0.0], [0.0, 0.0]], atol=1e-5)


def test_what_cannot_be_used_is_said(monkeypatch):
    state, goal, u = cvxpy.Parameter(2, name="state"), cvxpy.Parameter(2, name="goal"), cvxpy.Variable(2, name="u")
    made = lambda cost, rules=(): cvxpy.Problem(cvxpy.Minimize(cost), list(rules))
    good = made(cvxpy.sum_squares(u - goal) + state @ u)
    assert convex.program(good, state, goal, u).action == 2
    with pytest.raises(UserError, match="expected a DPP problem"):
        convex.program(made(cvxpy.sum_squares(u) + (goal @ state) * u[0]), state, goal, u)
    with pytest.raises(UserError, match="expected the parameters goal, state, found goal"):
        convex.program(made(cvxpy.sum_squares(u - goal)), state, goal, u)
    with pytest.raises(UserError, match="variables u, found other"):
        convex.program(good, state, goal, cvxpy.Variable(2, name="other"))
    with pytest.raises(UserError, match=r"expected the vector u, found shape \(\)"):
        u = cvxpy.Variable(name="u")
        convex.program(made(cvxpy.sum_squares(u - goal) + cvxpy.sum(state) * u), state, goal, u)
    monkeypatch.setitem(sys.modules, "cvxpylayers.utils.parse_args", None)
    with pytest.raises(UserError, match=r"pip install 'ohio-jax\[convex\]'"):
        convex.program(good, state, goal, u)
