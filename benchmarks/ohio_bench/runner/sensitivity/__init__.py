"""How the cells of the sensitivity experiment are measured: the noisy arm, recovered goals, scores, cost."""

import time
from collections.abc import Callable
from typing import Any


def timed(measure: Callable[..., dict[str, Any]], given: dict[str, Any], work: Any) -> dict[str, Any]:
    """What a cell's run file holds of a measurement: what it found and how long it took. Nothing of it is kept for others."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = measure(**given)
    return {"found": found, "seconds": {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}}
