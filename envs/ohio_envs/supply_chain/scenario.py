"""Supply networks: who supplies whom, what things cost, and what stores will sell.

N nodes, of which the first S are stores; every node orders from one source, another node or the outside world. T periods.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Float32, Float64

from ohio_jax.errors import UserError

OUTSIDE = -1  # source of nodes that make or buy what they order
LOOK_AHEAD = 10  # periods of forecast in the observation
Family = Literal["whole", "normal", "poisson"]


@struct.dataclass
class Scenario:
    """A supply network; quantities in units, money in dollars. `check` says what one of your own lacks.

    Attributes:
        initial: `Float[N]`, stock at the start.
        storage: `Float[N]`, stock above which `over_capacity` is charged.
        limit: `Float[N]`, largest order a period; infinite but for what is produced.
        holding: `Float[N]`, a unit of stock and period.
        ordering: `Float[N]`, a unit ordered: production, or transport for all of its periods.
        price: `Float[]`, of a unit sold.
        backlog: `Float[]`, a unit owed (or a sale lost) and period.
        over_capacity, over_asked: `Float[]`, penalties a unit and period, and a unit asked of a source beyond what it has.
        forecast: `Float[T + LOOK_AHEAD, S]`, what stores expect to sell in each period, 0 after the last.
        curve: `Float[T, S]`, the same before rounding.
        spread: `Float[S]`, of demand about it, see `demand_of`.
        source: of each node.
        lead: periods from an order to its arrival, at least 1.
        stores: `S`.
        lost: unmet demand is lost, not owed.
        horizon: `T`.
        free: periods at the start that are not paid for.
        family: of the demand's distribution.
        known: whether a period's demand can be seen before ordering.
    """

    initial: jax.Array
    storage: jax.Array
    limit: jax.Array
    holding: jax.Array
    ordering: jax.Array
    price: jax.Array
    backlog: jax.Array
    over_capacity: jax.Array
    over_asked: jax.Array
    forecast: jax.Array
    curve: jax.Array
    spread: jax.Array
    source: tuple[int, ...] = struct.field(pytree_node=False)
    lead: tuple[int, ...] = struct.field(pytree_node=False)
    stores: int = struct.field(pytree_node=False)
    lost: bool = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False)
    free: int = struct.field(pytree_node=False, default=0)
    family: Family = struct.field(pytree_node=False, default="whole")
    known: bool = struct.field(pytree_node=False, default=True)

    @property
    def nodes(self) -> int:
        return len(self.source)

    @property
    def longest(self) -> int:
        """Periods of the longest way."""
        return max(self.lead)


def way(s: Scenario, node: int) -> list[int]:
    """A node, its source, the source's source, up to the one that orders outside."""
    nodes = [node]
    while s.source[nodes[-1]] != OUTSIDE:
        nodes.append(s.source[nodes[-1]])
    return nodes


def supplies(s: Scenario) -> Float32[np.ndarray, "N N"]:
    """`Float32[N, N]`, row by row 1 at the nodes of a node's echelon: itself and all that it supplies, directly or not."""
    found = np.zeros((s.nodes, s.nodes), np.float32)
    for node in range(s.nodes):
        found[way(s, node), node] = 1.0
    return found


def check(s: Scenario) -> Scenario:
    """The scenario itself. Raises UserError for one that is none, with the field, what it should hold and what it holds."""

    def expect(right: bool, field: str, expected: str, found: object) -> None:
        if not right:
            raise UserError(f"scenario: field {field}: expected {expected}, found {found}")

    N, S, T = s.nodes, s.stores, s.horizon
    expect(1 <= S <= N, "stores", f"1 to {N}, for there are {N} sources", S)
    expect(T >= 1, "horizon", "at least 1 period", T)
    expect(0 <= s.free < T, "free", f"0 to {T - 1} of {T} periods", s.free)
    expect(s.family in get_args(Family), "family", f"one of {', '.join(get_args(Family))}", s.family)
    expect(len(s.lead) == N, "lead", f"{N} numbers, one for each source", len(s.lead))
    for node, (source, lead) in enumerate(zip(s.source, s.lead, strict=True)):
        expect(lead >= 1 and lead == int(lead), "lead", "whole periods, at least 1", f"{lead} (node {node})")
        known = source == OUTSIDE or 0 <= source < N
        expect(known, "source", f"a node, 0 to {N - 1}, or {OUTSIDE} for the outside", f"{source} (node {node})")
    above = sources = np.array(s.source)
    for _ in range(N):
        above = np.where(above == OUTSIDE, OUTSIDE, sources[above])
    cut_off = np.flatnonzero(above != OUTSIDE).tolist()
    expect(not cut_off, "source", "a way from the outside to every node", f"none to nodes {cut_off}, supplied in a circle")

    each = dict.fromkeys(("initial", "storage", "limit", "holding", "ordering"), (N,))
    single = dict.fromkeys(("price", "backlog", "over_capacity", "over_asked"), ())
    demand = {"forecast": (T + LOOK_AHEAD, S), "curve": (T, S), "spread": (S,)}
    for field, shape in (each | single | demand).items():
        numbers = np.asarray(getattr(s, field), np.float64)
        expect(numbers.shape == shape, field, f"an array of shape {shape}", f"shape {numbers.shape}")
        largest, kind = (math.inf, "") if field in ("storage", "limit") else (np.finfo(np.float32).max, "finite ")
        for place in np.argwhere(~((numbers >= 0) & (numbers <= largest))).tolist():
            at = f" (place {', '.join(map(str, place))})" if place else ""
            expect(False, field, f"{kind}numbers of at least 0", f"{numbers[tuple(place)]:g}{at}")
    return s


@dataclass(frozen=True)
class Published:
    """One of the paper's scenarios: one warehouse, which is also the factory, and S stores with seasonal demand.

    Attributes:
        peak, phase, frequency: of each store's demand curve. Numbers in pairs are of (a store, the warehouse).
    """

    peak: tuple[int, ...]
    phase: tuple[int, ...]
    frequency: tuple[int, ...]
    initial: float
    storage: tuple[float, float]
    holding: tuple[float, float]
    production: float
    backlog: float


ONE_WAREHOUSE_3 = Published((5, 15, 20), (1, 3, 6), (2, 4, 6), 10.0, (15.0, 50.0), (0.5, 0.1), 25.0, 1.0)
ONE_WAREHOUSE_10 = Published(
    peak=(5, 5, 5, 5, 10, 10, 10, 18, 18, 18),
    phase=(1, 1, 1, 3, 3, 3, 6, 6, 6, 2),
    frequency=(2, 4, 6, 2, 4, 6, 2, 4, 6, 3),
    initial=5.0,
    storage=(15.0, 80.0),
    holding=(2.0, 0.005),
    production=60.0,
    backlog=1.5,
)
PERIODS = 30
CURVE = 31  # periods in which the original's curves go round, one more than are played
PRICE, PRODUCTION_COST, TRANSPORT_COST = 15.0, 5.0, 0.5
OVER_CAPACITY, OVER_ASKED = 22.5, 6.0


def published(of: Published, lead: int = 1, noise: int = 2, lost: bool = False, periods: int = PERIODS) -> Scenario:
    """A scenario of the paper's. lead: periods of transport; what is made in a period can be shipped in the next."""
    stores = len(of.peak)
    d, r, q = (np.array(numbers, np.float64) for numbers in (of.peak, of.phase, of.frequency))
    t = np.arange(1, periods + 1)[:, None]
    curve = d / 2 + d / 2 * np.cos(q * math.pi * (2 * r + t) / CURVE)
    forecast = np.concatenate([np.round(curve), np.zeros((LOOK_AHEAD, stores))])
    each = lambda store, warehouse: jnp.array([store] * stores + [warehouse], jnp.float32)
    number = lambda value: jnp.asarray(value, jnp.float32)
    return Scenario(
        initial=each(of.initial, 0.0),
        storage=each(*of.storage),
        limit=each(math.inf, of.production),
        holding=each(*of.holding),
        ordering=each(TRANSPORT_COST * lead, PRODUCTION_COST),
        price=number(PRICE),
        backlog=number(of.backlog),
        over_capacity=number(OVER_CAPACITY),
        over_asked=number(OVER_ASKED),
        forecast=number(forecast),
        curve=number(curve),
        spread=jnp.full(stores, noise, jnp.float32),
        source=(stores,) * stores + (OUTSIDE,),
        lead=(lead,) * stores + (1,),
        stores=stores,
        lost=lost,
        horizon=periods,
    )


# --- Settings of inventory theory, whose best policies are known ------------------------------------------------------


def classical(
    holding: tuple[float, ...],
    lead: tuple[int, ...],
    source: tuple[int, ...],
    mean: tuple[float, ...],
    spread: tuple[float, ...],
    underage: float,
    periods: int,
    lost: bool = False,
    family: Family = "normal",
) -> Scenario:
    """A network without limits that pays for stock and for unmet demand alone, never seeing demand before it orders.

    Args:
        holding, lead, source: of each node, stores first.
        mean, spread: of each store's demand.
        underage: cost of a unit owed or lost and period. The first 60 % of the periods, from empty stocks to the steady state,
            are free.
    """
    nodes, stores = len(source), len(mean)
    curve = np.broadcast_to(np.asarray(mean, np.float64), (periods, stores))
    number = lambda value: jnp.asarray(value, jnp.float32)
    return Scenario(
        initial=jnp.zeros(nodes),
        storage=jnp.full(nodes, math.inf),
        limit=jnp.full(nodes, math.inf),
        holding=number(holding),
        ordering=jnp.zeros(nodes),
        price=number(0.0),
        backlog=number(underage),
        over_capacity=number(0.0),
        over_asked=number(0.0),
        forecast=number(np.concatenate([curve, np.broadcast_to(curve[0], (LOOK_AHEAD, stores))])),
        curve=number(curve),
        spread=number(spread),
        source=source,
        lead=lead,
        stores=stores,
        lost=lost,
        horizon=periods,
        free=round(0.6 * periods),
        family=family,
        known=False,
    )


def one_store(lead: int, underage: float, periods: int, lost: bool = False, holding: float = 1.0) -> Scenario:
    """One store that buys outside. With backlog: normal demand, mean 5, deviation 1.6; with lost sales: Poisson, mean 5."""
    family: Family = "poisson" if lost else "normal"
    return classical((holding,), (lead,), (OUTSIDE,), (5.0,), (1.6,), underage, periods, lost, family)


def serial(lead: int, underage: float, periods: int, holding: float = 1.0) -> Scenario:
    """A store, its warehouse, and two echelons behind it; normal demand, mean 5, deviation 2. holding: in the store."""
    each = tuple(holding * share for share in (1.0, 0.5, 0.2, 0.1))
    return classical(each, (lead, 3, 2, 4), (1, 2, 3, OUTSIDE), (5.0,), (2.0,), underage, periods)


def many_stores(stores: int, periods: int, seed: int = 0, underage: float = 9.0, holding: float = 1.0) -> Scenario:
    """One warehouse and any number of stores that lose what they cannot sell; stores differ, drawn from `seed`.

    Store lead times 2 or 3, means 2.5 to 7.5 with coefficients of variation 0.25 to 0.5, holding costs 0.7 to 1.3 times
    `holding`, in the warehouse 0.3 times.
    """
    random = np.random.default_rng(seed)
    mean = random.uniform(2.5, 7.5, stores)
    spread = mean * random.uniform(0.25, 0.5, stores)
    each = tuple(holding * share for share in (*random.uniform(0.7, 1.3, stores), 0.3))
    lead = (*(int(periods) for periods in random.integers(2, 4, stores)), 3)
    return classical(each, lead, (stores,) * stores + (OUTSIDE,), tuple(mean), tuple(spread), underage, periods, lost=True)


def lead_time_demand(s: Scenario) -> tuple[Float64[np.ndarray, "N"], Float64[np.ndarray, "N"]]:
    """Mean and deviation of the demand that lies ahead of each node's orders: that of the stores it supplies, from the order to
    the end of the period in which it can reach them. Of demand as in the first period.

    Returns:
        `Float64[N]`.
    """
    mean, variance = np.zeros(s.nodes), np.zeros(s.nodes)
    curve, spread = np.asarray(s.curve, np.float64)[0], np.asarray(s.spread, np.float64)
    for store in range(s.stores):
        periods = 1
        for node in way(s, store):
            periods += s.lead[node]
            mean[node] += periods * curve[store]
            variance[node] += periods * (curve[store] if s.family == "poisson" else spread[store] ** 2)
    return mean, np.sqrt(variance)
