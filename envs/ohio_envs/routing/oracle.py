"""Full-information bound: the best an operator could earn who knows every request in advance and may refuse trips.

A linear program over the time-expanded network, in whose nodes (t, region) vehicles are free to serve, move or wait.

Timing is the simulator's: a vehicle that leaves at t for a drive of d steps can be used from t + d + 1 on. No policy earns
more in conserving dynamics, whatever it knows.
"""

from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported where they are used first
from jaxtyping import Float64, Int

from ohio_envs.routing.scenario import City


class Arcs(NamedTuple):
    """What a vehicle can do: leave node `tail` for node `head`, earning `gain` dollars, at most `most` vehicles."""

    tail: np.ndarray
    head: np.ndarray
    gain: np.ndarray
    most: np.ndarray


def bound(city: City, demand: Int[np.ndarray, "E T n n"]) -> Float64[np.ndarray, "E"]:
    """`Float64[E]`, the highest profit in dollars on each of the requests `Int[E, T, n, n]`."""
    always = _moves(city)
    return np.array([_solve(city, [_trips(city, requests), *always]) for requests in np.asarray(demand)])


def _solve(city: City, arcs: list[Arcs]) -> float:
    tail, head, gain, most = (np.concatenate(parts) for parts in zip(*arcs, strict=True))
    nodes = city.horizon * city.regions
    arc = np.arange(len(tail))
    inside = head < nodes  # the others land when the episode is over
    # In each node: what leaves, less what arrives, is at most what starts there.
    net = scipy.sparse.coo_array(
        (
            np.concatenate([np.ones(len(tail)), -np.ones(inside.sum())]),
            (np.concatenate([tail, head[inside]]), np.concatenate([arc, arc[inside]])),
        ),
        shape=(nodes, len(tail)),
    )
    start = np.zeros(nodes)
    start[: city.regions] = city.vehicles
    limits = np.stack([np.zeros(len(most)), most], axis=1)
    answer = scipy.optimize.linprog(-gain, A_ub=net.tocsr(), b_ub=start, bounds=limits, method="highs")
    if answer.status != 0:
        raise RuntimeError(f"oracle of {city.name}: expected an optimum, found {answer.message}")
    return -float(answer.fun)


def _trips(city: City, requests: np.ndarray) -> Arcs:
    """Trips with requests; pairs without a rate have no price and are not served."""
    t, i, j = where = np.nonzero(requests * (city.lam[: city.horizon] > 0))
    time = city.pax_time[where]
    n = city.regions
    return Arcs(t * n + i, (t + time + 1) * n + j, city.price[where] - city.cost * time, requests[where].astype(float))


def _moves(city: City) -> tuple[Arcs, Arcs]:
    """Empty moves and waiting. Moves that land too late to serve anyone only cost and are left out."""
    T, n = city.horizon, city.regions
    t, i, j = np.indices((T, n, n)).reshape(3, -1)
    time = city.reb_time[i, j]
    useful = (i != j) & (t + time + 1 < T)
    t, i, j, time = t[useful], i[useful], j[useful], time[useful]
    endless = lambda tail: np.full(len(tail), np.inf)
    node = np.arange((T - 1) * n)
    return (
        Arcs(t * n + i, (t + time + 1) * n + j, -city.cost * time, endless(t)),
        Arcs(node, node + n, np.zeros(len(node)), endless(node)),
    )
