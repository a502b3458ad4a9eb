"""The vehicle-routing table: OHIO beside end-to-end offline RL on data of four operators (OHIO, ICLR 2025, NYC table)."""

from dataclasses import replace

from ohio_envs import files, plans

from ohio_bench.report.claims import Claim
from ohio_bench.runner.table import Column, Preset, Row, Table
from ohio_bench.runner.trials import CLONING, Trials
from ohio_jax.errors import UserError

COMPAT, FAIR, OHIO = "E2E (paper)", "E2E (fair)", "OHIO"
FAMILIES = {COMPAT: "end_to_end_compat", FAIR: "end_to_end", OHIO: "ohio"}
LEARNERS = ("bc", "iql", "cql")
# Learner by learner, so that a table that is still being filled first shows each method beside its rivals.
COLUMNS = tuple(Column(family, interface, "analytic", learner) for learner in LEARNERS for family, interface in FAMILIES.items())

# What no CPU run can replace first: by the processor time of a cell at the published budgets, but E2E CQL, which takes many times
# as long as any other, after those that it would keep an accelerator from.
DEAREST = (
    *(f"{OHIO} CQL", f"{COMPAT} IQL", f"{FAIR} IQL", f"{COMPAT} BC", f"{FAIR} BC", f"{COMPAT} CQL", f"{FAIR} CQL"),
    *(f"{OHIO} IQL", f"{OHIO} BC"),
)

# As the authors' code has them: the hyperparameters of their scripts, and how these act at test, of which only CQL's above the
# low level takes the mean. The dearest come first, as above.
E2E_RELEASED, OHIO_RELEASED = "E2E (as released)", "OHIO (as released)"
RELEASED = (
    Column(OHIO_RELEASED, "ohio_compat", "analytic", "cql"),
    Column(E2E_RELEASED, "end_to_end_compat", "analytic", "iql", acting="sample"),
    Column(E2E_RELEASED, "end_to_end_compat", "analytic", "bc", acting="sample"),
    Column(E2E_RELEASED, "end_to_end_compat_tens", "analytic", "cql", acting="sample"),
    Column(OHIO_RELEASED, "ohio_compat", "analytic", "iql", acting="sample"),
    Column(OHIO_RELEASED, "ohio_compat", "analytic", "bc", acting="sample"),
)

# Published scores on NYC, mean and standard deviation, in the order of LEARNERS.
PAPER = {
    "inf": {COMPAT: ((88.7, 1.5), (48.2, 1.3), (48.1, 1.5)), OHIO: ((97.6, 2.3), (98.1, 2.8), (93.0, 1.7))},
    "dtv": {COMPAT: ((67.0, 1.6), (48.9, 1.5), (69.2, 2.3)), OHIO: ((89.2, 2.3), (91.1, 2.8), (83.5, 2.3))},
    "prop": {COMPAT: ((83.1, 1.7), (42.2, 1.6), (68.3, 1.8)), OHIO: ((85.7, 2.5), (85.8, 2.2), (88.0, 2.4))},
    "disp": {COMPAT: ((44.1, 2.7), (57.4, 2.1), (32.5, 2.9)), OHIO: ((86.5, 1.6), (82.8, 2.2), (94.1, 1.7))},
}
BUDGETS = plans.PRESETS["routing"]
BEHAVIORS = tuple(PAPER)
POLICIES = ("none", "uniform", "disp", "prop", "dtv", "inf", "oracle")

NYC = tuple(
    Row(
        f"NYC-{behavior.upper()}",
        f"nyc-{behavior}-v1",
        {(family, learner): row[i] for family, row in PAPER[behavior].items() for i, learner in enumerate(LEARNERS)},
    )
    for behavior in BEHAVIORS
)
SHENZHEN = tuple(Row(f"Shenzhen-{behavior.upper()}", f"shenzhen-{behavior}-v1") for behavior in BEHAVIORS)
SYNTHETIC = tuple(Row(f"Synthetic-{behavior.upper()}", f"synthetic-{behavior}-v1") for behavior in BEHAVIORS)


TRIALS = Trials(
    row="NYC-DTV",
    families={"hierarchy": OHIO, "end-to-end": FAIR},
    grid={
        "bc": CLONING,
        "iql": (
            {},
            {"actor_lr": 3e-4},
            {"expectile": 0.5},
            {"expectile": 0.9},
            {"beta": 0.3},
            {"beta": 3.0},
            {"reward_scale": 1e-2},
            {"expectile": 0.9, "beta": 3.0},
        ),
        "cql": (
            {},
            {"actor_lr": 3e-4, "critic_lr": 3e-4},
            {"reward_scale": 0.1},
            {"actor_lr": 3e-4, "critic_lr": 3e-4, "reward_scale": 0.1},
            {"cql_alpha": 0.2},
            {"cql_alpha": 5.0},
            {"temperature": 0.03},
            {"cql_alpha": 5.0, "reward_scale": 0.1},
        ),
    },
)


def as_released(row: Row) -> Row:
    """The row with the published figures beside the columns of `RELEASED`."""
    family = {COMPAT: E2E_RELEASED, OHIO: OHIO_RELEASED}
    return replace(row, paper={(family[name], learner): figure for (name, learner), figure in row.paper.items()})


def quick() -> Preset:
    """What `make bench` runs: BC and IQL beside the paper's rival on the best operator's data, of a real city if at hand."""
    try:
        files.locate("scenario_nyc_brooklyn.json")
        city = NYC
    except UserError:
        city = SYNTHETIC
    rows = tuple(row for row in city if row.behavior_policy == "inf")
    # Without those most of whose time is compiling.
    columns = tuple(column for column in COLUMNS if column.learner != "cql" and column.family != FAIR)
    return Preset(rows, BUDGETS["quick"](), runs=2, test_episodes=20, data_episodes=128, policies=POLICIES, columns=columns)


def cpu() -> Preset:
    """All of New York, and of Shenzhen the operator on whose data in New York settings are chosen: the city alone differs.

    A method end to end decides on n^2 numbers where OHIO decides on n. Equal updates would cost it four to eight times what it
    has here, which this preset cannot pay: 3,000, 2,000 and 400 updates of BC, IQL and CQL, beside 12,000, 12,000 and 3,000 of
    OHIO. The table gives the updates of each cell, and the page of trials what twice as many change.
    """
    shenzhen = tuple(row for row in SHENZHEN if row.behavior_policy == "dtv")
    return Preset(NYC + shenzhen, BUDGETS["cpu"](), runs=5, test_episodes=100, policies=POLICIES)


def paper() -> Preset:
    """The published budgets and hyperparameters on both cities; for a GPU."""
    return Preset(NYC + SHENZHEN, BUDGETS["paper"](), runs=5, test_episodes=100, policies=POLICIES, dearest=DEAREST)


def released() -> Preset:
    """Both cities as the authors' code learns and acts, mistakes included; for a GPU."""
    rows, dearest = tuple(map(as_released, NYC + SHENZHEN)), tuple(column.name for column in RELEASED)
    return Preset(rows, BUDGETS["released"](), runs=5, test_episodes=100, policies=POLICIES, columns=RELEASED, dearest=dearest)


TABLE = Table(
    name="routing",
    title="Vehicle routing",
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "paper": paper, "released": released},
    trials=TRIALS,
    low_levels={
        "ohio": "transport",
        "ohio_compat": "transport, shares cut to whole vehicles",
        "end_to_end": "none (shares)",
        "end_to_end_compat": "none (requests)",
        "end_to_end_compat_tens": "none (requests, in tens)",
    },
    note=(
        "Score = 100 J / J_ref, J the profit of an episode in dollars, J_ref = 58,000 in New York (inferred from the "
        "paper's figures) and 61,320 in Shenzhen; in the synthetic city J_ref is the full-information upper bound. "
        "E2E (paper) acts with Gaussian requests on all ordered pairs as the original does; E2E (fair) with shares of each "
        "region's idle vehicles, feasible by construction. The cities have the original's dynamics (`dynamics=strict`), the "
        "synthetic one conserves its vehicles. "
        "Policies act by their mean; the paper's BC, IQL and end-to-end policies were sampled, as are those (as released)."
    ),
    unit="profit, $",
    metrics=(
        ("served", "served requests", 1.0),
        ("rebalancing_cost", "rebalancing cost, $", 1.0),
    ),
)

NEW_YORK = "On the data of New York's four operators, IQL on recovered actions scores {difference}"
NEW_YORKS = tuple(row.name for row in NYC)
CLAIMS = (
    Claim(
        "fair",
        f"{NEW_YORK} end-to-end IQL with feasible actions, after {{updates}} and {{their_updates}} updates.",
        ours=f"{OHIO} IQL",
        theirs=f"{FAIR} IQL",
        rows=NEW_YORKS,
    ),
    Claim(
        "paper",
        f"{NEW_YORK} end-to-end IQL with the original's actions, after {{updates}} and {{their_updates}} updates.",
        ours=f"{OHIO} IQL",
        theirs=f"{COMPAT} IQL",
        rows=NEW_YORKS,
    ),
    Claim(
        "uniform",
        f"{NEW_YORK} equal shares for all regions, for which nothing is learned.",
        ours=f"{OHIO} IQL",
        theirs="uniform",
        rows=NEW_YORKS,
    ),
    Claim("cloning", f"{NEW_YORK} behavior cloning of the same actions.", f"{OHIO} IQL", f"{OHIO} BC", "within", 3.0, NEW_YORKS),
    Claim(
        "shenzhen",
        "In Shenzhen, on the data of DTV, IQL on recovered actions scores {difference} end-to-end IQL with feasible actions, "
        "after {updates} and {their_updates} updates.",
        ours=f"{OHIO} IQL",
        theirs=f"{FAIR} IQL",
        rows=("Shenzhen-DTV",),
    ),
    Claim(
        "operator",
        "On the data of the best operator, INF, IQL on recovered actions scores {difference} the operator.",
        ours=f"{OHIO} IQL",
        theirs="inf",
        relation="below",
        rows=("NYC-INF",),
    ),
    # What the page beside the paper's numbers gives as reasons.
    Claim(
        "idle",
        "On INF's data, end-to-end behavior cloning with the original's actions scores {difference} doing nothing.",
        ours=f"{COMPAT} BC",
        theirs="none",
        relation="within",
        margin=2.0,
        rows=("NYC-INF",),
    ),
    Claim(
        "equal-shares",
        "On the data of random shares, behavior cloning of recovered actions scores {difference} equal shares everywhere.",
        ours=f"{OHIO} BC",
        theirs="uniform",
        relation="within",
        margin=2.0,
        rows=("NYC-DISP",),
    ),
)
