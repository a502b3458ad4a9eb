"""Finite-horizon linear-quadratic regulation toward a goal, by the Riccati recursion.

    minimise over u_0 .. u_{h-1}   sum_{t<h} |x_t - z|_Q^2 + |u_t|_R^2  +  |x_h - z|_P^2
    subject to                     x_{t+1} = A x_t + B u_t + c

In the error e = x - z the drift is d = (A - I) z + c, affine in the goal z; so are the optimal actions:
u_t = K_t e_t + k_t (z, 1), and `k` holds the matrices that act on the goal with a 1 appended.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Gains(NamedTuple):
    """K: Float[h, m, n], on the error; k: Float[h, m, n + 1], on (goal, 1). First step first."""

    K: jax.Array
    k: jax.Array


def gains(A: jax.Array, B: jax.Array, c: jax.Array, Q: jax.Array, R: jax.Array, P: jax.Array, steps: int) -> Gains:
    """The optimal gains of h = `steps` steps.

    A: Float[n, n]; B: Float[n, m]; c: Float[n]; Q, P: Float[n, n], symmetric, not negative; R: Float[m, m], positive.
    """
    drift = jnp.concatenate([A - jnp.eye(A.shape[0], dtype=A.dtype), c[:, None]], axis=1)

    def back(carry, _):
        P, p = carry  # value of the error e: e' P e + 2 e' p (z, 1) + what no action changes
        ahead = P @ drift + p
        solved = _solve(R + B.T @ P @ B, B.T @ jnp.concatenate([P @ A, ahead], axis=1))
        K, k = -solved[:, : A.shape[0]], -solved[:, A.shape[0] :]
        closed = A + B @ K
        return (Q + A.T @ P @ closed, closed.T @ ahead), Gains(K, k)

    start = (P, jnp.zeros_like(drift))
    return jax.lax.scan(back, start, None, steps, reverse=True)[1]


def _solve(M: jax.Array, right: jax.Array) -> jax.Array:
    """M^{-1} right for a small positive definite M: by hand up to 2 x 2, since a batched LAPACK call costs more."""
    if M.shape[0] == 1:
        return right / M[0, 0]
    if M.shape[0] == 2:
        determinant = M[0, 0] * M[1, 1] - M[0, 1] * M[1, 0]
        adjugate = jnp.array([[M[1, 1], -M[0, 1]], [-M[1, 0], M[0, 0]]])
        return adjugate @ right / determinant
    return jax.scipy.linalg.solve(M, right, assume_a="pos")
