"""The supply-chain table: OHIO beside end-to-end offline RL on data of operators of different quality (OHIO, ICLR 2025)."""

from benchmarks import table
from benchmarks.table import Column, Preset, Row, Table
from ohio_jax.learners import bc, cql, iql
from ohio_jax.training.plan import Plan

COMPAT, FAIR, OHIO = "E2E (paper)", "E2E (fair)", "OHIO"
FAMILIES = {COMPAT: "end_to_end_compat", FAIR: "end_to_end", OHIO: "ohio"}
LEARNERS = ("bc", "iql", "cql")
COLUMNS = tuple(Column(family, space, "analytic", learner) for learner in LEARNERS for family, space in FAMILIES.items())
BEHAVIOURS = {"MPC": "mpc", "FRESH": "s_policy_fresh", "HEUR": "s_policy", "MIXED": "mixed"}
NETWORKS = {"1W3S": "supply-chain-1w3s", "1W10S": "supply-chain-1w10s"}
ROWS = tuple(
    Row(f"{network}-{label}", task, (), behaviour, {})
    for network, task in NETWORKS.items()
    for label, behaviour in BEHAVIOURS.items()
)
POLICIES = ("none", "random", "s_policy", "s_policy_intended", "s_policy_fresh", "base_stock", "mpc", "oracle")

BATCH = 100  # the original's
# The original's hyperparameters, made for 500,000 updates, and ours for budgets a CPU can afford.
PUBLISHED = {
    "bc": bc.Config(),
    "iql": iql.Config(discount=0.99, reward_scale=0.1),
    "cql": cql.Config(discount=0.99, samples=20, largest_gradient=10.0),
}
SHORT = {
    "bc": bc.Config(actor_rate=1e-3),
    "iql": iql.Config(actor_rate=1e-3, critic_rate=1e-3, discount=0.99, reward_scale=1e-2),
    "cql": cql.Config(
        actor_rate=1e-3,
        critic_rate=1e-3,
        discount=0.99,
        temperature=1e-2,
        # With ten stores a policy that is not held close leaves the data for good.
        conservatism=100.0,
        importance=False,
        cloning=2_000.0,
        reward_scale=1e-2,
        samples=4,
        draws=1,
    ),
}


def plans(configs, seeds: int, hidden: int, updates: dict[str, int]):
    """One plan for each (space, learner). updates: of each learner."""
    chosen = {learner: configs[learner] for learner in updates}
    return table.plans(FAMILIES.values(), chosen, seeds, hidden, updates, decay=configs is SHORT, batch=BATCH)


def hdpo(seeds: int, hidden: int, updates: int) -> Plan:
    """The policy trained by gradients through the smooth simulator, on 64 episodes an update."""
    return Plan("bc", bc.Config(actor_rate=3e-3, decay=float(updates)), hidden, updates, 64, min(20, updates), seeds)


def quick() -> Preset:
    """A part of the smaller network's rows, for `make bench`."""
    rows = tuple(row for row in ROWS if row.name in ("1W3S-MPC", "1W3S-HEUR"))
    columns = tuple(column for column in COLUMNS if column.learner == "bc")
    policies = tuple(name for name in POLICIES if name != "mpc")
    budget = plans(SHORT, 2, 64, {"bc": 3_000, "iql": 1_500, "cql": 500})
    return Preset(rows, budget, 100, 20, policies=policies, columns=columns, hdpo=hdpo(2, 32, 200))


def cpu() -> Preset:
    """The whole table on two cores."""
    budget = plans(SHORT, 4, 32, {"bc": 4_000, "iql": 3_000, "cql": 3_000})
    return Preset(ROWS, budget, 500, 100, policies=POLICIES, hdpo=hdpo(4, 64, 500))


def paper() -> Preset:
    """The published budgets; for a GPU."""
    budget = plans(PUBLISHED, 5, 256, dict.fromkeys(LEARNERS, 500_000))
    return Preset(ROWS, budget, 667, 100, policies=POLICIES, hdpo=hdpo(5, 256, 5_000))


TABLE = Table(
    name="supply-chain",
    title="Supply chain",
    tasks=tuple(NETWORKS.values()),
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "paper": paper},
    low_levels={"ohio": "inventory", "end_to_end": "none (orders)", "end_to_end_compat": "none (requests)"},
    note=(
        "Score: 0 is the low level under random goals, 100 the profit of one who knew all demand in advance, both means over "
        "1,000 episodes. E2E (paper) asks for any shipment up to the warehouse's storage, and pays for what is not there; "
        "E2E (fair) shares the stock out. Data, tests and the references are of disjoint seeds."
    ),
    unit="profit, $",
    metrics=(
        ("fill", "demand served at once, %", 100.0),
        ("over_capacity", "units above storage", 1.0),
        ("asked_too_much", "units asked too much", 1.0),
    ),
)
