"""The classical inventory tasks: what the best policy costs is known, or what no policy can stay below.

One store, a serial chain, and a warehouse with any number of stores (the settings of Alvo, Russo and Kanoria 2023). Quantities
are real numbers, so every return has a derivative; what will be sold in a period is not known when orders are placed.
"""

import functools
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_envs.settings import Rule, integer, number, one_of, parse
from ohio_envs.supply_chain import optimum, policies, scenario, search
from ohio_envs.supply_chain.scenario import Scenario, check, lead_time_demand, supplies, way
from ohio_envs.supply_chain.simulator import SupplyChain, echelon_positions
from ohio_envs.supply_chain.task import in_tens
from ohio_jax.controllers import order_up_to, orders
from ohio_jax.environment import State, instances_of
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.streams import ReferenceStream
from ohio_jax.task import ActionInterface, Policy, Reference, Task

COMMON = {
    "underage": Rule("9", number(0.01, 1000)),
    "holding": Rule("1", number(0.01, 1000)),
    "horizon": Rule("100", integer(2, 10_000)),
}
LEAD = {"lead": Rule("4", integer(1, 20))}
ONE_STORE = LEAD | {"unmet": Rule("backlog", one_of("backlog", "lost"))} | COMMON
MANY_STORES = {"stores": Rule("5", integer(1, 1000)), "seed": Rule("0", integer(0, 2**31 - 1))} | COMMON
WIDEST = 6.0  # deviations of the demand ahead that the largest level covers
MOST = 4.0  # times a period's mean demand that an end-to-end policy may order
EPISODES = 100  # that the reference of score 0 is the mean of
NAMES = ("none", "random", "base_stock", "search")


def one_store(settings: dict[str, Any]) -> Task:
    """`inventory-one-store`: a store that buys outside. Raises UserError for a bad setting."""
    values = parse("inventory-one-store", ONE_STORE, settings)
    lost = values["unmet"] == "lost"
    s = scenario.one_store(values["lead"], values["underage"], values["horizon"], lost, values["holding"])
    return task_of("inventory-one-store", s, values)


def serial(settings: dict[str, Any]) -> Task:
    """`inventory-serial`: a store, its warehouse and two echelons behind it. Raises UserError for a bad setting."""
    values = parse("inventory-serial", LEAD | COMMON, settings)
    s = scenario.serial(values["lead"], values["underage"], values["horizon"], values["holding"])
    return task_of("inventory-serial", s, values)


def many_stores(settings: dict[str, Any]) -> Task:
    """`inventory-many-stores`: one warehouse, stores that lose what they cannot sell. Raises UserError for a bad setting."""
    values = parse("inventory-many-stores", MANY_STORES, settings)
    s = scenario.many_stores(values["stores"], values["horizon"], values["seed"], values["underage"], values["holding"])
    return task_of("inventory-many-stores", s, values)


def task_of(name: str, s: Scenario, values: dict[str, Any]) -> Task:
    """The task of a network without limits, one of your own as well: a serial chain, or any where sales are lost.

    Args:
        values: the task's settings.

    Raises:
        UserError: for a scenario that is none (see `check`), one of which theory knows nothing, or too few free periods for goods
            to come all the way.
    """
    env = SupplyChain(check(s), smooth=True)
    longest = max(sum(s.lead[node] for node in way(s, store)) for store in range(s.stores))
    if s.free < longest:
        least = next(periods for periods in range(longest, 10 * longest) if round(0.6 * periods) >= longest)
        raise UserError(f"{name}: setting horizon: expected at least {least} for a way of {longest} periods, found {s.horizon}")
    theory = None if s.lost else optimum.echelon(s)
    cost = optimum.lost_sales_bound(s) if theory is None else theory.cost
    paid = s.horizon - s.free
    seen = functools.partial(_seen, s)
    low = low_level(s)
    task = Task(
        name=name,
        settings=values,
        env=env,
        controller_obs=seen,
        next_controller_obs=seen,
        interfaces=_interfaces(s, low),
        policies=_policies(s, low, theory),
        instances=instances_of(env),
        reference=Reference(0.0, -cost * paid, ""),
        bound=lambda instances: np.full(len(instances.demand), -cost * paid),
    )
    zero = float(np.mean(evaluate_policy(task, "random", EPISODES, ReferenceStream().seed).returns))
    how = (
        f"0 is the low level under random goals (`ohio-jax evaluate {name} --policy random --stream reference --episodes "
        f"{EPISODES} --set {','.join(f'{key}={value}' for key, value in values.items())}`), 100 is "
        + ("a bound on what any policy can cost" if theory is None else "the mean cost of the best policy there is")
        + f", {cost:.3f} $ in each of {paid} periods (`--policy oracle`)"
    )
    return replace(task, reference=Reference(zero, task.reference.full, how))


def low_level(s: Scenario) -> order_up_to.Params:
    """Its largest levels cover the demand ahead of each node's orders and WIDEST deviations more."""
    mean, deviation = lead_time_demand(s)
    return order_up_to.Params(jnp.asarray(mean + WIDEST * deviation, jnp.float32))


def _seen(s: Scenario, state: State) -> jax.Array:
    """The tasks' `controller_obs`: `Float[N]`."""
    return echelon_positions(s, state.pipeline_state)


def random(low: order_up_to.Params, env: SupplyChain, key: PRNGKeyArray, state: State) -> Float[Array, "N"]:
    """The low level under random goals, anew in each period."""
    goal = jax.random.uniform(key, (env.action_size,))
    return order_up_to.act(low, (), _seen(env.scenario, state), goal)[0]


def _policies(s: Scenario, low: order_up_to.Params, theory: optimum.Optimum | None) -> dict[str, Policy]:
    """By name. `search`: levels by exhaustive search, made when first asked for; `base_stock`: those of theory, where it knows
    none the same as `search`.
    """
    searched = functools.cache(lambda: search.search(s).levels)

    def of(levels) -> Policy:
        return lambda env, key, state: policies.echelon_base_stock(jnp.asarray(levels(), jnp.float32), env, key, state)

    base_stock = searched if theory is None else lambda: theory.levels
    each = (policies.none, functools.partial(random, low), of(base_stock), of(searched))
    return dict(zip(NAMES, each, strict=True))


def _interfaces(s: Scenario, low: order_up_to.Params) -> dict[str, ActionInterface]:
    """ohio: goals are echelon base-stock levels; end_to_end: orders. Sources share out what they have in proportion."""
    goals = heads.UnitBox(s.nodes)
    networks = functools.partial(mlp_networks, goals)
    demand = supplies(s)[:, : s.stores] @ np.asarray(s.curve)[0]
    asking = orders.Params(jnp.asarray(MOST * demand, jnp.float32), within_stock=False, whole=False)
    return {
        "ohio": ActionInterface(goals, order_up_to, low, order_up_to.problem(low), networks, features=in_tens),
        "end_to_end": ActionInterface(goals, orders, asking, orders.problem(asking), networks, features=in_tens),
    }
