"""Box-constrained linear-quadratic programs over a horizon, exactly: the optimization problem of linear MPC.

::

    minimize over u_0 .. u_{H-1}   1/2 sum_{t<H} |x_t - z|_Q^2 + |u_t|_R^2  +  1/2 |x_H - z|_P^2
    subject to                     x_{t+1} = A_t x_t + B_t u_t + c_t,   low <= u_t <= high

Primal-dual active set (Hintermueller, Ito and Kunisch 2002): fix the actions believed to lie on a bound, solve for the others
by one Riccati sweep, and let signs of multipliers and violated bounds say what to fix next. A few sweeps find the optimum.

Where that cycles, single corrections in a fixed order end it (block principal pivoting: Portugal, Judice and Vicente 1994).

Its derivative is that of the last sweep, since the active set does not change nearby: implicit differentiation of the
optimality conditions without forming them. Where a multiplier and its slack both vanish the derivative is one-sided.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ohio_jax.solvers.small import product, solve_definite

SWEEPS = 100
PATIENCE = 3  # sweeps without fewer wrong actions before they are corrected one at a time
TOLERANCE = 1e-5  # of violated bounds and multipliers of the wrong sign, in actions; 1e-12 in float64


class BoxLQ(NamedTuple):
    """A linear-quadratic control problem whose controls have bounds.

    Attributes:
        A: `Float[H, n, n]`.
        B: `Float[H, n, m]`.
        c: `Float[H, n]`.
        Q, P: `Float[n, n]`.
        R: `Float[m, m]`.
        low, high: `Float[m]`.
    """

    A: jax.Array
    B: jax.Array
    c: jax.Array
    Q: jax.Array
    R: jax.Array
    P: jax.Array
    low: jax.Array
    high: jax.Array


class Solution(NamedTuple):
    """An optimum.

    Attributes:
        u: `Float[H, m]`.
        x: `Float[H + 1, n]`.
        active: `Int[H, m]`, -1 at low, 1 at high, else 0.
        violation: `Float[]`, the largest violated bound or multiplier of the wrong sign (over its curvature), in actions.
        converged: `Bool[]`.
        iterations: `Int[]`, sweeps.
    """

    u: jax.Array
    x: jax.Array
    active: jax.Array
    violation: jax.Array
    converged: jax.Array
    iterations: jax.Array


def solve(program: BoxLQ, x0: Float[Array, "n"], goal: Float[Array, "n"], active: Int[Array, "H m"] | None = None) -> Solution:
    """Solves one program; `vmap` over any argument.

    Differentiable in x0, goal and the program's arrays. If the active set does not settle within 100 sweeps the actions
    returned are those of the best sweep, clipped, and `converged` is False.

    Args:
        active: where to begin (else free).
    """
    H, m = program.B.shape[0], program.B.shape[2]
    tolerance = TOLERANCE if x0.dtype == jnp.float32 else 1e-12
    low, high = program.low[None], program.high[None]
    fixed = jax.lax.stop_gradient((program, x0, goal))

    def better(carry):
        active, best, least, fewest, patience, _, i = carry
        u, _, push = _sweep(*fixed, active)
        # How far each action would move if its bound were not there, or, on a bound, is pushed against it.
        unclipped = u + push
        now = jnp.where(unclipped > high, 1, jnp.where(unclipped < low, -1, 0)).astype(jnp.int32)
        wrong = jnp.where(active == 0, jnp.maximum(u - high, low - u), -active * push)
        violation = jnp.max(wrong)
        lower = violation < least
        best, least = jnp.where(lower, active, best), jnp.where(lower, violation, least)
        # Too long without progress: correct the last wrong action alone.
        change = wrong > tolerance
        amount = jnp.sum(change)
        patience = jnp.where(amount < fewest, PATIENCE, patience - 1)
        last = place == jnp.max(jnp.where(change, place, -1))
        alone = jnp.where(active == 0, now, 0)
        now = jnp.where(patience >= 0, jnp.where(change, now, active), jnp.where(last, alone, active))
        return now, best, least, jnp.minimum(amount, fewest), patience, violation <= tolerance, i + 1

    place = jnp.arange(H * m).reshape(H, m)
    start = jnp.zeros((H, m), jnp.int32) if active is None else active
    begin = (start, start, jnp.full((), jnp.inf, x0.dtype), H * m + 1, PATIENCE, jnp.bool_(False), jnp.int32(0))
    carry = jax.lax.while_loop(lambda c: ~c[5] & (c[6] < SWEEPS), better, begin)
    _, best, least, *_, settled, sweeps = carry
    u, x, _ = _sweep(program, x0, goal, best)
    return Solution(jnp.clip(u, low, high), x, best, jnp.maximum(least, 0.0), settled, sweeps)


def _sweep(program: BoxLQ, x0: jax.Array, goal: jax.Array, active: jax.Array):
    """(u: `Float[H, m]`, x: `Float[H + 1, n]`, push: `Float[H, m]`) of the optimum with `active` actions held on their bounds.

    - push: the multiplier over the curvature of its own action; 0 where free.
    """
    Q, R = program.Q, program.R

    def back(carry, stage):
        P, p = carry  # cost to go: 1/2 x' P x + p' x
        A, B, c, active = stage
        free = (active == 0).astype(A.dtype)
        bound = (1.0 - free) * jnp.where(active > 0, program.high, program.low)
        PB = product(P, B)
        PA, Pc = product(P, A), product(P, c) + p
        S, G, g = R + product(B.T, PB), product(B.T, PA), product(B.T, Pc)
        # Rows of held actions read u = bound, the others S_ff u_f = -(G x + g + S_fb bound).
        system = S * free[:, None] * free[None, :] + jnp.diag(1.0 - free)
        right = jnp.concatenate([-free[:, None] * G, (bound - free * (g + product(S, bound)))[:, None]], axis=1)
        solved, _ = solve_definite(system, right)
        K, k = solved[:, :-1], solved[:, -1]
        # With S_ff K_f + G_f = 0 and held rows of K zero, the Joseph form reduces to these.
        before = (Q + product(A.T, PA) + product(G.T, K), product(A.T, Pc) - product(Q, goal) + product(G.T, k))
        return before, (K, k, P, p, jnp.diagonal(S))

    last = (program.P, -product(program.P, goal))
    stages = (program.A, program.B, program.c, active)
    _, (K, k, P, p, curvature) = jax.lax.scan(back, last, stages, reverse=True)

    def forward(x, stage):
        A, B, c, K, k, P, p, curvature, active = stage
        u = product(K, x) + k
        after = product(A, x) + product(B, u) + c
        slope = product(R, u) + product(B.T, product(P, after) + p)
        return after, (u, after, jnp.where(active == 0, 0.0, -slope / curvature))

    _, (u, x, push) = jax.lax.scan(forward, x0, (program.A, program.B, program.c, K, k, P, p, curvature, active))
    return u, jnp.concatenate([x0[None], x]), push
