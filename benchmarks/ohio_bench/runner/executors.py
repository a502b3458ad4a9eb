"""Who runs the cells of an experiment: this process, one after another, or the workers of a Ray cluster, many at a time.

Cells do not depend on each other. What comes back from a worker is the content of a run file, which the command writes, so that
workers need no disk in common; datasets and checkpoints lie in each worker's own work folder, made from the same seeds.
"""

import contextlib
import functools
import importlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from ohio_envs import datasets

from ohio_bench.runner import source
from ohio_bench.runner.cell import Cell
from ohio_bench.runner.work import WorkFolder
from ohio_jax import compilation_cache, mesh, provenance
from ohio_jax.deadline import OutOfTime
from ohio_jax.errors import UserError, out_of_memory, unknown
from ohio_jax.learners import LEARNERS, outside
from ohio_jax.progress import progress

RETRIES = 3  # of a cell whose worker dies
DEVICES = re.compile(r"--xla_force_host_platform_device_count=\d+")
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"  # 0: a cluster that `ray.init` starts listens on 127.0.0.1 alone

Listing = Callable[[], Iterable[Cell]]
Outcome = dict[str, Any] | UserError | OutOfTime  # of a cell: what its run file holds, or why there is none
# (cells to run, what lists these cells anew in another process, the work folder) -> name and outcome of each, as they are done.
Executor = Callable[[list[Cell], Listing, WorkFolder], Iterator[tuple[str, Outcome]]]


def here(wanted: list[Cell], again: Listing, work: WorkFolder) -> Iterator[tuple[str, Outcome]]:
    """One after another in this process, or in the processes that work as one with it."""
    for number, cell in enumerate(wanted, 1):
        if not (late := work.deadline.lacks()) and mesh.is_main_process():
            print(f"cell {number} of {len(wanted)}: {cell.name}", file=sys.stderr, flush=True)
        found = OutOfTime() if late else outcome(cell, work)
        if isinstance(found, dict) and "curve" in found:  # the longest test so far is what the next policy's is taken to last
            longest = max(work.deadline.reserve, found["seconds"].get("evaluate", 0.0))
            work = replace(work, deadline=work.deadline._replace(reserve=longest))
        yield cell.name, found


def outcome(cell: Cell, work: WorkFolder) -> Outcome:
    """What a cell found, and the machine that found it; or why it ended, which ends this cell alone.

    Raises:
        UserError: of several processes, since one alone may have met it: the others are still in the cell.
    """
    try:
        work.deadline.require()
        return {**cell.work(work), "provenance": provenance.collect()}
    except OutOfTime as late:  # which all processes are at once
        return late
    except Exception as error:
        if mesh.joined() or not (isinstance(error, UserError) or out_of_memory(error)):
            raise
        return error if isinstance(error, UserError) else UserError(f"out of memory: {error}")


def executor(name: str, cpus: int | None = None, gpus: float | None = None) -> Executor:
    """`local` or `ray`; cpus, gpus: of each cell, for ray. Raises UserError for another name, and without Ray."""
    if name == "ray":
        return over_ray(cpus, gpus)
    if name != "local":
        raise unknown("executor", name, ("local", "ray"))
    if cpus is not None or gpus is not None:
        raise UserError(f"--cell-{'gpus' if cpus is None else 'cpus'}: expected with --executor ray alone")
    return here


# --- Ray --------------------------------------------------------------------------------------------------------------


def over_ray(cpus: int | None = None, gpus: float | None = None) -> Executor:
    """Each cell a task of a Ray cluster: one the process is connected to, else that of RAY_ADDRESS, else one that runs on this
    machine, else one for the time being, whose ports are open to this machine alone.

    Args:
        cpus, gpus: of each cell; without, one core, and a GPU where the cluster has any. A cell whose worker dies is run again,
            up to RETRIES times.

    Raises:
        UserError: without Ray, without a cluster, for more than its largest node has, and for workers with other cells.
    """
    of_ours = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
    if of_ours:
        os.environ.setdefault(LOOPBACK, "0")  # which Ray reads as it is imported
    try:
        ray: Any = importlib.import_module("ray")
    except ImportError as error:
        raise UserError("--executor ray: expected Ray, found none; `pip install 'ohio-jax[cluster]'`") from error
    if mesh.joined():
        raise UserError("--executor ray: expected one process, found several; leave --coordinator out")
    # On a machine with a worker the command, which only lists cells, must not take the whole accelerator.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    _reach(os.environ.get("RAY_ADDRESS", ""))
    if not ray.is_initialized():  # before JAX has threads, which processes that Ray starts must not inherit
        try:
            ray.init(log_to_driver=False, logging_level="warning", **of_ours)
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise UserError(f"--executor ray: expected a cluster, found none ({str(error).splitlines()[0]})") from error
    some = float(min(1, ray.cluster_resources().get("GPU", 0)))
    need = {"num_cpus": 1 if cpus is None else cpus, "num_gpus": some if gpus is None else gpus}
    _check(ray, need)

    def execute(wanted: list[Cell], again: Listing, work: WorkFolder) -> Iterator[tuple[str, Outcome]]:
        learners = {name: found for name, found in LEARNERS.items() if _module(found).split(".")[0] != "ohio_jax"}
        files = [sys.modules[name] for name in dict.fromkeys(map(_module, learners.values()))]
        environment: dict[str, Any] = {"py_modules": files} if files else {}
        places = (compilation_cache.VARIABLE, datasets.VARIABLE)
        if set_here := {name: os.environ[name] for name in places if name in os.environ}:
            environment["env_vars"] = set_here
        task = ray.remote(max_retries=RETRIES, runtime_env=environment, **need)(_carried_out)
        packed = ray.cloudpickle.dumps((again, learners, outside.FROM))
        code = source.Code()
        made_by = lambda cell: source.name_of(code.sources(cell.config))
        asked = {cell.name: (packed, cell.name, cell.config, made_by(cell), need["num_cpus"], work) for cell in wanted}
        waiting = {task.remote(*of): name for name, of in asked.items()}
        with progress("on Ray", len(wanted), "cell") as bar:
            while waiting:
                (done, *_), _ = ray.wait(list(waiting))
                name = waiting.pop(done)
                yield name, _result(ray, name, done)
                bar.update()

    return execute


def _module(learner: Any) -> str:
    """The module a learner lies in, which may be itself."""
    return getattr(learner, "__module__", None) or learner.__name__


def _reach(address: str) -> None:
    """Raises UserError where an address that says HOST:PORT does not answer, which Ray would ask for ever."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise UserError(f"RAY_ADDRESS: expected a cluster at {address}, found none ({error})") from error


def _check(ray: Any, need: dict[str, float]) -> None:
    """Raises UserError where a cell would wait for ever."""
    for flag, kind in (("cpus", "CPU"), ("gpus", "GPU")):
        most = max(node["Resources"].get(kind, 0) for node in ray.nodes() if node["Alive"])
        if need[f"num_{flag}"] > most:
            raise UserError(f"--cell-{flag}: expected at most {most:g}, what the largest node has, found {need[f'num_{flag}']:g}")


def _result(ray: Any, name: str, done: Any) -> Outcome:
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(f"cell {name}: {error.cause}") from None
        raise
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[0]
        return UserError(f"its worker died {RETRIES + 1} times ({reason})")


def _carried_out(packed: bytes, name: str, config: dict[str, Any], sources: str, cpus: int, work: WorkFolder) -> Outcome:
    """A cell, in a worker: with so many devices and threads as it has cores, and by the sources that the command has."""
    flags = DEVICES.sub("", os.environ.get("XLA_FLAGS", ""))
    os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={max(1, int(cpus))}".strip()
    os.environ["NPROC"] = str(max(1, int(cpus)))  # size of XLA's thread pool
    with contextlib.suppress(UserError):  # a folder that the command's machine alone can write to
        compilation_cache.enable()
    cell = _listed(packed)[name]
    if (found := cell.config) != config:
        different = next(key for key in {**found, **config} if found.get(key) != config.get(key))
        raise UserError(
            f"field {different}: expected {config.get(different)}, found {found.get(different)} on a worker; workers and the"
            " command need the same version of the code, and the same kind of accelerator"
        )
    if (own := source.name_of(source.Code().sources(config))) != sources:
        raise UserError(f"sources: expected those that the command has, {sources}, found {own} on a worker")
    return outcome(cell, work)


@functools.lru_cache(maxsize=1)
def _listed(packed: bytes) -> dict[str, Cell]:
    """The cells of an experiment, listed once for all that a worker runs of it: what one compiled serves the next."""
    again, learners, sources = importlib.import_module("ray").cloudpickle.loads(packed)
    LEARNERS.update(learners)
    outside.FROM.update(sources)
    return {cell.name: cell for cell in again()}
