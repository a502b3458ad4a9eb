"""Fine-tuning: policies learned offline go on learning online. What they earn on the way, and what they violate.

The paper's claim (OHIO, ICLR 2025) is that a hierarchical policy goes on improving and violates nothing, because its low level
cannot, where an end-to-end policy collapses. Here every learner goes through the same loop, which stores the states it saw.
"""

import functools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ohio_envs import files, registry
from ohio_envs.plans import SHORT, as_released

from ohio_bench.experiments import routing
from ohio_bench.report import finetune as page
from ohio_bench.runner.cell import Cell, Experiment
from ohio_bench.runner.finetune import tuned
from ohio_bench.runner.store import slug
from ohio_jax.errors import UserError
from ohio_jax.learners import sac
from ohio_jax.training.online import OnlinePlan
from ohio_jax.training.plan import Plan

DATA_SEED, TEST_SEED = 1000, 10
BATCH = 100  # the original's


@dataclass(frozen=True)
class Method:
    """offline: the learner that begins; online: the one that goes on from its networks.

    keeps: batches are mixed with the offline data as the domain says, and only critics learn at first; without (WSRL: Zhou et
    al. 2024), nothing is kept but the networks, and the policy gathers the first data itself.
    stale: compat; the original's end-to-end loop, which overwrites a state before it stores it.
    """

    name: str
    offline: str
    online: str
    keeps: bool = True
    stale: bool = False


# The original calls going on from its CQL "SAC", and goes on from Cal-QL with soft actor-critic as well.
METHODS = (
    Method("IQL", "iql", "iql"),
    Method("SAC", "cql", "sac"),
    Method("Cal-QL", "cal_ql", "sac"),
    Method("WSRL", "cal_ql", "sac", keeps=False),
)
STALE = Method("IQL, stale states (paper)", "iql", "iql", stale=True)


@dataclass(frozen=True)
class Domain:
    """Where learners are tuned: a task, whose data they start from, and how the original mixes data there.

    horizon: decisions a round of play; an episode of routing lasts one more. offline: learner -> its Config, from which those
    that go on have theirs.
    warm_up: decisions before the first update. critics_first: decisions before the actor learns.
    mixing: (decisions, share of offline data in a batch from then on), by the learner that goes on.
    """

    name: str
    task: str
    settings: tuple[tuple[str, str], ...]
    behaviour: str
    horizon: int
    offline: dict[str, Any]
    warm_up: int
    critics_first: int
    mixing: dict[str, tuple[tuple[int, float], ...]]


def supply_chain_domain() -> Domain:
    """The operator whose score the paper calls the behaviour's: the released order-up-to rule."""
    # Not held to the data as closely as in the table: what lies outside will be tried, and with three stores that does no harm.
    freer = SHORT["supply-chain"]["cql"].replace(conservatism=5.0, importance=True, cloning=0.0)
    mixing = ((0, 0.5), (2_000, 0.25), (3_000, 0.0))
    return Domain(
        name="1W3S-HEUR",
        task="supply-chain-1w3s",
        settings=(),
        behaviour="s_policy",
        horizon=30,
        offline={"iql": SHORT["supply-chain"]["iql"], "cql": freer, "cal_ql": freer},
        warm_up=200,
        critics_first=500,
        mixing={"iql": mixing, "sac": mixing},
    )


def routing_domain() -> Domain:
    """New York on the data of random shares, where there is most to gain; a synthetic city if its file is not at hand."""
    try:
        files.locate("scenario_nyc_brooklyn.json")
        row = next(row for row in routing.NYC if row.behaviour == "disp")
    except UserError:
        row = next(row for row in routing.SYNTHETIC if row.behaviour == "disp")
    short = SHORT["routing"]
    return Domain(
        name=row.name,
        task=row.task,
        settings=row.settings,
        behaviour=row.behaviour,
        horizon=19,
        offline={"iql": short["iql"], "cql": short["cql"], "cal_ql": short["cql"]},
        warm_up=11 * 19,
        critics_first=0,
        mixing={"iql": ((0, 0.2), (100 * 19, 0.0)), "sac": ((0, 0.25),)},
    )


def going_on(config: Any) -> sac.Config:
    """Soft actor-critic on the same scale of rewards and time as the CQL it goes on from."""
    names = ("critic_rate", "discount", "polyak", "temperature", "reward_scale")
    return sac.Config(actor_rate=config.actor_rate / 3, **{name: getattr(config, name) for name in names})


@dataclass(frozen=True)
class Budget:
    """How much work goes into some action spaces of a domain.

    hidden: width of networks. offline: updates before, by learner. decisions: made online by each seed; envs: side by side;
    each: updates after a decision of all of them.
    """

    domain: Domain
    spaces: tuple[str, ...]
    hidden: int
    offline: dict[str, int]
    decisions: int
    each: int
    seeds: int
    data_episodes: int
    test_episodes: int = 100
    envs: int = 10
    methods: tuple[Method, ...] = METHODS


def cells(budgets: tuple[Budget, ...], domains: Iterable[str]) -> Iterator[Cell]:
    """A cell for every space and method of these domains; the original's faulty loop for the interface it was written for."""
    for b in (b for b in budgets if b.domain.name in set(domains)):
        domain = b.domain
        task = registry.make(domain.task, dict(domain.settings))
        for space in b.spaces:
            methods = (*b.methods, STALE) if space == "end_to_end_compat" else b.methods
            for method in methods:
                begins, goes_on = plans(b, space, method)
                config = {
                    "domain": domain.name,
                    "task": task.name,
                    "settings": task.settings,
                    "behaviour": domain.behaviour,
                    "data_seed": DATA_SEED,
                    "data_episodes": b.data_episodes,
                    "space": space,
                    "method": asdict(method),
                    "horizon": domain.horizon,
                    "offline": begins.as_json(),
                    "online": {**goes_on.as_json(), "plan": goes_on.plan.as_json()},
                    "test_seed": TEST_SEED,
                    "test_episodes": b.test_episodes,
                }
                words = (domain.name, space)
                work = functools.partial(tuned, task, begins, goes_on, config, words)
                yield Cell(slug(*words, method.name), config, work, {"reference": asdict(task.reference)})


def plans(b: Budget, space: str, method: Method) -> tuple[Plan, OnlinePlan]:
    """How a method learns offline on an action space, and how it goes on."""
    domain, updates, normalise = b.domain, b.offline[method.offline], not as_released(space)
    config = replace(domain.offline[method.offline], decay=float(updates))
    online = going_on(domain.offline["cql"]) if method.online == "sac" else domain.offline[method.online]
    begins = Plan(method.offline, config, b.hidden, updates, BATCH, min(500, updates), b.seeds, normalise=normalise)
    steps = lambda decisions: -(-decisions // b.envs)
    rounds = b.decisions // (b.envs * domain.horizon)  # episodes in every environment
    block = domain.horizon * b.each
    plan = Plan(method.online, online, b.hidden, rounds * block, BATCH, block, b.seeds, normalise=normalise)
    return begins, OnlinePlan(
        plan,
        envs=b.envs,
        each=b.each,
        # A round of episodes is played by whoever explores; blocks then begin and end where episodes do.
        warm_up=domain.horizon * -(-domain.warm_up // (b.envs * domain.horizon)),
        capacity=b.decisions + 2 * b.envs * domain.horizon,
        mixing=tuple((steps(when), share) for when, share in domain.mixing[method.online]) if method.keeps else (),
        critics_first=steps(domain.critics_first) if method.keeps else 0,
        stale=method.stale,
    )


FLAT = ("end_to_end", "end_to_end_compat")


def quick() -> tuple[Budget, ...]:
    """A glimpse, for `make bench`: the claim itself on the smaller supply chain."""
    amounts: dict[str, Any] = {"decisions": 3_000, "each": 5, "seeds": 2, "data_episodes": 100, "test_episodes": 20}
    methods = tuple(method for method in METHODS if method.name == "IQL")
    return (Budget(supply_chain_domain(), ("ohio", FLAT[1]), 32, {"iql": 1_000}, **amounts, methods=methods),)


def cpu() -> tuple[Budget, ...]:
    """Both domains on two cores."""
    amounts: dict[str, Any] = {"decisions": 6_000, "each": 5, "seeds": 4, "data_episodes": 500}
    updates = {"iql": 3_000, "cql": 3_000, "cal_ql": 3_000}
    few = {"iql": 2_000, "cql": 400, "cal_ql": 400}
    city = routing_domain()
    return (
        Budget(supply_chain_domain(), ("ohio", *FLAT), 64, updates, **amounts),
        Budget(city, ("ohio",), 32, updates, **amounts),
        Budget(city, FLAT, 32, few, **{**amounts, "each": 2}),  # networks that look at all pairs of regions
    )


def paper() -> tuple[Budget, ...]:
    """The published budgets; for a GPU."""
    amounts: dict[str, Any] = {"decisions": 150_000, "each": 10, "seeds": 5, "data_episodes": 667}
    updates: dict[str, int] = dict.fromkeys(("iql", "cql", "cal_ql"), 500_000)
    return tuple(Budget(domain(), ("ohio", *FLAT), 256, updates, **amounts) for domain in (supply_chain_domain, routing_domain))


EXPERIMENT = Experiment(
    name="finetune",
    command="finetune",
    fields=page.FIELDS,
    group="domain",
    groups=lambda budgets: dict.fromkeys(b.domain.name for b in budgets),
    cells=cells,
    report=page.write,
    presets={"quick": quick, "cpu": cpu, "paper": paper},
)
