"""The inverse as a Gaussian over goals: Laplace's approximation, for low levels that are noisy or only partly seen.

::

    p(goal | segment) ~ exp(-1/2 |residual(goal)|^2 - 1/2 |(goal - start) / width|^2) ~ N(mode, C)
    C = (J' J + diag(1 / width^2))^-1,  J the residual's derivative at the mode

The residual is whitened, so the noise of the low level is in it. The prior is as broad as goals may be.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax import low_level
from ohio_jax.inverse.least_squares import flat, search
from ohio_jax.inverse.result import Recovered, goal_status, uniqueness, without_inactive_bounds
from ohio_jax.low_level import Prepared, Problem


def invert(problem: Problem, at: Prepared) -> Recovered:
    """The mode, by Levenberg-Marquardt, and the deviation of each entry, at most the prior's width where nothing shows.

    Residual, likelihood and status are of the segment alone, without the prior. An action on its bound tightens no deviation, for
    it leaves the goals beyond open. A mode on the edge of the admissible goals keeps the deviation it would have without it.
    """
    signed_at, project, start = flat(problem, at)
    center = low_level.start(problem, at)
    width = low_level.width(problem, at).reshape(-1)

    def with_prior(goal):
        signed, sign = signed_at(goal)
        return jnp.concatenate([signed, (goal - center.reshape(-1)) / width]), None if sign is None else jnp.append(
            sign, jnp.zeros_like(sign, shape=len(width))
        )

    end = search(with_prior, project, start)
    goal = end.goal.reshape(center.shape)
    J = end.J[: -len(width)]
    deviation = spread(without_inactive_bounds(problem, at, goal, J), width).reshape(center.shape)
    return goal_status(problem, at, goal, uniqueness(problem, at, goal, J), end.converged, end.iterations, deviation=deviation)


def spread(J: Float[Array, "k g"], width: Float[Array, "g"]) -> Float[Array, "g"]:
    """Square root of the diagonal of (J' J + diag(1 / width^2))^-1.

    By an orthogonal factor R of [J; 1 / width] in units of the width: C = width R^-1 R^-T width. Its condition number is the
    root of C's, which float32 does not bear where some entries are seen well and others not at all. Gram-Schmidt by hand,
    for a batched LAPACK call on several host devices may wait for itself.
    """
    start = jnp.concatenate([J * width[None], jnp.eye(len(width), dtype=J.dtype)])
    later = jnp.arange(len(width))

    def orthonormal(i, Q):  # what was the identity ends as R^-1
        q = Q[:, i] / jnp.linalg.norm(Q[:, i])
        return (Q - jnp.outer(q, jnp.where(later > i, q @ Q, 0.0))).at[:, i].set(q)

    Q = jax.lax.fori_loop(0, len(width), orthonormal, start)
    return width * jnp.linalg.norm(Q[-len(width) :], axis=1)
