"""Plans by linear programming: the best orders if the demand of the coming periods were known.

With demand as it comes it is the hindsight bound; with forecasts, planned anew in every period, it is the paper's
model-predictive operator. The relaxation is solved: its optima were whole in all instances looked at. SciPy's HiGHS, outside jit.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported where they are used first
from jaxtyping import Float, Float64, Num

from ohio_envs.supply_chain.scenario import Scenario


class Now(NamedTuple):
    """What is known where a plan begins. stock: `Float[N]`; due: `Float[longest, N]`, see `Stocks`; owed: `Float[S]`."""

    stock: np.ndarray
    due: np.ndarray
    owed: np.ndarray


class Plan(NamedTuple):
    """A plan of the coming periods.

    Attributes:
        orders: `Float[K, N]`.
        profit: Float, over the periods planned, penalties included where storage is a soft limit.
    """

    orders: np.ndarray
    profit: float


class Planner:
    """Plans K periods of a network; the program's matrix is built once.

    Args:
        hard: the storage of nodes that are not stores must be kept, and that of stores is exceeded only as far as it must be, by
            one amount a store (the paper's operator); else exceeding it costs what it costs in the simulator (the bound).
    """

    def __init__(self, scenario: Scenario, periods: int, hard: bool):
        self.s, self.K, self.hard = scenario, periods, hard
        s, K, N, S = scenario, periods, scenario.nodes, scenario.stores
        # Columns: orders, stock once goods are in, sales, what stays unmet, and what exceeds storage.
        shapes = ((K, N), (K, N), (K, S), (K, S), (S,) if hard else (K, N))
        ends = np.cumsum([math.prod(shape) for shape in shapes])
        self.size = int(ends[-1])
        blocks = np.split(np.arange(self.size), ends[:-1])
        self.order, self.stock, self.sold, self.unmet, self.over = map(np.reshape, blocks, shapes)

        # In every period the same of the period so many before; blocks are of the columns above, one below the other.
        of = lambda before, matrix: scipy.sparse.kron(scipy.sparse.eye_array(K, k=-before), matrix, format="csr")
        stack = lambda *blocks: scipy.sparse.block_array(blocks, format="csr")
        same, sales, customers = np.eye(N), np.eye(N, S), np.equal.outer(range(N), s.source)
        over = scipy.sparse.kron(scipy.sparse.coo_array(np.ones((K, 1))), sales) if hard else scipy.sparse.eye_array(K * N)
        nothing = scipy.sparse.csr_array((K * N, K * S)), scipy.sparse.csr_array(over.shape)
        # Equalities: stock_k = what is left of stock_k-1 + arrivals; unmet_k = demand_k + unmet_k-1 - sold_k.
        arrivals = sum(of(lead, np.diag(np.arange(N) == node)) for node, lead in enumerate(s.lead))
        balance = of(1, customers) - arrivals, of(0, same) - of(1, same), of(1, sales), *nothing
        need = None, None, of(0, np.eye(S)), of(0, np.eye(S)) - (0 if s.lost else 1) * of(1, np.eye(S)), None
        rows = np.arange(K * (N + S)).reshape(K, N + S)
        self.balance, self.need = rows[:, :N], rows[:, N:]
        self.A_eq = stack(balance, need)[np.argsort(np.concatenate([self.balance.ravel(), self.need.ravel()]))]

        # Inequalities, two a node: nothing leaves that is not there; what is left keeps within the storage, if there is one.
        left = stack((-of(0, customers), of(0, same), -of(0, sales), *nothing))
        above = scipy.sparse.hstack([scipy.sparse.csr_array((K * N, ends[-2])), over])
        right = np.tile(np.stack([np.zeros(N), np.asarray(s.storage, np.float64)], axis=1).ravel(), K)
        rows = np.arange(2 * K * N).reshape(2, K * N).T.ravel()[np.isfinite(right)]
        self.A_ub, self.b_ub = scipy.sparse.vstack([-left, left - above], format="csr")[rows], right[np.isfinite(right)]

        numbers = lambda x: np.asarray(x, np.float64)
        self.gain = np.zeros(self.size)
        self.gain[self.order] -= numbers(s.ordering)
        self.gain[self.sold] += float(s.price)
        self.gain[self.unmet] -= float(s.backlog)
        self.gain -= left.T @ np.tile(numbers(s.holding), K)  # paid for what is left
        if not hard:
            self.gain[self.over] -= float(s.over_capacity)
        upper = np.full(self.size, np.inf)
        upper[self.order] = numbers(s.limit)
        self.bounds = np.stack([np.zeros(self.size), upper], axis=1)

    def plan(self, now: Now, demand: Float[np.ndarray, "{self.K} S"]) -> Plan:
        """The best plan for demand: `Float[K, S]`, from the state `now`. Raises RuntimeError if HiGHS finds none."""
        b_eq = np.zeros(self.A_eq.shape[0])
        b_eq[self.balance[0]] = now.stock + now.due[0]
        for k in range(1, min(self.K, len(now.due))):
            b_eq[self.balance[k]] = now.due[k]
        b_eq[self.need] = demand
        b_eq[self.need[0]] += now.owed
        bounds = self.bounds
        if self.hard:
            # First as little above storage as can be, then the profit.
            excess = np.zeros(self.size)
            excess[self.over] = 1.0
            least = self._solve(excess, b_eq, bounds)
            bounds = bounds.copy()
            bounds[self.over, 1] = least[self.over] + 1e-9
        best = self._solve(-self.gain, b_eq, bounds)
        return Plan(best[self.order], float(self.gain @ best))

    def _solve(self, cost: np.ndarray, b_eq: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        rows = {"A_ub": self.A_ub, "b_ub": self.b_ub, "A_eq": self.A_eq, "b_eq": b_eq}
        answer = scipy.optimize.linprog(cost, **rows, bounds=bounds, method="highs")
        if answer.status != 0:
            raise RuntimeError(f"plan of {self.K} periods: expected an optimum, found {answer.message}")
        return answer.x


def bound(scenario: Scenario, demand: Num[np.ndarray, "E T S"]) -> Float64[np.ndarray, "E"]:
    """`Float64[E]`, the largest profit on each of the demands `Float[E, T, S]` for one who knows them in advance."""
    planner = Planner(scenario, scenario.horizon, hard=False)
    start = Now(np.asarray(scenario.initial, np.float64), np.zeros((scenario.longest, scenario.nodes)), np.zeros(scenario.stores))
    return np.array([planner.plan(start, path).profit for path in np.asarray(demand, np.float64)])
