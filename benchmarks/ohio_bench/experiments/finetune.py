"""Offline-to-online fine-tuning: scores and constraint violations before, while and after learning online.

The paper (OHIO, ICLR 2025) compares hierarchical policies, whose low level keeps actions feasible, with end-to-end policies. Here
all learners use the same loop, which stores the states that it saw.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from ohio_envs import datasets, files
from ohio_envs.plans import SHORT, as_released

from ohio_bench.experiments import routing
from ohio_bench.report import evidence
from ohio_bench.report import finetune as page
from ohio_bench.report.claims import Claim
from ohio_bench.runner.cell import Cell, Experiment
from ohio_bench.runner.finetune import finetuned
from ohio_bench.runner.store import plain, same, slug
from ohio_jax.errors import UserError
from ohio_jax.learners import sac
from ohio_jax.streams import Test
from ohio_jax.training.online import OnlinePlan
from ohio_jax.training.plan import Plan

BATCH = 100  # the original's


@dataclass(frozen=True)
class Method:
    """A way from offline to online learning.

    Attributes:
        offline: the learner of pretraining.
        online: that of fine-tuning, which starts from its networks.
        keeps: batches are mixed with the offline data as the domain says, and only critics learn at first; without (WSRL: Zhou et
            al. 2024), only the networks are kept, and the policy collects the first data itself.
        stale: compat; the original's end-to-end loop, which overwrites a state before storing it.
    """

    name: str
    offline: str
    online: str
    keeps: bool = True
    stale: bool = False


# The original calls fine-tuning from its CQL "SAC"; from Cal-QL it fine-tunes with soft actor-critic as well.
METHODS = (
    Method("IQL", "iql", "iql"),
    Method("SAC", "cql", "sac"),
    Method("Cal-QL", "cal_ql", "sac"),
    Method("WSRL", "cal_ql", "sac", keeps=False),
)
STALE = Method("IQL, stale states (paper)", "iql", "iql", stale=True)


@dataclass(frozen=True)
class Domain:
    """Where learners are fine-tuned: the task of a data set, which they start from, and how the original mixes data there.

    Attributes:
        horizon: decisions a round of play; an episode of routing lasts one more.
        offline: learner -> its Config, from which that of fine-tuning is derived.
        learning_starts: decisions before the first update.
        critics_first: decisions before the actor learns.
        mixing: (decisions, share of offline data in a batch from then on), by the learner that goes on.
    """

    name: str
    data_set: str
    horizon: int
    offline: dict[str, Any]
    learning_starts: int
    critics_first: int
    mixing: dict[str, tuple[tuple[int, float], ...]]


def supply_chain_domain() -> Domain:
    """The operator whose score the paper calls the behavior's: the released order-up-to rule."""
    # Not held to the data as closely as in the table: what lies outside will be tried, and with three stores that does no harm.
    freer = SHORT["supply-chain"]["cql"].replace(cql_alpha=5.0, importance=True, bc_warmup=0.0)
    mixing = ((0, 0.5), (2_000, 0.25), (3_000, 0.0))
    return Domain(
        name="1W3S-HEUR",
        data_set="1w3s-heur-v1",
        horizon=30,
        offline={"iql": SHORT["supply-chain"]["iql"], "cql": freer, "cal_ql": freer},
        learning_starts=200,
        critics_first=500,
        mixing={"iql": mixing, "sac": mixing},
    )


def routing_domain() -> Domain:
    """New York on the data of random shares, where there is most to gain; a synthetic city if its file is not at hand."""
    try:
        files.locate("scenario_nyc_brooklyn.json")
    except UserError:
        return in_city(SYNTHETIC)
    return in_city(NEW_YORK)


NEW_YORK, SYNTHETIC = "NYC-DISP", "Synthetic-DISP"
CITIES = {row.name: row for row in (*routing.NYC, *routing.SYNTHETIC) if row.name in (NEW_YORK, SYNTHETIC)}


def in_city(name: str) -> Domain:
    """The domain of a row of routing's table, out of CITIES."""
    row, short = CITIES[name], SHORT["routing"]
    return Domain(
        name=row.name,
        data_set=row.data_set,
        horizon=19,
        offline={"iql": short["iql"], "cql": short["cql"], "cal_ql": short["cql"]},
        learning_starts=11 * 19,
        critics_first=0,
        mixing={"iql": ((0, 0.2), (100 * 19, 0.0)), "sac": ((0, 0.25),)},
    )


def sac_config(config: Any) -> sac.Config:
    """Soft actor-critic with the reward scale and the discount of the CQL that it starts from."""
    names = ("critic_lr", "discount", "tau", "temperature", "reward_scale")
    return sac.Config(actor_lr=config.actor_lr / 3, **{name: getattr(config, name) for name in names})


@dataclass(frozen=True)
class Budget:
    """How much work goes into some action interfaces of a domain.

    Attributes:
        hidden: width of networks.
        offline: updates before, by learner.
        decisions: made online by each seed.
        envs: side by side.
        updates_per_step: updates after a decision of all of them.
        runs: run r has a training seed and a data set of its own.
        data_episodes: only the first so many of a data set's.
    """

    domain: Domain
    interfaces: tuple[str, ...]
    hidden: int
    offline: dict[str, int]
    decisions: int
    updates_per_step: int
    runs: int
    data_episodes: int | None = None
    test_episodes: int = 100
    envs: int = 10
    methods: tuple[Method, ...] = METHODS


def cells(budgets: tuple[Budget, ...], domains: Iterable[str]) -> Iterator[Cell]:
    """A cell for every interface and method of these domains; the original's faulty loop for the interface it was written for."""
    for b in (b for b in budgets if b.domain.name in set(domains)):
        domain = b.domain
        task = datasets.task_of(domain.data_set)
        for interface, method in learned(b):
            config, words = config_of(b, interface, method, task.settings), (domain.name, interface)
            work = functools.partial(finetuned, task, *plans(b, interface, method), config, words)
            yield Cell(slug(*words, method.name), config, work, {"reference": asdict(task.reference)})


def learned(b: Budget) -> Iterator[tuple[str, Method]]:
    """Each (action interface, method) of a budget."""
    for interface in b.interfaces:
        for method in (*b.methods, STALE) if interface == "end_to_end_compat" else b.methods:
            yield interface, method


def config_of(b: Budget, interface: str, method: Method, settings: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a cell. settings: of the task, in which policies learn and are tested."""
    offline_plan, online_plan = plans(b, interface, method)
    return {
        "domain": b.domain.name,
        "task": datasets.recipe(b.domain.data_set).task,
        "settings": settings,
        "data_set": b.domain.data_set,
        **({} if b.data_episodes is None else {"data_episodes": b.data_episodes}),
        "interface": interface,
        "method": asdict(method),
        "horizon": b.domain.horizon,
        "offline": offline_plan.as_json(),
        "online": {**online_plan.as_json(), "plan": online_plan.plan.as_json()},
        "test_stream": Test().name,
        "test_episodes": b.test_episodes,
    }


def declares(preset: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a run file has the configuration that a cell of the preset has today; known without making tasks, as in
    `ohio_bench.runner.table.as_declared`, and whether or not a city's file is at hand.
    """
    budgets = functools.cache(lambda: EXPERIMENT.preset(preset))

    def declared(cell: dict[str, Any]) -> bool:
        config = cell["config"]
        city, settings = config["domain"] in CITIES, config.get("settings", {})
        listed = (replace(b, domain=in_city(config["domain"])) if city and b.domain.name in CITIES else b for b in budgets())
        for b in (b for b in listed if b.domain.name == config["domain"]):
            named = datasets.recipe(b.domain.data_set).settings
            as_named = all(settings.get(name) == value for name, value in named.items())
            configs = (config_of(b, *of, settings) for of in learned(b))
            if as_named and any(same(config, plain(of)) for of in configs):
                return True
        return False

    return declared


def plans(b: Budget, interface: str, method: Method) -> tuple[Plan, OnlinePlan]:
    """How a method learns offline on an action interface, and how it is fine-tuned."""
    domain, updates, normalize = b.domain, b.offline[method.offline], not as_released(interface)
    config = replace(domain.offline[method.offline], actor_lr_decay_steps=float(updates))
    online = sac_config(domain.offline["cql"]) if method.online == "sac" else domain.offline[method.online]
    offline_plan = Plan(method.offline, config, b.hidden, updates, BATCH, min(500, updates), b.runs, normalize=normalize)
    steps = lambda decisions: -(-decisions // b.envs)
    rounds = -(-b.decisions // (b.envs * domain.horizon))  # episodes in every environment
    block = domain.horizon * b.updates_per_step
    plan = Plan(method.online, online, b.hidden, rounds * block, BATCH, block, b.runs, normalize=normalize)
    return offline_plan, OnlinePlan(
        plan,
        envs=b.envs,
        updates_per_step=b.updates_per_step,
        # A round of episodes is played by whoever explores; blocks then begin and end where episodes do.
        learning_starts=domain.horizon * -(-domain.learning_starts // (b.envs * domain.horizon)),
        buffer_size=b.decisions + 2 * b.envs * domain.horizon,
        mixing=tuple((steps(when), share) for when, share in domain.mixing[method.online]) if method.keeps else (),
        critics_first=steps(domain.critics_first) if method.keeps else 0,
        stale=method.stale,
    )


FLAT = ("end_to_end", "end_to_end_compat")
EACH = ("ohio", *FLAT)


def quick() -> tuple[Budget, ...]:
    """A part for `make bench`: IQL on the smaller supply chain."""
    amounts: dict[str, Any] = {"decisions": 3_000, "updates_per_step": 5, "runs": 2, "data_episodes": 100, "test_episodes": 20}
    methods = tuple(method for method in METHODS if method.name == "IQL")
    return (Budget(supply_chain_domain(), ("ohio", FLAT[1]), 32, {"iql": 1_000}, **amounts, methods=methods),)


def cpu() -> tuple[Budget, ...]:
    """Both domains on two cores: on the supply chain the paper's decisions, in the city as many updates as networks can make that
    look at all pairs of regions. In a domain all interfaces get the same.
    """
    updates = {"iql": 3_000, "cql": 3_000, "cal_ql": 3_000}
    few = {"iql": 2_000, "cql": 1_000, "cal_ql": 1_000}
    return (
        Budget(supply_chain_domain(), EACH, 64, updates, decisions=100_000, updates_per_step=1, runs=5),
        Budget(routing_domain(), EACH, 32, few, decisions=6_000, updates_per_step=2, runs=5),
    )


def paper() -> tuple[Budget, ...]:
    """The published budgets; for a GPU. What is dearest comes first: the city, and there networks on all pairs of regions."""
    amounts: dict[str, Any] = {"decisions": 150_000, "updates_per_step": 10, "runs": 5}
    updates: dict[str, int] = dict.fromkeys(("iql", "cql", "cal_ql"), 500_000)
    return tuple(Budget(domain(), (*FLAT, "ohio"), 256, updates, **amounts) for domain in (routing_domain, supply_chain_domain))


# Domains as claims name them; in each, all action interfaces have the same number of decisions and of updates.
PLACES = {"supply-chain": (("1W3S-HEUR",), "on the supply chain"), "routing": (("NYC-DISP",), "in New York")}


def _claims() -> Iterator[Claim]:
    """Before, while and after, in each domain; against actions that are feasible end to end, and against the original's."""
    updates = "after {updates} and {their_updates} updates"
    for name, (rows, where) in PLACES.items():
        made = functools.partial(Claim, ours="OHIO SAC", rows=rows)
        after = f"After fine-tuning {where}, SAC with OHIO scores {{difference}}"
        yield made(name, f"{after} before.", theirs=0.0, statistic="gain")
        fair = "E2E (fair) SAC"
        during = f"In the last tenth of fine-tuning {where}, while it explores, SAC with OHIO scores {{difference}}"
        yield made(f"{name}-while", f"{during} SAC with feasible end-to-end actions, {updates}.", theirs=fair, statistic="while")
        yield made(f"{name}-fair", f"{after} SAC with feasible end-to-end actions, {updates}.", theirs=fair, statistic="after")
        original = f"{after} SAC with the original's end-to-end actions, {updates}."
        yield made(f"{name}-paper", original, theirs="E2E (paper) SAC", statistic="after")


EXPERIMENT = Experiment(
    name="finetune",
    command="finetune",
    kind=lambda name: page.KIND,
    group="domain",
    groups=lambda budgets: dict.fromkeys(b.domain.name for b in budgets),
    cells=cells,
    report=lambda results, preset: page.report(results, preset, declares(preset)),
    presets={"quick": quick, "cpu": cpu, "paper": paper},
    claims=tuple(_claims()),
    measured=lambda results, preset: evidence.of_finetuning(results, preset, declares(preset)),
)
