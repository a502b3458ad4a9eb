"""`ohio-jax speed reacher`: inverses, environment steps and MPC solves a second beside what others need for the same.

Peers in this process: the original's analytical inverse in NumPy and MuJoCo (`reference_reacher`), dm_control in a Python loop,
MuJoCo's threaded rollouts, qpax and cvxpylayers (`mpc`). The original's other inverses are `numerical` and `reg_analytic`,
compiled and vmapped as ours are.
"""

import contextlib
import functools
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
from ohio_bench.speed.work import inversions, play, rollouts, segments
from ohio_jax.collect import collect
from ohio_jax.data import Trajectories
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Homogeneous
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import Problem
from ohio_jax.relabel import invert_all, relabel
from ohio_jax.task import ActionInterface, Task

MODELS = {"ohio_compat": learned.ORIGINAL, "ohio": LEARNED}  # as the task learns them
SLOW = ("numerical", "cross_entropy", "implicit", "posterior")  # measured on `few` segments
ELSEWHERE = {"program", "rescaled", *(name for name in INVERSES if name.startswith("gradient"))}  # inverses of other low levels


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        learn: episodes the models are learned from.
        inverses, interfaces: names.
        many, few: segments a call, `few` of the slow inverses.
        peer: segments of the NumPy inverse.
        batches: of environments.
        bodies: episodes of MuJoCo's own steps, on each thread.
        sizes, lengths: of batches of segments and of segments, for the growth of cost of the inverses `grown`.
        relabel: episodes that are relabeled.
        relabeled: inverses.
        shapes, programs, peers: (n, m, H) of MPC, its batches, and the largest of the peers.
        precisions: float types of its solves.
        deadline: by when all of it is to end.
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
    bodies: int = 4
    sizes: tuple[int, ...] = (1, 16, 256, 4096, 32768)
    lengths: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    grown: tuple[str, ...] = ("analytic", "least_squares")
    relabel: int = 1006
    relabeled: tuple[str, ...] = ("analytic", "reg_analytic", "least_squares")
    shapes: tuple[tuple[int, int, int], ...] = ((4, 2, 10), (14, 7, 20))
    programs: tuple[int, ...] = (1, 64, 1024)
    peers: int = 64
    precisions: tuple[str, ...] = ("float32", "float64")
    deadline: Deadline = NEVER


FULL = Budget()
WIDE = FULL._replace(
    many=131_072,
    few=4096,
    batches=(*FULL.batches, 65_536),
    sizes=(*FULL.sizes, 262_144),
    programs=(*FULL.programs, 16_384),
    peers=1024,
)
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
    bodies=1,
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


def parts(budget: Budget) -> dict[str, Callable[[], dict[str, Any]]]:
    """Inverses, the simulator, MPC, relabeling and the growth of cost; by models that are learned where one is first needed."""
    task, first = registry.make("reacher", {}), budget.interfaces[0]

    @functools.cache
    def logs() -> Trajectories:
        return collect(task, "expert", budget.learn, 0)

    @functools.cache
    def model(interface: str) -> tuple[Any, float]:
        start, given = time.perf_counter(), (logs().state, logs().action, logs().next_state)
        fitted = learned.fit(MODELS[interface], jax.random.key(0), *given)
        return jax.block_until_ready(fitted.model), time.perf_counter() - start

    def inverted() -> dict[str, Any]:
        of = lambda interface: inverses(interface, task.interfaces[interface], model(interface)[0], logs(), budget)
        found = {interface: of(interface) for interface in budget.interfaces}
        seconds = {interface: model(interface)[1] for interface in budget.interfaces}
        return {"learning": {"steps": len(logs().state), "seconds": seconds}, "inverses": found}

    return {
        "inverses": inverted,
        "simulator": lambda: {"simulator": simulator_steps(task, budget)},
        "mpc": lambda: {"mpc": mpc.measure(budget)},
        "relabel": lambda: {"relabel": relabeling(task, first, model(first)[0], budget)},
        "growth": lambda: {"growth": growth(first, task.interfaces[first], model(first)[0], logs(), budget)},
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

    found: dict[str, Any] = {
        "segments": ours.amounts,
        "segments_per_second": ours.rates,
        "quality": {name: quality(answer) for name, answer in answers.items()},
        "compared": ours.common,
    }
    if isinstance(model, Homogeneous):
        goals = answers["analytic"].goal[: budget.peer]
        some = segments(logs, interface.steps, budget.peer)
        found["numpy"] = numpy_inverse(model, np.asarray(interface.params.limit), some, goals, budget)
    return found


def numpy_inverse(model: Homogeneous, limit: np.ndarray, given: Any, goals: np.ndarray, budget: Budget) -> dict[str, Any]:
    """Segments a second of the original's analytical inverse in NumPy and MuJoCo on one core, and how its goals differ."""
    try:
        call = numpy_call(model, given)
    except UserError as error:
        return {"missing": str(error)}
    rate = rates({"numpy": call}, {"numpy": budget.peer}, budget)["numpy"]
    difference = np.abs(np.clip(np.stack(call()), -limit, limit) - goals).max(axis=1)
    return {"segments_per_second": rate, "median_difference_of_goal": float(np.median(difference))}


def numpy_call(model: Homogeneous, given: Any) -> Callable[[], list[np.ndarray]]:
    """A call of the original's analytical inverse on segments one by one. Raises UserError where dm_control is missing."""
    _, parameters = model.constants
    invert = reference.analytic(reference.dm_control().physics, reference.network(parameters))
    some = [np.asarray(x, float) for x in (given.state, given.next_state)]
    return lambda: [invert(state, after[-1]) for state, after in zip(*some, strict=True)]


def growth(space_name: str, interface: ActionInterface, model: Any, logs: Trajectories, budget: Budget) -> dict[str, Any]:
    """Microseconds a segment of an inverse, and of the original's in NumPy, against batch size and steps a segment."""

    def measured(cases: dict[str, tuple[int, int]]) -> dict[str, dict[str, float]]:
        calls, amounts = {}, {}
        for name, (steps, amount) in cases.items():
            problem, given = problem_of(space_name, model, steps), segments(logs, steps, amount)
            calls |= {(name, inverse): partial(invert_all, inverse, problem, given) for inverse in budget.grown}
            amounts |= {(name, inverse): amount for inverse in budget.grown}
            with contextlib.suppress(UserError):  # the page of the inverses says that dm_control is missing
                calls[name, "numpy"] = numpy_call(model, segments(logs, steps, budget.peer))
                amounts[name, "numpy"] = budget.peer
        timings = race(calls, min(budget.windows, 3), budget.seconds / 2, budget.deadline)
        found: dict[str, dict[str, float]] = {name: {} for name in cases}
        for (name, inverse), timing in timings.items():
            found[name][inverse] = 1e6 * timing.best / amounts[name, inverse]
        return found

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
    return {"segments": found, "steps": len(logs.state), "collect_seconds": collecting, "seconds": seconds}


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
        actions = draw.uniform(-1, 1, (steps, 2))

        def loop():
            peer.reset()
            for action in actions:
                peer.step(action)

        call, episodes = rollouts(peer.physics.model.ptr, peer.physics.data.ptr, budget.bodies, actions)
        calls |= {"dm_control": loop, "mujoco_rollout": call}
        amounts |= {"dm_control": steps, "mujoco_rollout": episodes * steps}
    found = rates(calls, amounts, budget)
    best = {name: rate["best"] for name, rate in found.items()}
    ratio = {name: best[name] / best["dm_control"] for name in best if name != "dm_control" and not missing}
    return {"steps": steps, "steps_per_second": found, "ratio": ratio, "missing": missing}
