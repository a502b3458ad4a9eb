"""The training loop: blocks of compiled updates, with progress and checkpoints between them.

A block is one `lax.scan` over gradient updates. Between blocks Python shows progress and saves the whole carry through Orbax,
so a killed run goes on where it stopped and ends with the same numbers. A run stops before saving when a metric or parameter is
NaN or infinite, and after saving when a signal comes. A run with a deadline is timed before it is begun in earnest: the fewest
updates a program may make say whether the first block can end in time, and that block whether the run can.
"""

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ohio_jax import interrupts, mesh
from ohio_jax.deadline import NEVER, Deadline, OutOfTime
from ohio_jax.errors import DivergedError, UserError
from ohio_jax.progress import progress
from ohio_jax.training.checkpoint import Run, not_finite

SECONDS_BETWEEN_CHECKPOINTS = 30.0
SECONDS_OF_FIRST_CALL = 5.0  # what a program does only once takes less
TOO_LARGE = "rewards, observations or learning rates may be too large"

_compiled: dict[Any, Any] = {}  # compiled blocks, see `executable`
_paces: dict[Any, float] = {}  # seconds of an update, of those of them that have run


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
    signature = _signature(block, inputs)
    if signature not in _compiled:
        _compiled[signature] = block.lower(*inputs).compile()
    return _compiled[signature]


def _signature(block: jax.stages.Wrapped, inputs: tuple[Any, ...]) -> Any:
    return block, jax.tree.structure(inputs), tuple((x.shape, x.dtype) for x in jax.tree.leaves(inputs))


def run_blocks(
    run: Run,
    block: Callable[[int], jax.stages.Wrapped],
    carry: Any,
    inputs: Callable[[Any, int], tuple[Any, ...]],
    kept: Callable[[Any, bool], Any] = lambda carry, finished: carry,
    agents: Callable[[Any], Any] = lambda kept: kept,
    deadline: Deadline = NEVER,
    fewest: int = 1,
) -> Trained:
    """The updates of a run from where it stopped, block by block.

    Args:
        block: `block(updates)`, jitted block, which returns (carry, metrics).
        inputs: `inputs(carry, done)`, its arguments, spread over the run's seeds.
        kept: `kept(carry, finished)`, what a checkpoint holds, and when finished what is returned.
        agents: `agents(kept)`, those of what a checkpoint before the end holds.
        deadline: by when the run is to end.
        fewest: updates of the shortest block there may be; if no block is longer, the first is not foreseen.

    Raises:
        DivergedError: at the first block whose metrics are not finite, or the first checkpoint whose agents are not.
        Interrupted: after a signal, once what was done is saved.
        OutOfTime: where the run cannot end by the deadline, once what was done is saved.
    """
    plan, saved, states = run.plan, time.monotonic(), None
    if deadline.is_set and run.progress.done < plan.updates:
        _foresee(run, block, carry, inputs, deadline, fewest)
    begun = run.progress.done
    with interrupts.deferred(), progress(run.title, plan.updates, "update", run.progress.done) as bar:
        while run.progress.done < plan.updates:
            size = min(plan.block, plan.updates - run.progress.done)
            start = time.monotonic()
            given = inputs(carry, run.progress.done)
            ready = time.monotonic()
            program, signature = executable(block(size), *given), _signature(block(size), given)
            compiling = time.monotonic() - ready
            carry, metrics = program(*given)
            metrics = run.seeds.gather(metrics)
            training = time.monotonic() - start - compiling
            _check_metrics(run, size, metrics)
            metrics = {name: value.tolist() for name, value in metrics.items()}
            run.progress = run.progress.after(size, metrics, compiling, training)
            bar.update(size)
            finished, stopped = run.progress.done == plan.updates, mesh.any_process(interrupts.pending())
            _paces[signature] = training / size
            rest = _paces[signature] * (plan.updates - run.progress.done)
            # One that was let go on is not stopped near its end because a block took long.
            late = not finished and deadline.lacks(rest if run.progress.done - begun == size else 0.0)
            due = finished or stopped or late or time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS
            if run.directory is not None and mesh.broadcast_bool(due):
                held = run.seeds.gather(kept(carry, finished))
                states = held if finished else agents(held)
                _check_agents(run, states)
                run.save(held)
                saved = time.monotonic()
                del held  # which may hold a replay buffer
            if stopped:
                raise interrupts.Interrupted
            if late:
                raise OutOfTime(rest)
    if states is None:  # nothing was to be saved
        states = run.seeds.gather(kept(carry, True))
        _check_agents(run, states)
    done, curve = run.progress, run.progress.curve
    return Trained(
        states,
        {name: np.array([row[name] for row in curve]) for name in (curve[0] if curve else {})},
        {"compile": done.compile_seconds, "train": done.train_seconds},
    )


def _foresee(
    run: Run, block: Callable[[int], jax.stages.Wrapped], carry: Any, inputs: Callable, deadline: Deadline, fewest: int
) -> None:
    """Raises OutOfTime where the first block cannot end by the deadline, or the run at the pace of another that had its programs.

    What is timed are the fewest updates, on a copy of the carry: a block may take hours where it was meant for another machine.
    """
    left = run.plan.updates - run.progress.done
    size, given = min(run.plan.block, left), inputs(carry, run.progress.done)
    known = _paces.get(_signature(block(size), given))
    if known is not None:
        if deadline.lacks(known * left):
            raise OutOfTime(known * left)
        return
    if size <= fewest:
        return
    if (probe := _signature(block(fewest), given)) not in _paces:
        program, seconds = executable(block(fewest), *given), math.inf
        for _ in range(2):  # the first call also does what is done once
            copied = jax.block_until_ready(jax.tree.map(lambda x: x.copy(), given[0]))  # since a block donates what it is given
            start = time.monotonic()
            jax.block_until_ready(program(copied, *given[1:]))
            seconds = min(seconds, time.monotonic() - start)
            if mesh.broadcast_bool(seconds > SECONDS_OF_FIRST_CALL):  # of several processes all call as often
                break
        _paces[probe] = seconds / fewest
    if deadline.lacks(_paces[probe] * size):
        raise OutOfTime(_paces[probe] * left)


def _check_metrics(run: Run, updates: int, metrics: dict[str, np.ndarray]) -> None:
    """Raises DivergedError where metrics of the next block are not finite, UserError where they are not a number of each seed."""
    for name, value in metrics.items():
        place = f"{run.title}: updates {run.progress.done + 1} to {run.progress.done + updates}: metric {name}"
        if value.shape != (run.plan.seeds,):
            raise UserError(f"{place}: expected a number, found an array of shape {value.shape[1:]}")
        if not (finite := np.isfinite(value)).all():
            bad = int(np.argmin(finite))
            found = f"{value[bad]} in seed {run.plan.first_seed + bad}"
            raise DivergedError(f"{place}: expected a finite number, found {found}; {TOO_LARGE}")


def _check_agents(run: Run, agents: Any) -> None:
    """Raises DivergedError where what would be kept or returned is not finite."""
    if where := not_finite(agents):
        place = f"{run.title}: update {run.progress.done}: {where}"
        raise DivergedError(f"{place}: expected finite parameters, found others; {TOO_LARGE}")
