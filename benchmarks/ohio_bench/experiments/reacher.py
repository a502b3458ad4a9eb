"""The reacher table: ways to recover the goals of an LQR low level, beside end-to-end learning (OHIO, ICLR 2025, table 1)."""

from dataclasses import replace

from ohio_envs import plans

from ohio_bench.report.claims import Claim
from ohio_bench.runner.table import Column, Preset, Row, Table
from ohio_bench.runner.trials import CLONING, Trials

# (family on the table, action interface, inverse, weights). "(paper)": the original's goals, dynamics model and filters.
METHODS = (
    ("OHIO numerical (paper)", "ohio_compat", "numerical", "original"),
    ("OHIO analytical (paper)", "ohio_compat", "analytic", None),
    ("OHIO reg. analytical (paper)", "ohio_compat", "reg_analytic", "original"),
    ("Observed state (paper)", "ohio_compat", "observed", None),
    ("Observed state (paper), within 1", "ohio_compat_unit", "observed", None),
    ("OHIO analytical", "ohio", "analytic", None),
    ("OHIO reg. analytical", "ohio", "ridge", None),
    ("OHIO least squares", "ohio", "least_squares", None),
    ("OHIO posterior-weighted", "ohio", "posterior", None),
    ("OHIO true dynamics", "ohio_true", "least_squares", None),
    ("Observed state", "ohio", "observed", None),
    ("MPC: OHIO analytical", "ohio_mpc", "analytic", None),
    ("MPC: OHIO reg. analytical", "ohio_mpc", "ridge", None),
    ("MPC: OHIO least squares", "ohio_mpc", "least_squares", None),
    ("MPC: OHIO posterior-weighted", "ohio_mpc", "posterior", None),
    ("MPC: observed state", "ohio_mpc", "observed", None),
    ("End-to-end", "end_to_end", "analytic", None),
)
LEARNERS = ("bc", "iql")
BUDGETS = plans.PRESETS["reacher"]
COLUMNS = tuple(
    Column(family, interface, inverse, learner, weights)
    for learner in LEARNERS
    for family, interface, inverse, weights in METHODS
)
# Equal horizons and backups: discounts are equal per unit of time unless a column says otherwise; a decision of the hierarchy is
# five low-level steps, and five of its decisions are 25. Cloning neither discounts nor looks ahead.
LEAST_SQUARES, OBSERVED, PLANNED = "OHIO least squares", "Observed state", "MPC: OHIO least squares"
CLONED = (LEAST_SQUARES, OBSERVED, PLANNED, "End-to-end")
EQUAL = (
    Column(LEAST_SQUARES, "ohio", "least_squares", "iql"),
    Column(f"{LEAST_SQUARES}, 5 decisions", "ohio", "least_squares", "iql", ahead=5),
    Column(OBSERVED, "ohio", "observed", "iql"),
    Column(f"{OBSERVED}, 5 decisions", "ohio", "observed", "iql", ahead=5),
    Column(PLANNED, "ohio_mpc", "least_squares", "iql"),
    Column("End-to-end, discount 0.99", "end_to_end", "analytic", "iql", config=(("discount", 0.99),)),
    Column("End-to-end", "end_to_end", "analytic", "iql"),
    Column("End-to-end, 5-step", "end_to_end", "analytic", "iql", ahead=5),
    Column("End-to-end, 25-step", "end_to_end", "analytic", "iql", ahead=25),
    *(column for column in COLUMNS if column.learner == "bc" and column.family in CLONED),
)
MANY = 30_000  # updates of IQL in the preset `long`
QUICK = ("OHIO analytical", "OHIO least squares", "End-to-end")

# Published for behavior cloning on data of an end-to-end agent: mean and deviation over 30 episodes.
PAPER = {
    ("OHIO numerical (paper)", "bc"): (99.2, 15.0),
    ("OHIO analytical (paper)", "bc"): (94.8, 22.0),
    ("OHIO reg. analytical (paper)", "bc"): (95.4, 23.4),
    ("Observed state (paper)", "bc"): (0.04, 0.0),
    ("End-to-end", "bc"): (99.3, 16.0),
}
ROWS = (
    Row("Reacher-Expert", "reacher-expert-v1", PAPER),
    Row("Reacher-Medium", "reacher-medium-v1"),
    Row("Reacher-Mixed", "reacher-mixed-v1"),
)
POLICIES = ("random", "medium", "mixed", "expert")


TRIALS = Trials(
    row="Reacher-Medium",
    families={"hierarchy": "OHIO least squares", "end-to-end": "End-to-end"},
    grid={
        "bc": CLONING,
        "iql": (
            {},
            {"actor_lr": 3e-4},
            {"critic_lr": 1e-3},
            {"expectile": 0.7},
            {"beta": 0.3},
            {"beta": 3.0},
            {"reward_scale": 0.1},
            {"expectile": 0.7, "beta": 3.0},
        ),
    },
)


def quick() -> Preset:
    """A minute: what joins `make bench`."""
    columns = tuple(column for column in COLUMNS if column.family in QUICK and column.learner == "bc")
    return Preset(ROWS[:1], BUDGETS["quick"](), runs=2, test_episodes=20, data_episodes=100, policies=POLICIES, columns=columns)


def cpu() -> Preset:
    """Every method on the row that has published figures, in some two hours on two cores."""
    return Preset(ROWS[:1], BUDGETS["cpu"](), runs=5, test_episodes=100, policies=POLICIES, tuned_as="horizon")


def horizon() -> Preset:
    """Methods of equal horizon on all rows, by discounts that are equal per unit of time and n-step returns."""
    return Preset(ROWS, BUDGETS["cpu"](), runs=5, test_episodes=100, policies=POLICIES, columns=EQUAL)


def long() -> Preset:
    """IQL's methods of equal horizon on the row of the trials, by the settings these chose, after more updates."""
    made = horizon()
    rows = tuple(row for row in ROWS if row.name == TRIALS.row)
    columns = tuple(column for column in EQUAL if column.learner == "iql")
    lasting = {key: plan.lasting(MANY) for key, plan in made.plans.items() if plan.learner == "iql"}
    return replace(made, rows=rows, columns=columns, plans=made.plans | lasting, tuned_as="horizon")


def paper() -> Preset:
    """The published budgets; for a GPU."""
    dearest = tuple(column.name for column in COLUMNS if column.learner == "iql")
    return Preset(ROWS, BUDGETS["paper"](), runs=5, test_episodes=100, policies=POLICIES, dearest=dearest)


TABLE = Table(
    name="reacher",
    title="Reacher",
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "horizon": horizon, "long": long, "paper": paper},
    trials=TRIALS,
    low_levels={
        **dict.fromkeys(("ohio", "ohio_true"), "LQR"),
        **dict.fromkeys(("ohio_compat", "ohio_compat_unit"), "LQR without drift"),
        "ohio_mpc": "MPC",
        "end_to_end": "none",
    },
    note=(
        "Score = 100 J / J_ref, J the steps of an episode of 1,000 in which the finger touches the target, J_ref the mean of "
        "the agent that made the expert data. High-level actions are displacements, followed by a regulator that models "
        "the arm's drift and recovered with dynamics learned from the logs, or with the true dynamics. (paper): high-level "
        "actions are joint states, the regulator models no drift, and dynamics model, inverses and filters are the original's; "
        "its numerical inverse, implemented correctly, is least squares. Within 1: high-level actions are clipped to 1 rad and "
        "1 rad/s, the range of the original's torque agents; the range of its observed states is not public. "
        "5-step, 25-step, 5 decisions: n-step returns. A decision of the hierarchy is five low-level steps, and its discount of "
        "0.99 equals 0.998 a step, end to end; cells made before sources were recorded have 0.99 a step there. "
        "Observations are relative to the arm's first link."
    ),
    unit="steps on the target",
    metrics=(),
    each_step=("returns", "metrics.touching"),
    blocks="learner",
)

# Of the inverses, least squares is the one that claims are about. What is compared with end-to-end learning looks as far ahead
# and is backed up over as many low-level steps.
EQUALLY = "of as long a horizon and backup"
ON_MEDIUM = f"On Reacher-Medium after {MANY:,} updates"
CLAIMS = (
    Claim(
        "end-to-end",
        f"IQL on recovered actions scores {{difference}} end-to-end IQL {EQUALLY}, five low-level steps, after {{updates}} and "
        "{their_updates} updates.",
        ours=f"{LEAST_SQUARES} IQL",
        theirs="End-to-end, 5-step IQL",
        preset="horizon",
    ),
    Claim(
        "end-to-end-25",
        f"With returns of five decisions, IQL on recovered actions scores {{difference}} end-to-end IQL {EQUALLY}, 25 low-level "
        "steps.",
        ours=f"{LEAST_SQUARES}, 5 decisions IQL",
        theirs="End-to-end, 25-step IQL",
        preset="horizon",
    ),
    Claim(
        "backup",
        "End to end, IQL with 5-step returns scores {difference} IQL with one-step returns.",
        ours="End-to-end, 5-step IQL",
        theirs="End-to-end IQL",
        preset="horizon",
    ),
    Claim(
        "observed",
        "IQL on recovered actions scores {difference} IQL on the observed states, for which nothing is inverted.",
        ours=f"{LEAST_SQUARES} IQL",
        theirs=f"{OBSERVED} IQL",
        relation="within",
        margin=5.0,
        preset="horizon",
    ),
    Claim(
        "expert",
        "On the expert's data, behavior cloning of recovered actions scores {difference} that of torques.",
        ours=f"{LEAST_SQUARES} BC",
        theirs="End-to-end BC",
        relation="within",
        margin=1.0,
        rows=("Reacher-Expert",),
        preset="horizon",
    ),
    Claim(
        "end-to-end-long",
        f"{ON_MEDIUM}, IQL on recovered actions scores {{difference}} end-to-end IQL {EQUALLY}, five low-level steps.",
        ours=f"{LEAST_SQUARES} IQL",
        theirs="End-to-end, 5-step IQL",
        preset="long",
    ),
    Claim(
        "end-to-end-25-long",
        f"{ON_MEDIUM} with returns of five decisions, IQL on recovered actions scores {{difference}} end-to-end IQL {EQUALLY}, "
        "25 low-level steps.",
        ours=f"{LEAST_SQUARES}, 5 decisions IQL",
        theirs="End-to-end, 25-step IQL",
        preset="long",
    ),
    Claim(
        "observed-long",
        f"{ON_MEDIUM}, IQL on recovered actions scores {{difference}} IQL on the observed states, for which nothing is inverted.",
        ours=f"{LEAST_SQUARES} IQL",
        theirs=f"{OBSERVED} IQL",
        relation="within",
        margin=5.0,
        preset="long",
    ),
    Claim(
        "range",
        "On the expert's data, behavior cloning of the original's observed states scores {difference} the same without the limit "
        "of 1 rad and 1 rad/s.",
        ours="Observed state (paper), within 1 BC",
        theirs="Observed state (paper) BC",
        relation="below",
        rows=("Reacher-Expert",),
    ),
)
