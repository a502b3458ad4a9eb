"""The supply-chain table: OHIO beside end-to-end offline RL on data of operators of different quality (OHIO, ICLR 2025)."""

from dataclasses import replace

from ohio_envs import plans

from ohio_bench.experiments.routing import COLUMNS, DEAREST, E2E_RELEASED, OHIO_RELEASED
from ohio_bench.runner.table import Column, Preset, Row, Table
from ohio_jax.learners import bc
from ohio_jax.training.plan import Plan

BUDGETS = plans.PRESETS["supply-chain"]
BEHAVIORS = {"MPC": "mpc", "FRESH": "s_policy_fresh", "HEUR": "s_policy", "MIXED": "mixed"}
NETWORKS = {"1W3S": "supply-chain-1w3s", "1W10S": "supply-chain-1w10s"}
ROWS = tuple(
    Row(f"{network}-{label}", task, (), behavior, {})
    for network, task in NETWORKS.items()
    for label, behavior in BEHAVIORS.items()
)
# As the authors' code has them. Their policies act by their mean here; end to end their CQL cannot run.
RELEASED = (
    *(Column(OHIO_RELEASED, "ohio", "analytic", learner) for learner in ("cql", "iql", "bc")),
    *(Column(E2E_RELEASED, "end_to_end_compat", "analytic", learner) for learner in ("iql", "bc")),
)
POLICIES = ("none", "random", "s_policy", "s_policy_intended", "s_policy_fresh", "base_stock", "mpc", "oracle")


def hdpo(seeds: int, hidden: int, updates: int) -> Plan:
    """The policy trained by gradients through the smooth simulator, on 64 episodes an update."""
    config = bc.Config(actor_lr=3e-3, actor_lr_decay_steps=float(updates))
    return Plan("bc", config, hidden, updates, 64, min(20, updates), seeds, normalize=False)


def quick() -> Preset:
    """A part of the smaller network's rows, for `make bench`."""
    rows = tuple(row for row in ROWS if row.name == "1W3S-HEUR")
    columns = tuple(column for column in COLUMNS if column.learner == "bc")
    policies = tuple(name for name in POLICIES if name != "mpc")
    return Preset(rows, BUDGETS["quick"](), 100, 20, policies=policies, columns=columns, hdpo=hdpo(2, 32, 200))


def cpu() -> Preset:
    """The whole table on two cores."""
    return Preset(ROWS, BUDGETS["cpu"](), 500, 100, policies=POLICIES, hdpo=hdpo(4, 64, 500))


def paper() -> Preset:
    """The published budgets; for a GPU."""
    return Preset(ROWS, BUDGETS["paper"](), 667, 100, policies=POLICIES, hdpo=hdpo(5, 256, 5_000), dearest=DEAREST)


def released() -> Preset:
    """As the authors' code learns and acts, mistakes included, above their low level; for a GPU."""
    rows = tuple(replace(row, settings=(("dynamics", "released"),)) for row in ROWS)
    return Preset(rows, BUDGETS["released"](), 667, 100, policies=POLICIES, columns=RELEASED)


TABLE = Table(
    name="supply-chain",
    title="Supply chain",
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "paper": paper, "released": released},
    low_levels={"ohio": "inventory", "end_to_end": "none (orders)", "end_to_end_compat": "none (requests)"},
    note=(
        "Score: 0 is the low level under random high-level actions, 100 the full-information upper bound (all demand known in "
        "advance), both means over 1,000 episodes. E2E (paper) requests any shipment up to the warehouse's storage and pays for "
        "infeasible requests; E2E (fair) ships shares of the stock. Data, tests and references use disjoint seeds."
    ),
    unit="profit, $",
    metrics=(
        ("fill", "demand served at once, %", 100.0),
        ("over_capacity", "units above storage", 1.0),
        ("infeasible_requests", "infeasible requests", 1.0),
    ),
    shares=("metrics.fill",),
)
