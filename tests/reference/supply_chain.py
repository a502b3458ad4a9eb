"""The paper's two supply chains and the forecast base-stock rule in NumPy, an episode at a time, from their specification alone.

Periods are counted from 0, quantities are whole units. The rule ships no more than there is, so the order of stores is no matter.
"""

from dataclasses import dataclass

import numpy as np

T = 30  # periods
PRICE, PRODUCTION_COST, TRANSPORT_COST, OVER_CAPACITY = 15.0, 5.0, 0.5, 22.5


@dataclass(frozen=True)
class Network:
    """One warehouse, which makes what it ships, and S stores. Demand of store s: peak[s], phase[s], frequency[s]."""

    peak: tuple[int, ...]
    phase: tuple[int, ...]
    frequency: tuple[int, ...]
    initial: float
    store_storage: float
    warehouse_storage: float
    store_holding: float
    warehouse_holding: float
    limit: float
    backlog: float


NETWORKS = {
    "supply-chain-1w3s": Network((5, 15, 20), (1, 3, 6), (2, 4, 6), 10, 15, 50, 0.5, 0.1, 25, 1.0),
    "supply-chain-1w10s": Network(
        peak=(5, 5, 5, 5, 10, 10, 10, 18, 18, 18),
        phase=(1, 1, 1, 3, 3, 3, 6, 6, 6, 2),
        frequency=(2, 4, 6, 2, 4, 6, 2, 4, 6, 3),
        initial=5,
        store_storage=15,
        warehouse_storage=80,
        store_holding=2,
        warehouse_holding=0.005,
        limit=60,
        backlog=1.5,
    ),
}


def forecasts(network: Network) -> np.ndarray:
    """[T + 3, S], whole units; 0 after the last period."""
    found = np.zeros((T + 3, len(network.peak)))
    for s, (d, r, q) in enumerate(zip(network.peak, network.phase, network.frequency, strict=True)):
        for t in range(T):
            found[t, s] = round(d / 2 + d / 2 * np.cos(q * np.pi * (2 * r + t + 1) / 31))
    return found


def base_stock(network: Network, demand: np.ndarray) -> tuple[float, list[np.ndarray]]:
    """(return, orders [S + 1] of each period) of the rule under demand: [T, S]."""
    f, stores = forecasts(network), range(len(network.peak))
    stock, warehouse, made = [network.initial] * len(stores), 0.0, 0.0
    transit, backlog = [0.0] * len(stores), [0.0] * len(stores)  # goods are a period under way
    total, orders = 0.0, []
    for t in range(T):
        have = warehouse + made
        ask = []
        for s in stores:
            want = demand[t, s] + backlog[s]
            level = f[t + 1, s] + 1 if t + 1 < T else 0
            room = max(0.0, network.store_storage + want + f[t + 1, s] - stock[s] - transit[s])
            ask.append(min(max(level - (stock[s] + transit[s] - want), 0), room))
        enough = sum(ask) <= have
        ship = [a if enough else np.floor(have * a / sum(ask)) for a in ask]
        left, short = have - sum(ship), sum(ask) - sum(ship)
        soon = sum(f[t + 2]) + short if t + 2 < T else 0
        more = max(0, sum(f[t + 3]) - network.limit) if t + 3 < T else 0
        make = min(max(0, soon + more - left), network.limit, network.warehouse_storage - left)
        orders.append(np.array([*ship, make]))

        warehouse, made = left, make
        total -= PRODUCTION_COST * make + TRANSPORT_COST * sum(ship) + network.warehouse_holding * warehouse
        total -= OVER_CAPACITY * max(0.0, warehouse - network.warehouse_storage)
        for s in stores:
            hand, want = stock[s] + transit[s], demand[t, s] + backlog[s]
            sold = min(want, hand)
            stock[s], backlog[s], transit[s] = hand - sold, want - sold, ship[s]
            total += PRICE * sold - network.store_holding * stock[s] - network.backlog * backlog[s]
            total -= OVER_CAPACITY * max(0.0, stock[s] - network.store_storage)
    return total, orders
