"""`ohio-jax speed routing`: transport solves, simulator steps and gradient updates a second beside honest CPU peers.

Peers run in this process on plain NumPy arrays: a persistent HiGHS model, `scipy.optimize.linprog`, and a NumPy
simulator of the same semantics whose transport problems HiGHS solves (`reference_routing`). Contenders take turns
(`timing`), and what is fast is checked to be right: every flow of every batch against the optimum of HiGHS, returns
against the NumPy simulator.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs import files, plans, registry
from ohio_envs.routing import policies, scenario

from ohio_bench.speed import reference_routing as reference
from ohio_bench.speed import updates
from ohio_bench.speed.timing import over_devices, race, rates
from ohio_bench.speed.work import play
from ohio_jax.collect import collect
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.relabel import relabel
from ohio_jax.solvers import transport
from ohio_jax.task import Task
from ohio_jax.training.plan import Plan, spec_of

BATCH = 100  # the paper's


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        cities: so many.
        batches: of instances and of episodes.
        instances: so many transport problems, of which `slow` go to SciPy.
        sizes: numbers of regions for the growth of cost.
        peers: episodes the NumPy simulator plays.
        data: episodes of the dataset.
        hidden: width of the networks of these learners, on regions and on pairs of them.
        deadline: by when all of it is to end.
    """

    windows: int
    seconds: float
    cities: int
    batches: tuple[int, ...]
    instances: int
    slow: int
    sizes: tuple[int, ...]
    peers: int
    data: int
    hidden: int
    learners: tuple[str, ...]
    on_pairs: tuple[str, ...]
    seeds: tuple[int, ...]
    deadline: Deadline = NEVER


SIZES = (8, 16, 32, 64, 128, 256)
PAPERS = ("bc", "iql", "cql")
FULL = Budget(7, 0.5, 2, (1, 64, 1024), 1024, 128, SIZES, 16, 510, 256, tuple(LEARNERS), PAPERS[:2], (1, 4))
WIDE = FULL._replace(learners=PAPERS, seeds=(1, 5))  # as many as the published tables have
QUICK = Budget(2, 0.002, 1, (1, 64), 64, 8, SIZES[:2], 2, 2, 16, PAPERS, PAPERS[:2], (1,))


class Case(NamedTuple):
    """A city twice: as the plain arrays of the peers, and as our task."""

    city: reference.City
    task: Task


def parts(budget: Budget) -> dict[str, Callable[[], dict[str, Any]]]:
    """Transport problems, the simulator and learners. Measuring raises UserError where highspy is missing."""
    every = cases(budget.cities)
    of_each = lambda measured: {f"n={len(case.city.idle)}": measured(case, budget) for case in every}
    return {
        "transport": lambda: {"transport": of_each(transport_solves)},
        "simulator": lambda: {"simulator": of_each(simulator_steps)},
        "updates": lambda: {"updates": learner_updates(every[0].task, "ohio", budget.learners, budget)},
        "growth": lambda: {"growth": growth(budget)},
        "updates_on_pairs": lambda: {"updates_on_pairs": learner_updates(every[0].task, "end_to_end", budget.on_pairs, budget)},
    }


def plain(city: scenario.City) -> reference.City:
    idle = np.full(city.regions, city.vehicles)
    return reference.City(city.lam, city.price, city.pax_time, city.reb_time, idle, city.cost)


def cases(count: int) -> list[Case]:
    """New York (14 regions) and Shenzhen (17), or synthetic cities of their sizes where the files are not at hand."""
    found = []
    for name, minutes, regions in (("nyc", 4, 14), ("shenzhen", 3, 17))[:count]:
        try:
            folder = files.locate(f"routing-{name}").parent
        except UserError:
            task = registry.make("routing-synthetic", {"regions": str(regions)})
            found.append(Case(plain(scenario.synthetic(regions)), task))
        else:
            task = registry.make(f"routing-{name}", {"minutes": str(minutes)})
            found.append(Case(reference.read(folder, name, minutes), task))
    return found


# --- Transport solves -----------------------------------------------------------------------------------------------


class Problems(NamedTuple):
    """Rebalancing problems of one city: times `Int[n, n]` with a free diagonal; supply, demand `Int[amount, n]`."""

    times: np.ndarray
    supply: np.ndarray
    demand: np.ndarray


def problems(case: Case, amount: int) -> Problems:
    """What the low level solves on its way: idle vehicles, and where DTV, PROP, uniform and random goals put them."""
    random = np.random.default_rng(0)

    def disp(city, t, idle, solve):
        goal = random.dirichlet(np.ones(len(idle)))
        return reference.reach(np.floor(goal * idle.sum()).astype(np.int64), idle, solve)

    behaviors = (reference.dtv, reference.prop, reference.uniform, disp)
    solve = reference.highs(reference.rebalancing_cost(case.city.reb_time))
    episodes = -(-amount // case.task.env.horizon)
    supply, demand = [], []
    for e, requests in enumerate(np.asarray(case.task.instances(0, episodes))):
        episode = reference.simulate(case.city, requests, behaviors[e % len(behaviors)], solve)
        supply.append(episode.idle)
        demand.append(episode.idle - episode.flows.sum(axis=2) + episode.flows.sum(axis=1))
    times = reference.rebalancing_cost(case.city.reb_time)[:-1]
    return Problems(times, np.concatenate(supply)[:amount], np.concatenate(demand)[:amount])


def batched(found: Problems, batch: int):
    """A call that solves all problems, `batch` at a time, and returns the list of solutions."""
    arrays = (found.supply, found.demand)
    if batch == 1:
        solve, pieces = jax.jit(transport.solve), zip(*arrays, strict=True)
    else:
        spread = over_devices(lambda cost, each: jax.vmap(transport.solve, (None, 0, 0))(cost, *each), batch)
        solve = lambda cost, *each: spread(cost, each)
        pieces = zip(*(x.reshape(-1, batch, x.shape[1]) for x in arrays), strict=True)
    cost = jnp.asarray(transport.perturb(found.times))
    on_device = [tuple(jnp.asarray(x, jnp.int32) for x in piece) for piece in pieces]
    return lambda: [jax.block_until_ready(solve(cost, *piece)) for piece in on_device]


def exact(found: Problems, solutions: list[transport.Solution], optima: np.ndarray) -> int:
    """How many problems are solved by whole, feasible flows whose travel time is the optimum."""
    flow, slack, status = (
        np.concatenate([np.asarray(getattr(s, name)).reshape(-1, *shape) for s in solutions])
        for name, shape in (("flow", found.times.shape), ("slack", found.times.shape[:1]), ("status", ()))
    )
    whole = np.issubdtype(flow.dtype, np.integer) and np.issubdtype(slack.dtype, np.integer)
    right = (
        (status == transport.OPTIMAL)
        & (flow >= 0).all(axis=(1, 2))
        & (slack >= 0).all(axis=1)
        & (flow.sum(axis=2) + slack == found.supply).all(axis=1)
        & (flow.sum(axis=1) == found.demand).all(axis=1)
        & ((flow * found.times[None]).sum(axis=(1, 2)) == optima)
    )
    return int(right.sum()) if whole else 0


def optimal_times(found: Problems) -> np.ndarray:
    """`Int[amount]`, least travel time of each problem, by HiGHS."""
    solve = reference.highs(found.times)
    return np.array([(solve(*pair) * found.times).sum() for pair in zip(found.supply, found.demand, strict=True)])


def transport_solves(case: Case, budget: Budget) -> dict[str, Any]:
    """Solves a second by ours at each batch size and by the peers, one problem after another."""
    found = problems(case, budget.instances)
    pairs = list(zip(found.supply, found.demand, strict=True))
    one_by_one = lambda solve, some: lambda: [solve(*pair) for pair in some]
    ours = {f"batch_{batch}": batched(found, batch) for batch in budget.batches}
    peers = {
        "highs_warm": one_by_one(reference.highs(found.times, warm=True), pairs),
        "highs_cold": one_by_one(reference.highs(found.times, warm=False), pairs),
        "scipy_linprog": one_by_one(reference.scipy_linprog(found.times), pairs[: budget.slow]),
    }
    amounts = dict.fromkeys(ours | peers, len(pairs)) | {"scipy_linprog": min(budget.slow, len(pairs))}
    solves = rates(ours | peers, amounts, budget)
    best = {name: rate["best"] for name, rate in solves.items()}

    optima = optimal_times(found)
    answers = {name: call() for name, call in ours.items()}
    pivots = np.concatenate([np.ravel(solution.iterations) for solution in answers[f"batch_{budget.batches[0]}"]])
    return {
        "task": case.task.name,
        "instances": len(pairs),
        "exact": {name: exact(found, answer, optima) for name, answer in answers.items()},
        "pivots": {"mean": float(pivots.mean()), "max": int(pivots.max())},
        "solves_per_second": solves,
        "ratio_to_highs": {name: best[name] / max(best["highs_warm"], best["highs_cold"]) for name in ours},
        "ratio_to_scipy": {name: best[name] / best["scipy_linprog"] for name in ours},
    }


def growth(budget: Budget) -> dict[str, Any]:
    """Milliseconds of a solve against the number of regions, synthetic cities, random goals, one batch."""
    random, table = np.random.default_rng(0), {}
    for n in budget.sizes:
        city = plain(scenario.synthetic(n))
        requests = random.poisson(city.lam[:20])
        supply = reference.simulate(city, requests, reference.none).idle
        supply = np.resize(supply, (int(np.clip(4096 // n, 8, 64)), n))
        demand = np.stack([random.multinomial(row.sum(), random.dirichlet(np.ones(n))) for row in supply])
        found = Problems(reference.rebalancing_cost(city.reb_time)[:-1], supply, demand)
        persistent, ours = reference.highs(found.times), batched(found, len(supply))
        solve_all = lambda: [persistent(*pair) for pair in zip(found.supply, found.demand, strict=True)]  # noqa: B023
        timings = race({"ours": ours, "highs": solve_all}, min(budget.windows, 3), budget.seconds, budget.deadline)
        solutions = ours()
        pivots = np.concatenate([np.ravel(solution.iterations) for solution in solutions])
        table[str(n)] = {
            "instances": len(supply),
            "exact": exact(found, solutions, optimal_times(found)),
            "pivots": float(pivots.mean()),
            "milliseconds": {name: 1e3 * timing.best / len(supply) for name, timing in timings.items()},
            "ratio": timings["highs"].best / timings["ours"].best,
        }
    sizes = np.log([int(n) for n in table])
    slope = lambda name: float(np.polyfit(sizes, np.log([row["milliseconds"][name] for row in table.values()]), 1)[0])
    return {"regions": table, "exponent": {name: slope(name) for name in ("ours", "highs")}}


# --- Simulator steps ------------------------------------------------------------------------------------------------


def simulator_steps(case: Case, budget: Budget) -> dict[str, Any]:
    """Environment steps a second with DTV: matching, observation, DTV's transport problem, moves, arrivals.

    Requests are drawn beforehand on both sides. The NumPy simulator plays one episode after another, so that its rate
    does not depend on the batch.
    """
    env: Any = case.task.env
    instances = {f"batch_{batch}": case.task.instances(0, batch) for batch in budget.batches}
    dtv = partial(play, act=lambda env, state, _: policies.dtv(env, jax.random.key(0), state))
    ours = {name: partial(over_devices(dtv, len(given)), env, (given, None)) for name, given in instances.items()}
    largest = f"batch_{max(budget.batches)}"
    some = np.asarray(instances[largest])[: budget.peers]
    solve = reference.highs(reference.rebalancing_cost(case.city.reb_time))
    peer = lambda: [reference.simulate(case.city, requests, reference.dtv, solve) for requests in some]
    amounts = {name: len(given) * env.horizon for name, given in instances.items()} | {"numpy_highs": budget.peers * env.horizon}
    found = rates(ours | {"numpy_highs": peer}, amounts, budget)

    # The same tie-break on both sides, so that the same vehicles move.
    unique = reference.highs(reference.rebalancing_cost(np.asarray(env.scenario.reb_cost)))
    theirs = [reference.simulate(case.city, requests, reference.dtv, unique).total for requests in some]
    returns = np.asarray(ours[largest]()[0])[: budget.peers]
    return {
        "task": case.task.name,
        "dynamics": env.dynamics,
        "steps_per_second": found,
        "ratio": {name: found[name]["best"] / found["numpy_highs"]["best"] for name in ours},
        "largest_difference_of_return": float(np.abs(returns - theirs).max()),
    }


# --- Gradient updates -----------------------------------------------------------------------------------------------


def learner_updates(task: Task, interface: str, learners: tuple[str, ...], budget: Budget) -> dict[str, Any]:
    """Updates a second on DTV's data relabeled by the analytic inverse, with the paper's hyperparameters."""
    transitions = relabel(collect(task, "dtv", budget.data, 0), task, interface, "analytic")
    spec = spec_of(task, task.interfaces[interface], budget.hidden)
    config = lambda name: plans.plan(task.name, name, interface, "paper").config
    contenders = {name: Plan(name, config(name), budget.hidden, batch=BATCH) for name in learners}
    rows = BATCH * math.prod(spec.action.shape)  # one for each region, or each pair
    return {"task": task.name, **updates.measure(spec, transitions, contenders, rows, budget)}
