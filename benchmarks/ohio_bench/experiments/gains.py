"""Gains varied one by one: how policies fare when stiffness of rotation and damping of position differ from the logging gains.

The paper changes each to one other value. Here they vary from a tenth to two or six times the logging value; logged high-level
actions are transferred zero-shot to each, and OHIO is trained on high-level actions recovered for each.
"""

import functools
import itertools

from ohio_envs import plans

from ohio_bench.experiments import manipulation
from ohio_bench.experiments.manipulation import LOGGED, OHIO
from ohio_bench.report import charts
from ohio_bench.runner.table import Preset, Row, Table

KP = (15.0, 50.0, 150.0, 300.0)  # stiffness of rotation [1 / s^2]; 150 when the data were made
ZETA = (0.3, 1.0, 3.0, 6.0)  # damping ratio of position; 1 when the data were made
COLUMNS = tuple(column for column in manipulation.COLUMNS if column.family in (LOGGED, OHIO) and column.learner == "iql")


def _row(scene: str, kp: float, zeta: float) -> Row:
    # `stiffness`: with the paper's wider action range, everywhere.
    changes = {"gains": "stiffness", "rotation_kp": kp, "position_zeta": zeta}
    return Row(f"{scene}-{kp:g}-{zeta:g}", f"{scene.lower()}-noisy-v1", changes=changes)


ROWS = tuple(_row(scene, kp, zeta) for scene in ("Lift", "Door") for kp, zeta in itertools.product(KP, ZETA))


def quick() -> Preset:
    """One corner."""
    return Preset(ROWS[:1], plans.make("manipulation", 1, 64, {"iql": 1_000}), runs=1, test_episodes=5, data_episodes=16)


def cpu() -> Preset:
    """The whole map in some hours on two cores."""
    return Preset(ROWS, plans.make("manipulation", 1, 128, {"iql": 20_000}), runs=1, test_episodes=100)


TABLE = Table(
    name="gains",
    title="Gains of Lift's and Door's controller, one by one",
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu},
    tuned_by=manipulation.TABLE,
    low_levels=manipulation.TABLE.low_levels,
    note=(
        "Rows: scene, stiffness of rotation, damping ratio of position; data are collected at 150 and 1. Score = 100 J / J_ref, "
        "J_ref the mean return of the expert agent (without sources: of the noise-free script). OHIO's action range is the "
        "paper's under changed stiffness."
    ),
    unit="return",
    metrics=(("success", "success, %", 100.0),),
    each_step=("returns",),
    shares=("metrics.success",),
    chart=functools.partial(charts.maps, tuple(column.name for column in COLUMNS), KP, ZETA),
)
