"""Behavior policies: functions (environment, key, state) -> orders `Float[N]`, what each node asks of its source."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_envs.supply_chain.planning import Now, Planner
from ohio_envs.supply_chain.simulator import SupplyChain, at_hand, echelon_positions, low_level_view, wanted
from ohio_jax.controllers import inventory
from ohio_jax.environment import State


def none(env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """Orders nothing."""
    return jnp.zeros(env.scenario.nodes)


class Levels(NamedTuple):
    """Order-up-to levels of the stores and of the warehouse."""

    stores: tuple[float, ...]
    warehouse: float


# The original's levels are for small, medium and large stores; on three stores a slip shifts them by one.
RELEASED = {3: Levels((3, 3, 9), 46), 10: Levels((2,) * 4 + (6,) * 3 + (10,) * 3, 79)}
INTENDED = RELEASED | {3: Levels((3, 9, 13), 46)}


def order_up_to(levels: dict[int, Levels], fresh: bool, env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """Stores ask up to their level, the warehouse produces up to its own; what is short is shared in proportion.

    Args:
        fresh: also ship what was produced in the last period, as the simulator allows and the original's rule does not.
    """
    s, now = env.scenario, state.pipeline_state
    level = levels[s.stores]
    hand = at_hand(now)
    ask = jnp.maximum(jnp.array(level.stores) - (hand[:-1] - wanted(s, now)), 0.0)
    free = hand[-1] if fresh else now.stock[-1]
    ship = _share(ask, free)
    make = jnp.clip(level.warehouse - (hand[-1] - jnp.sum(ship)), 0.0, s.limit[-1])
    return jnp.append(ship, make)


def _share(ask: jax.Array, free: jax.Array) -> jax.Array:
    """Whole units for each store: what it asks, or where that is too much its share, cut to the integer below."""
    ask, free = ask.astype(jnp.int32), free.astype(jnp.int32)
    total = jnp.sum(ask)
    return jnp.where(total <= free, ask, free * ask // jnp.maximum(total, 1)).astype(jnp.float32)


def base_stock(env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """Stores order up to what they expect to sell in the next period and one more unit, as far as they have room. Where that is
    too much it is shared in proportion, and what rounding leaves stays. The warehouse produces, as far as it can store it, what
    they expect to sell in the period after, what they are short of, and what the period after that will ask for beyond the limit.
    """
    s, now = env.scenario, state.pipeline_state
    view, limit = low_level_view(s, now), s.limit[-1]
    room, have = view[:-1], view[-1]
    next_1, next_2, next_3 = (s.forecast[now.t + periods] for periods in (1, 2, 3))  # 0 after the last period
    level = jnp.where(now.t + 1 < s.horizon, next_1 + 1.0, 0.0)
    position = now.stock[: s.stores] + jnp.sum(now.due[:, : s.stores], axis=0) - wanted(s, now)
    ask = jnp.clip(level - position, 0.0, room)
    ship = _share(ask, have)
    left, short = have - jnp.sum(ship), jnp.sum(ask - ship)
    need = jnp.where(now.t + 2 < s.horizon, jnp.sum(next_2) + short, 0.0) + jnp.maximum(jnp.sum(next_3) - limit, 0.0)
    make = jnp.minimum(jnp.maximum(need - left, 0.0), jnp.minimum(limit, s.storage[-1] - left))
    return jnp.append(ship, make)


def echelon_base_stock(levels: Float[Array, "N"], env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """Each node orders up to its level, `Float[N]`, what it and all it supplies hold and expect, less what they owe."""
    return jnp.maximum(levels - echelon_positions(env.scenario, state.pipeline_state), 0.0)


def random(low: inventory.Params, env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """The low level under random goals: shares of the stock from a flat Dirichlet, production from an even spread."""
    for_shares, for_production = jax.random.split(key)
    shares = jax.random.dirichlet(for_shares, jnp.ones(env.scenario.stores + 1))
    goal = jnp.append(shares, jax.random.uniform(for_production))
    return inventory.act(low, (), low_level_view(env.scenario, state.pipeline_state), goal)[0]


def mixed(low: inventory.Params, env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """`s_policy_fresh`, `s_policy` or `random`, a third of the episodes each."""
    ticket = jnp.sum(state.pipeline_state.instance.queue[:, 0]) % 3  # the same throughout an episode
    players = (POLICIES["s_policy_fresh"], POLICIES["s_policy"], partial(random, low))
    return jax.lax.switch(ticket, players, env, key, state)


def mpc(planner: Planner, env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """The paper's operator: the first orders of a plan for the demand at hand and the forecasts after it. Outside jit."""
    s, now = env.scenario, state.pipeline_state
    periods = now.t + jnp.arange(planner.K)
    expected = s.forecast[jnp.minimum(periods, s.forecast.shape[0] - 1)]
    current = now.instance.demand[jnp.minimum(now.t, s.horizon - 1)]
    expected = jnp.concatenate([current[None], expected[1:]])
    shape = jax.ShapeDtypeStruct((s.nodes,), jnp.float32)
    host = partial(_planned, planner)
    return jax.pure_callback(host, shape, now.stock, now.due, now.owed, expected, vmap_method="broadcast_all")


def _planned(planner: Planner, *batch: jax.Array) -> np.ndarray:
    """`mpc` of a batch with any leading axes."""
    stock, due, owed, demand = (np.asarray(x, np.float64) for x in batch)
    lead = stock.shape[:-1]
    rows = zip(*(x.reshape(-1, *x.shape[len(lead) :]) for x in (stock, due, owed, demand)), strict=True)
    orders = [planner.plan(Now(*now), ahead).orders[0] for *now, ahead in rows]
    return np.round(orders).astype(np.float32).reshape(*lead, -1)


POLICIES: dict[str, Callable] = {
    "none": none,
    "s_policy": partial(order_up_to, RELEASED, False),
    "s_policy_intended": partial(order_up_to, INTENDED, False),
    "s_policy_fresh": partial(order_up_to, INTENDED, True),
    "base_stock": base_stock,
}

# These need the task's low level as their first argument, and `mpc` a planner.
UNDER_GOALS: dict[str, Callable] = {"random": random, "mixed": mixed}
NAMES = (*POLICIES, *UNDER_GOALS, "mpc")
