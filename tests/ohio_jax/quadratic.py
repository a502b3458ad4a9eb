"""Random box-constrained linear-quadratic programs, and their solver compiled once."""

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.solvers import qp

solve = jax.jit(qp.solve)


def program(n, m, H, seed, tight, dtype=float):
    """A random time-varying program of which about a third of the actions end on a bound if `tight` is small."""
    random = np.random.default_rng(seed)
    A = np.eye(n) + 0.2 * random.normal(size=(H, n, n)) / np.sqrt(n)
    B, c = random.normal(size=(H, n, m)) / np.sqrt(m), 0.1 * random.normal(size=(H, n))
    Q, P, R = (np.diag(random.uniform(0.5, 2, k)) for k in (n, n, m))
    high = tight * random.uniform(0.5, 1.5, m)
    arrays = (A, B, c, Q, 0.3 * R, P, -0.8 * high, high)
    return qp.BoxLQ(*(jnp.asarray(x, dtype) for x in arrays)), random.normal(size=n), random.normal(size=n)
