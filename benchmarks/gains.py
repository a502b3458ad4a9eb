"""Gains varied one by one: what a policy keeps when stiffness of rotation and damping of position are any others than logged.

The paper changes one of them to one other value. Here both go from a tenth to twice or six times what they were, the goals that
behaviour gave are followed under each, and OHIO learns anew from goals that are recovered for each.
"""

import itertools
from typing import Any

import numpy as np

from benchmarks import figures, manipulation
from benchmarks.manipulation import BEHAVIOUR, LOGGED, OHIO, SHORT
from benchmarks.table import Preset, Row, Table

KP = (15.0, 50.0, 150.0, 300.0)  # stiffness of rotation [1 / s^2]; 150 when the data were made
ZETA = (0.3, 1.0, 3.0, 6.0)  # damping ratio of position; 1 when the data were made
COLUMNS = tuple(column for column in manipulation.COLUMNS if column.family in (LOGGED, OHIO) and column.learner == "iql")


def _row(scene: str, kp: float, zeta: float) -> Row:
    # `stiffness`: with the paper's wider goals, everywhere.
    settings = (("gains", "stiffness"), ("rotation_kp", f"{kp:g}"), ("position_zeta", f"{zeta:g}"))
    return Row(f"{scene}-{kp:g}-{zeta:g}", scene.lower(), settings, BEHAVIOUR, {}, made=())


ROWS = tuple(_row(scene, kp, zeta) for scene in ("Lift", "Door") for kp, zeta in itertools.product(KP, ZETA))


def quick() -> Preset:
    """One corner."""
    return Preset(ROWS[:1], manipulation.plans(SHORT, 1, 64, {"iql": 1_000}), 16, 5)


def cpu() -> Preset:
    """The whole map in some hours on two cores."""
    return Preset(ROWS, manipulation.plans(SHORT, 1, 128, {"iql": 20_000}), 200, 50)


def chart(listed: list[Any]) -> bytes:
    """PNG: scores over both gains, a line of maps for each scene: logged goals, OHIO, and what OHIO gains."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    score = {(entry.row, entry.column): entry.score for entry in listed}
    names = [column.name for column in COLUMNS]
    scenes = [scene for scene in ("Lift", "Door") if any(row.startswith(scene) for row, _ in score)]
    figure, axes = plt.subplots(len(scenes), 3, figsize=(11, 3.4 * len(scenes)), squeeze=False)
    for scene, line in zip(scenes, axes, strict=True):
        of = {
            name: np.array([[score.get((f"{scene}-{kp:g}-{zeta:g}", name), np.nan) for zeta in ZETA] for kp in KP])
            for name in names
        }
        maps = {**of, "OHIO less logged": of[names[1]] - of[names[0]]}
        for axis, (name, values) in zip(line, maps.items(), strict=True):
            less = name not in of
            low, high, colours = (-100, 100, "RdBu") if less else (0, 100, "viridis")
            dark = (lambda value: abs(value) > 60) if less else (lambda value: value < 60)
            axis.imshow(values, vmin=low, vmax=high, cmap=colours, origin="lower")
            for (i, j), value in np.ndenumerate(values):
                if np.isfinite(value):
                    axis.text(j, i, f"{value:z.0f}", ha="center", va="center", color="white" if dark(value) else "black")
            axis.set_xticks(range(len(ZETA)), [f"{zeta:g}" for zeta in ZETA])
            axis.set_yticks(range(len(KP)), [f"{kp:g}" for kp in KP])
            axis.set_title(f"{scene}: {name}", fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("damping ratio of position")
    for axis in axes[:, 0]:
        axis.set_ylabel("stiffness of rotation")
    figure.tight_layout()
    return figures.png(figure)


TABLE = Table(
    name="gains",
    title="Gains of Lift's and Door's controller, one by one",
    tasks=(),
    columns=COLUMNS,
    presets={"quick": quick, "cpu": cpu},
    low_levels=manipulation.TABLE.low_levels,
    note=(
        "Rows: scene, stiffness of rotation, damping ratio of position; data are made at 150 and 1. Score = 100 J / J_ref, J_ref "
        "the mean return of the script without noise. OHIO's goals may be as large as the paper allows under changed stiffness."
    ),
    unit="return",
    metrics=(("success", "success, %", 100.0),),
    chart=chart,
)
