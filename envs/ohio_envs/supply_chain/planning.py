"""Plans by linear programming: the best orders if the demand of the coming periods were known.

With demand as it comes it is the hindsight bound; with forecasts, planned anew in every period, it is the paper's
model-predictive operator. The relaxation is solved: its optima were whole in all instances looked at. SciPy's HiGHS, outside jit.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy  # its parts are imported where they are used first

from ohio_envs.supply_chain.scenario import Scenario


class Now(NamedTuple):
    """What is known where a plan begins. stock: Float[N]; due: Float[longest, N], see `Stocks`; owed: Float[S]."""

    stock: np.ndarray
    due: np.ndarray
    owed: np.ndarray


class Plan(NamedTuple):
    """orders: Float[K, N]; profit: Float, over the periods planned, penalties included where storage is a soft limit."""

    orders: np.ndarray
    profit: float


class Rows:
    """A sparse matrix, built row by row."""

    def __init__(self):
        self.count, self.entries = 0, []

    def add(self, *terms: tuple[float, int]) -> int:
        """The number of a new row with these (value, column)."""
        self.entries += [(value, self.count, column) for value, column in terms]
        self.count += 1
        return self.count - 1

    def matrix(self, columns: int) -> Any:
        values, rows, places = zip(*self.entries, strict=True)
        return scipy.sparse.coo_array((values, (rows, places)), shape=(self.count, columns)).tocsr()


class Planner:
    """Plans K periods of a network; the program's matrix is built once.

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

        # Equalities: stock_k = what is left of stock_k-1 + arrivals; unmet_k = demand_k + unmet_k-1 - sold_k.
        equal = Rows()
        self.balance, self.need = np.empty((K, N), int), np.empty((K, S), int)
        for k in range(K):
            for node in range(N):
                terms = [(1.0, self.stock[k, node])]
                if k > 0:
                    terms.append((-1.0, self.stock[k - 1, node]))
                    terms += [(1.0, column) for column in self._taken(k - 1, node)]
                if k >= s.lead[node]:
                    terms.append((-1.0, self.order[k - s.lead[node], node]))
                self.balance[k, node] = equal.add(*terms)
            for store in range(S):
                terms = [(1.0, self.unmet[k, store]), (1.0, self.sold[k, store])]
                if k > 0 and not s.lost:
                    terms.append((-1.0, self.unmet[k - 1, store]))
                self.need[k, store] = equal.add(*terms)
        self.A_eq, self.equalities = equal.matrix(self.size), equal.count

        # Inequalities: nothing leaves that is not there; storage.
        within, right = Rows(), []
        storage = np.asarray(s.storage, np.float64)
        for k in range(K):
            for node in range(N):
                taken = [(1.0, column) for column in self._taken(k, node)]
                within.add(*taken, (-1.0, self.stock[k, node]))
                right.append(0.0)
                if np.isfinite(storage[node]):
                    slack = [] if hard and node >= S else [(-1.0, self.over[node] if hard else self.over[k, node])]
                    within.add((1.0, self.stock[k, node]), *[(-1.0, column) for _, column in taken], *slack)
                    right.append(storage[node])
        self.A_ub = within.matrix(self.size)
        self.b_ub = np.array(right)

        numbers = lambda x: np.asarray(x, np.float64)
        gain = np.zeros(self.size)
        gain[self.order] -= numbers(s.ordering)
        gain[self.sold] += float(s.price)
        gain[self.unmet] -= float(s.backlog)
        for node in range(N):  # holding is paid for what is left
            gain[self.stock[:, node]] -= numbers(s.holding)[node]
            for k in range(K):
                gain[self._taken(k, node)] += numbers(s.holding)[node]
        if not hard:
            gain[self.over] -= float(s.over_capacity)
        self.gain = gain
        upper = np.full(self.size, np.inf)
        upper[self.order] = numbers(s.limit)
        self.bounds = np.stack([np.zeros(self.size), upper], axis=1)

    def _taken(self, k: int, node: int) -> list[int]:
        """Columns of what leaves a node in period k: sales, or shipments to its customers."""
        customers = [i for i, source in enumerate(self.s.source) if source == node]
        sales = [self.sold[k, node]] if node < self.s.stores else []
        return [int(column) for column in (*sales, *self.order[k, customers])]

    def plan(self, now: Now, demand: np.ndarray) -> Plan:
        """The best plan for demand: Float[K, S], from the state `now`. Raises RuntimeError if HiGHS finds none."""
        b_eq = np.zeros(self.equalities)
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


def bound(scenario: Scenario, demand: np.ndarray) -> np.ndarray:
    """Float64[E], the largest profit on each of the demands Float[E, T, S] for one who knows them in advance."""
    planner = Planner(scenario, scenario.horizon, hard=False)
    start = Now(np.asarray(scenario.initial, np.float64), np.zeros((scenario.longest, scenario.nodes)), np.zeros(scenario.stores))
    return np.array([planner.plan(start, path).profit for path in np.asarray(demand, np.float64)])
