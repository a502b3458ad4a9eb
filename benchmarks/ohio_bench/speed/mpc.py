"""Linear MPC solves a second beside qpax and cvxpylayers, and how well each meets the optimality conditions.

One model, many states and goals. Ours takes the program as it is; the peers get it condensed to a box-constrained program in
the actions alone, condensing not counted: 1/2 `|S u + d|^2`, low <= u <= high, S constant and d affine in state and goal.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_bench.speed.timing import over_devices, rates
from ohio_jax.solvers import qp


class Case(NamedTuple):
    """Programs of one size.

    Attributes:
        program: float64.
        S: `Float[r, v]`, of v = H m actions.
        D: `Float[r, 2n]`, d = D (x, goal).
        x, goal: `Float[N, n]`.
    """

    program: qp.BoxLQ
    S: np.ndarray
    D: np.ndarray
    x: np.ndarray
    goal: np.ndarray


def case(n: int, m: int, horizon: int, amount: int) -> Case:
    """A random model with unit costs, and random states and goals some of whose actions are on a bound."""
    random = np.random.default_rng(0)
    A = np.eye(n) + 0.2 * random.normal(size=(n, n)) / np.sqrt(n)
    A /= max(1.0, np.abs(np.linalg.eigvals(A)).max())  # stable
    B = random.normal(size=(n, m)) / np.sqrt(m)
    high = np.full(m, 0.6)
    S, D = np.zeros((0, horizon * m)), np.zeros((0, 2 * n))
    effect, free = np.zeros((n, horizon * m)), np.eye(n)
    for t in range(horizon):
        effect, free = A @ effect, A @ free
        effect[:, t * m : (t + 1) * m] += B
        S, D = np.vstack([S, effect]), np.vstack([D, np.hstack([free, -np.eye(n)])])
    S, D = np.vstack([S, np.sqrt(0.3) * np.eye(horizon * m)]), np.vstack([D, np.zeros((horizon * m, 2 * n))])
    over = lambda y: np.broadcast_to(y, (horizon, *y.shape))
    arrays: Any = (over(A), over(B), np.zeros((horizon, n)), np.eye(n), 0.3 * np.eye(m), np.eye(n), -high, high)
    program = qp.BoxLQ(*arrays)
    return Case(program, S, D, random.normal(size=(amount, n)), random.normal(size=(amount, n)))


def violation(of: Case, u: np.ndarray) -> float:
    """Largest `|u - clip(u - slope / curvature)|`, of the first len(u) programs: 0 at an optimum. u: `Float[k, v]`."""
    d = np.hstack([of.x, of.goal])[: len(u)] @ of.D.T
    high = np.tile(of.program.high, len(of.program.B))
    slope = (u @ of.S.T + d) @ of.S / np.square(of.S).sum(axis=0)
    return float(np.abs(u - np.clip(u - slope, -high, high)).max())


Solve = Callable[[jax.Array, jax.Array], jax.Array]  # x, goal: Float[n] -> u: Float[v]


def ours(of: Case, dtype: str) -> Solve:
    program = jax.tree.map(lambda y: np.asarray(y, dtype), of.program)
    return lambda x, goal: qp.solve(jax.tree.map(jnp.asarray, program), x, goal).u.reshape(-1)


def qpax(of: Case, dtype: str) -> Solve:
    """Explicit interior point at its default tolerance."""
    solver: Any = importlib.import_module("qpax")
    S, D = of.S.astype(dtype), of.D.astype(dtype)
    v, high = S.shape[1], np.tile(of.program.high, len(of.program.B)).astype(dtype)
    Q, G, h = S.T @ S, np.vstack([np.eye(v), -np.eye(v)]).astype(dtype), np.concatenate([high, high])
    none = np.zeros((0, v), dtype), np.zeros(0, dtype)

    def solve(x, goal):
        q = S.T @ (D @ jnp.concatenate([x, goal]))
        return solver.solve_qp_primal(*map(jnp.asarray, (Q, q, *none, G, h)))

    return solve


def cvxpylayers(of: Case) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Batched and not compiled: its JAX layer does not trace. x, goal: `Float[N, n]` -> `Float[N, v]`."""
    cp: Any = importlib.import_module("cvxpy")
    layers: Any = importlib.import_module("cvxpylayers.jax")
    high = np.tile(of.program.high, len(of.program.B))
    u, d = cp.Variable(of.S.shape[1]), cp.Parameter(len(of.S))
    problem = cp.Problem(cp.Minimize(cp.sum_squares(of.S @ u + d)), [u <= high, u >= -high])
    layer = layers.CvxpyLayer(problem, parameters=[d], variables=[u])
    return lambda x, goal: layer(jnp.concatenate([x, goal], axis=1) @ of.D.T)[0]


Compiled = Callable[[Callable, int], Callable]  # function(_, each), batch -> the same, compiled or not

# qpax factorizes through LAPACK, and batches of its calls that two host devices start at once wait for each other for ever.
HOW: dict[str, Compiled] = {
    "ohio_jax": over_devices,
    "qpax": lambda function, batch: jax.jit(function),
    "cvxpylayers": lambda function, batch: function,
}


def contender(many: Callable, of: Case, batch: int, dtype: str, gradient: bool, how: Compiled) -> Callable[[], Any]:
    """A call that solves `batch` programs: actions, or with `gradient` the derivative of the first actions by the goals."""
    first = of.program.B.shape[2]
    slope = jax.grad(lambda goal, x: jnp.sum(many(x, goal)[:, :first]))
    function = (lambda _, each: slope(each[1], each[0])) if gradient else (lambda _, each: many(*each))
    with jax.enable_x64(dtype == "float64"):
        each = tuple(jnp.asarray(y[:batch], dtype) for y in (of.x, of.goal))
        call = how(function, batch)

    def run():
        with jax.enable_x64(dtype == "float64"):
            return jax.block_until_ready(call(None, each))

    return run


def measure(budget: Any) -> dict[str, Any]:
    """Solves a second for each (n, m, H), batch and precision of the reacher's budget, without and with gradient.

    A peer that is not installed is left out and named in `missing`.
    """
    found: dict[str, Any] = {}
    missing = [name for name in ("qpax", "cvxpylayers") if importlib.util.find_spec(name) is None]
    few = tuple(batch for batch in budget.programs if batch <= budget.peers)
    for n, m, horizon in budget.shapes:
        of = case(n, m, horizon, max(budget.programs))
        calls: dict[tuple[str, str, int, bool], Callable[[], Any]] = {}
        for gradient in (False, True):
            for dtype in budget.precisions:
                for name, solver, sizes in (("ohio_jax", ours, budget.programs), ("qpax", qpax, few)):
                    if name not in missing:
                        many = jax.vmap(solver(of, dtype))
                        calls |= {(name, dtype, k, gradient): contender(many, of, k, dtype, gradient, HOW[name]) for k in sizes}
            if "cvxpylayers" not in missing:
                layer = partial(contender, cvxpylayers(of), of)
                calls |= {("cvxpylayers", "float64", k, gradient): layer(k, "float64", gradient, HOW["cvxpylayers"]) for k in few}
        rows = []
        for key, rate in rates(calls, {key: key[2] for key in calls}, budget).items():
            row: dict[str, Any] = dict(zip(("solver", "dtype", "batch", "gradient"), key, strict=True)) | {
                "solves_per_second": rate
            }
            if not row["gradient"]:
                row["violation"] = violation(of, np.asarray(calls[key](), np.float64))
            rows.append(row)
        found[f"n={n}, m={m}, H={horizon}"] = rows
    return {"shapes": found, "missing": missing}
