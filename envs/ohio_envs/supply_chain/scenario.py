"""Supply networks: who supplies whom, what things cost, and what stores will sell.

N nodes, of which the first S are stores; every node orders from one source, another node or the outside world. T periods.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

OUTSIDE = -1  # source of nodes that make or buy what they order
LOOK_AHEAD = 10  # periods of forecast in the observation


@struct.dataclass
class Scenario:
    """A supply network; quantities in units, money in dollars.

    initial: Float[N], stock at the start. storage: Float[N], stock above which `over_capacity` is charged.
    limit: Float[N], largest order a period; infinite but for what is produced. holding: Float[N], a unit of stock and period.
    ordering: Float[N], a unit ordered: production, or transport for all of its periods.
    price: Float[], of a unit sold. backlog: Float[], a unit owed (or a sale lost) and period.
    over_capacity, over_asked: Float[], penalties a unit and period, and a unit asked of a source beyond what it has.
    forecast: Float[T + LOOK_AHEAD, S], what stores expect to sell in each period, 0 after the last.
    curve: Float[T, S], the same before rounding; noise: Int[], demand is round(curve + one of -noise .. noise - 1), or more.
    source: of each node. lead: periods from an order to its arrival, at least 1.
    stores: S. lost: unmet demand is lost, not owed. horizon: T.
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
    noise: jax.Array
    source: tuple[int, ...] = struct.field(pytree_node=False)
    lead: tuple[int, ...] = struct.field(pytree_node=False)
    stores: int = struct.field(pytree_node=False)
    lost: bool = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False)

    @property
    def nodes(self) -> int:
        return len(self.source)

    @property
    def longest(self) -> int:
        """Periods of the longest way."""
        return max(self.lead)


@dataclass(frozen=True)
class Published:
    """One of the paper's scenarios: one warehouse, which is also the factory, and S stores with seasonal demand.

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
        noise=jnp.int32(noise),
        source=(stores,) * stores + (OUTSIDE,),
        lead=(lead,) * stores + (1,),
        stores=stores,
        lost=lost,
        horizon=periods,
    )
