"""Inventory networks in NumPy float64: any tree of nodes, an episode at a time; a store's best policy where sales are lost."""

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import poisson

OUTSIDE = -1


@dataclass
class Network:
    """Node order: stores first. holding, lead, source: of each node; underage: cost of a unit unmet. Starts empty.

    What a node has not enough of is shared in proportion to what is asked for.
    """

    holding: np.ndarray
    lead: tuple[int, ...]
    source: tuple[int, ...]
    underage: float
    stores: int
    lost: bool
    bought: float = 0.0
    sold: float = 0.0
    t: int = 0
    under_way: list[tuple[int, int, float]] = field(default_factory=list)  # (period of arrival, node, units)

    def __post_init__(self):
        self.stock, self.owed = np.zeros(len(self.source)), np.zeros(self.stores)

    def position(self, node: int) -> float:
        """What a node and all it supplies hold and expect, less what they owe."""
        own = self.stock[node] + sum(units for _, to, units in self.under_way if to == node)
        own -= self.owed[node] if node < self.stores else 0.0
        return own + sum(self.position(i) for i, source in enumerate(self.source) if source == node)

    def step(self, orders: np.ndarray, demand: np.ndarray) -> float:
        """The cost of one period."""
        for _, node, units in [due for due in self.under_way if due[0] == self.t]:
            self.stock[node] += units
        self.under_way = [due for due in self.under_way if due[0] > self.t]
        asked = np.maximum(orders, 0.0)
        there = self.stock.copy()
        for node, source in enumerate(self.source):
            units = asked[node]
            if source == OUTSIDE:
                self.bought += units
            else:
                units *= min(1.0, there[source] / max(asked[np.array(self.source) == source].sum(), 1e-300))
                self.stock[source] -= units
            self.under_way.append((self.t + self.lead[node], node, units))
        want = demand + self.owed
        sold = np.minimum(want, self.stock[: self.stores])
        self.stock[: self.stores] -= sold
        unmet = want - sold
        self.sold, self.owed, self.t = self.sold + sold.sum(), 0 * unmet if self.lost else unmet, self.t + 1
        return float(self.holding @ self.stock + self.underage * unmet.sum())


def lost_sales_optimum(lead: int, underage: float, mean: float = 5.0, largest: int = 24, order: int = 12) -> float:
    """Least cost a period of a store that loses sales, holding cost 1, Poisson demand, lead 1 or 2, by relative value iteration.

    States: stock once goods are in, and with lead 2 what is to come in the next period; up to `largest` and `order` units.
    """
    demand = np.arange(largest + 1)
    chance = poisson.pmf(demand, mean)
    x = np.arange(largest + 1)
    # Of each stock: the stock left, by demand; all demand above `largest` leaves nothing.
    left = np.maximum(x[:, None] - demand[None, :], 0)
    tail = 1.0 - chance.sum()
    unmet = mean - np.minimum(x[:, None], demand) @ chance - tail * x
    cost = left @ chance + underage * unmet
    coming = np.arange(order + 1) if lead == 2 else np.zeros(1, int)
    value = np.zeros((len(x), len(coming)))
    for _ in range(400):
        ordered = np.arange(order + 1)
        # next state by (x, coming, order, demand): lead 1: (left + order,); lead 2: (left + coming, order)
        best = np.empty_like(value)
        for k, soon in enumerate(coming):
            after = np.minimum(left + soon, largest)
            nothing = np.minimum(soon, largest)
            if lead == 2:
                best[:, k] = (np.einsum("xdq,d->xq", value[after], chance) + tail * value[nothing]).min(axis=1)
            else:
                onward = np.minimum(left[:, :, None] + ordered, largest)
                best[:, k] = (
                    np.einsum("xdq,d->xq", value[onward, 0], chance) + tail * value[np.minimum(ordered, largest), 0]
                ).min(axis=1)
        new = cost[:, None] + best
        change = new - value
        value = new - new[0, 0]
        if np.ptp(change) < 1e-6:
            break
    return float(change.mean())
