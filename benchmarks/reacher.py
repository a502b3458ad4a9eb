"""The reacher table: ways to recover the goals of an LQR low level, beside end-to-end learning (OHIO, ICLR 2025, table 1)."""

from dataclasses import replace

from benchmarks import table
from benchmarks.table import Column, Preset, Row, Table
from ohio_jax.learners import bc, iql

# (family on the table, action space, inverse, weights). "(paper)": the original's goals, dynamics model and filters.
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
COLUMNS = tuple(
    Column(family, space, inverse, learner, weights) for learner in LEARNERS for family, space, inverse, weights in METHODS
)
QUICK = ("OHIO analytical", "OHIO least squares", "End-to-end")

# Published for behaviour cloning on data of an end-to-end agent: mean and deviation over 30 episodes.
PAPER = {
    ("OHIO numerical (paper)", "bc"): (99.2, 15.0),
    ("OHIO analytical (paper)", "bc"): (94.8, 22.0),
    ("OHIO reg. analytical (paper)", "bc"): (95.4, 23.4),
    ("Observed state (paper)", "bc"): (0.04, 0.0),
    ("End-to-end", "bc"): (99.3, 16.0),
}
ROWS = (
    Row("Reacher-Expert", "reacher", (), "expert", PAPER),
    Row("Reacher-Medium", "reacher", (), "medium", {}),
    Row("Reacher-Mixed", "reacher", (), "mixed", {}),
)
POLICIES = ("random", "medium", "mixed", "expert")

# The original's hyperparameters, made for a million updates, and ours for budgets a CPU can afford.
PUBLISHED = {"bc": bc.Config(), "iql": iql.Config(expectile=0.9, inverse_temperature=1.0, discount=0.99, reward_scale=1.0)}
SHORT = {name: replace(config, actor_rate=1e-3) for name, config in PUBLISHED.items()}


def plans(configs, seeds: int, hidden: int, updates: dict[str, int]):
    """One plan for each (space, learner)."""
    return table.plans({space for _, space, _, _ in METHODS}, configs, seeds, hidden, updates, decay=configs is SHORT)


def quick() -> Preset:
    """A minute: what joins `make bench`."""
    columns = tuple(column for column in COLUMNS if column.family in QUICK and column.learner == "bc")
    budget = plans(SHORT, 2, 64, {"bc": 6_000, "iql": 3_000})
    return Preset(ROWS[:1], budget, data_episodes=100, test_episodes=20, policies=POLICIES, columns=columns)


def cpu() -> Preset:
    """The whole table in a few hours on two cores."""
    return Preset(ROWS, plans(SHORT, 5, 128, {"bc": 30_000, "iql": 8_000}), 300, 100, policies=POLICIES)


def paper() -> Preset:
    """The published budgets; for a GPU."""
    return Preset(ROWS, plans(PUBLISHED, 5, 256, {"bc": 1_000_000, "iql": 1_000_000}), 1000, 100, policies=POLICIES)


TABLE = Table(
    name="reacher",
    title="Reacher",
    tasks=("reacher-mjx", "reacher-brax", "reacher"),
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "paper": paper},
    low_levels={
        **dict.fromkeys(("ohio", "ohio_true"), "LQR"),
        **dict.fromkeys(("ohio_compat", "ohio_compat_unit"), "LQR without drift"),
        "ohio_mpc": "MPC",
        "end_to_end": "none",
    },
    note=(
        "Score = 100 J / J_ref, J the steps of an episode of 1,000 in which the finger touches the target, J_ref = 980.6, the "
        "mean of the agent that made the expert data. Goals are displacements under a regulator that knows the arm's drift, "
        "explained with dynamics learned from the logs, or with the true ones. (paper): goals are joint states, the regulator "
        "knows no drift, and model, inverses and filters are the original's; its correct numerical inverse is least squares. "
        "Within 1: goals are cut to 1 rad and 1 rad/s, the limit of the original's torque agents; that of its goals on observed "
        "states is not public. "
        "All networks see the arm from its own first link."
    ),
    unit="steps on the target",
    metrics=(),
    blocks="learner",
)
