"""What theory knows of chains without limits: the levels up to which their nodes should order, and what that costs.

A serial chain with backlog is run best by echelon base-stock levels, computed one stage after the other (Clark and Scarf 1960,
in the form of Chen and Zheng 1994); one store alone is its first stage, the newsvendor over its lead time. Where sales are
lost no optimum is known, but what no policy can stay below.
"""

import math
from typing import NamedTuple

import numpy as np
import scipy  # its parts are imported where they are used first

from ohio_envs.supply_chain.scenario import OUTSIDE, Scenario, classical
from ohio_jax.errors import UserError

GRID = 0.02  # units between the points at which cost functions are known


class Optimum(NamedTuple):
    """The best levels and what they cost.

    Attributes:
        levels: `Float[N]`, up to which each node's echelon (itself and all it supplies) should order.
        cost: $ a period, the mean.
    """

    levels: np.ndarray
    cost: float


def echelon(s: Scenario) -> Optimum:
    """The optimum of a serial chain with backlog.

    C_j(y) = h'_j (y - (L_j + 1) mu) + E[C_j-1(min(S_j-1, y - D(L_j)))], S_j = argmin C_j, h' echelon holding costs, D(L) demand
    of L periods; the first stage pays for stock and backlog after L_1 + 1 periods.

    Raises:
        UserError: for another network, or one with more than theory knows.
    """
    _expect_classical(s)
    if s.source != (*range(1, s.nodes), OUTSIDE) or s.stores != 1 or s.lost:
        raise UserError("optimum: expected a serial chain with one store and backlog, found another network")
    underage = float(s.backlog)
    holding = np.append(np.asarray(s.holding, np.float64), 0.0)
    own = holding[:-1] - holding[1:]  # what a unit costs more in an echelon than behind it
    if np.any(own < 0):
        raise UserError(f"optimum: expected holding costs that fall from the store to the outside, found {holding[:-1].tolist()}")
    one = _of_a_period(s)
    wide = GRID * len(one)
    mu = GRID * float(np.arange(len(one)) @ one)

    most = wide * (sum(s.lead) + 1)
    y = np.arange(-most, most, GRID)
    levels, below = np.empty(s.nodes), (underage + own.sum()) * np.maximum(-y, 0.0)
    for stage, lead in enumerate(s.lead):
        periods = lead + (stage == 0)
        demand = np.ones(1)
        for _ in range(periods):
            demand = scipy.signal.fftconvolve(demand, one)
        cost = own[stage] * (y - (lead + 1) * mu) + _expected(below, demand)
        best = int(np.argmin(cost))
        levels[stage] = y[best]
        below = np.where(y > y[best], cost[best], cost)
    # The recursion charges for goods on their way what their sender would; here they cost nothing.
    return Optimum(levels, float(cost[best] - mu * holding[1:] @ np.asarray(s.lead, np.float64)))


def lost_sales_bound(s: Scenario) -> float:
    """$ a period that any policy costs at least where sales are lost, whatever the network behind the stores.

    A store of its own, supplied without limit and with backlog, can copy every policy of one that loses sales, if it also
    orders each unit that is lost: it owes that unit for L + 1 periods. At a backlog cost of 1 / (L + 1) of a lost sale's, it
    then pays no more, and the best it can do is known (Janakiraman, Seshadri and Shanthikumar 2007).

    Raises:
        UserError: for a network with more than theory knows.
    """
    _expect_classical(s)
    one = lambda numbers, store: (float(np.asarray(numbers, np.float64)[store]),)
    alone = lambda store, lead: classical(
        one(s.holding, store), (lead,), (OUTSIDE,), one(s.curve[0], store), one(s.spread, store),
        float(s.backlog) / (lead + 1), s.horizon, family=s.family,
    )  # fmt: skip
    return sum(echelon(alone(store, lead)).cost for store, lead in enumerate(s.lead[: s.stores]))


def _expect_classical(s: Scenario) -> None:
    """Raises UserError for a network that pays for more than stock and unmet demand, or whose demand theory does not know."""
    without = {"limit": math.inf, "storage": math.inf, "ordering": 0.0, "price": 0.0, "over_asked": 0.0}
    for field, value in without.items():
        found = np.asarray(getattr(s, field))
        if np.any(found != value):
            raise UserError(f"optimum: field {field}: expected {value:g}, for which theory is known, found {found.tolist()}")
    if any(0 <= source < s.stores for source in s.source):
        raise UserError(f"optimum: field source: expected stores that supply nobody, found {s.source}")
    if s.family == "whole" or np.any(np.asarray(s.curve) != np.asarray(s.curve)[:1]):
        raise UserError(f"optimum: expected normal or poisson demand, the same in all periods, found {s.family} along a curve")


def _of_a_period(s: Scenario) -> np.ndarray:
    """Chances that the first store's demand of a period is 0, 1, 2, .. steps of the grid. Normal: what is below 0 is 0."""
    mean, spread = float(s.curve[0, 0]), float(s.spread[0])
    if s.family == "poisson":
        units = np.arange(math.ceil(mean + 8.0 * math.sqrt(mean)) + 8)
        chances = np.zeros(round((len(units) - 1) / GRID) + 1)
        chances[np.round(units / GRID).astype(int)] = scipy.stats.poisson.pmf(units, mean)
    else:
        edges = np.append(-np.inf, np.arange(0.0, mean + 8.0 * spread, GRID) + GRID / 2)
        chances = np.diff(scipy.stats.norm.cdf(edges, mean, spread))
    return chances / chances.sum()


def _expected(function: np.ndarray, demand: np.ndarray) -> np.ndarray:
    """E[function(y - D)] on the grid; below the grid the function goes on in a straight line."""
    slope = function[1] - function[0]
    left = function[0] + slope * np.arange(1 - len(demand), 0)
    return scipy.signal.fftconvolve(np.concatenate([left, function]), demand, mode="valid")
