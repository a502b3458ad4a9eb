"""What theory knows of chains without limits: the levels up to which their nodes should order, and what that costs.

A serial chain with backlog is run best by echelon base-stock levels, computed one stage after the other (Clark and Scarf 1960,
in the form of Chen and Zheng 1994); one store alone is its first stage, the newsvendor over its lead time.
"""

from typing import NamedTuple

import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import norm

from ohio_envs.supply_chain.scenario import OUTSIDE, Scenario
from ohio_jax.errors import UserError

GRID = 0.02  # units between the points at which cost functions are known


class Optimum(NamedTuple):
    """levels: Float[N], up to which each node's echelon (itself and all it supplies) should order; cost: $ a period, the mean."""

    levels: np.ndarray
    cost: float


def echelon(s: Scenario) -> Optimum:
    """The optimum of a serial chain with backlog. Raises UserError for another network or another family of demand.

    C_j(y) = h'_j (y - (L_j + 1) mu) + E[C_j-1(min(S_j-1, y - D(L_j)))], S_j = argmin C_j, h' echelon holding costs, D(L) demand
    of L periods; the first stage pays for stock and backlog after L_1 + 1 periods.
    """
    if s.source != (*range(1, s.nodes), OUTSIDE) or s.stores != 1 or s.lost or s.family != "normal":
        raise UserError("optimum: expected a serial chain with one store, backlog and normal demand, found another network")
    mean, spread, underage = float(s.curve[0, 0]), float(s.spread[0]), float(s.backlog)
    holding = np.append(np.asarray(s.holding, np.float64), 0.0)
    own = holding[:-1] - holding[1:]  # what a unit costs more in an echelon than behind it
    wide = mean + 8.0 * spread
    points = np.arange(0.0, wide, GRID)
    # Demand of a period: normal, what is below 0 is 0.
    edges = np.append(-np.inf, points + GRID / 2)
    one = np.diff(norm.cdf(edges, mean, spread))
    one /= one.sum()
    mu = float(points @ one)

    most = wide * (sum(s.lead) + 1)
    y = np.arange(-most, most, GRID)
    levels, below = np.empty(s.nodes), (underage + own.sum()) * np.maximum(-y, 0.0)
    for stage, lead in enumerate(s.lead):
        periods = lead + (stage == 0)
        demand = np.ones(1)
        for _ in range(periods):
            demand = fftconvolve(demand, one)
        cost = own[stage] * (y - (lead + 1) * mu) + _expected(below, demand)
        best = int(np.argmin(cost))
        levels[stage] = y[best]
        below = np.where(y > y[best], cost[best], cost)
    # The recursion charges for goods on their way what their sender would; here they cost nothing.
    return Optimum(levels, float(cost[best] - mu * holding[1:] @ np.asarray(s.lead, np.float64)))


def _expected(function: np.ndarray, demand: np.ndarray) -> np.ndarray:
    """E[function(y - D)] on the grid; below the grid the function goes on in a straight line."""
    slope = function[1] - function[0]
    left = function[0] + slope * np.arange(1 - len(demand), 0)
    return fftconvolve(np.concatenate([left, function]), demand, mode="valid")
