"""`ohio-jax speed manipulation`: transitions inverted a second beside the original's descent, control steps beside MuJoCo's own.

The original's descent is the inverse `gradient`, compiled and vmapped as the others are. MuJoCo steps the same bodies on as many
threads as cores; robosuite plays in the same run if ROBOSUITE_PYTHON names a Python that has it.
"""

import functools
import json
import os
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs import registry
from ohio_envs.manipulation.model import model
from ohio_envs.manipulation.simulator import SUBSTEPS

from ohio_bench.speed import reference_robosuite
from ohio_bench.speed.timing import rates
from ohio_bench.speed.work import inversions, play, rollouts, segments
from ohio_jax import data, low_level
from ohio_jax.collect import collect
from ohio_jax.data import Trajectories
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.extras import imported
from ohio_jax.relabel import relabel
from ohio_jax.task import ActionInterface

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
        bodies: episodes of MuJoCo's own steps, on each thread.
        deadline: by when all of it is to end.
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
    bodies: int = 4
    deadline: Deadline = NEVER


FULL = Budget()
WIDE = FULL._replace(many=65_536, few=4096, batches=(64, 1024, 8192))
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
    bodies=1,
)


def parts(budget: Budget) -> dict[str, Callable[[], dict[str, Any]]]:
    """Inverses, the simulator beside MuJoCo's own and robosuite's, and relabeling."""
    first, last = budget.scenes[0], budget.gains[-1]
    of_each = lambda: {
        f"{name}, {of} gains": inverses(name, of, logged(name, budget), budget) for name in budget.scenes for of in budget.gains
    }
    return {
        "inverses": lambda: {"inverses": of_each()},
        "simulator": lambda: {"simulator": {name: control_steps(name, budget) for name in budget.scenes}},
        "relabel": lambda: {"relabel": relabeling(first, last, logged(first, budget), budget)},
    }


@functools.cache
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
    """Decisions a second under random goals, controller, physics, observation and reward included; robosuite's; and those that
    MuJoCo's own steps of the same bodies would make, physics alone under random controls.
    """
    task = registry.make(name)
    interface = task.interfaces["logged"]
    env, calls = task.high_level("logged"), {}
    limits = np.append(np.asarray(interface.params.output), 1.0)
    draw = np.random.default_rng(0)
    for batch in budget.batches:
        goals = jnp.asarray(0.3 * limits * draw.uniform(-1, 1, (batch, budget.steps, len(limits))), jnp.float32)
        # On one device: the physics takes all cores as it is.
        calls[f"batch_{batch}"] = partial(jax.jit(play), env, (task.instances(0, batch), goals))
    amounts = {f"batch_{batch}": batch * budget.steps for batch in budget.batches}
    bodies = model(env.env.scene)
    controls = draw.uniform(-1, 1, (budget.steps * SUBSTEPS, bodies.nu))
    call, episodes = rollouts(bodies, imported("mujoco", "mujoco").MjData(bodies), budget.bodies, controls)
    found = rates(calls | {"mujoco_rollout": call}, amounts | {"mujoco_rollout": episodes * budget.steps}, budget)
    peer = robosuite(name, budget.peer)
    over = lambda best: {key: found[key]["best"] / best for key in calls}
    return {
        "backend": task.settings["backend"],
        "steps_per_second": found,
        "robosuite": peer,
        "ratio": over(peer["best"]) if "best" in peer else {},
        "ratio_to_mujoco": over(found["mujoco_rollout"]["best"]),
    }


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
