"""The training loop: blocks of compiled updates, with progress and checkpoints between them.

A block is one `lax.scan` over gradient updates. Between blocks Python shows progress and saves the whole carry through Orbax,
so a killed run goes on where it stopped and ends with the same numbers.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ohio_jax import mesh
from ohio_jax.progress import progress
from ohio_jax.training.checkpoint import Run

SECONDS_BETWEEN_CHECKPOINTS = 30.0

_compiled: dict[Any, Any] = {}  # compiled blocks, see `executable`


class Trained(NamedTuple):
    """What training returns.

    Attributes:
        states: agents stacked over S seeds, on the host, see `ohio_jax.agent`.
        curve: metrics, `Float[blocks, S]`.
        seconds: wall.
    """

    states: Any
    curve: dict[str, np.ndarray]
    seconds: dict[str, float]


def executable(block: jax.stages.Wrapped, *inputs: Any) -> jax.stages.Compiled:
    """The compiled program of a block for these inputs; one program serves all inputs of the same structure and shapes."""
    signature = (block, jax.tree.structure(inputs), tuple((x.shape, x.dtype) for x in jax.tree.leaves(inputs)))
    if signature not in _compiled:
        _compiled[signature] = block.lower(*inputs).compile()
    return _compiled[signature]


def run_blocks(
    run: Run,
    block: Callable[[int], jax.stages.Wrapped],
    carry: Any,
    inputs: Callable[[Any, int], tuple[Any, ...]],
    kept: Callable[[Any, bool], Any] = lambda carry, finished: carry,
) -> Trained:
    """The updates of a run from where it stopped, block by block.

    Args:
        block: `block(updates)`, jitted block, which returns (carry, metrics).
        inputs: `inputs(carry, done)`, its arguments, spread over the run's seeds.
        kept: `kept(carry, finished)`, what a checkpoint holds, and when finished what is returned.
    """
    plan, saved = run.plan, time.monotonic()
    with progress(run.title, plan.updates, "update", run.progress.done) as bar:
        while run.progress.done < plan.updates:
            size = min(plan.block, plan.updates - run.progress.done)
            start = time.monotonic()
            given = inputs(carry, run.progress.done)
            program = executable(block(size), *given)
            compiled = time.monotonic()
            carry, metrics = program(*given)
            metrics = {name: value.tolist() for name, value in run.seeds.gather(metrics).items()}
            now = time.monotonic()
            run.progress = run.progress.after(size, metrics, compiled - start, now - compiled)
            bar.update(size)
            finished = run.progress.done == plan.updates
            due = finished or now - saved > SECONDS_BETWEEN_CHECKPOINTS
            if run.directory is not None and mesh.broadcast_bool(due):
                run.save(run.seeds.gather(kept(carry, finished)))
                saved = time.monotonic()
    done, curve = run.progress, run.progress.curve
    return Trained(
        run.seeds.gather(kept(carry, True)),
        {name: np.array([row[name] for row in curve]) for name in (curve[0] if curve else {})},
        {"compile": done.compile_seconds, "train": done.train_seconds},
    )
