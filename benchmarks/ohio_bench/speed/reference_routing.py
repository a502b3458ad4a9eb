"""The vehicle-routing task once more, in plain NumPy: the speed peer of the JAX simulator and its test oracle.

It shares no line and no array layout with `ohio_envs.routing`: float64, one episode at a time, a Python loop over the
steps, vectorized inside a step, transport problems solved by HiGHS in this process. The semantics are those of the
public code of OHIO (ICLR 2025), vehicle-routing experiment; amounts are dollars and vehicles, times are steps.
"""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy  # its parts are imported where they are used first

from ohio_jax.errors import UserError

LOOK_AHEAD = 6  # steps of forecast in the observation and in the DTV and INF policies


class City(NamedTuple):
    """A scenario as plain arrays; `steps` covers the horizon plus `LOOK_AHEAD`.

    Attributes:
        lam: `Float64[steps, n, n]`, expected requests of a step.
        price: `Float64[steps, n, n]`, dollars of a trip.
        pax_time: `Int[steps, n, n]`, steps of a trip.
        reb_time: `Int[n, n]`, steps of an empty move; the diagonal is not used.
        idle: `Int[n]`, vehicles at the start.
        step_cost: dollars of a vehicle driving for one step.
    """

    lam: np.ndarray
    price: np.ndarray
    pax_time: np.ndarray
    reb_time: np.ndarray
    idle: np.ndarray
    step_cost: float


class Episode(NamedTuple):
    """What happened, step by step, with T decisions.

    Attributes:
        pax_reward, reb_cost: `Float64[T]` dollars.
        served: `Int[T]`.
        flows: `Int[T, n, n]`, the moves made (diagonal 0).
        idle: `Int[T, n]` between matching and moves.
        after: `Int[T, n]` once the step's arrivals are in.
        in_flight: `Int[T]`, vehicles that will still arrive after the step.
        observation: `Float64[T, n, 13]`.
    """

    pax_reward: np.ndarray
    reb_cost: np.ndarray
    served: np.ndarray
    flows: np.ndarray
    idle: np.ndarray
    after: np.ndarray
    in_flight: np.ndarray
    observation: np.ndarray

    @property
    def total(self) -> float:
        """Dollars of the episode."""
        return float(self.pax_reward.sum() - self.reb_cost.sum())


# --- Transport problems: min <cost, X>, row sums <= supply, column sums = demand, X >= 0 ----------------------------

Solver = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _integers(flow) -> np.ndarray:
    """A vertex of a transport polytope with integer margins is integral; only the solver's round-off is removed."""
    flow = np.asarray(flow)
    rounded = np.rint(flow)
    if np.abs(rounded - flow).max(initial=0) > 1e-5:
        raise RuntimeError("the LP solver returned a fractional transport flow")
    return rounded.astype(np.int64)


def highs(cost: np.ndarray, warm: bool = True) -> Solver:
    """`solve(supply, demand) -> Int[R, C]` by one persistent HiGHS model of `cost: [R, C]`, R >= C; only bounds change.

    The diagonal is substituted away, X_jj = demand_j - sum_{i != j} X_ij: with a free diagonal the empty basis is then dual
    feasible, and only regions that lack vehicles need a pivot. Of the formulations and options tried (with the diagonal,
    primal simplex, steepest edge, devex, scaling, perturbation) this was the fastest. `warm` starts from the last solution's
    basis, which pays on consecutive steps of an episode and costs on shuffled instances.

    Raises:
        UserError: where highspy is not installed.
    """
    try:
        highspy: Any = importlib.import_module("highspy")
    except ImportError as error:
        raise UserError("highspy is missing: `pip install highspy` is needed (it is in the `dev` extra)") from error

    rows, columns = cost.shape
    home = np.arange(columns)
    i, j = np.nonzero(~np.eye(rows, columns, dtype=bool))
    arcs = np.arange(len(i))
    ones = np.ones(len(i))
    # Row k: what origin k sends away, less what region k receives. Row rows + k: what region k receives.
    entries = np.concatenate([ones, -ones, ones])
    where = np.concatenate([i, j, rows + j]), np.concatenate([arcs, arcs, arcs])
    matrix = scipy.sparse.csr_array((entries, where), shape=(rows + columns, len(i)))

    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(i), rows + columns
    lp.col_cost_ = (cost[i, j] - cost[j, j]).astype(float)
    lp.col_lower_, lp.col_upper_ = np.zeros(len(i)), np.full(len(i), highspy.kHighsInf)
    unbounded = np.full(rows + columns, -highspy.kHighsInf)
    lp.row_lower_, lp.row_upper_ = unbounded, np.zeros(rows + columns)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data

    model = highspy.Highs()
    options = {"output_flag": False, "presolve": "off", "solver": "simplex", "parallel": "off", "threads": 1}
    options |= {"simplex_dual_edge_weight_strategy": 0, "dual_simplex_cost_perturbation_multiplier": 0.0}
    for name, value in options.items():
        model.setOptionValue(name, value)
    model.passModel(lp)
    which = np.arange(rows + columns, dtype=np.int32)
    upper = np.empty(rows + columns)

    def solve(supply: np.ndarray, demand: np.ndarray) -> np.ndarray:
        upper[:rows], upper[rows:] = supply, demand
        upper[:columns] -= demand
        if not warm:
            model.setBasis()
        model.changeRowsBounds(rows + columns, which, unbounded, upper)
        model.run()
        if model.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"HiGHS stopped with {model.getModelStatus()}")
        flow = np.zeros((rows, columns), np.int64)
        flow[i, j] = _integers(model.getSolution().col_value)
        flow[home, home] = demand - flow.sum(axis=0)
        return flow

    return solve


def scipy_linprog(cost: np.ndarray) -> Solver:
    """The same `solve` by `scipy.optimize.linprog` on the textbook form; it builds a model for every instance."""
    rows, columns = cost.shape
    by_row = scipy.sparse.csr_array(scipy.sparse.kron(scipy.sparse.eye_array(rows), np.ones((1, columns))))
    by_column = scipy.sparse.csr_array(scipy.sparse.kron(np.ones((1, rows)), scipy.sparse.eye_array(columns)))
    flat = np.asarray(cost, float).ravel()

    def solve(supply: np.ndarray, demand: np.ndarray) -> np.ndarray:
        answer = scipy.optimize.linprog(flat, by_row, supply, by_column, demand, method="highs-ds")
        if answer.status != 0:
            raise RuntimeError(f"scipy.optimize.linprog stopped: {answer.message}")
        return _integers(answer.x).reshape(rows, columns)

    return solve


def rebalancing_cost(times: np.ndarray) -> np.ndarray:
    """`[n + 1, n]`: travel times with a free diagonal; the last, dummy origin serves at no cost what is missing."""
    n = len(times)
    return np.vstack([np.where(np.eye(n, dtype=bool), 0, times), np.zeros((1, n), times.dtype)])


# --- Policies: (city, t, idle, solve) -> flows Int[n, n] ------------------------------------------------------------

Policy = Callable[[City, int, np.ndarray, Any], np.ndarray]


def open_requests(city: City, t: int) -> np.ndarray:
    """The look-ahead's mean requests a step, which the original calls open requests.

    Added up one by one, steps within destinations, as the original does: many means lie on exact halves, where the
    last bit of the sum decides which way they round.

    Returns:
        `Int[n]`.
    """
    ahead = city.lam[t + 1 : t + 1 + LOOK_AHEAD].transpose(1, 2, 0)
    total = np.cumsum(ahead.reshape(len(ahead), -1), axis=1)[:, -1]
    return np.rint(total / LOOK_AHEAD).astype(np.int64)


def reach(desired: np.ndarray, idle: np.ndarray, solve: Solver) -> np.ndarray:
    """Cheapest flows with at least `desired: Int[n]` vehicles in each region, or as many as there are."""
    missing = max(0, int(desired.sum() - idle.sum()))
    flows = solve(np.append(idle, missing), desired)[:-1]
    np.fill_diagonal(flows, 0)
    return flows


def none(city: City, t: int, idle: np.ndarray, solve: Any) -> np.ndarray:
    """Vehicles stay where passengers leave them."""
    return np.zeros((len(idle), len(idle)), np.int64)


def dtv(city: City, t: int, idle: np.ndarray, solve: Solver) -> np.ndarray:
    """Dynamic trip-vehicle assignment: as many expected requests served as possible with the least driving."""
    return reach(open_requests(city, t), idle, solve)


def uniform(city: City, t: int, idle: np.ndarray, solve: Solver) -> np.ndarray:
    """The same number of idle vehicles everywhere; what division leaves over may stay."""
    n = len(idle)
    return reach(np.full(n, idle.sum() // n), idle, solve)


def prop(city: City, t: int, idle: np.ndarray, solve: Solver) -> np.ndarray:
    """Idle vehicles in proportion to the next five steps' requests (one step fewer than DTV looks at)."""
    expected = city.lam[t + 1 : t + LOOK_AHEAD].sum(axis=(0, 2))
    return reach(np.floor(expected / expected.sum() * idle.sum()).astype(np.int64), idle, solve)


# --- Simulator ------------------------------------------------------------------------------------------------------


def edge_order(n: int) -> np.ndarray:
    """Row i lists the destinations of region i in the order in which the original clips flows.

    The original keeps its edges in a Python set; iterating such a set of small integer tuples is reproducible.

    Returns:
        `Int[n, n]`.
    """
    edges = set()
    for i in range(n):
        edges.add((i, i))
        edges.update((i, j) for j in range(n) if j != i)
    return np.array([[j for origin, j in edges if origin == i] for i in range(n)])


def served(idle: np.ndarray, asked: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`Int[n, n]`: what each region can give of what is asked, in this order of destinations, until no vehicle is left."""
    wanted = np.take_along_axis(asked, order, axis=1)
    before = np.cumsum(wanted, axis=1) - wanted
    given = np.zeros_like(asked)
    np.put_along_axis(given, order, np.clip(idle[:, None] - before, 0, wanted), axis=1)
    return given


def greedy(idle: np.ndarray, demand: np.ndarray, price: np.ndarray) -> np.ndarray:
    """`Int[n, n]`: from each region the dearest trips first, equal prices by destination."""
    return served(idle, demand, np.argsort(-price, axis=1, kind="stable"))


def clip_flows(flows: np.ndarray, idle: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`Int[n, n]`: whole, non-negative moves off the diagonal, first come first served in `order` within each origin."""
    flows = np.maximum(np.trunc(flows), 0).astype(np.int64)
    np.fill_diagonal(flows, 0)
    return flows if (flows.sum(axis=1) <= idle).all() else served(idle, flows, order)


def observe(city: City, t: int, idle: np.ndarray, announced: np.ndarray) -> np.ndarray:
    """`Float64[n, 13]`, scaled by 0.01: idle, idle plus announced arrivals and expected revenue of each step ahead."""
    ahead = slice(t + 1, t + 1 + LOOK_AHEAD)
    revenue = (city.lam[ahead] * city.price[ahead]).sum(axis=2)
    return 0.01 * np.concatenate([idle[:, None], (idle[None, :] + announced[ahead]).T, revenue.T], axis=1)


def simulate(city: City, demand: np.ndarray, policy: Policy, solve: Solver | None = None, strict: bool = False) -> Episode:
    """One episode on the requests `demand: Int[T, n, n]`.

    `strict` keeps the original's fault: a trip that lands at the same time as an earlier one of the same pair replaces
    it, and the vehicles of the earlier one are gone.
    """
    horizon, n, _ = demand.shape
    last = horizon + max(LOOK_AHEAD, int(city.pax_time.max()), int(city.reb_time.max())) + 1
    trips, moves = np.zeros((last, n, n), np.int64), np.zeros((last, n, n), np.int64)
    announced = np.zeros((last, n), np.int64)
    order, idle = edge_order(n), city.idle.astype(np.int64)
    log: list[tuple] = []

    for t in range(horizon):
        taken = greedy(idle, demand[t], city.price[t])
        idle = idle - taken.sum(axis=1)
        i, j = np.nonzero(taken)
        duration, vehicles = city.pax_time[t, i, j], taken[i, j]
        trips[t + duration, i, j] = vehicles if strict else trips[t + duration, i, j] + vehicles
        np.add.at(announced, (t + duration, j), vehicles)
        pax_reward = max(0.0, float(vehicles @ (city.price[t, i, j] - city.step_cost * duration)))
        seen, decided_on = observe(city, t, idle, announced), idle

        flows = clip_flows(policy(city, t, idle.copy(), solve), idle, order)
        idle = idle - flows.sum(axis=1)
        i, j = np.nonzero(flows)
        duration, vehicles = city.reb_time[i, j], flows[i, j]
        moves[t + duration, i, j] += vehicles
        np.add.at(announced, (t + duration, j), vehicles)
        reb_cost = city.step_cost * float(vehicles @ duration)

        idle = idle + trips[t].sum(axis=0) + moves[t].sum(axis=0)
        in_flight = trips[t + 1 :].sum() + moves[t + 1 :].sum()
        log.append((pax_reward, reb_cost, taken.sum(), flows, decided_on, idle, in_flight, seen))

    return Episode(*(np.stack(column) for column in zip(*log, strict=True)))


# --- City files -----------------------------------------------------------------------------------------------------

# File name, demand multiplier and first hour, as in the original's scripts.
CITIES = {
    "nyc": ("scenario_nyc_brooklyn.json", 9, 19),
    "shenzhen": ("scenario_shenzhen_downtown_west.json", 2.5, 8),
}
COST_PER_MINUTE = 0.5


def read(folder: Path | str, name: str, minutes: int, horizon: int = 20) -> City:
    """One of `CITIES` at steps of `minutes`, from the public scenario file, with twice the horizon of rates."""
    file, multiplier, hour = CITIES[name]
    data = json.loads((Path(folder) / file).read_text())
    n, steps = data["nlat"] * data["nlon"], 2 * horizon
    lam, revenue, driving = (np.zeros((steps, n, n)) for _ in range(3))
    for record in data["demand"]:
        k = (record["time_stamp"] - 60 * hour) // minutes
        if 0 <= k < steps:
            where = k, record["origin"], record["destination"]
            lam[where] += record["demand"] * multiplier
            revenue[where] += record["price"] * record["demand"] * multiplier
            driving[where] += record["travel_time"] * record["demand"] * multiplier / minutes
    live = lam > 0
    price = np.divide(revenue, lam, out=np.zeros_like(lam), where=live)
    rounded = np.rint(np.divide(driving, lam, out=np.zeros_like(lam), where=live))
    pax_time = np.where(live, np.maximum(rounded, 1), 0).astype(np.int64)

    reb_time = np.zeros((n, n), np.int64)
    for record in data["rebTime"]:
        if record["time_stamp"] == hour:
            reb_time[record["origin"], record["destination"]] = max(round(record["reb_time"] / minutes), 1)
    fleet_hour = hour + round(minutes / 2 * horizon / 60)
    fleet = next(entry["acc"] for entry in data["totalAcc"] if entry["hour"] == fleet_hour)
    return City(lam, price, pax_time, reb_time, np.full(n, fleet // n), COST_PER_MINUTE * minutes)
