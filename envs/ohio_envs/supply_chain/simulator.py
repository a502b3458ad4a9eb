"""A supply network, period by period (OHIO, ICLR 2025): order, ship, sell, and pay for what is left and what is owed.

One period: what is due arrives; sources ship what they are asked for as far as they have it; stores sell. Demand of the
period is known before orders are placed, later demand is not. Quantities are whole units, or in smooth mode real numbers,
through which the reward of an episode has a derivative.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float, Int, Num, PRNGKeyArray

from ohio_envs.supply_chain.scenario import LOOK_AHEAD, OUTSIDE, Scenario, supplies
from ohio_jax.environment import EnvBase, State
from ohio_jax.errors import UserError


class Instance(NamedTuple):
    """What chance decides in an episode. demand: `Float[T, S]`; queue: `Int[T, N]`, in which order nodes are served."""

    demand: jax.Array
    queue: jax.Array


class Stocks(NamedTuple):
    """The simulator's state before the decision of period t, counted from 0.

    Attributes:
        t: `Int[]`.
        stock: `Float[N]`, at the end of the last period.
        due: `Float[longest, N]`, row k arrives in period t + k.
        owed: `Float[S]`, the backlog.
        instance: of the episode.
    """

    t: jax.Array
    stock: jax.Array
    due: jax.Array
    owed: jax.Array
    instance: Instance


@struct.dataclass
class SupplyChain(EnvBase):
    """The environment. Action: `Float[N]`, units each node orders from its source; reward: profit in dollars.

    Any real action is accepted: it is rounded, negative orders count for nothing, orders above a node's limit are cut, and
    orders above what a source has are served one node after the other, at a penalty.

    The observation is `Float[N * features]` in C order of [N, features], the original's, see `observe`. The end of the horizon
    is a true termination: forecasts end with it, so a policy can see it coming.
    """

    scenario: Scenario
    smooth: bool = struct.field(pytree_node=False, default=False)
    visible: int = struct.field(pytree_node=False, default=LOOK_AHEAD)

    @property
    def horizon(self) -> int:
        return self.scenario.horizon

    @property
    def features(self) -> int:
        return 17 + self.scenario.longest

    @property
    def observation_size(self) -> int:
        return self.scenario.nodes * self.features

    @property
    def action_size(self) -> int:
        return self.scenario.nodes

    def sample_instance(self, key: PRNGKeyArray) -> Instance:
        """Demand around the curves, and in each period a random order in which nodes are served."""
        s = self.scenario
        for_demand, for_queue = jax.random.split(key)
        queue = turns(for_queue, s) if self.smooth else queues(for_queue, s)
        if s.family == "poisson":
            return Instance(jax.random.poisson(for_demand, s.curve).astype(s.curve.dtype), queue)
        if s.family == "normal":
            noise = s.spread[None] * jax.random.normal(for_demand, s.curve.shape, s.curve.dtype)
        else:
            noise = jnp.floor(jax.random.uniform(for_demand, s.curve.shape, minval=-s.spread[None], maxval=s.spread[None]))
        return Instance(demand_of(s, noise), queue)

    def reset_to(self, instance: Instance) -> State:
        """Begins an episode. Raises UserError for demand of another shape."""
        s = self.scenario
        shape = (s.horizon, s.stores)
        if instance.demand.shape != shape:
            raise UserError(f"demand: expected an array of shape {shape}, found {instance.demand.shape}")
        stock = jnp.asarray(s.initial)
        nothing, owed = jnp.zeros((s.longest, s.nodes), stock.dtype), jnp.zeros(s.stores, stock.dtype)
        stocks, zero = Stocks(jnp.int32(0), stock, nothing, owed, instance), jnp.zeros((), stock.dtype)
        return State(stocks, self._observe(stocks), zero, zero, dict.fromkeys(METRICS, zero), {"truncation": zero})

    def step(self, state: State, action: Float[Array, "N"]) -> State:
        """One period under the orders `action`; nothing once the last is over."""
        before = state.pipeline_state
        playing = before.t < self.horizon
        after, amounts = _period(self.scenario, self.smooth, before, action)
        after = jax.tree.map(lambda old, new: jnp.where(playing, new, old), before, after)
        amounts = {name: jnp.where(playing, amount, 0.0) for name, amount in amounts.items()}
        reward = amounts.pop("profit")
        done = (after.t >= self.horizon).astype(reward.dtype)
        return replace(
            state, pipeline_state=after, obs=self._observe(after), reward=reward, done=done, metrics={**state.metrics, **amounts}
        )

    def _observe(self, now: Stocks) -> jax.Array:
        return observe(self.scenario, now, self.visible).reshape(-1)


METRICS = (
    "demand",
    "served",
    "fill",
    "sold",
    "over_capacity",
    "infeasible_requests",
    "holding_cost",
    "ordering_cost",
    "backlog_cost",
)


def demand_of(s: Scenario, noise: Num[Array, "T S"]) -> Float[Array, "T S"]:
    """Curve + noise, never negative, in families of whole numbers rounded.

    - whole: noise one of -spread .. spread - 1, each as likely.
    - normal: of deviation `spread`.
    - poisson: curve is the rate.
    """
    demand = jnp.maximum(s.curve + noise, 0.0)
    return demand if s.family == "normal" else jnp.round(demand)


def queues(key: PRNGKeyArray, s: Scenario) -> Int[Array, "T N"]:
    """`Int[T, N]`: in each period a random order of the nodes."""
    return jax.vmap(lambda key: jax.random.permutation(key, s.nodes))(jax.random.split(key, s.horizon))


def turns(key: PRNGKeyArray, s: Scenario) -> Int[Array, "T N"]:
    """The same where the order does not matter, as in smooth mode: the nodes in turn from a random one on, which is fast."""
    return (jax.random.randint(key, (s.horizon, 1), 0, s.nodes) + jnp.arange(s.nodes)[None]) % s.nodes


def wanted(s: Scenario, now: Stocks) -> Float[Array, "S"]:
    """`Float[S]`, what stores could sell in this period: its demand and what they owe."""
    return now.instance.demand[jnp.minimum(now.t, s.horizon - 1)] + now.owed


def at_hand(now: Stocks) -> Float[Array, "N"]:
    """`Float[N]`, stock once this period's arrivals are in."""
    return now.stock + now.due[0]


def echelon_positions(s: Scenario, now: Stocks) -> Float[Array, "N"]:
    """`Float[N]`, what each node and all that it supplies hold and expect, less what they owe."""
    own = (now.stock + jnp.sum(now.due, axis=0)).at[: s.stores].add(-now.owed)
    return jnp.matmul(supplies(s), own, precision="highest")


def low_level_view(s: Scenario, now: Stocks) -> Float[Array, "n"]:
    """What a warehouse's low level sees: what each store has room for, and the stock that can be shipped.

    A store's room counts on selling this period's demand and the next one's forecast, and on all that is under way to it.
    """
    last = s.nodes - 1
    coming = jnp.sum(now.due[:, : s.stores], axis=0)
    need = wanted(s, now) + jax.lax.dynamic_index_in_dim(s.forecast, now.t + 1, keepdims=False)
    room = jnp.maximum(s.storage[: s.stores] + need - now.stock[: s.stores] - coming, 0.0)
    return jnp.append(room, at_hand(now)[last])


def _period(s: Scenario, smooth: bool, now: Stocks, action: jax.Array) -> tuple[Stocks, dict[str, jax.Array]]:
    whole = (lambda x: x) if smooth else jnp.round
    stock = at_hand(now)
    raw = jnp.nan_to_num(action.reshape(s.nodes))
    asked = jnp.minimum(whole(jnp.maximum(raw, 0.0)), s.limit)
    place = now.instance.queue[jnp.minimum(now.t, s.horizon - 1)]

    granted, too_much = asked, jnp.zeros((), asked.dtype)
    for source in set(s.source) - {OUTSIDE}:
        customers = jnp.array([node == source for node in s.source])
        mine = jnp.where(customers, asked, 0.0)
        too_much += jnp.maximum(jnp.sum(jnp.where(customers, raw, 0.0)) - stock[source], 0.0)
        shipped = _in_proportion(mine, stock[source]) if smooth else _in_order(mine, stock[source], place)
        granted = jnp.where(customers, shipped, granted)
        stock = stock.at[source].add(-jnp.sum(shipped))

    want, demand = wanted(s, now), now.instance.demand[jnp.minimum(now.t, s.horizon - 1)]
    served = jnp.minimum(demand, stock[: s.stores])
    sold = jnp.minimum(want, stock[: s.stores])
    stock = stock.at[: s.stores].add(-sold)
    unmet = want - sold
    over = jnp.sum(jnp.maximum(stock - s.storage, 0.0))

    coming = jnp.concatenate([now.due[1:], jnp.zeros((1, s.nodes))])
    due = coming.at[jnp.array(s.lead) - 1, jnp.arange(s.nodes)].add(granted)
    after = Stocks(now.t + 1, stock, due, jnp.zeros_like(unmet) if s.lost else unmet, now.instance)
    amounts = {
        "demand": jnp.sum(demand),
        "served": jnp.sum(served),
        "fill": jnp.sum(served) / jnp.maximum(jnp.sum(now.instance.demand), 1.0),
        "sold": jnp.sum(sold),
        "over_capacity": over,
        "infeasible_requests": too_much,
        "holding_cost": jnp.sum(s.holding * stock),
        "ordering_cost": jnp.sum(s.ordering * granted),
        "backlog_cost": s.backlog * jnp.sum(unmet),
    }
    costs = amounts["holding_cost"] + amounts["ordering_cost"] + amounts["backlog_cost"]
    profit = s.price * amounts["sold"] - costs - s.over_capacity * over - s.over_asked * too_much
    return after, {"profit": jnp.where(now.t >= s.free, profit, 0.0), **amounts}


def _in_order(asked: jax.Array, stock: jax.Array, queue: jax.Array) -> jax.Array:
    """`Float[N]`, what each node gets when the stock is given out in the order of the queue, `Int[N]`."""
    served = asked[queue]
    got = jnp.clip(stock - (jnp.cumsum(served) - served), 0.0, served)
    return jnp.zeros_like(asked).at[queue].set(got, unique_indices=True)


def _in_proportion(asked: jax.Array, stock: jax.Array) -> jax.Array:
    """`Float[N]`, the same by equal shares of what is asked for, which has a derivative."""
    total, stock = jnp.sum(asked), jnp.maximum(stock, 0.0)  # of real numbers rounding may leave a little less than nothing
    enough = total <= stock
    return asked * jnp.where(enough, 1.0, stock / jnp.where(enough, 1.0, total))


def observe(s: Scenario, now: Stocks, visible: int) -> Float[Array, "N features"]:
    """The original's features, unscaled.

    Columns: demand and backlog; holding cost; production cost; arrivals of this and the next periods (of the outside's
    customers this period's, repeated); stock; forecasts of the next ten periods, `visible` of them; price; storage; limit.

    Of settings without limits those columns are 0; where demand is not known in advance the first column is the backlog alone.
    """
    store = jnp.arange(s.nodes) < s.stores
    makes = jnp.array([source == OUTSIDE for source in s.source])
    pad = lambda x: jnp.concatenate([x, jnp.zeros((s.nodes - s.stores, *x.shape[1:]))])
    column = lambda x: jnp.broadcast_to(x, (s.nodes,))[:, None]
    ahead = jax.lax.dynamic_slice_in_dim(s.forecast, now.t + 1, LOOK_AHEAD).T
    ahead = jnp.where(jnp.arange(LOOK_AHEAD)[None, :] < visible, ahead, 0.0)
    arrivals = jnp.where(makes[:, None], now.due[0][:, None], now.due.T)
    demand = jnp.where((now.t < s.horizon) & s.known, wanted(s, now), now.owed)
    bounded = lambda x: jnp.where(jnp.isfinite(x), x, 0.0)
    return jnp.concatenate(
        [
            column(pad(demand)),
            column(s.holding),
            column(jnp.where(makes, s.ordering, 0.0)),
            arrivals,
            column(now.stock),
            pad(ahead),
            column(jnp.where(store, s.price, 0.0)),
            column(bounded(s.storage)),
            column(bounded(jnp.where(makes, s.limit, 0.0))),
        ],
        axis=1,
    )
