"""Cities: the published JSON format, a synthetic generator, and the tables the simulator needs, computed once.

`City` holds a city's numbers exactly as the original derives them (float64, NumPy); `Scenario` is the pytree of device
arrays made of it. n regions, T decisions an episode, K >= T + 7 steps of known rates.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts are imported where they are used first
from flax import struct
from jaxtyping import Int

from ohio_envs import files
from ohio_jax import reading
from ohio_jax.errors import UserError, short
from ohio_jax.solvers import transport

LOOK_AHEAD = 6  # steps of arrivals and expected demand in the observation
PROP_AHEAD = 5  # the original's proportional heuristic looks one step less far
HIGHEST_RATE = 1000  # requests of a pair in a step; keeps the table that draws them small
LARGEST_FLEET = 1_000_000  # vehicles in all regions
LONGEST_TRIP = 1440  # minutes; vehicles land in a buffer of that many steps


@dataclass(frozen=True)
class City:
    """What is known of a city, time in steps of `minutes` minutes, money in dollars.

    Attributes:
        lam: `Float64[K, n, n]`, expected requests from row to column in each step.
        price: `Float64[K, n, n]` of a trip, 0 where lam is 0.
        pax_time: `Int[K, n, n]`, steps a trip takes, at least 1; 0 where lam is 0.
        reb_time: `Int[n, n]`, steps an empty move takes, at least 1; 0 on the diagonal.
        adjacency: `Bool[n, n]`, edges row -> column of the graph networks (not of the road: any move is possible).
        vehicles: idle vehicles in each region at the start.
        cost: dollars of one vehicle driving for one step.
    """

    name: str
    minutes: int
    horizon: int
    lam: np.ndarray
    price: np.ndarray
    pax_time: np.ndarray
    reb_time: np.ndarray
    adjacency: np.ndarray
    vehicles: int
    cost: float

    @property
    def regions(self) -> int:
        return self.reb_time.shape[0]


@struct.dataclass
class Scenario:
    """A city as the simulator sees it.

    Trips are kept by rank: of each step and origin the live destinations, dearest first (equal prices: lowest index
    first), m of them where m is the largest number any origin has. Ranked by the float64 prices, since prices that
    differ in their last bits only would change places in float32.

    Attributes:
        lam: `Float[T, n, n]`.
        live: `Int[P]`, places of the P positive rates in the flat `lam`.
        cumulative: `Float[P, K]`, their distribution functions.
        destination, trip_time: `Int[T, m, n]`; trip_time is 0 on places that stand for no trip.
        trip_profit: `Float[T, m, n]`, price less the cost of driving.
        reb_time: `Int[n, n]`, 0 on the diagonal.
        reb_cost: `Int[n, n]`, the same made unique for the transport solver.
        order: `Int[n, n]`, for each origin the destinations in the order in which the original clips flows.
        value: `Float[T + 1, n, 6]`, scaled expected revenue of the requests of the next six steps.
        forecast: `Int[T, n]`, mean expected requests a step over the next six, rounded.
        shares: `Float[T, n]`, expected requests of the next five steps as shares of their total.
        vehicles: `Int[]`, idle in each region at the start.
        cost: `Float[]`, dollars a vehicle and step.
        ring: steps after which the buffer of landing vehicles comes round.
    """

    lam: jax.Array
    live: jax.Array
    cumulative: jax.Array
    destination: jax.Array
    trip_time: jax.Array
    trip_profit: jax.Array
    reb_time: jax.Array
    reb_cost: jax.Array
    order: jax.Array
    value: jax.Array
    forecast: jax.Array
    shares: jax.Array
    vehicles: jax.Array
    cost: jax.Array
    regions: int = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False)
    ring: int = struct.field(pytree_node=False)


# --- The published file ----------------------------------------------------------------------------------------------


def load(
    path: str | Path,
    start_hour: int,
    demand_ratio: float,
    cost_per_minute: float,
    minutes: int,
    horizon: int,
    sha256: str | None = None,
) -> City:
    """Reads a city file with the original's arithmetic.

    Args:
        start_hour: hour of day of step 0.
        demand_ratio: multiplier of all rates.
        cost_per_minute: dollars a vehicle and minute.
        minutes: length of a step.
        horizon: `T`.
        sha256: that the file must have, if it goes by a published one's name.

    Raises:
        UserError: for another SHA-256, and for anything malformed, naming file, record and field, what was found and what was
            expected.
    """
    path = Path(path)
    content = _read(path, sha256)
    regions = _count(path, content, "nlat") * _count(path, content, "nlon")
    if not 2 <= regions <= 1024:
        raise UserError(f"{path}: nlat * nlon: expected 2 to 1024 regions, found {regions}")
    region, time, amount, duration = _integer_below(regions), _integer_below(10**6), _amount(1e9), _amount(LONGEST_TRIP)

    # Rates: sums in file order, and products in this order: at four minutes a step, travel times in steps lie on exact
    # halves, where the last bit decides which way they round.
    where = {"time_stamp": time, "origin": region, "destination": region}
    amounts = {"demand": amount, "travel_time": duration, "price": amount}
    when, origin, destination, rate, travel_time, price = _columns(path, content, "demand", where | amounts)
    known = (int(when.max()) + 1 - 60 * start_hour) // minutes
    if horizon > known:
        raise UserError(
            f"{path}: horizon: expected at most {max(known, 0)} steps of {minutes} minutes from hour {start_hour} on, "
            f"which is what the file holds, found {horizon}"
        )
    steps = max(2 * horizon, horizon + LOOK_AHEAD + 1)
    step = (when - 60 * start_hour) // minutes
    kept = (step >= 0) & (step < steps)
    place = tuple(index[kept] for index in (step, origin, destination))

    def total(weights: np.ndarray) -> np.ndarray:
        table = np.zeros((steps, regions, regions))
        np.add.at(table, place, weights[kept])
        return table

    lam = total(rate * demand_ratio)
    if lam.max() > HIGHEST_RATE:
        k, i, j = np.unravel_index(lam.argmax(), lam.shape)
        raise UserError(
            f"{path}: demand: expected at most {HIGHEST_RATE} requests of a pair in a step, found {lam.max():.6g} from "
            f"region {i} to {j} in step {k}"
        )
    revenue = total(price * rate * demand_ratio)
    driven = total(travel_time * rate * demand_ratio / minutes)
    live = lam > 0
    divisor = np.where(live, lam, 1.0)
    pax_time = np.where(live, np.maximum(np.rint(driven / divisor), 1), 0).astype(np.int32)

    # Empty moves: the table of the first hour, for the whole episode.
    hour, origin, destination, reb_time = _columns(path, content, "rebTime", where | {"reb_time": duration})
    moves = np.full((regions, regions), np.nan)
    np.fill_diagonal(moves, 0.0)
    first = (hour == start_hour) & (origin != destination)
    moves[origin[first], destination[first]] = np.maximum(np.rint(reb_time[first] / minutes), 1)
    if np.isnan(moves).any():
        i, j = np.argwhere(np.isnan(moves))[0]
        raise UserError(f"{path}: rebTime: expected a record of hour {start_hour} from region {i} to {j}, found none")

    hours, fleets = _columns(path, content, "totalAcc", {"hour": time, "acc": amount})
    fleet_hour = start_hour + round(minutes / 2 * horizon / 60)
    if fleet_hour not in hours:
        found = sorted(set(hours.tolist()))
        raise UserError(f"{path}: totalAcc: expected a record of hour {fleet_hour}, found hours {short(found)}")
    fleet = fleets[hours == fleet_hour][-1]
    if not regions <= fleet <= LARGEST_FLEET:
        expected = f"{regions} to {LARGEST_FLEET} vehicles in hour {fleet_hour}, for {regions} regions"
        raise UserError(f"{path}: totalAcc: expected {expected}, found {fleet:g}")

    adjacency = np.zeros((regions, regions), bool)
    adjacency[_columns(path, content, "topology_graph", {"i": region, "j": region})] = True
    return City(
        name=path.stem.removeprefix("scenario_"),
        minutes=minutes,
        horizon=horizon,
        lam=lam,
        price=np.where(live, revenue / divisor, 0.0),
        pax_time=pax_time,
        reb_time=moves.astype(np.int32),
        adjacency=adjacency,
        vehicles=int(fleet // regions),
        cost=cost_per_minute * minutes,
    )


def _read(path: Path, sha256: str | None) -> dict[str, Any]:
    content = reading.parse_json(path, files.content(path, sha256))
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {short(content)}")
    return content


def _count(path: Path, content: dict[str, Any], field: str) -> int:
    value = content.get(field)
    if type(value) is not int or not 1 <= value <= 4096:
        raise UserError(f"{path}: {field}: expected an integer from 1 to 4096, found {short(value)}")
    return value


# A field's rule: (type of its column, does a value fit, what is expected). `type` rather than `isinstance`: True is an
# int.
def _integer_below(end: int):
    return np.int64, lambda x: type(x) is int and 0 <= x < end, f"an integer from 0 to {end - 1}"


def _amount(most: float):
    return np.float64, lambda x: type(x) in (int, float) and 0 <= x <= most, f"a number from 0 to {most:g}"


_ABSENT = type("absent", (), {"__repr__": lambda self: "no such field"})()


def _columns(path: Path, content: dict[str, Any], table: str, fields: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """The named fields of every record of a table, a column each; raises UserError at the first that does not fit."""

    def fail(place: str, expected: str, found: Any) -> NoReturn:
        raise UserError(f"{path}: {table}{place}: expected {expected}, found {short(found)}")

    records = content.get(table, _ABSENT)
    if not isinstance(records, list) or not records:
        fail("", "a list of records", records)
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            fail(f"[{index}]", "a record", record)
        for name, (_, fits, expected) in fields.items():
            if not fits(record.get(name, _ABSENT)):
                fail(f"[{index}].{name}", expected, record.get(name, _ABSENT))
    return tuple(np.array([record[name] for record in records], kind) for name, (kind, *_) in fields.items())


# --- A city without a file -------------------------------------------------------------------------------------------


def synthetic(regions: int = 10, seed: int = 0, minutes: int = 4, horizon: int = 20) -> City:
    """A city of any size, made by a gravity model; deterministic in its arguments.

    Regions lie at random in a square whose area grows with their number. A minority of centers sends out most trips, toward
    residential regions nearby, so vehicles drain away from where they are wanted and rebalancing pays. Travel times are
    asymmetric and vary with traffic over the episode; rates rise and fall. Fleet, rates per region and prices are of the size
    of the published cities.

    Raises:
        UserError: if regions < 2.
    """
    if regions < 2:
        raise UserError(f"regions: expected at least 2, found {regions}")
    random = np.random.default_rng([seed, regions])
    side = 9.0 * math.sqrt(regions)  # minutes across
    place = random.uniform(0.0, side, (regions, 2))
    distance = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    slower = random.uniform(0.85, 1.25, (regions, regions))  # one-way streets: there and back differ
    drive = (4.0 + distance) * slower

    center = random.permutation(regions) < max(1, regions // 4)
    sends = np.where(center, random.uniform(6.0, 10.0, regions), random.uniform(0.3, 1.2, regions))
    attracts = np.where(center, random.uniform(0.3, 0.8, regions), random.uniform(0.5, 2.0, regions))
    pull = attracts[None] * np.exp(-distance / 20.0)
    np.fill_diagonal(pull, 0.0)
    # Few destinations an origin, as in the published data; the weakest are cut.
    kept = min(8, regions - 1)
    pull[pull < np.sort(pull, axis=1)[:, -kept][:, None]] = 0.0
    gravity = sends[:, None] * pull / pull.sum(axis=1, keepdims=True)
    per_minute = 2.5 * regions * gravity / gravity.sum()

    steps = max(2 * horizon, horizon + LOOK_AHEAD + 1)
    clock = np.arange(steps)[:, None, None] * minutes
    phase = random.uniform(0.0, 2 * np.pi, (regions, regions))
    lam = per_minute * minutes * (1.0 + 0.3 * np.sin(2 * np.pi * clock / 90.0 + phase))
    traffic = 1.0 + 0.15 * np.sin(2 * np.pi * clock / 60.0 + phase)
    live = lam > 0
    to_steps = lambda duration: np.maximum(np.rint(duration / minutes), 1).astype(np.int32)
    reb_time = to_steps(drive)
    np.fill_diagonal(reb_time, 0)
    nearest = np.argsort(distance + np.diag(np.full(regions, np.inf)), axis=1)[:, : min(4, regions - 1)]
    adjacency = np.zeros((regions, regions), bool)
    np.put_along_axis(adjacency, nearest, True, axis=1)
    return City(
        name=f"synthetic_{regions}_{seed}",
        minutes=minutes,
        horizon=horizon,
        lam=lam,
        price=np.where(live, np.round(5.0 + 1.3 * drive + random.uniform(0.0, 6.0, drive.shape), 1), 0.0),
        pax_time=np.where(live, to_steps(drive * traffic), 0),
        reb_time=reb_time,
        adjacency=adjacency | adjacency.T,
        vehicles=60,
        cost=0.5 * minutes,
    )


# --- Tables for the simulator ----------------------------------------------------------------------------------------


def clipping_order(regions: int) -> Int[np.ndarray, "n n"]:
    """For each origin all destinations (itself among them) in the order in which the original clips flows.

    The original keeps its edges in a Python set of pairs, so the order is that of CPython's hash table; hashes of
    integer pairs are the same on every machine since CPython 3.8.
    """
    edges = {(i, j) for i in range(regions) for j in (i, *(j for j in range(regions) if j != i))}
    pairs = np.array(list(edges))
    return pairs[np.argsort(pairs[:, 0], kind="stable"), 1].reshape(regions, regions).astype(np.int32)


def prepare(city: City) -> Scenario:
    """The simulator's tables for a city."""
    T, n = city.horizon, city.regions
    lam, price, pax_time = city.lam[:T], city.price[:T], city.pax_time[:T]
    live = lam > 0
    m = max(int(live.sum(axis=2).max()), 1)
    # Dead pairs sink to the end; a stable sort leaves equal prices in order of destination.
    ranking = np.argsort(np.where(live, -price, np.inf), axis=2, kind="stable")[:, :, :m]
    ranked = lambda table: np.take_along_axis(table, ranking, axis=2).transpose(0, 2, 1)

    rate = city.lam.sum(axis=2)
    revenue = (city.lam * city.price).sum(axis=2)
    ahead = lambda table, t, steps: table[t + 1 : t + 1 + steps]
    value = np.stack([ahead(revenue, t, LOOK_AHEAD).T for t in range(T + 1)])
    forecast = np.stack([np.rint(_sum_in_order(ahead(city.lam, t, LOOK_AHEAD)) / LOOK_AHEAD) for t in range(T)])
    near = np.stack([ahead(rate, t, PROP_AHEAD).sum(axis=0) for t in range(T)])
    total = near.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, near / np.where(total > 0, total, 1.0), 1.0 / n)

    f32, i32 = (lambda x: jnp.asarray(x, jnp.float32)), (lambda x: jnp.asarray(x, jnp.int32))
    return Scenario(
        lam=f32(lam),
        live=i32(np.flatnonzero(live)),
        cumulative=f32(_cumulative(lam[live])),
        destination=i32(ranking.transpose(0, 2, 1)),
        trip_time=i32(ranked(pax_time)),
        trip_profit=f32(ranked(price - city.cost * pax_time)),
        reb_time=i32(city.reb_time),
        reb_cost=i32(transport.perturb(city.reb_time)),
        order=i32(clipping_order(n)),
        value=f32(0.01 * value),
        forecast=i32(forecast),
        shares=f32(shares),
        vehicles=i32(city.vehicles),
        cost=f32(city.cost),
        regions=n,
        horizon=T,
        ring=max(LOOK_AHEAD, int(pax_time.max()), int(city.reb_time.max())) + 1,
    )


def _cumulative(rates: np.ndarray) -> np.ndarray:
    """`Float64[P, K]`, probability of at most k requests; K where it is 1 in float32 even for the highest rate."""
    highest = rates.max(initial=0.0)
    return scipy.special.pdtr(np.arange(math.ceil(highest + 8 * math.sqrt(highest) + 12))[None, :], rates[:, None])


def _sum_in_order(lam: np.ndarray) -> np.ndarray:
    """`Float64[n]`, sums over steps and destinations in the original's order, which decides where halves round to."""
    steps, n, _ = lam.shape
    return np.add.accumulate(lam.transpose(1, 2, 0).reshape(n, n * steps), axis=1)[:, -1]
