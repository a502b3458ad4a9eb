"""The inverse of a linear program: the goal whose optimality conditions the logged action meets.

An x that satisfies the program (see `LinearProgram`) is optimal for the goal u if and only if some prices y of its rows leave
every entry a reduced cost r = cost + price u - A'y >= 0, and r = 0 wherever x > 0 (strong duality). Where x is logged, this is
one linear program in u, y and what is not logged. Of every other entry either x or r must be 0: these cases are searched, depth
first, each a linear program too. SciPy's HiGHS solves them in float64, outside compiled code, one segment after the other.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts are imported where they are used first
from jaxtyping import Bool, Float, Int

from ohio_jax.errors import UserError
from ohio_jax.inverse.result import Recovered, goal_status
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, LinearProgram, Prepared, Problem

EXACT = 1e-5  # share of the largest right-hand side by which logs in float32 may miss the program's optimum
ZERO = 1e-6  # what counts as 0, of entries and of reduced costs
APART = 1e-4  # share of the goal by which another one must differ
FAR = 1e3  # times the goal, the range in which others are looked for
NEAR = 1e3  # what a unit of action weighs more than a unit of goal, where no goal explains it
LIMIT = 200  # linear programs a search

KINDS = np.int32, np.bool_, np.int32  # of status, converged and iterations
DIMENSIONS = LinearProgram(cost=1, A=2, b=1, B=2, action=1, goal=1, slack=1, price=2, least=1, most=1)


def invert(problem: Problem, at: Prepared) -> Recovered:
    """The goal nearest to the program's preferred one of all that explain the action.

    Proven, where converged: UNIQUE if it is the only one, AMBIGUOUS if there are others, UNEXPLAINED if there is none; then
    the goal whose action comes nearest (sum of differences). Not converged where a search met its limit. As with other
    inverses UNEXPLAINED is also what leaves a residual above the problem's tolerance, as actions between whole numbers do to a
    low level that rounds. FAILED where the program is not finite. iterations: linear programs solved.

    Raises:
        UserError: while tracing, for a low level that is no linear program, and for arrays that do not fit together.
    """
    if problem.program is None:
        raise UserError("inverse 'program': expected a low level that is a linear program, found another")
    given = program_of(problem, at)
    shape, given = jnp.shape(given.goal), _flat(given)
    # In float32, as exact as HiGHS: under `with jax.enable_x64()` the callback's thread cannot return float64.
    result = [jax.ShapeDtypeStruct(given.goal.shape, jnp.float32)] + [jax.ShapeDtypeStruct((), kind) for kind in KINDS]
    goal, *found = jax.pure_callback(_on_host, result, given, vmap_method="expand_dims")
    return goal_status(problem, at, goal.astype(given.goal.dtype).reshape(shape), *found)


def program_of(problem: Problem, at: Prepared) -> LinearProgram:
    """The low level as a linear program in the goal."""
    assert problem.program is not None
    p = problem.program(at.segment, at.context)
    if at.origin is None:
        return p
    return p._replace(
        cost=p.cost if p.price is None else p.cost + p.price @ at.origin,
        b=p.b + p.B @ at.origin,
        goal=p.goal - at.origin,
        least=p.least - at.origin,
        most=p.most - at.origin,
    )


def _flat(given: LinearProgram) -> LinearProgram:
    """The program with arrays of `DIMENSIONS` in all fields that are not None."""
    goal = jnp.asarray(given.goal, jnp.result_type(given.goal, jnp.float32))
    flat = lambda x: jnp.reshape(jnp.asarray(x), -1)
    bound = lambda x: jnp.broadcast_to(jnp.asarray(x, goal.dtype), goal.shape).reshape(-1)
    given = given._replace(action=flat(given.action), slack=flat(given.slack), goal=flat(goal))
    given = given._replace(least=bound(given.least), most=bound(given.most))
    n, m, g, known = *jnp.shape(given.cost), *jnp.shape(given.b), goal.size, given.action.size + given.slack.size
    for name, shape in {"A": (m, n), "B": (m, g), "price": (n, g)}.items():
        if getattr(given, name) is not None and jnp.shape(getattr(given, name)) != shape:
            raise UserError(f"program {name}: expected shape {shape}, found {jnp.shape(getattr(given, name))}")
    if known > n:
        raise UserError(f"program action, slack: expected at most {n} numbers, found {known}")
    return jax.tree.map(jnp.asarray, given)


def _on_host(given: LinearProgram) -> list[np.ndarray]:
    """(goal, status, converged, iterations) of a batch; what its programs share may have leading axes of length 1."""
    ranks = {name: rank for name, rank in DIMENSIONS._asdict().items() if getattr(given, name) is not None}
    fields = {name: np.asarray(getattr(given, name), np.float64) for name in ranks}
    lead = np.broadcast_shapes(*(x.shape[: x.ndim - ranks[name]] for name, x in fields.items()))
    amount, lanes = math.prod(lead), {}
    for name, x in fields.items():
        own = x.shape[x.ndim - ranks[name] :]
        lanes[name] = np.broadcast_to(x, lead + own).reshape(amount, *own)
    found, possible, before = [], {}, None
    for lane in range(amount):
        program = LinearProgram(**{name: x[lane] for name, x in lanes.items()})
        if before is None or not all(np.array_equal(getattr(program, name), getattr(before, name)) for name in ("A", "cost")):
            possible = {}
        before = program
        found.append(_recover(program, possible))
    columns = zip((np.float32, *KINDS), zip(*found, strict=True), strict=True)
    return [x.reshape(lead + x.shape[1:]) for x in (np.array(column, kind) for kind, column in columns)]


def _recover(p: LinearProgram, possible: dict[bytes, bool]) -> tuple[np.ndarray, int, bool, int]:
    """(goal, status, converged, iterations) of one program; possible: see `Conditions`."""
    bounds, numbers = (p.least, p.most), (x for x in p._replace(least=None, most=None) if x is not None)
    if not all(np.all(np.isfinite(x)) for x in numbers) or np.any(np.isnan(bounds)):
        return np.full_like(p.goal, np.nan), FAILED, False, 0
    at = Conditions(p, possible)
    seen = np.concatenate([p.action, p.slack])
    exact = EXACT * (1.0 + np.max(np.abs(at.right[: p.b.size]), initial=0.0))
    absent, present = (np.pad(which, (0, at.n - seen.size)) for which in (seen <= exact, seen > exact))
    z, sure = at.search(at.nearest, absent, present, exact)
    if z is None:
        unseen = np.zeros(at.n, bool)
        z, ended = at.search(at.nearest, unseen, unseen, np.inf)
        return at.goal if z is None else at.goal_of(z), UNEXPLAINED, sure and ended, at.solved

    goal, off = at.goal_of(z), np.max(z[at.off], initial=0.0)
    size = 1.0 + np.max(np.abs(goal))
    way = np.random.default_rng(0).normal(size=goal.size)  # in almost every direction another goal lies ahead or behind
    for cost in (at.cost_of_goal(way), at.cost_of_goal(-way)):
        other, ended = at.search(cost, absent, present, off, cost @ z - APART * size, FAR * size)
        if other is not None or not ended:
            return goal, AMBIGUOUS, sure and other is not None, at.solved
    return goal, UNIQUE, sure, at.solved


class Conditions:
    """The optimality conditions of one program, as linear programs in a vector z of x, how far the goal is above and below the
    preferred one, how far the action is above and below the logged one, and where costs depend on the goal, prices y.

    - absent, present: `Bool[n]`, entries of x that are 0, and entries whose reduced cost is; one of the two must hold of each.

    Args:
        possible: which entries have reduced costs that can be 0 together, for all programs of one A and cost.
    """

    def __init__(self, p: LinearProgram, possible: dict[bytes, bool]):
        (m, n), g, k = p.A.shape, p.goal.size, p.action.size
        self.p, self.n, self.possible, self.solved = p, n, possible, 0
        self.goal = np.clip(p.goal, p.least, p.most)
        ends = np.cumsum([0, n, g, g, k, k, 0 if p.price is None else m])
        self.x, self.above, self.below, more, less, self.y = map(slice, ends[:-1], ends[1:])
        self.off, self.size = slice(more.start, less.stop), int(ends[-1])
        blocks = [[p.A, -p.B, p.B, None, None], [np.eye(k, n), None, None, -np.eye(k), np.eye(k)]]
        right = [p.b + p.B @ self.goal, p.action]
        if p.price is not None:  # else prices know nothing of the goal, and are asked for apart
            blocks = [[*row, None] for row in blocks] + [[None, -p.price, p.price, None, None, p.A.T]]
            right.append(p.cost + p.price @ self.goal)
        self.right, self.costs = np.concatenate(right), slice(m + k, None)
        self.matrix, self.dual = scipy.sparse.block_array(blocks, format="csc"), scipy.sparse.csc_array(p.A.T)
        self.nearest = np.zeros(self.size)
        self.nearest[self.above], self.nearest[self.below], self.nearest[self.off] = 1.0, 1.0, NEAR

    def goal_of(self, z: Float[np.ndarray, "z"]) -> Float[np.ndarray, "g"]:
        """`Float[g]`, the goal itself; what differs from the preferred one by round-off does not differ."""
        moved = z[self.above] - z[self.below]
        return np.clip(self.goal + np.where(np.abs(moved) > ZERO, moved, 0.0), self.p.least, self.p.most)

    def cost_of_goal(self, cost: Float[np.ndarray, "g"]) -> Float[np.ndarray, "z"]:
        """Of z; cost: `Float[g]`, of the goal."""
        of_z = np.zeros(self.size)
        of_z[self.above], of_z[self.below] = cost, -cost
        return of_z

    def search(
        self,
        cost: Float[np.ndarray, "z"],
        absent: Bool[np.ndarray, "n"],
        present: Bool[np.ndarray, "n"],
        off: float | Float[np.ndarray, "..."],
        below: float = np.inf,
        reach: float | Float[np.ndarray, "..."] = np.inf,
    ) -> tuple[Float[np.ndarray, "z"] | None, bool]:
        """(z of the lowest cost that meets the conditions, or None if none is found; whether the search came to its end).

        Args:
            absent, present: where that is known.
            off, reach: largest distances from the logged action and the preferred goal.
            below: looks only for a z of lower cost than this number, and is content with the first.
        """
        best, content, cases, limit = None, below < np.inf, [(absent, present)], self.solved + LIMIT
        while cases and not (content and best is not None):
            if self.solved >= limit:
                return best, False
            absent, present = cases.pop()
            z = self.solve(cost, absent, present, off, reach) if self.can_be(present) else None
            if z is None or cost @ z >= below - ZERO:
                continue
            wrong = self.wrong(z, absent, present)
            if not wrong.size:
                best, below = z, float(cost @ z)
                continue
            # All the wrong entries are absent, which is looked at first; or one is present, and those before it are absent.
            cases += [(_and(absent, wrong[:j]), _and(present, wrong[j : j + 1])) for j in range(wrong.size)]
            cases.append((_and(absent, wrong), present))
        return best, True

    def solve(
        self,
        cost: Float[np.ndarray, "z"],
        absent: Bool[np.ndarray, "n"],
        present: Bool[np.ndarray, "n"],
        off: float | Float[np.ndarray, "..."],
        reach: float | Float[np.ndarray, "..."],
    ) -> Float[np.ndarray, "z"] | None:
        """z of the lowest cost, or None; of entries neither absent nor present nothing is asked."""
        least, most, low = np.zeros(self.size), np.full(self.size, np.inf), self.right.copy()
        least[self.y] = -np.inf
        most[self.x] = np.where(absent, 0.0, np.inf)
        most[self.above] = np.minimum(self.p.most - self.goal, reach)
        most[self.below] = np.minimum(self.goal - self.p.least, reach)
        most[self.off] = off
        if self.p.price is not None:
            low[self.costs][~present] = -np.inf
        return self.optimum(cost, self.matrix, low, self.right, least, most)

    def can_be(self, present: Bool[np.ndarray, "n"]) -> bool:
        """Whether some prices make all these reduced costs 0; taken for granted where that depends on the goal."""
        if self.p.price is not None:
            return True
        if present.tobytes() not in self.possible:
            self.possible[present.tobytes()] = self.prices(np.zeros(self.n), self.p.cost, present) is not None
        return self.possible[present.tobytes()]

    def prices(
        self, x: Float[np.ndarray, "n"], cost: Float[np.ndarray, "n"], present: Bool[np.ndarray, "n"]
    ) -> Float[np.ndarray, "m"] | None:
        """The y under which x is least above what its rows are worth, or None."""
        return self.optimum(-(self.p.A @ x), self.dual, np.where(present, cost, -np.inf), cost, -np.inf, np.inf)

    def wrong(
        self, z: Float[np.ndarray, "z"], absent: Bool[np.ndarray, "n"], present: Bool[np.ndarray, "n"]
    ) -> Int[np.ndarray, "w"]:
        """`Int[w]`, entries neither absent nor present, the worst last, at the best prices for this x and this goal."""
        x, cost = z[self.x], self.p.cost
        there = (x > ZERO) & ~absent & ~present
        if not there.any():
            return np.flatnonzero(there)
        if self.p.price is not None:
            cost = cost + self.p.price @ (self.goal + z[self.above] - z[self.below])
        y = self.prices(x, cost, present)
        reduced = np.ones(self.n) if y is None else cost - self.p.A.T @ y
        wrong = np.flatnonzero(there & (reduced > ZERO))
        return wrong[np.argsort((x * reduced)[wrong])]

    def optimum(self, cost: Any, matrix: Any, low: Any, high: Any, least: Any, most: Any) -> Float[np.ndarray, "z"] | None:
        """Where cost'z is least, least <= z <= most, low <= matrix z <= high; None if nowhere."""
        self.solved += 1
        # Presolve calls some programs infeasible that are not, where round-off leaves entries a range of 1e-8.
        options = {"presolve": False}
        rows, bounds = scipy.optimize.LinearConstraint(matrix, low, high), scipy.optimize.Bounds(least, most)
        return scipy.optimize.milp(cost, constraints=rows, bounds=bounds, options=options).x


def _and(mask: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """The mask, with these entries in it."""
    mask = mask.copy()
    mask[entries] = True
    return mask
