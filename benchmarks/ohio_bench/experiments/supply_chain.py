"""The supply-chain table: OHIO beside end-to-end offline RL on data of operators of different quality (OHIO, ICLR 2025)."""

from dataclasses import replace
from typing import Any

from ohio_envs import plans

from ohio_bench.experiments.routing import COLUMNS, DEAREST, E2E_RELEASED, FAIR, OHIO, OHIO_RELEASED
from ohio_bench.report.claims import Claim
from ohio_bench.runner.table import Column, Preset, Row, Table
from ohio_bench.runner.trials import CLONING, Trials
from ohio_jax.learners import bc
from ohio_jax.training.plan import Plan

BUDGETS = plans.PRESETS["supply-chain"]
OPERATORS, NETWORKS = ("MPC", "FRESH", "HEUR", "MIXED"), ("1W3S", "1W10S")
ROWS = tuple(Row(f"{network}-{operator}", f"{network}-{operator}-v1".lower()) for network in NETWORKS for operator in OPERATORS)
# As the authors' code has them. Their policies act by their mean here; end to end their CQL cannot run.
RELEASED = (
    *(Column(OHIO_RELEASED, "ohio", "analytic", learner) for learner in ("cql", "iql", "bc")),
    *(Column(E2E_RELEASED, "end_to_end_compat", "analytic", learner) for learner in ("iql", "bc")),
)
POLICIES = ("none", "random", "s_policy", "s_policy_intended", "s_policy_fresh", "base_stock", "mpc", "oracle")


TRIALS = Trials(
    row="1W3S-HEUR",
    families={"hierarchy": OHIO, "end-to-end": FAIR},
    grid={
        "bc": CLONING,
        "iql": (
            {},
            {"actor_lr": 3e-4},
            {"critic_lr": 3e-4},
            {"expectile": 0.7},
            {"beta": 1.0},
            {"beta": 10.0},
            {"reward_scale": 0.1},
            {"expectile": 0.7, "beta": 1.0},
        ),
        "cql": (
            {},
            {"actor_lr": 3e-4, "critic_lr": 3e-4},
            {"cql_alpha": 10.0},
            {"cql_alpha": 30.0},
            {"cql_alpha": 300.0},
            {"bc_warmup": 0.0},
            {"temperature": 0.1},
            {"reward_scale": 0.1},
        ),
    },
)


def hdpo(hidden: int, updates: int) -> Plan:
    """The policy trained by gradients through the smooth simulator, on 64 episodes an update."""
    config = bc.Config(actor_lr=3e-3, actor_lr_decay_steps=float(updates))
    return Plan("bc", config, hidden, updates, 64, min(20, updates), normalize=False)


def quick() -> Preset:
    """A part of the smaller network's rows, for `make bench`."""
    rows = tuple(row for row in ROWS if row.name == "1W3S-HEUR")
    columns = tuple(column for column in COLUMNS if column.learner == "bc")
    policies = tuple(name for name in POLICIES if name != "mpc")
    rest: dict[str, Any] = {"data_episodes": 100, "policies": policies, "columns": columns, "hdpo": hdpo(32, 200)}
    return Preset(rows, BUDGETS["quick"](), runs=2, test_episodes=20, **rest)


def cpu() -> Preset:
    """The whole table on two cores."""
    return Preset(ROWS, BUDGETS["cpu"](), runs=5, test_episodes=100, policies=POLICIES, hdpo=hdpo(64, 500))


def paper() -> Preset:
    """The published budgets; for a GPU."""
    rest: dict[str, Any] = {"policies": POLICIES, "hdpo": hdpo(256, 5_000), "dearest": DEAREST}
    return Preset(ROWS, BUDGETS["paper"](), runs=5, test_episodes=100, **rest)


def released() -> Preset:
    """As the authors' code learns and acts, mistakes included, above their low level; for a GPU."""
    rows = tuple(replace(row, changes={"dynamics": "released"}) for row in ROWS)
    return Preset(rows, BUDGETS["released"](), runs=5, test_episodes=100, policies=POLICIES, columns=RELEASED)


TABLE = Table(
    name="supply-chain",
    title="Supply chain",
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "paper": paper, "released": released},
    trials=TRIALS,
    low_levels={"ohio": "inventory", "end_to_end": "none (orders)", "end_to_end_compat": "none (requests)"},
    note=(
        "Score: 0 is the low level under random high-level actions, 100 the full-information upper bound (all demand known in "
        "advance), both means over 1,000 episodes. E2E (paper) requests any shipment up to the warehouse's storage and pays for "
        "infeasible requests; E2E (fair) ships shares of the stock. Data, tests and references are of disjoint streams of seeds."
    ),
    unit="profit, $",
    metrics=(
        ("fill", "demand served at once, %", 100.0),
        ("over_capacity", "units above storage", 1.0),
        ("infeasible_requests", "infeasible requests", 1.0),
    ),
    shares=("metrics.fill",),
)

IQL = "Over both networks and all data sets, IQL on recovered actions scores {difference}"
UPDATES = "after {updates} and {their_updates} updates"
CLAIMS = (
    Claim("fair", f"{IQL} end-to-end IQL with feasible actions, {UPDATES}.", "OHIO IQL", "E2E (fair) IQL"),
    Claim("paper", f"{IQL} end-to-end IQL with the original's actions, {UPDATES}.", "OHIO IQL", "E2E (paper) IQL"),
    Claim("planner", f"{IQL} the planner `mpc`, which learns nothing.", "OHIO IQL", "mpc", "below"),
)
