"""Fair timing on a machine that is never quite idle: contenders take turns in short windows, best and median are kept.

A window calls its contender often enough to last `seconds`. Every call is waited for (`jax.block_until_ready`), so a
call's time is what a caller waits. The first call of each contender is timed apart, since it compiles.
"""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from ohio_jax.deadline import NEVER, Deadline, OutOfTime

Name = TypeVar("Name", bound=Hashable)


class Timing(NamedTuple):
    """Seconds of one call.

    Attributes:
        best, median: wall time over the windows.
        cpu: process time over all threads, in the best window; more than `best` where a call uses several cores, less where
            neighbors took the machine away.
        compile: wall time of the first call beyond `best`.
        windows: how many.
        calls: in each.
    """

    best: float
    median: float
    cpu: float
    compile: float
    windows: int
    calls: int

    def rates(self, amount: float) -> dict[str, float]:
        """`amount` of work a call, as work a second: at best, at the median, and a second of processor time."""
        of = lambda seconds: amount / max(seconds, 1e-12)
        return {
            "best": of(self.best),
            "median": of(self.median),
            "per_cpu_second": of(self.cpu),
            "compile_seconds": self.compile,
        }


def race(
    contenders: Mapping[Name, Callable[[], Any]], windows: int, seconds: float, deadline: Deadline = NEVER
) -> dict[Name, Timing]:
    """Times each contender in `windows` windows of about `seconds`, all of them in turn in each round.

    Raises:
        OutOfTime: where this cannot end by the deadline, once each has been called twice.
    """
    first, again = {}, {}
    for taken in (first, again):
        for name, call in contenders.items():
            deadline.require()
            taken[name] = _window(call, 1)[0]
    # The second call compiles nothing, so it says how many make a window.
    calls = {name: max(1, round(seconds / max(taken, 1e-6))) for name, taken in again.items()}
    whole = windows * sum(calls[name] * taken for name, taken in again.items())
    if deadline.lacks(whole):
        raise OutOfTime(whole)
    found: dict[Name, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(windows):
        for name, call in contenders.items():
            found[name].append(_window(call, calls[name]))
    timings = {}
    for name, each in found.items():
        best, cpu = min(each)
        median = statistics.median(wall for wall, _ in each)
        timings[name] = Timing(best, median, cpu, max(0.0, first[name] - best), windows, calls[name])
    return timings


def rates(
    contenders: Mapping[Name, Callable[[], Any]], amounts: Mapping[Name, float], budget: Any
) -> dict[Name, dict[str, float]]:
    """Work a second of each contender, see `Timing.rates`; amounts: of a call; budget: `windows` of `seconds`, a `deadline`."""
    timings = race(contenders, budget.windows, budget.seconds, budget.deadline)
    return {name: timing.rates(amounts[name]) for name, timing in timings.items()}


def over_devices(function, batch: int):
    """Compiled `function(shared, each)`, the leading axis of `each` spread over as many local devices as divide `batch`.

    Devices do not wait for each other: each runs its own loops to their own ends.
    """
    count = max(k for k in range(1, jax.local_device_count() + 1) if batch % k == 0)
    mesh = Mesh(np.array(jax.local_devices()[:count]), ("batch",))
    each = PartitionSpec("batch")
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=(PartitionSpec(), each), out_specs=each, check_vma=False))


def _window(call: Callable[[], Any], calls: int) -> tuple[float, float]:
    """Wall and processor seconds of one call, averaged over `calls`."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        jax.block_until_ready(call())
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls
