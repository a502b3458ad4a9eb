"""Devices and processes: over what work is spread, and who of several processes decides, writes and prints.

A command runs in one process, or in several that `join`, on one machine or many. These run the same program on the same files,
in step: seeds, segments and episodes are spread over the devices of all of them, and every one gets the whole result. What
takes no device time, or happens once, is the first one's: it alone collects, writes files and prints.
"""

import itertools
import os
import re
import socket
import time
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ohio_jax.errors import UserError, unknown

LONGEST_WAIT = 7 * 24 * 3600  # seconds that `barrier` waits; a process that dies is noticed much earlier
SHUTDOWN = 10  # seconds that a process waits for the others at its end

ALIGNMENT = 64  # bytes, of what XLA takes from the host as it lies there

# One name for what is shared and what is spread: programs that call out, as MuJoCo's do, take all their inputs from one mesh.
AXIS = "device"
EACH, WHOLE = PartitionSpec(AXIS), PartitionSpec()  # the leading axis over the devices, or all of it on each

meetings = itertools.count()


def join(coordinator: str, processes: int | None = None, process: int | None = None, seconds: int = 300) -> None:
    """Makes this process one of several that work as one; before anything is computed, in each of them.

    Args:
        coordinator: HOST:PORT at which the first process listens, there alone, and all others find it, with `processes`, how many
            there are, and `process`, which of them this is, from 0; or "auto" on clusters that JAX knows (Slurm, Open MPI, TPU
            pods), without these. If the address others connect to is not the one to bind, set
            $JAX_COORDINATOR_BIND_ADDRESS to the one to bind.
        seconds: how long to wait for the first one.

    Raises:
        UserError: for half of these, an address that is none, a port that is taken, and if the first one does not listen in time.
            If it is another that never comes, JAX ends the first one itself.
    """
    given = {"--processes": processes, "--process": process}
    if coordinator == "auto":
        superfluous = [name for name, value in given.items() if value is not None]
        if superfluous:
            raise UserError(f"{superfluous[0]}: expected none with --coordinator auto, found {given[superfluous[0]]}")
        where: dict[str, Any] = {}
    else:
        host, _, port = coordinator.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
            raise UserError(f"--coordinator: expected HOST:PORT or auto, found {coordinator!r}")
        missing = [name for name, value in given.items() if value is None]
        if missing or processes is None or process is None:
            raise UserError(f"{missing[0]}: expected with --coordinator {coordinator}, found none")
        if process >= processes:
            raise UserError(f"--process: expected 0 to {processes - 1}, found {process}")
        where = {"coordinator_address": coordinator, "num_processes": processes, "process_id": process}
        where["cluster_detection_method"] = "deactivate"
        # JAX would listen on every network of the machine.
        where["coordinator_bind_address"] = bind = os.environ.get("JAX_COORDINATOR_BIND_ADDRESS", coordinator)
        # Asked here, because JAX ends the process where it finds these.
        if process == 0:
            _free(bind)
        else:
            _reach(host.strip("[]"), int(port), seconds)
    # Else SIGTERM would be a notice to save, which needs none: what is saved is saved, and the process should end.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**where, initialization_timeout=seconds, shutdown_timeout_seconds=SHUTDOWN)
    except (ValueError, RuntimeError) as error:  # no cluster was found, or not all of them came
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--coordinator: expected {processes or 'all'} processes at {coordinator}, found: {reason}") from error


def _free(address: str) -> None:
    """Raises UserError where the first process cannot listen."""
    host, _, port = address.rpartition(":")
    try:
        family, *_, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        socket.create_server(place[:2], family=family).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(f"--coordinator: expected a free port of this machine, found {address} ({error})") from error


def _reach(host: str, port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=max(0.1, end - time.monotonic())).close()
            return
        except (OSError, UnicodeError) as error:
            if isinstance(error, UnicodeError) or time.monotonic() > end:
                raise UserError(f"--coordinator: expected the first process at {host}:{port}, found none ({error})") from error
        time.sleep(0.2)


def joined() -> bool:
    """Whether this process is one of several."""
    return jax.distributed.is_initialized()


def is_main_process() -> bool:
    """Whether this process decides, writes and prints: the first, or the only one."""
    return not joined() or jax.process_index() == 0


def barrier() -> None:
    """Waits until every process has come as far; what the first one wrote before it is there for all after it."""
    if joined():
        from orbax.checkpoint import multihost  # slow to import

        name, everybody = f"ohio_jax {next(meetings)}", set(range(jax.process_count()))
        multihost.sync_global_processes(name, timeout=LONGEST_WAIT, processes=everybody)


def broadcast_bool(answer: bool) -> bool:
    """The first process's answer, for all: clocks differ, and so may what a shared disk shows at one moment."""
    return bool(multihost_utils.broadcast_one_to_all(np.int32(answer))) if joined() else answer


def any_process(answer: bool) -> bool:
    """Whether any process says so; all of them ask."""
    return bool(np.max(multihost_utils.process_allgather(np.int32(answer)))) if joined() else answer


def devices(places: int | None = None) -> tuple[Any, ...]:
    """The devices that work is spread over, in order: as many of each process, no more than `places` of work need.

    Every process has some, since all take part in what any of them runs.
    """
    of: dict[int, list[Any]] = {}
    for device in jax.devices():
        of.setdefault(device.process_index, []).append(device)
    each = min(map(len, of.values()))
    if places is not None:
        each = min(each, -(-places // len(of)))
    return tuple(device for process in sorted(of) for device in of[process][:each])


def over(devices: tuple[Any, ...]) -> Mesh:
    """The mesh of these devices."""
    return Mesh(np.array(devices), (AXIS,))


def is_wide() -> bool:
    """Whether a device does much side by side: seeds are vmapped, and segments go in whole chunks.

    Accelerators do. A CPU does where the environment variable OHIO_LAYOUT is `accelerator`, by which an accelerator's programs
    are tested without one; an accelerator does not where it is `cpu`. Raises UserError for another value.
    """
    layout = os.environ.get("OHIO_LAYOUT", "auto")
    if layout not in ("auto", "accelerator", "cpu"):
        raise unknown("layout in OHIO_LAYOUT", layout, ("auto", "accelerator", "cpu"))
    return layout == "accelerator" or (layout == "auto" and jax.default_backend() != "cpu")


def put(tree: Any, devices: tuple[Any, ...], spread: bool = False) -> Any:
    """Arrays, the same in every process, on devices: whole on each, or their leading axis spread over them.

    What is whole on each of a host's CPU devices lies in its memory once; the arrays are not to be written to after.
    """
    sharding = NamedSharding(over(devices), EACH if spread else WHOLE)
    if devices[0].platform == "cpu" and not spread:
        tree = jax.tree.map(_aligned, tree)
    if not joined():
        return jax.device_put(tree, sharding)
    # Without `device_put`, which would send all of it round to see that it is the same everywhere.
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, sharding, lambda at: x[at]), tree)


def _aligned(x: Any) -> Any:
    """An array of NumPy's that all of a host's CPU devices can share: each copies one that begins elsewhere, or has gaps."""
    if not isinstance(x, np.ndarray) or (x.flags.c_contiguous and x.ctypes.data % ALIGNMENT == 0):
        return x
    room = np.empty(x.nbytes + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    found = room[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    found[...] = x
    return found


def gather(tree: Any) -> Any:
    """Whole arrays on the host, in every process."""
    return jax.device_get(multihost_utils.process_allgather(tree, tiled=True) if joined() else tree)
