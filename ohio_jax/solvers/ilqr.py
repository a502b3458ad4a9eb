"""Iterative linear-quadratic regulation within bounds: the optimization problem of nonlinear MPC.

::

    minimize over u_0 .. u_{H-1}   1/2 sum_{t<H} |x_t - z|_Q^2 + |u_t|_R^2  +  1/2 |x_H - z|_P^2
    subject to                     x_{t+1} = f(x_t, u_t),   low <= u_t <= high

Each iteration linearizes f along the trajectory of the last actions and solves the box-constrained linear-quadratic program
that results (`qp`; Tassa, Mansard and Todorov 2014 treat the bounds stage by stage instead), with a penalty on how far actions
move: Levenberg-Marquardt. The penalty falls where the cost does, and rises where it does not.

The end is one step of Newton's method in the actions that lie on no bound, with the exact second derivatives of the cost. Its
own derivative is that of the optimum (implicit function theorem); a linear-quadratic sweep would leave out the curvature of f,
which counts wherever the goal is not reached exactly. At a multiplier of 0 the derivative is one-sided.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.solvers import qp

ITERATIONS = 30
TOLERANCE = 1e-4  # of the last step, in actions; 1e-6 in float64, from where Newton's step ends at rounding
EDGE = 1e-6  # share of a bound: simulators clip actions, and the slope of a clip at its bound is one-sided


class OptimalControl(NamedTuple):
    """An optimal control problem with nonlinear dynamics and bounded controls, see the module.

    Attributes:
        model: f as `model.step(x, u)`, see `ohio_jax.dynamics`.
        Q, P: `Float[n, n]`.
        R: `Float[m, m]`.
        low, high: `Float[m]`, finite.
    """

    model: Any
    Q: jax.Array
    R: jax.Array
    P: jax.Array
    low: jax.Array
    high: jax.Array


class _Search(NamedTuple):
    """State of a search.

    Attributes:
        u: `Float[H, m]`.
        cost, damping: `Float[]`.
        converged: `Bool[]`.
        iterations: `Int[]`.
        active, violation: `Int[H, m]`, `Float[]`, of the linear-quadratic program whose optimum u is.
    """

    u: jax.Array
    cost: jax.Array
    active: jax.Array
    violation: jax.Array
    damping: jax.Array
    converged: jax.Array
    iterations: jax.Array


def solve(program: OptimalControl, x0: Float[Array, "n"], goal: Float[Array, "n"], start: Float[Array, "H m"]) -> qp.Solution:
    """A local optimum, searched for from the actions `start: Float[H, m]`; `vmap` over any argument.

    Differentiable in x0, goal and the program's arrays. `violation` is the largest entry of Newton's step, or that of the last
    linear-quadratic program. Where 30 iterations leave too much of it `converged` is False and the step is not taken.
    """
    tolerance, eps = TOLERANCE if x0.dtype == jnp.float32 else 1e-6, float(jnp.finfo(x0.dtype).eps)
    low, high = program.low[None], program.high[None]
    fixed = jax.lax.stop_gradient((program, x0, goal))

    def better(search: _Search) -> _Search:
        found = _step(*fixed, search)
        after = _cost(*fixed, found.u)
        # Near the optimum costs differ by rounding only.
        lower = after <= search.cost + 4 * eps * jnp.abs(search.cost)
        converged = (jnp.max(jnp.abs(found.u - search.u)) <= 0.1 * tolerance) | ~jnp.isfinite(search.cost)
        damping = jnp.clip(search.damping * jnp.where(lower, 0.1, 10.0), 1e-12, 1e8)
        kept = search._replace(damping=damping, converged=converged, iterations=search.iterations + 1)
        taken = kept._replace(u=found.u, cost=after, active=found.active, violation=found.violation)
        return jax.tree.map(lambda new, old: jnp.where(lower, new, old), taken, kept)

    u = jax.lax.stop_gradient(jnp.clip(start, low, high))
    unknown, damping = jnp.full((), jnp.inf, x0.dtype), jnp.full((), 1e-3, x0.dtype)
    begin = _Search(u, _cost(*fixed, u), jnp.zeros(u.shape, jnp.int32), unknown, damping, jnp.bool_(False), jnp.int32(0))
    end = jax.lax.while_loop(lambda search: ~search.converged & (search.iterations < ITERATIONS), better, begin)

    slope = jax.grad(_cost, 3)
    u = jnp.where(end.active == 0, end.u, jnp.where(end.active > 0, high, low))
    free = (end.active == 0).astype(u.dtype).reshape(-1)
    curvature = jax.lax.stop_gradient(jax.jacfwd(slope, 3)(*fixed, end.u)).reshape(u.size, u.size)
    system = curvature * free[:, None] * free[None, :] + jnp.diag(1.0 - free)
    newton = -jnp.linalg.solve(system, free * slope(program, x0, goal, u).reshape(-1)).reshape(u.shape)
    violation = jnp.maximum(jnp.max(jnp.abs(jax.lax.stop_gradient(newton))), end.violation)
    converged = violation <= tolerance
    # Where the step is not taken its derivative is kept all the same: the best there is.
    u = jnp.clip(u + newton - jnp.where(converged, 0.0, jax.lax.stop_gradient(newton)), low, high)
    return qp.Solution(u, rollout(program.model, x0, u), end.active, violation, converged, end.iterations)


def rollout(model: Any, x0: Float[Array, "n"], u: Float[Array, "H m"]) -> Float[Array, "H+1 n"]:
    """`Float[H + 1, n]`, the states from x0: `Float[n]` under u: `Float[H, m]`."""

    def step(x, u):
        after = model.step(x, u)
        return after, after

    return jnp.concatenate([x0[None], jax.lax.scan(step, x0, u)[1]])


def _cost(program: OptimalControl, x0: jax.Array, goal: jax.Array, u: jax.Array) -> jax.Array:
    error = rollout(program.model, x0, u) - goal[None]
    squared = lambda y, weight: jnp.sum((y @ weight) * y)
    return 0.5 * (squared(error[:-1], program.Q) + squared(u, program.R) + squared(error[-1:], program.P))


def _step(program: OptimalControl, x0: jax.Array, goal: jax.Array, search: _Search) -> qp.Solution:
    """The optimum of the program linearized along a trajectory, plus `1/2 damping |u_t - search.u_t|_R^2`.

    The penalty is a cost on m more states that hold the last action's move.
    """
    u, (H, m) = search.u, search.u.shape
    x = rollout(program.model, x0, u)
    low, high = program.low + EDGE * jnp.abs(program.low), program.high - EDGE * jnp.abs(program.high)
    inside = jnp.clip(u, low[None], high[None])
    A, B = jax.vmap(jax.jacfwd(program.model.step, (0, 1)))(x[:-1], inside)
    c = x[1:] - jnp.einsum("hij,hj->hi", A, x[:-1]) - jnp.einsum("hij,hj->hi", B, u)
    wide = qp.BoxLQ(
        A=jnp.pad(A, ((0, 0), (0, m), (0, m))),
        B=jnp.concatenate([B, jnp.broadcast_to(jnp.eye(m, dtype=B.dtype), (H, m, m))], axis=1),
        c=jnp.concatenate([c, -u], axis=1),
        Q=jax.scipy.linalg.block_diag(program.Q, search.damping * program.R),
        R=program.R,
        P=jax.scipy.linalg.block_diag(program.P, search.damping * program.R),
        low=program.low,
        high=program.high,
    )
    still = jnp.zeros(m, x0.dtype)
    return qp.solve(wide, jnp.concatenate([x0, still]), jnp.concatenate([goal, still]), search.active)
