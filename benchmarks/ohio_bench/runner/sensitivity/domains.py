"""What inverses lose to wrong models beyond the reacher, and all controllers beside all inverses.

What an inverse takes from the model of its domain:

- routing, `transport`: travel times as costs of the flows, by `program` alone. The closed form and whatever compares states count
  vehicles. `program` compares costs, and so not their unit: one factor on all of them changes nothing.
- supply chain, `inventory`: the largest production, as the unit of the last entry of a goal. Lead times stand in no formula: what
  stores have room for counts all that is under way to them, whenever it comes.
- serial chain, `order_up_to`: the largest levels, as the unit of goals, which are the demand that lies ahead of an order and so
  follow from lead times.

Whether a wrong quantity changes an inverse's answers at all is measured, as `change`.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs import registry
from ohio_envs.routing import scenario as city
from ohio_envs.supply_chain import classical, scenario
from ohio_envs.supply_chain.task import low_level

from ohio_bench.runner.sensitivity import low_levels
from ohio_bench.runner.sensitivity.answers import applicable, invert, judged
from ohio_bench.runner.sensitivity.low_levels import Case
from ohio_bench.speed.work import segments as first_segments
from ohio_jax.collect import collect
from ohio_jax.controllers.transport import counts
from ohio_jax.inverse import INVERSES
from ohio_jax.solvers.transport import perturb
from ohio_jax.streams import Data

Wrong = Callable[[Any, float, np.random.Generator], tuple[Any, float]]  # (params, factor) -> wrong params, and how wrong


def travel_times(params: Any, factor: float, random: np.random.Generator) -> tuple[Any, float]:
    """Each pair's is wrong by a factor of its own, log-normal of median 1 and typical size `factor`, in whole steps."""
    return _with_times(params, lambda times: times * factor ** random.normal(size=times.shape))


def unit_of_travel_times(params: Any, factor: float, random: np.random.Generator) -> tuple[Any, float]:
    """All are wrong by the same whole factor."""
    return _with_times(params, lambda times: times * factor)


def _with_times(params: Any, wrong: Callable[[np.ndarray], np.ndarray]) -> tuple[Any, float]:
    times = city.synthetic().reb_time
    found = np.where(times > 0, np.maximum(np.rint(wrong(times)), 1), 0).astype(np.int32)
    return params.replace(cost=jnp.asarray(perturb(found))), _relative(found[times > 0], times[times > 0])


def lead_times(params: Any, factor: float, random: np.random.Generator) -> tuple[Any, float]:
    """The paper's network, whose goods take so many periods to the stores and not one."""
    return low_level(scenario.published(scenario.ONE_WAREHOUSE_3, round(factor)), released=False, smooth=False), factor - 1.0


def production(params: Any, factor: float, random: np.random.Generator) -> tuple[Any, float]:
    """The largest production is so many times what it is."""
    return params.replace(limit=factor * params.limit), abs(factor - 1.0)


def lead_times_of_levels(params: Any, factor: float, random: np.random.Generator) -> tuple[Any, float]:
    """Those of all nodes of the serial chain, in whole periods, and the largest levels that follow."""
    s = scenario.serial(**SERIAL)
    wrong = replace(s, lead=tuple(max(1, round(factor * lead)) for lead in s.lead))
    return classical.low_level(wrong), _relative(np.array(wrong.lead), np.array(s.lead))


def _relative(wrong: np.ndarray, right: np.ndarray) -> float:
    """Root mean square relative error."""
    return float(np.sqrt(np.mean(np.square(wrong / right - 1.0))))


SERIAL = {"lead": 4, "underage": 9.0, "periods": 100}  # as the task has it by default


def _whole_vehicles(params: Any, state: jax.Array, goal: jax.Array) -> jax.Array:
    total = jnp.sum(state)
    return counts(goal, total) / jnp.maximum(total, 1)


def _whole_units(params: Any, state: jax.Array, goal: jax.Array) -> jax.Array:
    stock = state[-1].astype(jnp.int32)
    shipped = counts(goal[:-1], stock) / jnp.maximum(stock, 1)
    return jnp.append(shipped, jnp.round(params.limit * goal[-1]) / params.limit)


class Domain(NamedTuple):
    """A domain beside the reacher.

    Attributes:
        policy: of the task, whose logs known goals come from.
        controller: of the task's hierarchy.
        whole: (params, state, goal) -> the goal that asks for the whole units to which this one is rounded.
        inverses: that are compared.
    """

    task: str
    policy: str
    controller: str
    whole: Callable[[Any, jax.Array, jax.Array], jax.Array]
    inverses: tuple[str, ...]


ROUTED, SUPPLIED = ("analytic", "least_squares", "observed", "program"), ("analytic", "least_squares", "program")
DOMAINS = {
    "routing": Domain("routing-synthetic", "dtv", "transport", _whole_vehicles, ROUTED),
    "supply chain": Domain("supply-chain-1w3s", "s_policy_fresh", "inventory", _whole_units, SUPPLIED),
    "serial chain": Domain(
        "inventory-serial", "random", "order_up_to", lambda params, state, goal: goal, ("analytic", "least_squares", "posterior")
    ),
}
QUANTITIES: dict[tuple[str, str], Wrong] = {
    ("routing", "travel times"): travel_times,
    ("routing", "unit of travel times"): unit_of_travel_times,
    ("supply chain", "lead times"): lead_times,
    ("supply chain", "largest production"): production,
    ("serial chain", "lead times"): lead_times_of_levels,
}


@functools.cache
def known(domain: str, amount: int, episodes: int, data_seed: int) -> Case:
    """Goals and states from the logs of a policy, one independent of the other, and what the task's low level makes of them."""
    of = DOMAINS[domain]
    task = registry.make(of.task)
    interface = task.interfaces["ohio"]
    given = first_segments(collect(task, of.policy, episodes, Data(data_seed).seed), 1, amount)
    found = invert("analytic", interface.params, given, interface.controller.problem).goal
    asked, state = np.random.default_rng(data_seed).permutation(found), given.state[:, 0]
    goals = np.asarray(jax.jit(jax.vmap(functools.partial(of.whole, interface.params)))(state, asked))
    end = low_levels.moved if of.controller == "transport" else None
    return low_levels.one_step(of.controller, interface.params, np.asarray(state), goals, end)


def misspecified(domain: str, quantity: str, factor: float, segments: int, few: int, episodes: int, runs: int) -> dict[str, Any]:
    """Every inverse of a domain, told a wrong quantity, on segments of known goals, in each run.

    - change: largest difference of an entry of an answer from that of the same inverse told the truth.

    Args:
        segments, few: of each inverse, and of `program`.
        episodes: of the logs.
    """
    amounts = {name: few if name == "program" else segments for name in DOMAINS[domain].inverses}
    found = []
    for run in range(runs):
        case = known(domain, segments, episodes, run)
        told, error = QUANTITIES[domain, quantity](case.params, factor, np.random.default_rng([run, round(100 * factor)]))
        answers = judged(amounts, case, told)
        for name, amount in amounts.items():
            some, problem = case.first(amount).segments, case.controller.problem
            wrong, right = (invert(name, params, some, problem).goal for params in (told, case.params))
            answers["inverses"][name]["change"] = float(np.abs(wrong - right).max())
        found.append({"model_error": error, **answers})
    return {"runs": found}


def of_controller(controller: str, slow: Sequence[str], segments: int, few: int, runs: int) -> dict[str, Any]:
    """Every inverse that a controller offers what it asks for, told the truth, on segments of known goals, in each run.

    Args:
        slow: inverses that get `few` segments.
    """
    cases = [low_levels.case(controller, segments, Data(run).seed) for run in range(runs)]
    amounts = {name: few if name in slow else segments for name in applicable(INVERSES, cases[0])}
    return {"runs": [judged(amounts, case, case.params, timed=True) for case in cases]}
