"""Finite-horizon linear-quadratic regulation toward a goal, by the Riccati recursion.

::

    minimize over u_0 .. u_{h-1}   sum_{t<h} |x_t - z|_Q^2 + |u_t|_R^2  +  |x_h - z|_P^2
    subject to                     x_{t+1} = A x_t + B u_t + c

In the error e = x - z the drift is d = (A - I) z + c, affine in the goal z; so are the optimal actions:
u_t = K_t e_t + k_t (z, 1), and `k` holds the matrices that act on the goal with a 1 appended.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.solvers.small import product, solve_definite


class Gains(NamedTuple):
    """Feedback gains, first step first.

    Attributes:
        K: `Float[h, m, n]`, on the error.
        k: `Float[h, m, n + 1]`, on (goal, 1). First step first.
    """

    K: jax.Array
    k: jax.Array


def gains(
    A: Float[Array, "n n"],
    B: Float[Array, "n m"],
    c: Float[Array, "n"],
    Q: Float[Array, "n n"],
    R: Float[Array, "m m"],
    P: Float[Array, "n n"],
    steps: int,
) -> Gains:
    """The optimal gains of h = `steps` steps.

    Args:
        Q, P: symmetric, not negative.
        R: positive.
    """
    drift = jnp.concatenate([A - jnp.eye(A.shape[0], dtype=A.dtype), c[:, None]], axis=1)

    def back(carry, _):
        P, p = carry  # value of the error e: e' P e + 2 e' p (z, 1) + what no action changes
        PA, PB, ahead = product(P, A), product(P, B), product(P, drift) + p
        right = product(B.T, jnp.concatenate([PA, ahead], axis=1))
        solved, _ = solve_definite(R + product(B.T, PB), -right)
        K, k = solved[:, : A.shape[0]], solved[:, A.shape[0] :]
        closed = A + product(B, K)
        return (Q + product(PA.T, closed), product(closed.T, ahead)), Gains(K, k)

    start = (P, jnp.zeros_like(drift))
    return jax.lax.scan(back, start, None, steps, reverse=True)[1]
