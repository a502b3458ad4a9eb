"""Small least squares against NumPy, well and badly conditioned, regular and singular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax.solvers.small import ELIMINATED, UNROLLED, least_squares, solve_definite

solve = jax.jit(least_squares)


@given(st.integers(1, ELIMINATED + 1), st.sampled_from([0, 4]), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_least_squares_equals_numpy(n, more, seed):
    random = np.random.default_rng(seed)
    J = random.normal(size=(n + 2 + more, n)) * 10.0 ** random.uniform(-2, 2, n)
    r = random.normal(size=len(J))
    y, pivot = solve(jnp.asarray(J, jnp.float32), jnp.asarray(r, jnp.float32))
    wanted = np.linalg.lstsq(J, -r, rcond=None)[0]
    np.testing.assert_allclose(y, wanted, rtol=2e-3, atol=2e-3 * np.abs(wanted).max())
    assert pivot > 1e-4


@pytest.mark.parametrize("condition", [1e1, 1e2, 1e3])
def test_corrections_keep_float32_accurate(condition):
    """The squared condition number is beyond float32 at the last one; the corrected answer is still good to 1 %."""
    random = np.random.default_rng(0)
    left, _, right = np.linalg.svd(random.normal(size=(4, 4)))
    J = left @ np.diag(np.geomspace(1, 1 / condition, 4)) @ right
    wanted = random.normal(size=4)
    y, _ = jax.jit(least_squares)(jnp.asarray(J, jnp.float32), jnp.asarray(-J @ wanted, jnp.float32))
    np.testing.assert_allclose(y, wanted, atol=1e-5 * condition)


@pytest.mark.parametrize("n", [3, UNROLLED + 1, ELIMINATED + 1])
def test_a_singular_system_says_so_and_stays_finite(n):
    random = np.random.default_rng(0)
    J = random.normal(size=(n + 2, n))
    J[:, -1] = J[:, 0]
    y, pivot = least_squares(jnp.asarray(J, jnp.float32), jnp.ones(n + 2))
    assert pivot < 1e-5 and np.isfinite(y).all()
    best = np.linalg.lstsq(J, -np.ones(n + 2), rcond=None)[0]
    np.testing.assert_allclose(J @ y, J @ best, atol=1e-4)
    zero, pivot = solve_definite(jnp.zeros((n, n)), jnp.ones(n))
    assert zero.tolist() == [0.0] * n and pivot == 0.0


def test_batches_agree_with_single_systems():
    J, r = jax.random.normal(jax.random.key(0), (7, 6, 4)), jax.random.normal(jax.random.key(1), (7, 6))
    batch = jax.jit(jax.vmap(least_squares))(J, r)[0]
    np.testing.assert_allclose(
        batch, np.stack([least_squares(*pair)[0] for pair in zip(J, r, strict=True)]), rtol=1e-4, atol=1e-5
    )
