"""How a task is trained where nobody says otherwise: hyperparameters and budgets of each family of tasks, by preset.

`quick` takes seconds to minutes on two cores, `cpu` up to hours, `paper` is what was published, for an accelerator. Experiments
start from these plans and change what they will. Published hyperparameters are made for many updates; `SHORT` are ours, for
budgets a CPU can afford: higher rates, of which the actors' fall to zero over the updates, and rewards so small that advantages
are near one, where IQL's weights discriminate instead of saturating. Their IQL uses the value after its
update (`value_update`), as the committed tables do, until these are made anew.

Discounts are those of a decision of the hierarchy; an end-to-end decision, which is shorter where `STEPS` says so, has the same
discount per unit of time. The preset `released` is what the authors' code does, mistakes included.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS, bc, cql, iql, td3_bc
from ohio_jax.training.plan import Plan

Plans = dict[tuple[str, ...], Plan]  # by (action interface, learner), or (task, action interface, learner)

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
LIFT = {"expectile": 0.7, "beta": 3.0}  # of IQL as published, on Lift
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
    "routing": ("ohio", "ohio_compat", "end_to_end", "end_to_end_compat", "end_to_end_compat_tens"),
    "supply-chain": ("ohio", "end_to_end", "end_to_end_compat"),
    "reacher": ("ohio", "ohio_true", "ohio_mpc", "ohio_compat", "ohio_compat_unit", "end_to_end"),
    "manipulation": ("ohio", "ohio_equal", "logged", "logged_wide", "hrl_joint", "hrl_osc", "end_to_end"),
    "inventory": ("ohio", "end_to_end"),
}


STEPS = {"reacher": 5, "manipulation": 5}  # low-level steps of a decision of the hierarchy; those of the other families are 1


def per_decision(discount: float, family: str, interface: str) -> float:
    """The discount of a decision on an interface that per unit of time equals `discount`, of a decision of the hierarchy.

    The original's interfaces keep it as it is, whatever the length of their decisions.
    """
    return discount ** (1 / STEPS.get(family, 1)) if interface == "end_to_end" else discount


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
        if hasattr(config, "discount"):
            config = replace(config, discount=per_decision(config.discount, family, interface))
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
    for interface in flat:
        plan = out[interface, "cql"]
        # One state's edges fill the cache that ten states' nodes do.
        change = {"cql_alpha": 5.0} if published else {"chunk": 1}
        out[interface, "cql"] = replace(plan, config=plan.config.replace(**change))
    return out


def manipulation(seeds: int, hidden: int, updates: int) -> Plans:
    """The published plans of Lift and Door, of which Lift has another IQL."""
    out = make("manipulation", seeds, hidden, dict.fromkeys(("iql", "td3_bc", "bc"), updates), published=True)
    own = {key: replace(plan, config=plan.config.replace(**LIFT)) for key, plan in out.items() if plan.learner == "iql"}
    return out | {("lift", *key): plan for key, plan in own.items()}


def released(made: Plans, **changes: dict[str, Any]) -> Plans:
    """Published plans as the authors' code follows them: nothing is normalized.

    Args:
        changes: of each learner, fields of its Config that the code sets, or gets wrong.
    """
    change = lambda plan: plan.config.replace(**changes.get(plan.learner, {}))
    return {key: replace(plan, normalize=False, config=change(plan)) for key, plan in made.items()}


def routing_released() -> Plans:
    """CQL with all samples, in a log-sum-exp over those of different states, which the code's tiled states give; above the low
    level IQL after 500 updates of cloning; end to end BC at a rate that falls to zero within 10,000 updates and rises again.
    """
    made = released(PRESETS["routing"]["paper"](), cql={"n_sampled_terms": 0, "mixed_states": True})
    of = lambda key: made[key].config.replace
    for key in itertools.product(INTERFACES["routing"][:2], ["iql"]):
        made[key] = replace(made[key], updates=made[key].updates + WARMUP, config=of(key)(bc_warmup=WARMUP))
    for key in itertools.product(INTERFACES["routing"][2:], ["bc"]):
        made[key] = replace(made[key], config=of(key)(actor_lr_decay_steps=PERIOD / 2, periodic_lr=True))
    return made


def supply_chain_released() -> Plans:
    """CQL without its penalty, which the code computes and never adds: soft actor-critic on logs.

    Not as released: BC and IQL play the mean a / (a + b) of the production's Beta, where the code's divides by a + b + 1, and its
    CQL does not. That would take an action interface of their own, and the paper has no scores of supply chains to compare with.
    """
    made = released(PRESETS["supply-chain"]["paper"](), iql=AT_NEXT, cql={"cql_alpha": 0.0, "n_actions": 1})
    key = "end_to_end_compat", "iql"
    return made | {key: replace(made[key], config=made[key].config.replace(max_grad_norm=10.0))}


WARMUP, PERIOD = 500, 20_000  # updates: of cloning before IQL, and of a period of BC's rate end to end
AT_NEXT = {"v_target": "s_next"}
MILLION = 1_000_000
PRESETS: dict[str, dict[str, Callable[[], Plans]]] = {
    "routing": {
        "quick": lambda: routing(2, (64, 32), (3_000, 1_500, 500), (2_000, 600, 100)),
        "cpu": lambda: routing(4, (128, 64), (12_000, 12_000, 3_000), (3_000, 2_000, 400)),
        "paper": lambda: routing(5, (256, 256), *[(20_000, 200_000, 200_000)] * 2, published=True),
        "released": routing_released,
    },
    "supply-chain": {
        "quick": lambda: make("supply-chain", 2, 64, {"bc": 3_000, "iql": 1_500, "cql": 500}),
        "cpu": lambda: make("supply-chain", 4, 32, {"bc": 4_000, "iql": 3_000, "cql": 3_000}),
        "paper": lambda: make("supply-chain", 5, 256, dict.fromkeys(("bc", "iql", "cql"), 500_000), published=True),
        "released": supply_chain_released,
    },
    "reacher": {
        "quick": lambda: make("reacher", 2, 64, {"bc": 6_000, "iql": 3_000}, 256),
        "cpu": lambda: make("reacher", 5, 128, {"bc": 30_000, "iql": 8_000}, 256),
        "paper": lambda: make("reacher", 5, 256, dict.fromkeys(("bc", "iql"), MILLION), 256, published=True),
    },
    "manipulation": {
        "quick": lambda: make("manipulation", 1, 128, dict.fromkeys(("iql", "td3_bc", "bc"), 6_000)),
        "cpu": lambda: make("manipulation", 3, 128, dict.fromkeys(("iql", "td3_bc", "bc"), 20_000)),
        "paper": lambda: manipulation(5, 256, MILLION),
        "released": lambda: released(manipulation(5, 256, MILLION), iql={**AT_NEXT, "max_grad_norm": 1.0}),
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
    made = PRESETS[family][preset]()
    if interface in INTERFACES[family]:
        return find(made, interface, learner, task)
    return replace(find(made, "ohio", learner, task), normalize=not as_released(interface))


def find(plans: Plans, interface: str, learner: str, task: str = "") -> Plan:
    """The plan of a learner, one that is not among them as well; the task's own where it has one.

    It gets the budget of the interface's IQL, and its default Config but for IQL's discount and unit of rewards, which are the
    task's.

    Raises:
        UserError: for an unknown interface.
    """
    for key in ((task, interface, learner), (interface, learner)):
        if key in plans:
            return plans[key]
    if (interface, "iql") not in plans:
        raise UserError(f"expected a plan for {learner} on {interface}, found none")
    like, config = plans[interface, "iql"], LEARNERS[learner].Config()
    of_task = {field: getattr(like.config, field) for field in ("discount", "reward_scale") if hasattr(config, field)}
    return replace(like, learner=learner, config=config.replace(**of_task))
