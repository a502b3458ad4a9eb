"""The manipulation table: Lift and Door under controllers whose gains change after the data were made (OHIO, ICLR 2025).

Rows share the data of a task, logged under the original gains: those named Replay of trained agents, as the paper's, the others
of a script with noise. Logged high-level actions, as reconstructed from the torques under the logging gains, are learned once and
transferred zero-shot to every row; OHIO recovers high-level actions for the gains of each.

Policies that no gains enter, of torques end to end and of learned low levels, are transferred zero-shot as well: those of a data
set are trained once, by the first row that asks for them, and every other row finds them in the work folder. Rows that differ in
gains alone then hold the same torque policy with the same returns, which is printed once and counts as one.
"""

from dataclasses import replace
from typing import Any

from ohio_envs import plans

from ohio_bench.report.claims import Claim
from ohio_bench.runner.table import Column, Preset, Row, Table
from ohio_bench.runner.trials import CLONING, Trials

LOGGED, WIDE = "Logged high-level actions", "Logged high-level actions, wider action range"
OHIO, EQUAL = "OHIO least squares", "OHIO least squares, same action range"
RESCALED, EQUAL_RESCALED = "Logged actions, rescaled", "Logged actions, rescaled, same action range"
TORQUES = "End-to-end torques"
CONSTANT, FROM_LOGGED, ZERO = "OHIO gradient from a constant", "OHIO gradient from the logged action", "OHIO gradient from zero"
PUBLISHED = f"{CONSTANT}, CEM"  # the paper's inverse, as released
# (family on the table, action interface, inverse, whether it is transferred, zero-shot, from the original gains, decisions that
# transitions look ahead). Labels in the behavior policy's range and in the paper's wider one, where labels have a range.
METHODS = (
    (LOGGED, "logged", "least_squares", True, 1),
    (WIDE, "logged_wide", "least_squares", False, 1),
    (EQUAL_RESCALED, "ohio_equal", "rescaled", False, 1),
    (RESCALED, "ohio", "rescaled", False, 1),
    (EQUAL, "ohio_equal", "least_squares", False, 1),
    (OHIO, "ohio", "least_squares", False, 1),
    (PUBLISHED, "ohio", "gradient_released", False, 1),
    (TORQUES, "end_to_end", "analytic", True, 1),
    (f"{TORQUES}, 5-step", "end_to_end", "analytic", True, 5),  # as long a backup as a decision of the hierarchy
    (f"{TORQUES}, 25-step", "end_to_end", "analytic", True, 25),
    ("HRL joint", "hrl_joint", "analytic", True, 1),
    ("HRL OSC", "hrl_osc", "analytic", True, 1),
)
LEARNERS = ("iql", "td3_bc", "bc")
BUDGETS = plans.PRESETS["manipulation"]
ALL_LEARN = (LOGGED, OHIO, EQUAL, TORQUES)  # the rest only with the paper's learner
COLUMNS = tuple(
    Column(family, interface, inverse, learner, zero_shot=zero_shot, ahead=ahead)
    for learner in LEARNERS
    for family, interface, inverse, zero_shot, ahead in METHODS
    if learner == "iql" or family in ALL_LEARN
)
# The paper's inverse, Adam on the torques: from each start, without and with the cross-entropy method where its loss stays large,
# to its last iterate, which the authors' code returns; and to its best one for our own choice and for theirs, the one published.
GRADIENTS = (
    Column(LOGGED, "logged", "least_squares", "iql", zero_shot=True),
    Column(OHIO, "ohio", "least_squares", "iql"),
    Column(CONSTANT, "ohio", "gradient_released_no_cem", "iql"),
    Column(PUBLISHED, "ohio", "gradient_released", "iql"),
    Column(f"{PUBLISHED}, best iterate", "ohio", "gradient_released_best", "iql"),
    Column(FROM_LOGGED, "ohio", "gradient_logged_no_cem", "iql"),
    Column(f"{FROM_LOGGED}, CEM", "ohio", "gradient_logged", "iql"),
    Column(ZERO, "ohio", "gradient_compat", "iql"),
    Column(f"{ZERO}, CEM", "ohio", "gradient_compat_cem", "iql"),
    Column(f"{ZERO}, best iterate", "ohio", "gradient", "iql"),
)
# As the authors' code has them: the descent from its constant start, its last iterate, the cross-entropy method where its loss
# stays large; and IQL's hyperparameters, which differ between the scenes.
LOGGED_RELEASED, OHIO_RELEASED = f"{LOGGED} (as released)", "OHIO gradient (as released)"
RELEASED = (
    Column(LOGGED_RELEASED, "logged", "least_squares", "iql", zero_shot=True),
    Column(OHIO_RELEASED, "ohio", "gradient_released", "iql"),
)

# Published for IQL: mean and deviation over 30 episodes of one seed.
PAPER = {
    "Lift-Original": ((88.5, 20.7), (89.6, 19.4)),
    "Lift-Stiffness": ((86.8, 16.4), (98.9, 4.4)),
    "Lift-Damping": ((24.1, 11.1), (75.8, 30.5)),
    "Door-Original": ((91.4, 16.8), (94.1, 14.1)),
    "Door-Stiffness": ((18.6, 14.3), (92.7, 15.8)),
    "Door-Damping": ((2.9, 2.2), (76.7, 28.2)),
}
# What changes after the data are collected: settings of the task that policies are tested in. The last two are no part of the
# controller: an arm that carries 1 kg more than it knows of, and joints with ten times their damping and dry friction.
CHANGES = {
    "Original": {},
    "Stiffness": {"gains": "stiffness"},
    "Damping": {"gains": "damping"},
    "Mixture": {},
    "Payload": {"payload": 1},
    "Friction": {"friction": 10},
}
UNFORESEEN = {"Payload", "Friction"}


def _replay(scene: str, change: str) -> Row:
    paper = {(family, "iql"): figure for family, figure in zip((LOGGED, PUBLISHED), PAPER[f"{scene}-{change}"], strict=True)}
    return Row(f"{scene}-Replay-{change}", f"{scene.lower()}-replay-v1", paper, CHANGES[change])


def _scripted(scene: str, change: str) -> Row:
    data_set = f"{scene.lower()}-noisy{'-all-gains' * (change == 'Mixture')}-v1"
    return Row(f"{scene}-{change}", data_set, {}, CHANGES[change], change in UNFORESEEN)


SCENES, PUBLISHED_GAINS = ("Lift", "Door"), ("Original", "Stiffness", "Damping")
REPLAY = tuple(_replay(scene, change) for scene in SCENES for change in PUBLISHED_GAINS)
SCRIPTED = tuple(_scripted(scene, change) for scene in SCENES for change in CHANGES)
ROWS = REPLAY + SCRIPTED
POLICIES = ("none", "random", "noisy-1.0", "noisy-0.7", "noisy-0.3", "script", "medium", "replay", "expert")


TRIALS = Trials(
    row="Lift-Replay-Damping",
    families={"hierarchy": OHIO, "end-to-end": TORQUES, "learned executor": "HRL joint"},
    grid={
        "iql": (
            {},
            {"expectile": 0.9, "beta": 0.1},
            {"expectile": 0.9},
            {"expectile": 0.9, "beta": 10.0},
            {"beta": 1.0},
            {"beta": 10.0},
            {"actor_lr": 3e-4},
            {"critic_lr": 3e-4},
        ),
        "td3_bc": (
            {},
            {"alpha": 0.5},
            {"alpha": 1.0},
            {"alpha": 5.0},
            {"alpha": 10.0},
            {"actor_lr": 3e-4},
            {"actor_lr": 3e-4, "critic_lr": 3e-4},
            {"policy_noise": 0.1, "noise_clip": 0.25},
        ),
        "bc": CLONING,
    },
)


def quick() -> Preset:
    """Part of `make bench`: a door under more damping, with high-level actions as logged and as recovered."""
    rows = tuple(row for row in ROWS if row.name == "Door-Damping")
    columns = tuple(column for column in COLUMNS if column.family in (LOGGED, OHIO) and column.learner == "iql")
    return Preset(rows, BUDGETS["quick"](), runs=1, test_episodes=10, data_episodes=24, policies=("expert",), columns=columns)


def cpu() -> Preset:
    """The paper's rows in some hours on two cores; every method of a learner has as many updates."""
    return Preset(REPLAY, BUDGETS["cpu"](), runs=5, test_episodes=100, policies=POLICIES)


def scripted() -> Preset:
    """The rows on the script's data, which the paper has not, by the paper's learner on one method of each kind."""
    families = (LOGGED, EQUAL, OHIO, "HRL joint")
    columns = tuple(column for column in COLUMNS if column.learner == "iql" and column.family in families)
    given: dict[str, Any] = {"policies": POLICIES, "columns": columns, "tuned_as": "cpu"}
    return Preset(SCRIPTED, BUDGETS["cpu"](), runs=5, test_episodes=100, **given)


def gradient() -> Preset:
    """The paper's rows under the paper's inverse in each of its variants, by the settings that the preset `cpu` learns with.

    A quarter of the episodes: on two cores the descents from three starts take hours.
    """
    given: dict[str, Any] = {"policies": POLICIES, "columns": GRADIENTS, "tuned_as": "cpu", "data_episodes": 50}
    return Preset(REPLAY, BUDGETS["cpu"](), runs=5, test_episodes=100, **given)


def paper() -> Preset:
    """The published budgets; for a GPU."""
    dearest = tuple(column.name for column in COLUMNS if column.learner == "iql")  # the paper's learner
    return Preset(ROWS, BUDGETS["paper"](), runs=5, test_episodes=100, policies=POLICIES, dearest=dearest)


def as_released(row: Row) -> Row:
    """The row with the published figures beside the columns of `RELEASED`."""
    family = {LOGGED: LOGGED_RELEASED, PUBLISHED: OHIO_RELEASED}
    return replace(row, paper={(family[name], learner): figure for (name, learner), figure in row.paper.items()})


def released() -> Preset:
    """The rows of the paper as the authors' code learns and acts, mistakes included; for a GPU."""
    rows = tuple(as_released(row) for row in REPLAY)
    return Preset(rows, BUDGETS["released"](), runs=5, test_episodes=100, policies=POLICIES, columns=RELEASED)


TABLE = Table(
    name="manipulation",
    title="Manipulation",
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu, "scripted": scripted, "gradient": gradient, "paper": paper, "released": released},
    trials=TRIALS,
    low_levels={
        **dict.fromkeys(("logged", "logged_wide", "ohio", "ohio_equal"), "OSC"),
        **dict.fromkeys(("hrl_joint", "hrl_osc"), "recurrent network"),
        "end_to_end": "none (torques)",
    },
    note=(
        "Score = 100 J / J_ref, J_ref the mean return of the expert agent (without sources: of the noise-free script). Data "
        "are collected under the original gains, by an agent at four moments of its training (Replay) or by a script with "
        "noise, and policies tested under the row's (Mixture: collected under all three, tested under the original). Logged "
        "high-level actions: those of the behavior policy, at most 5 cm and 0.5 rad, reconstructed from its torques under the "
        "logging gains by least squares, learned once and transferred zero-shot to the row's gains. OHIO: high-level actions "
        "whose torques under the row's gains come nearest to those logged, within the paper's range, 40 or 50 cm and 1.5 or 1.6 "
        "rad; same action range: within the behavior policy's; wider action range: policies trained on logged actions that may "
        "ask for the paper's range. Rescaled: the logged ones in closed form, so that torques at a decision's first step are "
        "the same. HRL: the reached state is the high-level action, and the low level is a network trained on logs of its own. "
        "End-to-end torques last one of a decision's five steps, and have the same discount per unit of time; 5-step, 25-step: "
        "n-step returns. HRL and torques do not depend on the gains: one policy a data set plays all rows of its scene. OHIO "
        "gradient: the paper's descent from its constant start, from the logged action or from zero, to its last iterate; CEM: "
        "then the cross-entropy method where its loss is 100 or more. The authors' code offers the first two starts; the "
        "paper's scores stand beside the first with CEM."
    ),
    unit="return",
    metrics=(("success", "success, %", 100.0),),
    each_step=("returns",),
    shares=("metrics.success",),
    blocks="learner",
)

CHANGED = tuple(row.name for row in REPLAY if "Original" not in row.name)
GAINS = "On the agents' data, where the controller's stiffness or damping changed,"
# Two methods of a claim differ in their actions or in the range of these, never in both.
CLAIMS = (
    Claim(
        "equal-range",
        f"{GAINS} IQL on actions recovered for the new gains scores {{difference}} IQL on the logged ones, both within the "
        "behavior policy's range of actions.",
        ours=f"{EQUAL} IQL",
        theirs=f"{LOGGED} IQL",
        rows=CHANGED,
    ),
    Claim(
        "equal-range-success",
        f"{GAINS} the success rate of the same policies, in percent, is {{difference}} that on the logged ones.",
        ours=f"{EQUAL} IQL",
        theirs=f"{LOGGED} IQL",
        rows=CHANGED,
        statistic="success",
    ),
    Claim(
        "range",
        f"{GAINS} IQL on recovered actions of the paper's range scores {{difference}} IQL on those within the behavior policy's "
        "narrower one.",
        ours=f"{OHIO} IQL",
        theirs=f"{EQUAL} IQL",
        rows=CHANGED,
    ),
    Claim(
        "rescaled",
        f"{GAINS} IQL on recovered actions scores {{difference}} IQL on logged ones that are rescaled in closed form, both "
        "within the paper's range.",
        ours=f"{OHIO} IQL",
        theirs=f"{RESCALED} IQL",
        rows=CHANGED,
    ),
    Claim(
        "hrl",
        f"{GAINS} IQL on recovered actions scores {{difference}} a trained low level that follows joint targets (HRL joint).",
        ours=f"{OHIO} IQL",
        theirs="HRL joint IQL",
        rows=CHANGED,
    ),
    Claim(
        "torques",
        f"{GAINS} IQL on recovered actions scores {{difference}} end-to-end IQL on torques with as long a backup, after "
        "{updates} and {their_updates} updates.",
        ours=f"{OHIO} IQL",
        theirs=f"{TORQUES}, 5-step IQL",
        rows=CHANGED,
    ),
    Claim(
        "gradient",
        f"{GAINS} IQL on actions recovered by least squares scores {{difference}} IQL on those of the paper's gradient descent, "
        "from its constant start and with the cross-entropy method.",
        ours=f"{OHIO} IQL",
        theirs=f"{PUBLISHED} IQL",
        rows=CHANGED,
    ),
    Claim(
        "cloning",
        "On the agents' data of Lift under changed gains, behavior cloning of recovered actions scores {difference} that of the "
        "logged ones, both within the behavior policy's range.",
        ours=f"{EQUAL} BC",
        theirs=f"{LOGGED} BC",
        rows=tuple(name for name in CHANGED if name.startswith("Lift")),
    ),
    Claim(
        "unchanged",
        "On the agents' data of Lift under the logging gains, recovered actions score {difference} the logged ones.",
        ours=f"{OHIO} IQL",
        theirs=f"{LOGGED} IQL",
        relation="equal",
        rows=("Lift-Replay-Original",),
    ),
)
