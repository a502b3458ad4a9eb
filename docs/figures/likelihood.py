"""The sliding mass of `examples/method.py`: its log with high-level actions asked for and recovered, and how likely each is."""

import functools
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from method import DT, log, recover, regulator

from ohio_jax import low_level
from ohio_jax.controllers import lqr

asked = jax.random.uniform(jax.random.key(0), (8, 2), minval=-1.0, maxval=1.0)
segments = log(regulator(5), asked)
found = recover(regulator(5), segments)

figure = Figure(figsize=(11, 3.4), layout="constrained")
left, *right = figure.subplots(1, 3, width_ratios=(2, 1, 1))
position, force = np.ravel(segments.state[..., 0]), np.ravel(segments.action)
time = DT * np.arange(len(position))
for i, (goal, guess) in enumerate(zip(asked[:, 0], found.goal[:, 0], strict=True)):
    at = 5 * DT * np.array([i, i + 1])
    left.plot(at, [goal] * 2, color="tab:orange", linewidth=5, alpha=0.5, label="u, asked for" if i == 0 else None)
    left.plot(at, [guess] * 2, color="black", linewidth=1, linestyle="dashed", label="u, recovered" if i == 0 else None)
left.plot(time, position, color="tab:blue", marker=".", label="logged")
left.set(xlabel="time, s", ylabel="position, m")
left.margins(y=0.25)
left.legend(loc="upper right", ncols=3, fontsize=8)

grid = np.linspace(-1.5, 1.5, 81)
goals = jnp.stack(jnp.meshgrid(grid, grid), axis=-1)
for axis, steps in zip(right, (1, 5), strict=True):
    one = jax.tree.map(lambda x: x[0], log(regulator(steps), asked))
    problem = lqr.problem(regulator(steps))
    off = functools.partial(low_level.residual, problem, at=low_level.prepare(problem, one))
    surface = jax.vmap(jax.vmap(lambda goal, off=off: -0.5 * jnp.sum(jnp.square(off(goal)))))(goals)
    axis.contourf(grid, grid, surface, levels=-np.geomspace(1e4, 0.1, 12), cmap="Blues", extend="both")
    axis.plot(*asked[0], marker="x", color="tab:orange", markersize=9, markeredgewidth=2)
    axis.set(title=f"likelihood after {steps} step{'s'[: steps > 1]}", xlabel="u, m", ylabel="u, m/s")
figure.savefig(Path(__file__).with_suffix(".png"), dpi=110, metadata={"Software": None})
