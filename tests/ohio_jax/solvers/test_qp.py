"""Box-constrained linear-quadratic programs against a dense bounded least-squares solver, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from ohio_jax.solvers import qp
from tests.ohio_jax.quadratic import program, solve


def dense(p, x0, goal):
    """Float64[H, m], the optimum as one bounded least-squares problem, by SciPy's active-set method."""
    H, n, m = p.B.shape
    effect, free, rows, right = np.zeros((n, H * m)), np.asarray(x0), [], []
    for t in range(H + 1):
        weight = np.sqrt(np.asarray(p.P if t == H else p.Q))
        rows.append(weight @ effect)
        right.append(weight @ (goal - free))
        if t < H:
            effect, free = p.A[t] @ effect, p.A[t] @ free + p.c[t]
            effect = np.array(effect)
            effect[:, t * m : (t + 1) * m] += p.B[t]
    rows.append(np.kron(np.eye(H), np.sqrt(np.asarray(p.R))))
    right.append(np.zeros(H * m))
    bounds = tuple(np.tile(np.asarray(b), H) for b in (p.low, p.high))
    found = scipy.optimize.lsq_linear(np.vstack(rows), np.concatenate(right), bounds, method="bvls", tol=1e-15)
    return found.x.reshape(H, m)


def actions(p, x0, goal):
    return qp.solve(p, x0, goal).u


move = lambda *z: solve(*z).u
slope = jax.jit(jax.jacfwd(actions, (0, 1, 2)))
back = jax.jit(jax.jacrev(actions, 2))

SHAPES = [(1, 1, 3), (4, 2, 10), (14, 7, 20)]


@pytest.mark.parametrize(("n", "m", "H"), SHAPES)
@pytest.mark.parametrize("tight", [0.05, 0.3, 100.0])
def test_optimum_equals_the_dense_solver(n, m, H, tight, x64):
    held = 0
    for seed in range(8):
        p, x0, goal = program(n, m, H, seed, tight)
        ours = solve(p, jnp.asarray(x0), jnp.asarray(goal))
        assert ours.converged and ours.violation <= 1e-12
        np.testing.assert_allclose(ours.u, dense(p, x0, goal), atol=1e-6)
        held += int(jnp.sum(ours.active != 0))
    assert (held > 0) == (tight < 100.0)


def test_float32_batches_converge():
    together = jax.jit(jax.vmap(qp.solve))
    many = [program(4, 2, 10, seed, 0.2, jnp.float32) for seed in range(200)]
    p = jax.tree.map(lambda *x: jnp.stack(x), *[x[0] for x in many])
    x0, goal = (jnp.asarray(np.stack([x[i] for x in many]), jnp.float32) for i in (1, 2))
    found = together(p, x0, goal)
    assert found.converged.all() and found.iterations.max() <= 12
    assert (jnp.abs(found.u) <= p.high[:, None, :] + 1e-7).all()
    warm = together(p, x0, goal, found.active)
    assert (warm.iterations == 1).all()
    np.testing.assert_allclose(warm.u, found.u, atol=1e-6)


@pytest.mark.parametrize("tight", [0.1, 0.3, 100.0])
def test_derivatives_against_central_differences(tight, x64):
    """With respect to goal, start and bound, inside and at active constraints."""
    tiny = 1e-6
    for seed in range(4):
        p, x0, goal = program(4, 2, 10, seed, tight)
        x0, goal = jnp.asarray(x0), jnp.asarray(goal)
        of_program, of_start, of_goal = slope(p, x0, goal)
        np.testing.assert_allclose(back(p, x0, goal), of_goal, atol=1e-8)
        for i in range(4):
            step = tiny * jnp.eye(4)[i]
            difference = (move(p, x0, goal + step) - move(p, x0, goal - step)) / (2 * tiny)
            np.testing.assert_allclose(of_goal[..., i], difference, atol=1e-5)
            difference = (move(p, x0 + step, goal) - move(p, x0 - step, goal)) / (2 * tiny)
            np.testing.assert_allclose(of_start[..., i], difference, atol=1e-5)
        for i in range(2):
            step = tiny * jnp.eye(2)[i]
            wider, closer = p._replace(high=p.high + step), p._replace(high=p.high - step)
            difference = (move(wider, x0, goal) - move(closer, x0, goal)) / (2 * tiny)
            np.testing.assert_allclose(of_program.high[..., i], difference, atol=1e-5)


def test_nothing_finite_is_reported_not_raised():
    p, _, goal = program(4, 2, 10, 0, 0.2, jnp.float32)
    found = solve(p, jnp.full(4, jnp.nan), jnp.asarray(goal, jnp.float32))
    assert not found.converged and found.iterations == qp.SWEEPS
