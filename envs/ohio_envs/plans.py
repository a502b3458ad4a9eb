"""How a task is trained where nobody says otherwise: hyperparameters and budgets of each family of tasks, by preset.

`quick` takes seconds to minutes on two cores, `cpu` up to hours, `paper` is what was published, for an accelerator. Experiments
start from these plans and change what they will. Published hyperparameters are made for many updates; `SHORT` are ours, for
budgets a CPU can afford: higher rates, of which the actors' fall to zero over the updates, and rewards so small that advantages
are near one, where IQL's weights discriminate instead of saturating. Theirs step the value first (`value_update`), as the
committed tables were made; that goes once those are made anew.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS, bc, cql, iql, td3_bc
from ohio_jax.training.plan import Plan

Plans = dict[tuple[str, str], Plan]  # by (action interface, learner)

PUBLISHED: dict[str, dict[str, Any]] = {
    "routing": {
        "bc": bc.Config(),
        "iql": iql.Config(discount=0.97, reward_scale=0.01),
        # One drawn term stands for the penalty's 30: without bias, and with a variance far below that of the minibatch.
        "cql": cql.Config(discount=0.97, reward_scale=0.1, n_sampled_terms=1),
    },
    "supply-chain": {
        "bc": bc.Config(),
        "iql": iql.Config(discount=0.99, reward_scale=0.1),
        "cql": cql.Config(discount=0.99, reward_scale=0.1, n_actions=20, max_grad_norm=10.0),
    },
    "reacher": {
        "bc": bc.Config(),
        "iql": iql.Config(expectile=0.9, beta=1.0, discount=0.99, reward_scale=1.0),
    },
    "manipulation": {  # IQL's are those of Door
        "iql": iql.Config(expectile=0.9, beta=0.1, discount=0.99, reward_scale=1.0),
        "td3_bc": td3_bc.Config(),
        "bc": bc.Config(),
    },
}
SHORT: dict[str, dict[str, Any]] = {
    "routing": {
        "bc": bc.Config(actor_lr=1e-3),
        "iql": iql.Config(actor_lr=1e-3, discount=0.97, reward_scale=1e-3, expectile=0.7, beta=1.0, value_update="new"),
        "cql": cql.Config(
            actor_lr=1e-3, critic_lr=1e-3, discount=0.97, reward_scale=1e-2, n_actions=4, n_sampled_terms=1, chunk=10
        ),
    },
    "supply-chain": {
        "bc": bc.Config(actor_lr=1e-3),
        "iql": iql.Config(actor_lr=1e-3, critic_lr=1e-3, discount=0.99, reward_scale=1e-2, value_update="new"),
        "cql": cql.Config(
            actor_lr=1e-3,
            critic_lr=1e-3,
            discount=0.99,
            temperature=1e-2,
            # With ten stores a policy that is not held close leaves the data for good.
            cql_alpha=100.0,
            importance=False,
            bc_warmup=2_000.0,
            reward_scale=1e-2,
            n_actions=4,
            n_sampled_terms=1,
        ),
    },
    "reacher": {
        "bc": bc.Config(actor_lr=1e-3),
        "iql": replace(PUBLISHED["reacher"]["iql"], actor_lr=1e-3, value_update="new"),
    },
    "manipulation": {
        "iql": iql.Config(
            actor_lr=1e-3, critic_lr=1e-3, expectile=0.7, beta=3.0, discount=0.99, reward_scale=1.0, value_update="new"
        ),
        "td3_bc": td3_bc.Config(actor_lr=1e-3, critic_lr=1e-3),
        "bc": bc.Config(actor_lr=1e-3),
    },
}
# The classical inventories cost tens of dollars a period, as the supply chains earn.
for _configs in (PUBLISHED, SHORT):
    _configs["inventory"] = {learner: _configs["supply-chain"][learner] for learner in ("bc", "iql")}


INTERFACES = {
    "routing": ("ohio", "ohio_compat", "end_to_end", "end_to_end_compat"),
    "supply-chain": ("ohio", "end_to_end", "end_to_end_compat"),
    "reacher": ("ohio", "ohio_true", "ohio_mpc", "ohio_compat", "ohio_compat_unit", "end_to_end"),
    "manipulation": ("ohio", "ohio_equal", "logged", "hrl_joint", "hrl_osc", "end_to_end"),
    "inventory": ("ohio", "end_to_end"),
}


def as_released(interface: str) -> bool:
    """Whether learners see on this action interface what the original's saw: nothing is normalized."""
    return "_compat" in interface


def make(
    family: str,
    seeds: int,
    hidden: int,
    updates: Mapping[str, int],
    batch: int = 100,
    block: int = 1000,
    interfaces: Iterable[str] = (),
    published: bool = False,
) -> Plans:
    """One plan for each (interface, learner).

    Args:
        updates: of each learner.
        interfaces: all of the family's, unless some are named.
    """
    out = {}
    for interface, (learner, amount) in itertools.product(interfaces or INTERFACES[family], updates.items()):
        config = (PUBLISHED if published else SHORT)[family][learner]
        config = config if published else replace(config, actor_lr_decay_steps=float(amount))
        plan = Plan(learner, config, hidden, amount, batch, min(block, amount), seeds, normalize=not as_released(interface))
        out[interface, learner] = plan
    return out


def routing(
    seeds: int, hidden: tuple[int, int], on_goals: Iterable[int], on_flows: Iterable[int], published: bool = False
) -> Plans:
    """Plans of vehicle routing.

    Args:
        hidden: width of networks on goals (n numbers) and on flows (n^2 numbers, n times the work an update).
        on_goals, on_flows: updates of BC, IQL, CQL on each.
    """
    high, flat, learners = INTERFACES["routing"][:2], INTERFACES["routing"][2:], list(SHORT["routing"])
    amounts = lambda updates: dict(zip(learners, updates, strict=True))
    out = make("routing", seeds, hidden[0], amounts(on_goals), block=500, interfaces=high, published=published)
    out |= make("routing", seeds, hidden[1], amounts(on_flows), block=500, interfaces=flat, published=published)
    for interface in () if published else flat:
        plan = out[interface, "cql"]
        # One state's edges fill the cache that ten states' nodes do.
        out[interface, "cql"] = replace(plan, config=replace(plan.config, chunk=1))
    return out


MILLION = 1_000_000
PRESETS: dict[str, dict[str, Callable[[], Plans]]] = {
    "routing": {
        "quick": lambda: routing(2, (64, 32), (3_000, 1_500, 500), (2_000, 600, 100)),
        "cpu": lambda: routing(4, (128, 64), (12_000, 12_000, 3_000), (3_000, 2_000, 400)),
        "paper": lambda: routing(5, (256, 256), *[(20_000, 200_000, 200_000)] * 2, published=True),
    },
    "supply-chain": {
        "quick": lambda: make("supply-chain", 2, 64, {"bc": 3_000, "iql": 1_500, "cql": 500}),
        "cpu": lambda: make("supply-chain", 4, 32, {"bc": 4_000, "iql": 3_000, "cql": 3_000}),
        "paper": lambda: make("supply-chain", 5, 256, dict.fromkeys(("bc", "iql", "cql"), 500_000), published=True),
    },
    "reacher": {
        "quick": lambda: make("reacher", 2, 64, {"bc": 6_000, "iql": 3_000}, 256),
        "cpu": lambda: make("reacher", 5, 128, {"bc": 30_000, "iql": 8_000}, 256),
        "paper": lambda: make("reacher", 5, 256, dict.fromkeys(("bc", "iql"), MILLION), 256, published=True),
    },
    "manipulation": {
        "quick": lambda: make("manipulation", 1, 128, dict.fromkeys(("iql", "td3_bc", "bc"), 6_000)),
        "cpu": lambda: make("manipulation", 3, 128, dict.fromkeys(("iql", "td3_bc", "bc"), 20_000)),
        "paper": lambda: make("manipulation", 5, 256, dict.fromkeys(("iql", "td3_bc", "bc"), MILLION), published=True),
    },
    "inventory": {
        "quick": lambda: make("inventory", 2, 64, {"bc": 3_000, "iql": 1_500}),
        "cpu": lambda: make("inventory", 4, 64, dict.fromkeys(("bc", "iql"), 4_000)),
        "paper": lambda: make("inventory", 5, 256, dict.fromkeys(("bc", "iql"), 500_000), published=True),
    },
}
FAMILIES = {"lift": "manipulation", "door": "manipulation"}  # of tasks whose names do not begin with their family's


def plan(task: str, learner: str, interface: str, preset: str = "quick") -> Plan:
    """How a learner is trained on an action interface of a task; of a task that is none of the suite's: the defaults of `Plan`.

    An interface that INTERFACES does not name, as a new one, has the plans of `ohio`.

    Raises:
        UserError: for an unknown learner or preset.
    """
    if learner not in LEARNERS:
        raise unknown("learner", learner, LEARNERS)
    family = next((family for family in PRESETS if FAMILIES.get(task, task).startswith(family)), None)
    if family is None:
        return Plan(learner, LEARNERS[learner].Config())
    if preset not in PRESETS[family]:
        raise unknown(f"preset of {family}", preset, PRESETS[family])
    like = interface if interface in INTERFACES[family] else "ohio"
    return replace(find(PRESETS[family][preset](), like, learner), normalize=not as_released(interface))


def find(plans: Plans, interface: str, learner: str) -> Plan:
    """The plan of a learner, one that is not among them as well.

    It gets the budget of the interface's IQL, and its default Config but for IQL's discount and unit of rewards, which are the
    task's.

    Raises:
        UserError: for an unknown interface.
    """
    if (interface, learner) in plans:
        return plans[interface, learner]
    if (interface, "iql") not in plans:
        raise UserError(f"expected a plan for {learner} on {interface}, found none")
    like, config = plans[interface, "iql"], LEARNERS[learner].Config()
    of_task = {field: getattr(like.config, field) for field in ("discount", "reward_scale") if hasattr(config, field)}
    return replace(like, learner=learner, config=config.replace(**of_task))
