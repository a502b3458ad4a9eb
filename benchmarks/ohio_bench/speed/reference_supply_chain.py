"""The paper's supply chain in NumPy float64, line by line as its specification says: one warehouse, one episode at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np

PRICE, PRODUCTION, TRANSPORT, OVER_CAPACITY, OVER_ASKED = 15.0, 5.0, 0.5, 22.5, 6.0


@dataclass
class Chain:
    """Node order: stores, then the warehouse. demand: [T, S]; queue: [T, S], in which order stores are served."""

    initial: np.ndarray
    storage: np.ndarray
    holding: np.ndarray
    production: float
    backlog: float
    forecast: np.ndarray
    demand: np.ndarray
    queue: np.ndarray
    lead: int = 1
    lost: bool = False

    def __post_init__(self):
        self.t, self.stores = 0, self.demand.shape[1]
        self.stock = self.initial.astype(np.float64)
        self.made = 0.0
        self.shipped = []
        self.owed = np.zeros(self.stores)

    @property
    def available(self) -> float:
        return self.stock[-1] + self.made

    @property
    def arriving(self) -> np.ndarray:
        """What lands in this period."""
        return self.shipped[self.t - self.lead] if self.t >= self.lead else np.zeros(self.stores)

    @property
    def want(self) -> np.ndarray:
        return self.demand[self.t] + self.owed

    def ahead(self, periods: int) -> np.ndarray:
        """Forecast of the period so many after this one; 0 beyond the last."""
        place = self.t + periods
        return self.forecast[place] if place < len(self.demand) else np.zeros(self.stores)

    def step(self, orders: np.ndarray) -> tuple[float, dict[str, float]]:
        """(reward, amounts) of one period."""
        ask, production = np.asarray(orders[:-1], np.float64), orders[-1]
        left = self.available
        too_much = max(0.0, ask.sum() - left)
        made = min(self.production, round(max(0.0, float(production))))
        shipped = np.zeros(self.stores)
        for store in self.queue[self.t]:
            shipped[store] = min(round(max(0.0, float(ask[store]))), left)
            left -= shipped[store]
        hand = self.stock[:-1] + self.arriving
        served = np.minimum(self.demand[self.t], hand).sum()
        sold = np.minimum(self.want, hand)
        unmet = self.want - sold
        self.stock = np.append(hand - sold, left)
        self.shipped.append(shipped)
        self.made, self.owed, self.t = made, 0 * unmet if self.lost else unmet, self.t + 1
        over = np.maximum(0.0, self.stock - self.storage).sum()
        reward = PRICE * sold.sum() - PRODUCTION * made - TRANSPORT * self.lead * shipped.sum()
        reward -= (self.holding * self.stock).sum() + self.backlog * unmet.sum() + OVER_CAPACITY * over + OVER_ASKED * too_much
        return reward, {"over_capacity": over, "infeasible_requests": too_much, "sold": sold.sum(), "served": served}


def chain(s: Any, path: Any, queue: Any) -> Chain:
    """An episode of a published scenario of ours. path: [T, S]; queue: [T, N], in which order nodes are served."""
    numbers = lambda x: np.asarray(x, np.float64)
    return Chain(
        initial=numbers(s.initial),
        storage=numbers(s.storage),
        holding=numbers(s.holding),
        production=float(s.limit[-1]),
        backlog=float(s.backlog),
        forecast=numbers(s.forecast)[: s.horizon],
        demand=numbers(path),
        queue=np.array([[node for node in row if node < s.stores] for row in np.asarray(queue)]),
        lead=s.lead[0],
        lost=s.lost,
    )
