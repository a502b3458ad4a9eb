"""Linear algebra of a few unknowns, written out so that a batch of thousands stays in vector registers (no library call)."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

UNROLLED = 4  # unknowns up to which elimination is written out
ELIMINATED = 8  # and up to which it is a loop: written out, it would take longer, and ten times as long to compile
TERMS = 8  # of a sum up to which a product is


def product(A: Float[Array, "n k"], B: Float[Array, "k ..."]) -> Float[Array, "n ..."]:
    """A @ B, term by term: on a CPU XLA multiplies a batch of tiny matrices twenty times slower. A: Float[n, k]; B: [k, ...]."""
    if A.shape[1] > TERMS:
        return A @ B
    column = lambda k: A[:, k].reshape(-1, *[1] * (B.ndim - 1))
    return sum((column(k) * B[k][None] for k in range(1, A.shape[1])), start=column(0) * B[0][None])


def gram(A: Float[Array, "k n"]) -> Float[Array, "n n"]:
    """A' A, row by row, for the same reason. A: `Float[k, n]`."""
    return sum((row[:, None] * row[None] for row in A[1:]), start=A[0][:, None] * A[0][None])


def solve_definite(
    M: Float[Array, "n n"], right: Float[Array, "n *columns"]
) -> tuple[Float[Array, "n *columns"], Float[Array, ""]]:
    """(y with M y = right, `Float[]` smallest pivot of the matrix scaled to a unit diagonal).

    The pivot is 1 for independent
    unknowns and 0 for a singular matrix, whose free unknowns are returned as 0.

    Args:
        M: symmetric and not negative.
        right: `Float[n]` or `Float[n, columns]`, as y.
    """
    n = M.shape[0]
    scale = jnp.sqrt(jnp.diagonal(M))
    inverse = jnp.where(scale > 0, 1.0 / jnp.where(scale > 0, scale, 1.0), 0.0)
    each = inverse.reshape(-1, *[1] * (right.ndim - 1))  # of the right-hand side's rows
    M, right = M * inverse[:, None] * inverse[None, :], right * each
    if n > ELIMINATED:
        values, vectors = jnp.linalg.eigh(M)
        keep = (values > _least(M)).reshape(each.shape)
        y = vectors @ jnp.where(keep, (vectors.T @ right) / jnp.where(keep, values.reshape(each.shape), 1.0), 0.0)
        return y * each, values[0]
    if n > UNROLLED:
        y, pivot = _eliminate(M, right.reshape(n, -1))
        return y.reshape(right.shape) * each, pivot
    rows, pivots = [], []  # of the elimination: M = L D L', without pivoting, as M is definite
    for i in range(n):
        row, b = M[i], right[i]
        for k in range(i):
            factor = jnp.where(rows[k][0][k] > _least(M), rows[k][0][i] / pivots[k], 0.0)
            row, b = row - factor * rows[k][0], b - factor * rows[k][1]
        rows.append((row, b))
        pivots.append(jnp.where(row[i] > _least(M), row[i], 1.0))
    y = [jnp.zeros_like(right[0])] * n
    for i in reversed(range(n)):
        row, b = rows[i]
        rest = sum((row[j] * y[j] for j in range(i + 1, n)), start=jnp.zeros_like(b))
        y[i] = jnp.where(row[i] > _least(M), (b - rest) / pivots[i], 0.0)
    return jnp.stack(y) * each, jnp.min(jnp.stack([row[i] for i, (row, _) in enumerate(rows)]))


def _eliminate(M: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`solve_definite` for a matrix of unit diagonal, by Gauss and Jordan's elimination, an unknown at a time."""
    n, least, index = M.shape[0], _least(M), jnp.arange(M.shape[0])

    def step(i, carry):
        rows, smallest = carry
        pivot = rows[i, i]
        row = jnp.where(pivot > least, rows[i] / jnp.where(pivot > least, pivot, 1.0), 0.0)
        others = rows - rows[:, i][:, None] * row[None]
        return jnp.where((index == i)[:, None], row[None], others), jnp.minimum(smallest, pivot)

    rows, smallest = jax.lax.fori_loop(0, n, step, (jnp.concatenate([M, right], axis=1), M[0, 0]))
    return rows[:, n:], smallest


def least_squares(J: Float[Array, "k n"], r: Float[Array, "k"]) -> tuple[Float[Array, "n"], Float[Array, ""]]:
    """(`Float[n]` y that minimizes `|J y + r|`, `Float[]` smallest pivot as in `solve_definite`).

    Normal equations, corrected twice by the residual that is left: as accurate as an orthogonal factorization as long as
    their squared condition number stays below 1 / eps.
    """
    normal = product(J.T, J)
    y, pivot = solve_definite(normal, -product(J.T, r))
    for _ in range(2):
        y = y + solve_definite(normal, -product(J.T, product(J, y) + r))[0]
    return y, pivot


def _least(M: jax.Array) -> float:
    return 4 * M.shape[0] * float(jnp.finfo(M.dtype).eps)
