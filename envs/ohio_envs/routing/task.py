"""The vehicle-routing tasks: two published cities and a synthetic one, with action interfaces and what a score means."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Int

from ohio_envs import files
from ohio_envs.routing import demand, oracle, scenario
from ohio_envs.routing.policies import POLICIES
from ohio_envs.routing.scenario import City
from ohio_envs.routing.simulator import DYNAMICS, Routing
from ohio_envs.settings import Rule, integer, one_of, parse
from ohio_jax.controllers import requests, shares, transport
from ohio_jax.environment import State, instances_of
from ohio_jax.networks import Networks, graph, heads
from ohio_jax.streams import ReferenceStream
from ohio_jax.task import ActionInterface, Reference, Task

COMMON = {
    "dynamics": Rule("conserving", one_of(*DYNAMICS)),
    "demand": Rule("jax", one_of("jax", "numpy")),
    "horizon": Rule("20", integer(1, 1000)),
    "time": Rule("0", integer(0, 1)),
}
SYNTHETIC = COMMON | {
    "minutes": Rule("4", integer(1, 60)),
    "regions": Rule("10", integer(2, 1024)),
    "seed": Rule("0", integer(0, 2**31 - 1)),
}
RELEASED_FLOOR = 1e-6  # what the original makes of shares of 0
ZERO = "0 is an episode without profit"


def nyc(settings: dict[str, Any]) -> Task:
    """`routing-nyc`: Brooklyn, 14 regions, an evening from 19:00. Raises UserError for a bad setting or file."""
    how = (
        "an episode of 20 four-minute steps, inferred from the paper's figures: its scores of cloned operators beside their "
        "profit (`ohio-jax evaluate routing-nyc --policy dtv --episodes 10 --seed 10 --set "
        "minutes=4,dynamics=strict,demand=numpy`)"
    )
    return _published("routing-nyc", settings, 4, 58_000.0, how, start_hour=19, demand_ratio=9)


def shenzhen(settings: dict[str, Any]) -> Task:
    """`routing-shenzhen`: Shenzhen, 17 regions, a morning from 8:00. Raises UserError for a bad setting or file."""
    how = "an episode of 20 three-minute steps, inferred from the performance levels in the original's training script"
    return _published("routing-shenzhen", settings, 3, 61_320.0, how, start_hour=8, demand_ratio=2.5)


def synthetic(settings: dict[str, Any]) -> Task:
    """`routing-synthetic`: a made-up city of any size, needs no file. Raises UserError for a bad setting."""
    values = parse("routing-synthetic", SYNTHETIC, settings)
    shape = {name: values[name] for name in ("regions", "seed", "minutes", "horizon")}
    full, episodes = _mean_bound(**shape)
    reference = Reference(
        zero=0.0,
        full=full,
        how=f"{ZERO}; 100 is {full:,.0f} $, the mean of the full-information bound over {episodes} episodes (`ohio-jax "
        f"evaluate routing-synthetic --policy oracle --stream reference --episodes {episodes} --set demand=numpy,"
        + ",".join(f"{name}={value}" for name, value in shape.items())
        + "`)",
    )
    return _task("routing-synthetic", values, scenario.synthetic(**shape), reference)


def _published(name: str, settings: dict[str, Any], minutes: int, full: float, how: str, **constants: Any) -> Task:
    """minutes: of a step by default; full: dollars of score 100; constants: see `scenario.load`."""
    values = parse(name, COMMON | {"minutes": Rule(str(minutes), integer(1, 60))}, settings)
    step = {key: values[key] for key in ("minutes", "horizon")}
    sha256 = files.SHA256[files.TASK_FILES[name]]
    city = scenario.load(files.locate(name), cost_per_minute=0.5, sha256=sha256, **step, **constants)
    return _task(name, values, city, Reference(0.0, full, f"{ZERO}; 100 is {full:,.0f} $ {how}"))


@functools.cache
def _mean_bound(**shape: int) -> tuple[float, int]:
    """Mean bound of a synthetic city and of how many episodes: fewer in large cities, whose episodes are more alike."""
    city = scenario.synthetic(**shape)
    episodes = int(np.clip(160 // city.regions, 1, 10))
    return float(oracle.bound(city, demand.sample_instances(city, ReferenceStream().seed, episodes)).mean()), episodes


def idle(state: State) -> Int[Array, "n"]:
    """`Int[n]`, what the low level sees: idle vehicles before it moves any."""
    return state.pipeline_state.idle


def reached(state: State) -> Int[Array, "n"]:
    """`Int[n]`, what `idle` became through the step's moves alone, once all of them have landed."""
    return state.pipeline_state.reached


def _task(name: str, values: dict[str, Any], city: City, reference: Reference) -> Task:
    env = Routing(scenario.prepare(city), values["dynamics"], bool(values["time"]))
    return Task(
        name=name,
        settings=values,
        env=env,
        controller_obs=idle,
        next_controller_obs=reached,
        interfaces=_interfaces(city, env),
        policies=POLICIES,
        instances=_instances(city, env, values["demand"]),
        reference=reference,
        bound=lambda instances: oracle.bound(city, np.asarray(instances)),
    )


def _instances(city: City, env: Routing, source: str) -> Callable[[int, int], jax.Array]:
    """The task's `instances`: `Int[E, T, n, n]` requests, by the original's generator or by JAX's."""
    if source == "numpy":
        return lambda seed, episodes: jnp.asarray(demand.sample_instances(city, seed, episodes))
    return instances_of(env)


def _interfaces(city: City, env: Routing) -> dict[str, ActionInterface]:
    """OHIO's interface and the fair end-to-end one, each beside the original's version ("compat"), which end to end counts
    vehicles, and in its CQL tens of vehicles.
    """
    n, fleet, cost = city.regions, city.regions * city.vehicles, env.scenario.reb_cost
    # Half a vehicle of the fleet: a share below cannot ask for one.
    floor = 1.0 / (2 * fleet)
    on_nodes = functools.partial(graph.node_networks, city.adjacency, env.features)
    on_edges = functools.partial(graph.edge_networks, city.adjacency, env.features)
    fair, asking = shares.Params(), requests.Params()

    def by_distribution(rounding: transport.Rounding) -> ActionInterface:
        params = transport.Params(cost, rounding)
        smallest = RELEASED_FLOOR if rounding == "floor" else floor
        return ActionInterface(heads.Simplex(n, smallest), transport, params, transport.problem(params), on_nodes, nodes=n)

    def asked(scale: float, networks: Callable[[int], Networks], deviation: Literal["exp", "softplus"]) -> ActionInterface:
        counts = heads.Counts(n * n, scale, float(fleet), "original", deviation)
        return ActionInterface(counts, requests, asking, requests.problem(asking), networks, nodes=n)

    def in_tens(hidden: int) -> Networks:
        networks = on_edges(hidden, kind="requests", scale=10.0)
        return networks._replace(critic=networks.critic.clone(activation=nn.relu))

    return {
        "ohio": by_distribution("largest_remainder"),
        "ohio_compat": by_distribution("floor"),
        "end_to_end": ActionInterface(heads.Simplices(n, n, floor), shares, fair, shares.problem(fair), on_edges, nodes=n),
        "end_to_end_compat": asked(1.0, functools.partial(on_edges, kind="requests"), "exp"),
        "end_to_end_compat_tens": asked(10.0, in_tens, "softplus"),
    }
