"""`ohio-jax sensitivity`: what OHIO's inverses lose to wrong models and noisy low levels, and what they cost.

Four questions its readers ask, on the reacher under LQR: a learned model against a given one, sensitivity to its accuracy, a
stochastic low level, and growth of cost. One run file a cell; a cell that exists with the same configuration is not run again.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.reacher import SHORT, plans
from benchmarks.sensitivity import cost, page, recovery, score
from benchmarks.sensitivity.arm import Belief, beliefs
from benchmarks.table import slug
from ohio_jax import provenance
from ohio_jax.errors import unknown
from ohio_jax.files import write_json
from ohio_jax.progress import progress

SLOW = ("numerical", "cross_entropy")  # these get `few` segments


class Budget(NamedTuple):
    """How much is measured.

    factors: of the masses. shares: of the logs' episodes that models are learned from. lengths: h.
    noises: deviations of the torques' noise, as shares of the gear, of the questions about noise; grid_noises: of the grid.
    inverses: of the grid, with `segments` each, slow ones `few`. episodes: of the expert's logs. updates: gradient steps of
    learned models. scored: inverses that get a score for every model, at `middle` steps a segment; compared: those of other
    lengths. noisy: models of the questions about noise; judged: inverses that get a score there;
    estimates: names in `recovery.ESTIMATES`. clones: gradient steps of
    behaviour cloning; seeds, test_episodes: of each score.
    sizes: what grows -> sizes; many, least: segments a call of the cost measurements, and of large or slow ones; costly:
    inverses of those; windows of `seconds`, see `timing.race`.
    """

    factors: tuple[float, ...]
    shares: tuple[float, ...]
    lengths: tuple[int, ...]
    noises: tuple[float, ...]
    grid_noises: tuple[float, ...]
    inverses: tuple[str, ...]
    segments: int
    few: int
    episodes: int
    updates: int
    scored: tuple[str, ...]
    compared: tuple[str, ...]
    middle: int
    noisy: tuple[Belief, ...]
    judged: tuple[str, ...]
    estimates: tuple[str, ...]
    clones: int
    seeds: int
    test_episodes: int
    sizes: dict[str, tuple[int, ...]]
    many: int
    least: int
    costly: tuple[str, ...]
    windows: int
    seconds: float


BUDGETS = {
    "cpu": Budget(
        factors=(0.5, 0.75, 0.9, 1.1, 1.25, 1.5),
        shares=(0.01, 0.03, 0.1, 0.3, 1.0),
        lengths=(1, 5, 10),
        noises=(0.03, 0.1, 0.3),
        grid_noises=(0.0, 0.1),
        inverses=(
            *("analytic", "ridge", "reg_analytic", "numerical", "least_squares", "posterior", "cross_entropy", "implicit"),
            "observed",
        ),
        segments=2048,
        few=64,
        episodes=200,
        updates=4000,
        scored=("analytic", "ridge", "least_squares"),
        compared=("analytic", "least_squares"),
        middle=5,
        noisy=(Belief(), Belief(share=1.0)),
        judged=("least_squares", "posterior"),
        estimates=tuple(recovery.ESTIMATES),
        clones=6000,
        seeds=2,
        test_episodes=50,
        sizes={
            "segments": (64, 1024, 16384, 131072),
            "horizon": (1, 2, 5, 10, 20, 50),
            "dimension": (2, 4, 8, 16, 32, 64, 100),
            "regions": (10, 16, 32, 64, 128, 256),
        },
        many=1024,
        least=32,
        costly=("analytic", "least_squares", "numerical"),
        windows=3,
        seconds=0.2,
    ),
    "quick": Budget(
        factors=(1.5,),
        shares=(1.0,),
        lengths=(5,),
        noises=(0.1,),
        grid_noises=(0.0,),
        inverses=("analytic",),
        segments=128,
        few=16,
        episodes=2,
        updates=200,
        scored=("analytic",),
        compared=(),
        middle=5,
        noisy=(Belief(),),
        judged=(),
        estimates=("posterior, whole covariance",),
        clones=100,
        seeds=2,
        test_episodes=2,
        sizes={"dimension": (4,), "regions": (10,)},
        many=32,
        least=8,
        costly=("analytic",),
        windows=1,
        seconds=0.01,
    ),
}

Cell = tuple[str, dict[str, Any], Callable[[], dict[str, Any]]]  # name, configuration, what runs it


def budget_of(preset: str) -> Budget:
    if preset not in BUDGETS:
        raise unknown("preset of sensitivity", preset, BUDGETS)
    return BUDGETS[preset]


def cells(b: Budget) -> Iterator[Cell]:
    """Every cell; its name is `<kind>/<what>`, kind one of recovery, calibration, score and cost."""
    every = beliefs(b.factors, b.shares)
    ends = beliefs((*b.factors[:1], *b.factors[-1:]), (*b.shares[:1], *b.shares[-1:]))
    setting = {"episodes": b.episodes, "updates": b.updates}
    amounts = {name: b.few if name in SLOW else b.segments for name in b.inverses}
    head = lambda belief, steps, noise: {"belief": asdict(belief), "steps": steps, "noise": noise, **setting}
    named = lambda belief, steps, noise, *more: slug(belief.name, f"h{steps}", f"noise{noise:g}", *more)

    for noise, steps, belief in itertools.product(b.grid_noises, b.lengths, every):
        config = {**head(belief, steps, noise), "inverses": amounts}
        yield (
            f"recovery/{named(belief, steps, noise)}",
            config,
            partial(recovery.recovered, belief, steps, noise, amounts, setting),
        )

    compared = [(steps, belief) for steps in b.lengths for belief in b.noisy if steps == b.middle or belief == Belief()]
    for noise, (steps, belief) in itertools.product(b.noises, compared):
        config = {**head(belief, steps, noise), "segments": b.segments, "estimates": b.estimates}
        run = partial(recovery.calibrated, belief, steps, noise, b.estimates, b.segments, setting)
        yield f"calibration/{named(belief, steps, noise)}", config, run

    plan = plans(SHORT, b.seeds, 64, {"bc": b.clones, "iql": b.clones})[score.SPACE, "bc"]
    others = [steps for steps in b.lengths if steps != b.middle]
    wanted = [
        *itertools.product(every, (b.middle,), (0.0,), b.scored),
        *itertools.product(ends, others, (0.0,), b.compared),
        *itertools.product(b.noisy, (b.middle,), (0.0, *b.noises), b.judged),
    ]
    for belief, steps, noise, inverse in dict.fromkeys(wanted):
        config = {**head(belief, steps, noise), "inverse": inverse, "plan": plan.as_json()}
        config |= {"test_seed": score.TEST_SEED, "test_episodes": b.test_episodes}
        run = partial(score.scored, belief, steps, noise, inverse, plan, b.test_episodes, setting)
        yield f"score/{named(belief, steps, noise, inverse)}", config, run

    platform = jax.default_backend()
    for kind, sizes in b.sizes.items():
        for size in sizes:
            amounts = counts(b, kind, size)
            config = {"kind": kind, "size": size, "segments": amounts, "platform": platform, "windows": b.windows}
            config |= {"seconds": b.seconds, "episodes": b.episodes}
            run = partial(cost.measured, kind, size, amounts, b.windows, b.seconds, b.episodes)
            yield f"cost/{slug(platform, kind, str(size))}", config, run


def counts(b: Budget, kind: str, size: int) -> dict[str, int]:
    """Segments of each inverse in a cost measurement: fewer of a slow one, and of problems with large matrices."""
    if kind == "segments":
        return {name: size for name in b.costly if name not in SLOW or size <= b.many}
    many = max(b.least, b.many // max(1, size // 8)) if kind in ("dimension", "regions") else b.many
    return {name: b.least if name in SLOW else many for name in b.costly}


def run(results: Path, preset: str, kinds: tuple[str, ...] = ()) -> dict[str, Any]:
    """Runs the cells that are missing or were made otherwise, then writes the page and its plots; returns their paths.

    kinds: no other cells than these. Raises UserError for an unknown preset or kind, or a damaged run file.
    """
    listed = list(cells(budget_of(preset)))
    known = list(dict.fromkeys(name.split("/")[0] for name, *_ in listed))
    for kind in kinds:
        if kind not in known:
            raise unknown("kind of cell", kind, known)
    listed = [cell for cell in listed if not kinds or cell[0].split("/")[0] in kinds]
    folder, ran = page.folder(results, preset), 0
    with progress("sensitivity", len(listed), "cell") as bar:
        for name, config, work in listed:
            path, config = folder / f"{name}.json", json.loads(json.dumps(config))
            kept = page.read(path) if path.exists() else {}
            if kept.get("config") != config:
                wall, cpu = time.perf_counter(), time.process_time()
                found: dict[str, Any] = {"found": work()}
                found["seconds"] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
                head = {"command": f"ohio-jax sensitivity --preset {preset}", "config": config}
                write_json(path, {**head, **found, "provenance": provenance.collect()})
                ran += 1
            bar.update()
    written = page.write(results, preset)
    return {"preset": preset, "cells": len(listed), "ran": ran, "written": [str(path) for path in written]}
