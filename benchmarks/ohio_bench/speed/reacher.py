"""`ohio-jax speed reacher`: inverses, environment steps and MPC solves a second beside what others need for the same.

Peers in this process: the original's analytical inverse in NumPy and MuJoCo (`reference_reacher`), dm_control in a Python loop,
MuJoCo's threaded rollouts, qpax and cvxpylayers (`mpc`). Inverses are also set against times that were measured elsewhere.
"""

import importlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs import registry
from ohio_envs.reacher.task import LEARNED, with_model

from ohio_bench.speed import mpc
from ohio_bench.speed import reference_reacher as reference
from ohio_bench.speed.timing import over_devices, race, rates
from ohio_bench.speed.work import inversions, play, segments
from ohio_jax.collect import collect
from ohio_jax.data import Trajectories
from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Homogeneous
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import Problem
from ohio_jax.relabel import invert_all, relabel
from ohio_jax.task import ActionInterface, Task

# Seconds a segment of five steps: the released code on one core of a machine of this kind.
ORIGINAL = {"analytic": 0.59e-3, "reg_analytic": 152e-3, "numerical": 413e-3}
# Times as fast as the original; a least-squares answer stands where the original's is numerical.
WANTED = {"analytic": 150, "reg_analytic": 2000, "numerical": 300, "least_squares": 5000}
WANTED_STEPS = {"batch_256": 300}  # times dm_control
MODELS = {"ohio_compat": learned.ORIGINAL, "ohio": LEARNED}  # as the task learns them
SLOW = ("numerical", "cross_entropy", "implicit", "posterior")  # measured on `few` segments
ELSEWHERE = ("program", "gradient", "gradient_compat")  # inverses of other low levels


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        learn: episodes the models are learned from.
        inverses, interfaces: names.
        many, few: segments a call, `few` of the slow inverses.
        peer: segments of the NumPy inverse.
        batches: of environments.
        sizes, lengths: of batches of segments and of segments, for the growth of cost of the inverses `grown`.
        relabel: episodes that are relabeled.
        relabeled: inverses.
        shapes, programs, peers: (n, m, H) of MPC, its batches, and the largest of the peers.
        precisions: float types of its solves.
    """

    windows: int = 5
    seconds: float = 0.3
    learn: int = 100
    inverses: tuple[str, ...] = tuple(name for name in INVERSES if name not in ELSEWHERE)
    interfaces: tuple[str, ...] = ("ohio_compat", "ohio")
    many: int = 16384
    few: int = 1024
    peer: int = 200
    batches: tuple[int, ...] = (1, 256, 4096)
    sizes: tuple[int, ...] = (1, 16, 256, 4096, 32768)
    lengths: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    grown: tuple[str, ...] = ("analytic", "least_squares")
    relabel: int = 1006
    relabeled: tuple[str, ...] = ("analytic", "reg_analytic", "least_squares")
    shapes: tuple[tuple[int, int, int], ...] = ((4, 2, 10), (14, 7, 20))
    programs: tuple[int, ...] = (1, 64, 1024)
    peers: int = 64
    precisions: tuple[str, ...] = ("float32", "float64")


FULL = Budget()
QUICK = Budget(
    windows=2,
    seconds=0.002,
    learn=2,
    inverses=("analytic", "numerical", "least_squares"),
    interfaces=("ohio_compat",),
    many=128,
    few=32,
    peer=4,
    batches=(1, 16),
    sizes=(16,),
    lengths=(2,),
    grown=("analytic",),
    relabel=2,
    relabeled=("analytic",),
    shapes=((2, 1, 3),),
    programs=(2,),
    peers=2,
    precisions=("float64",),
)


def measure(budget: Budget) -> dict[str, Any]:
    """Inverses, relabeling, the simulator and MPC, by models learned beforehand."""
    task = registry.make("reacher", {})
    logs = collect(task, "expert", budget.learn, 0)
    models, learning = {}, {}
    for interface in budget.interfaces:
        start = time.perf_counter()
        fitted = learned.fit(MODELS[interface], jax.random.key(0), logs.state, logs.action, logs.next_state)
        models[interface] = jax.block_until_ready(fitted.model)
        learning[interface] = time.perf_counter() - start
    first = budget.interfaces[0]
    return {
        "learning": {"steps": len(logs.state), "seconds": learning},
        "original_seconds": ORIGINAL,
        "inverses": {
            interface: inverses(interface, task.interfaces[interface], model, logs, budget) for interface, model in models.items()
        },
        "growth": growth(first, task.interfaces[first], models[first], logs, budget),
        "relabel": relabeling(task, first, models[first], budget),
        "simulator": simulator_steps(task, budget),
        "mpc": mpc.measure(budget),
    }


# --- Inverses -------------------------------------------------------------------------------------------------------


def problem_of(name: str, model: Any, steps: int) -> Problem:
    """The problem of an action interface with h = `steps`, explained with `model`."""
    interface = registry.make("reacher", {"steps": str(steps)}).interfaces[name]
    return interface.controller.problem(with_model(interface.params, model))


def inverses(name: str, interface: ActionInterface, model: Any, logs: Trajectories, budget: Budget) -> dict[str, Any]:
    """Segments inverted a second, gains included, all arrays on the device; residuals on the segments all of them saw."""
    ours = inversions(problem_of(name, model, interface.steps), logs, interface.steps, budget, SLOW)
    answers = {name: jax.device_get(call()) for name, call in ours.calls.items()}

    def quality(answer) -> dict[str, float]:
        residual, iterations = (np.asarray(x)[: ours.common] for x in (answer.residual, answer.iterations))
        return {
            "residual_median": float(np.median(residual)),
            "residual_90th_percentile": float(np.quantile(residual, 0.9)),
            "iterations_mean": float(iterations.mean()),
            "iterations_max": int(iterations.max()),
        }

    instead = lambda name: ORIGINAL.get(name, ORIGINAL["numerical"])
    found: dict[str, Any] = {
        "segments": ours.amounts,
        "segments_per_second": ours.rates,
        "quality": {name: quality(answer) for name, answer in answers.items()},
        "compared": ours.common,
        "times_original": {name: ours.rates[name]["best"] * instead(name) for name in WANTED if name in answers},
        "wanted": {name: wanted for name, wanted in WANTED.items() if name in answers},
    }
    if isinstance(model, Homogeneous):
        goals = answers["analytic"].goal[: budget.peer]
        some = segments(logs, interface.steps, budget.peer)
        found["numpy"] = numpy_inverse(model, np.asarray(interface.params.limit), some, goals, budget)
    return found


def numpy_inverse(model: Homogeneous, limit: np.ndarray, given: Any, goals: np.ndarray, budget: Budget) -> dict[str, Any]:
    """Segments a second of the original's analytical inverse in NumPy and MuJoCo on one core, and how its goals differ."""
    try:
        physics = reference.dm_control().physics
    except UserError as error:
        return {"missing": str(error)}
    _, parameters = model.constants
    invert = reference.analytic(physics, reference.network(parameters))
    some = [np.asarray(x, float) for x in (given.state, given.next_state)]
    call = lambda: [invert(state, after[-1]) for state, after in zip(*some, strict=True)]
    rate = rates({"numpy": call}, {"numpy": budget.peer}, budget)["numpy"]
    difference = np.abs(np.clip(np.stack(call()), -limit, limit) - goals).max(axis=1)
    return {"segments_per_second": rate, "median_difference_of_goal": float(np.median(difference))}


def growth(space_name: str, interface: ActionInterface, model: Any, logs: Trajectories, budget: Budget) -> dict[str, Any]:
    """Microseconds a segment of an inverse, against batch size and steps a segment."""

    def measured(cases: dict[str, tuple[int, int]]) -> dict[str, dict[str, float]]:
        calls = {}
        for name, (steps, amount) in cases.items():
            problem, given = problem_of(space_name, model, steps), segments(logs, steps, amount)
            calls |= {(name, inverse): partial(invert_all, inverse, problem, given) for inverse in budget.grown}
        timings = race(calls, min(budget.windows, 3), budget.seconds / 2)
        each = lambda name, inverse: 1e6 * timings[name, inverse].best / cases[name][1]
        return {name: {inverse: each(name, inverse) for inverse in budget.grown} for name in cases}

    devices = jax.local_device_count()
    fit = lambda size: -(-size // devices) * devices
    return {
        "batch": measured({str(fit(size)): (interface.steps, fit(size)) for size in budget.sizes}),
        "steps": measured({str(steps): (steps, fit(budget.many // 4)) for steps in budget.lengths}),
        "segments": fit(budget.many // 4),
    }


def relabeling(task: Task, name: str, model: Any, budget: Budget) -> dict[str, Any]:
    """Seconds of `relabel` on a logged dataset, compiling and transfers included, by a model learned beforehand."""
    start = time.perf_counter()
    logs = collect(task, "expert", budget.relabel, 0)
    collecting = time.perf_counter() - start
    interface = task.interfaces[name]
    given = replace(task, interfaces={name: replace(interface, problem=problem_of(name, model, interface.steps), fit=None)})
    found, seconds = 0, {}
    for inverse in budget.relabeled:
        start = time.perf_counter()
        found = len(relabel(logs, given, name, inverse).reward)
        seconds[inverse] = time.perf_counter() - start
    return {"segments": found, "steps": len(logs.state), "collect_seconds": collecting, "seconds": seconds, "wanted": 60.0}


# --- Simulator steps ------------------------------------------------------------------------------------------------


def simulator_steps(task: Task, budget: Budget, steps: int = 200) -> dict[str, Any]:
    """Environment steps a second under random torques drawn beforehand, reward and observation included.

    dm_control plays one episode in a Python loop. MuJoCo's rollouts step physics alone, on as many threads as cores.
    """
    draw = np.random.default_rng(0)
    calls: dict[str, Callable[[], Any]] = {}
    amounts = {f"batch_{batch}": batch * steps for batch in budget.batches}
    for name, batch in zip(amounts, budget.batches, strict=True):
        torques = jnp.asarray(draw.uniform(-1, 1, (batch, steps, 2)), jnp.float32)
        calls[name] = partial(over_devices(play, batch), task.env, (task.instances(0, batch), torques))
    missing = None
    try:
        peer = reference.dm_control()
    except UserError as error:
        missing = str(error)
    else:
        few = 1 if budget is QUICK else 4  # episodes of the rollouts, a thread
        actions = draw.uniform(-1, 1, (steps, 2))

        def loop():
            peer.reset()
            for action in actions:
                peer.step(action)

        calls |= {"dm_control": loop, "mujoco_rollout": rollouts(peer.physics, few, actions)}
        amounts |= {"dm_control": steps, "mujoco_rollout": few * (os.cpu_count() or 1) * steps}
    found = rates(calls, amounts, budget)
    best = {name: rate["best"] for name, rate in found.items()}
    ratio = {name: best[name] / best["dm_control"] for name in best if name != "dm_control" and not missing}
    return {"steps": steps, "steps_per_second": found, "ratio": ratio, "wanted": WANTED_STEPS, "missing": missing}


def rollouts(physics: Any, episodes: int, actions: np.ndarray) -> Callable[[], Any]:
    """A call of MuJoCo's own batched rollout, `episodes` on each core, from the pose that physics is in."""
    mujoco: Any = importlib.import_module("mujoco")
    rollout: Any = importlib.import_module("mujoco.rollout")
    model, cores = physics.model.ptr, os.cpu_count() or 1
    datas = [mujoco.MjData(model) for _ in range(cores)]
    full = mujoco.mjtState.mjSTATE_FULLPHYSICS
    start = np.zeros((episodes * cores, mujoco.mj_stateSize(model, full)))
    mujoco.mj_getState(model, physics.data.ptr, start[0], full)
    start[:] = start[0]
    controls = np.broadcast_to(actions, (len(start), *actions.shape)).copy()
    return lambda: rollout.rollout(model, datas, start, controls)
