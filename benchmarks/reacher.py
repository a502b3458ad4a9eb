"""The reacher table: ways to recover the goals of an LQR low level, beside end-to-end learning (OHIO, ICLR 2025, table 1)."""

from dataclasses import replace

from benchmarks.table import Column, Preset, Row, Table
from ohio_jax.learners import bc, iql
from ohio_jax.train import Plan

# (family on the table, action space, inverse). "(paper)": with the original's dynamics model and without drift.
METHODS = (
    ("OHIO analytical", "ohio", "analytic"),
    ("OHIO reg. analytical", "ohio", "ridge"),
    ("OHIO least squares", "ohio", "least_squares"),
    ("OHIO true dynamics", "ohio_true", "least_squares"),
    ("OHIO analytical (paper)", "ohio_compat", "analytic"),
    ("OHIO reg. analytical (paper)", "ohio_compat", "reg_analytic"),
    ("OHIO numerical (paper)", "ohio_compat", "numerical"),
    ("Observed state", "ohio", "observed"),
    ("End-to-end", "end_to_end", "analytic"),
)
LEARNERS = ("bc", "iql")
COLUMNS = tuple(Column(*method, learner) for learner in LEARNERS for method in METHODS)

# Published for behaviour cloning on data of an end-to-end agent: mean and deviation over 30 episodes.
PAPER = {
    ("OHIO numerical (paper)", "bc"): (99.2, 15.0),
    ("OHIO analytical (paper)", "bc"): (94.8, 22.0),
    ("OHIO reg. analytical (paper)", "bc"): (95.4, 23.4),
    ("Observed state", "bc"): (0.04, 0.0),
    ("End-to-end", "bc"): (99.3, 16.0),
}
ROWS = (
    Row("Reacher-Expert", "reacher", (), "expert", PAPER),
    Row("Reacher-Medium", "reacher", (), "medium", {}),
)
POLICIES = ("random", "medium", "expert")

PUBLISHED = {"bc": bc.Config(), "iql": iql.Config(expectile=0.9, inverse_temperature=1.0, discount=0.99, reward_scale=1.0)}
SHORT = {name: replace(config, actor_rate=1e-3) for name, config in PUBLISHED.items()}


def plans(configs, seeds: int, hidden: int, updates: dict[str, int]):
    """One plan for each (space, learner)."""
    out = {}
    for space in {space for _, space, _ in METHODS}:
        for learner in LEARNERS:
            config = configs[learner]
            if configs is SHORT:
                config = replace(config, decay=float(updates[learner]))
            out[space, learner] = Plan(learner, config, hidden, updates[learner], 256, min(1000, updates[learner]), seeds)
    return out


def quick() -> Preset:
    """A few minutes."""
    return Preset(ROWS[:1], plans(SHORT, 2, 256, {"bc": 10_000, "iql": 5_000}), 100, 20, policies=POLICIES)


def cpu() -> Preset:
    """The whole table in a few hours on two cores."""
    return Preset(ROWS, plans(SHORT, 5, 256, {"bc": 60_000, "iql": 30_000}), 300, 100, policies=POLICIES)


def paper() -> Preset:
    """The published budgets; for a GPU."""
    return Preset(ROWS, plans(PUBLISHED, 5, 256, {"bc": 1_000_000, "iql": 1_000_000}), 1000, 100, policies=POLICIES)


TABLE = Table(
    name="reacher",
    title="Reacher",
    tasks=("reacher",),
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "paper": paper},
    note=(
        "Score = 100 J / J_ref, J the steps of an episode of 1,000 in which the finger touches the target, J_ref = 980, the "
        "scripted expert's. OHIO learns the arm's dynamics from the logs, except with true dynamics. (paper): the original's "
        "model, without drift, and its inverses."
    ),
    unit="steps on the target",
    metrics=(),
)
