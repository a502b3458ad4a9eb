"""`ohio-jax speed manipulation`: transitions inverted and control steps a second beside the original's and robosuite's.

robosuite plays in the same run if ROBOSUITE_PYTHON names a Python that has it. The original's inverses were measured elsewhere.
"""

import json
import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs import registry

from ohio_bench.speed import reference_robosuite
from ohio_bench.speed.timing import rates
from ohio_bench.speed.work import inversions, play, segments
from ohio_jax import data, low_level
from ohio_jax.collect import collect
from ohio_jax.data import Trajectories
from ohio_jax.relabel import relabel
from ohio_jax.task import ActionInterface

# Seconds a transition of the released code's inverses, the least that were seen.
ORIGINAL = {"gradient": 0.5, "cross_entropy": 0.6}
WANTED, WANTED_STEPS, WANTED_SECONDS = 10_000, 5, 180  # times its gradient; times robosuite; seconds to relabel
FEW = ("gradient", "cross_entropy")  # measured on `few` transitions
BEHAVIOR = "noisy-0.3"


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        scenes, gains, inverses: names.
        logged: episodes logged.
        times: how often relabeling goes through them.
        many, few: transitions a call, `few` of the slow inverses.
        batches: of environments.
        steps: decisions of each.
        horizon: of an episode logged.
        peer: seconds of each of robosuite's windows.
    """

    windows: int = 5
    seconds: float = 0.5
    scenes: tuple[str, ...] = ("lift", "door")
    gains: tuple[str, ...] = ("original", "stiffness", "damping")
    inverses: tuple[str, ...] = ("least_squares", "observed", *FEW)
    logged: int = 30
    times: int = 50
    many: int = 8192
    few: int = 256
    batches: tuple[int, ...] = (1, 64, 256, 1024)
    steps: int = 20
    horizon: int = 500
    peer: float = 2.0


FULL = Budget()
QUICK = Budget(
    windows=2,
    seconds=0.002,
    scenes=("lift",),
    gains=("original",),
    inverses=("least_squares", "gradient"),
    logged=2,
    times=2,
    many=32,
    few=16,
    batches=(1, 8),
    steps=2,
    horizon=20,
    peer=0.1,
)


def measure(budget: Budget) -> dict[str, Any]:
    """Inverses, relabeling, and the simulator beside robosuite's."""
    logs = {name: logged(name, budget) for name in budget.scenes}
    return {
        "original_seconds": ORIGINAL,
        "wanted": {"inverse": WANTED, "simulator": WANTED_STEPS, "relabel_seconds": WANTED_SECONDS},
        "inverses": {
            f"{name}, {of} gains": inverses(name, of, logs[name], budget) for name in budget.scenes for of in budget.gains
        },
        "relabel": relabeling(budget.scenes[0], budget.gains[-1], logs[budget.scenes[0]], budget),
        "simulator": {name: control_steps(name, budget) for name in budget.scenes},
    }


def logged(name: str, budget: Budget) -> Trajectories:
    return collect(registry.make(name, {"horizon": str(budget.horizon)}), BEHAVIOR, budget.logged, 0)


def inverses(name: str, gains: str, logs: Trajectories, budget: Budget) -> dict[str, Any]:
    """Transitions inverted a second, all arrays on the device; how far the torques of the goals are from those logged."""
    interface = registry.make(name, {"gains": gains}).interfaces["ohio"]
    found = inversions(interface.problem, logs, interface.steps, budget, FEW)
    some = segments(logs, interface.steps, found.common)
    return {
        "transitions": found.amounts,
        "transitions_per_second": found.rates,
        "mismatch": {
            name: mismatch(interface, jnp.asarray(call().goal[: found.common]), some) for name, call in found.calls.items()
        },
        "compared": found.common,
        "times_original": {name: rate["best"] * ORIGINAL["gradient"] for name, rate in found.rates.items()},
    }


def mismatch(interface: ActionInterface, goal: jax.Array, some: Any) -> dict[str, float]:
    """The original's loss [N^2 m^2]: squared distance of torques as executed, a mean over joints and a sum over steps."""
    problem = interface.problem

    @jax.jit
    def loss(goal, some):
        of_one = lambda goal, segment: low_level.executed_action(problem, goal, low_level.prepare(problem, segment))
        each = jax.vmap(of_one)(goal, some)
        return interface.steps * jnp.mean(jnp.square(each), axis=1)

    found = np.asarray(loss(goal, some))
    return {"median": float(np.median(found)), "mean": float(found.mean())}


def relabeling(name: str, gains: str, logs: Trajectories, budget: Budget) -> dict[str, Any]:
    """Seconds of `relabel`, compiling and transfers included."""
    task = registry.make(name, {"gains": gains, "horizon": str(budget.horizon)})
    many = data.concatenate([logs] * budget.times, logs.card)  # the same episodes again and again
    start = time.perf_counter()
    found = relabel(many, task, "ohio", "least_squares")
    seconds = time.perf_counter() - start
    return {"task": f"{name}, {gains} gains", "transitions": len(found.reward), "episodes": len(many.returns), "seconds": seconds}


def control_steps(name: str, budget: Budget) -> dict[str, Any]:
    """Decisions a second under random goals, controller, physics, observation and reward included; and robosuite's."""
    task = registry.make(name)
    interface = task.interfaces["logged"]
    env, calls = task.high_level("logged"), {}
    limits = np.append(np.asarray(interface.params.output), 1.0)
    draw = np.random.default_rng(0)
    for batch in budget.batches:
        goals = jnp.asarray(0.3 * limits * draw.uniform(-1, 1, (batch, budget.steps, len(limits))), jnp.float32)
        # On one device: the physics takes all cores as it is.
        calls[f"batch_{batch}"] = partial(jax.jit(play), env, (task.instances(0, batch), goals))
    found = rates(calls, {f"batch_{batch}": batch * budget.steps for batch in budget.batches}, budget)
    peer = robosuite(name, budget.peer)
    ratio = {key: rate["best"] / peer["best"] for key, rate in found.items()} if "best" in peer else {}
    return {"steps_per_second": found, "robosuite": peer, "ratio": ratio}


def robosuite(name: str, seconds: float) -> dict[str, Any]:
    """Control steps a second of robosuite's own loop, by the Python that the environment names; or why there are none."""
    python = os.environ.get("ROBOSUITE_PYTHON")
    if not python:
        return {"missing": "ROBOSUITE_PYTHON names no Python with robosuite 1.4.1"}
    script = [python, str(Path(reference_robosuite.__file__)), name, str(seconds)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"missing": f"{python}: {(done.stderr.strip().splitlines() or ['it failed'])[-1]}"}
    return json.loads(done.stdout.splitlines()[-1])
