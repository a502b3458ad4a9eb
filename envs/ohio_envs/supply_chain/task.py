"""The supply-chain tasks: the paper's two networks, with action interfaces and what a score means."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ohio_envs.settings import Rule, integer, one_of, parse
from ohio_envs.supply_chain import demand, planning, policies, scenario
from ohio_envs.supply_chain.scenario import LOOK_AHEAD, Published, Scenario, check
from ohio_envs.supply_chain.simulator import Instance, SupplyChain, demand_of, low_level_view, queues
from ohio_jax.controllers import inventory, orders
from ohio_jax.environment import State, instances_of
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.networks import edge_conv, heads
from ohio_jax.streams import ReferenceStream
from ohio_jax.task import ActionInterface, Policy, Reference, Task

SETTINGS = {
    "dynamics": Rule("corrected", one_of("corrected", "released")),
    "demand": Rule("jax", one_of("jax", "numpy")),
    "unmet": Rule("backlog", one_of("backlog", "lost")),
    "lead": Rule("1", integer(1, 20)),
    "noise": Rule("2", integer(0, 100)),
    "forecast": Rule(str(LOOK_AHEAD), integer(0, LOOK_AHEAD)),
    "horizon": Rule(str(scenario.PERIODS), integer(2, 1000)),
    "smooth": Rule("0", integer(0, 1)),
}
WORLD = ("unmet", "lead", "noise", "horizon")  # settings that make another world, in which other returns are good
HOW = (
    "0 is the low level under random goals, 100 is the profit of one who knew all demand in advance (`ohio-jax evaluate {name} "
    "--policy random --stream reference --episodes {episodes}{settings}`, and `--policy oracle`)"
)
AHEAD = 10  # periods the paper's operator plans


def in_tens(obs: Float[Array, "..."]) -> Float[Array, "..."]:
    """The features: tens of units; the original's networks see units."""
    return 0.1 * obs


def one_warehouse_3(settings: dict[str, Any]) -> Task:
    """`supply-chain-1w3s`: one warehouse, three stores. Raises UserError for a bad setting."""
    return _task("supply-chain-1w3s", scenario.ONE_WAREHOUSE_3, settings, (512.0, 5464.3))


def one_warehouse_10(settings: dict[str, Any]) -> Task:
    """`supply-chain-1w10s`: one warehouse, ten stores. Raises UserError for a bad setting."""
    return _task("supply-chain-1w10s", scenario.ONE_WAREHOUSE_10, settings, (-8202.5, 13342.1))


def _task(name: str, of: Published, settings: dict[str, Any], published: tuple[float, float]) -> Task:
    """published: mean returns of `random` and of the bound on the published network."""
    values = parse(name, SETTINGS, settings)
    s = scenario.published(of, values["lead"], values["noise"], values["unmet"] == "lost", values["horizon"])
    env = SupplyChain(check(s), bool(values["smooth"]), values["forecast"])
    seen = functools.partial(_seen, s)
    low = low_level(s, values["dynamics"] == "released", env.smooth)
    task = Task(
        name=name,
        settings=values,
        env=env,
        controller_obs=seen,
        next_controller_obs=seen,
        interfaces=_interfaces(s, low, env.smooth),
        policies=_policies(s, low),
        instances=_instances(env, values["demand"]),
        reference=Reference(*published, how=HOW.format(name=name, episodes=1000, settings="")),
        bound=lambda instances: planning.bound(s, np.asarray(instances.demand)),
    )
    changed = {key: values[key] for key in WORLD if str(values[key]) != SETTINGS[key].default}
    return replace(task, reference=_measured(task, changed)) if changed else task


def _measured(task: Task, changed: dict[str, Any]) -> Reference:
    """The same two policies on a network of other settings."""
    episodes = 100
    seed = ReferenceStream().seed
    zero, full = (float(np.mean(evaluate_policy(task, name, episodes, seed).returns)) for name in ("random", "oracle"))
    settings = " --set " + ",".join(f"{key}={value}" for key, value in changed.items())
    return Reference(zero, full, HOW.format(name=task.name, episodes=episodes, settings=settings))


def _seen(s: Scenario, state: State) -> jax.Array:
    """The task's `controller_obs`: `Float[S + 1]`."""
    return low_level_view(s, state.pipeline_state)


def low_level(s: Scenario, released: bool, smooth: bool) -> inventory.Params:
    """released: shares cut to the integer below, and production held within the warehouse's storage; smooth: nothing rounded."""
    storage = s.storage[-1] if released else jnp.float32(math.inf)
    return inventory.Params(s.limit[-1], storage, "none" if smooth else "floor" if released else "largest_remainder")


def _policies(s: Scenario, low: inventory.Params) -> dict[str, Policy]:
    operator = planning.Planner(s, AHEAD, hard=True)
    under_goals = {name: functools.partial(policy, low) for name, policy in policies.UNDER_GOALS.items()}
    return policies.POLICIES | under_goals | {"mpc": functools.partial(policies.mpc, operator)}


def _instances(env: SupplyChain, source: str) -> Callable[[int, int], Any]:
    """The task's `instances`: demand and queues, by the original's generator or by JAX's."""
    if source == "jax":
        return instances_of(env)

    def drawn(seed: int, episodes: int) -> Instance:
        noise = jnp.asarray(demand.sample_instances(env.scenario, seed, episodes))
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(episodes))
        order = jax.vmap(lambda key: queues(key, env.scenario))(keys)
        return Instance(jax.vmap(lambda noise: demand_of(env.scenario, noise))(noise), order)

    return drawn


def _interfaces(s: Scenario, low: inventory.Params, smooth: bool) -> dict[str, ActionInterface]:
    """OHIO's interface, the fair end-to-end one, and the original's ("compat")."""
    # A tenth of a unit of a full warehouse: what ten stores get that should get nothing adds up to no more than one. What is
    # asked for without a stock pays for fractions as well, so that goals there may come as close to nothing as densities bear.
    floor = 1.0 / (10.0 * float(s.storage[-1]))
    shared = heads.Product((heads.Simplex(s.stores + 1, floor), heads.UnitBox(1, floor)))
    single, asked = heads.UnitBox(s.stores + 1, floor), heads.UnitBox(s.stores + 1)
    # The original's box: any shipment up to what the warehouse can store.
    largest = jnp.append(jnp.full(s.stores, s.storage[-1]), s.limit[-1])
    fair, asking = (orders.Params(largest, within_stock, not smooth) for within_stock in (True, False))
    star = edge_conv.Graph(tuple(map(float, s.lead[: s.stores])))
    on_nodes, on_edges = (functools.partial(of, star) for of in (edge_conv.node_networks, edge_conv.edge_networks))
    interface = functools.partial(ActionInterface, features=in_tens, nodes=s.nodes)
    return {
        "ohio": interface(shared, inventory, low, inventory.problem(low), on_nodes),
        "end_to_end": interface(single, orders, fair, orders.problem(fair), on_edges),
        "end_to_end_compat": interface(asked, orders, asking, orders.problem(asking), on_edges),
    }
