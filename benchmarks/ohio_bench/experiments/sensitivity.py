"""`ohio-jax sensitivity`: what OHIO's inverses lose to wrong models and noisy low levels, and what they cost.

Four questions its readers ask, on the reacher under LQR: a learned model against a given one, sensitivity to its accuracy, a
stochastic low level, and growth of cost. One run file a cell; a cell that exists with the same configuration is not run again.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
from ohio_envs import plans

from ohio_bench.report import sensitivity as page
from ohio_bench.runner.cell import Cell, Experiment
from ohio_bench.runner.sensitivity import cost, recovery, score, timed
from ohio_bench.runner.sensitivity.arm import Belief, beliefs
from ohio_bench.runner.store import slug
from ohio_jax.streams import Data, Test

SIZES = {
    "segments": (64, 1024, 16384, 131072),
    "horizon": (1, 2, 5, 10, 20, 50),
    "dimension": (2, 4, 8, 16, 32, 64, 100),
    "regions": (10, 16, 32, 64, 128, 256),
}
SLOW = ("numerical", "cross_entropy")  # these get `few` segments


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        factors: of the masses.
        shares: of the logs' episodes that models are learned from.
        lengths: `h`.
        noises: deviations of the torques' noise, as shares of the gear, of the questions about noise.
        grid_noises: of the grid.
        inverses: of the grid, with `segments` each, slow ones `few`.
        episodes: of the expert's logs.
        updates: gradient steps of learned models.
        scored: inverses that get a score for every model, at `middle` steps a segment.
        compared: those of other lengths.
        noisy: models of the questions about noise.
        judged: inverses that get a score there.
        estimates: names in `recovery.ESTIMATES`.
        clones: gradient steps of behavior cloning.
        runs, test_episodes: of each score.
        sizes: what grows -> sizes.
        many, least: segments a call of the cost measurements, and of large or slow ones.
        costly: inverses of those.
        windows, seconds: see `timing.race`.
    """

    factors: tuple[float, ...] = (0.5, 0.75, 0.9, 1.1, 1.25, 1.5)
    shares: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    lengths: tuple[int, ...] = (1, 5, 10)
    noises: tuple[float, ...] = (0.03, 0.1, 0.3)
    grid_noises: tuple[float, ...] = (0.0, 0.1)
    inverses: tuple[str, ...] = (
        *("analytic", "ridge", "reg_analytic", "numerical", "least_squares", "posterior", "cross_entropy", "implicit"),
        "observed",
    )
    segments: int = 2048
    few: int = 64
    episodes: int = 200
    updates: int = 4000
    scored: tuple[str, ...] = ("analytic", "ridge", "least_squares")
    compared: tuple[str, ...] = ("analytic", "least_squares")
    middle: int = 5
    noisy: tuple[Belief, ...] = (Belief(), Belief(share=1.0))
    judged: tuple[str, ...] = ("least_squares", "posterior")
    estimates: tuple[str, ...] = tuple(recovery.ESTIMATES)
    clones: int = 6000
    runs: int = 2
    test_episodes: int = 50
    sizes: dict[str, tuple[int, ...]] = SIZES
    many: int = 1024
    least: int = 32
    costly: tuple[str, ...] = ("analytic", "least_squares", "numerical")
    windows: int = 3
    seconds: float = 0.2


BUDGETS = {
    "cpu": Budget(),
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
        noisy=(Belief(),),
        judged=(),
        estimates=("posterior, whole covariance",),
        clones=100,
        test_episodes=2,
        sizes={"dimension": (4,), "regions": (10,)},
        many=32,
        least=8,
        costly=("analytic",),
        windows=1,
        seconds=0.01,
    ),
}


def cells(b: Budget, kinds: Iterable[str]) -> Iterator[Cell]:
    """Every cell of these kinds; its name is `<kind>/<what>`. What it is measured with is its configuration."""
    for kind in kinds:
        for words, measure, given in CELLS[kind](b):
            plain = lambda value: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            config = {name: plain(value) for name, value in given.items()} | {"data_stream": Data().name}
            yield Cell(f"{kind}/{slug(*words)}", config, partial(timed, measure, given))


# Each of these gives the words of a cell's name, what measures it, and with which arguments.
Listed = Iterator[tuple[tuple[str, ...], Callable[..., dict[str, Any]], dict[str, Any]]]


def head(b: Budget, belief: Belief, steps: int, noise: float) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What names a cell of the arm, and what all of them are given."""
    given = {"belief": belief, "steps": steps, "noise": noise, "episodes": b.episodes, "updates": b.updates}
    return (belief.name, f"h{steps}", f"noise{noise:g}"), given


def recoveries(b: Budget) -> Listed:
    amounts = {name: b.few if name in SLOW else b.segments for name in b.inverses}
    for noise, steps, belief in itertools.product(b.grid_noises, b.lengths, beliefs(b.factors, b.shares)):
        words, given = head(b, belief, steps, noise)
        yield words, recovery.recovered, {**given, "inverses": amounts}


def calibrations(b: Budget) -> Listed:
    compared = [(steps, belief) for steps in b.lengths for belief in b.noisy if steps == b.middle or belief == Belief()]
    for noise, (steps, belief) in itertools.product(b.noises, compared):
        words, given = head(b, belief, steps, noise)
        yield words, recovery.calibrated, {**given, "segments": b.segments, "estimates": b.estimates}


def scores(b: Budget) -> Listed:
    plan = plans.make("reacher", b.runs, 64, {"bc": b.clones}, 256)[score.SPACE, "bc"]
    test = {"plan": plan, "test_stream": Test().name, "test_episodes": b.test_episodes}
    ends = beliefs((*b.factors[:1], *b.factors[-1:]), (*b.shares[:1], *b.shares[-1:]))
    others = [steps for steps in b.lengths if steps != b.middle]
    wanted: list[Any] = [
        *itertools.product(beliefs(b.factors, b.shares), (b.middle,), (0.0,), b.scored),
        *itertools.product(ends, others, (0.0,), b.compared),
        *itertools.product(b.noisy, (b.middle,), (0.0, *b.noises), b.judged),
    ]
    for *of, inverse in dict.fromkeys(wanted):
        words, given = head(b, *of)
        yield (*words, inverse), score.scored, {**given, "inverse": inverse, **test}


def costs(b: Budget) -> Listed:
    platform = jax.default_backend()
    shared = {"platform": platform, "windows": b.windows, "seconds": b.seconds, "episodes": b.episodes}
    for kind, sizes in b.sizes.items():
        for size in sizes:
            given = {"kind": kind, "size": size, "segments": counts(b, kind, size), **shared}
            yield (platform, kind, str(size)), cost.measured, given


CELLS = {"recovery": recoveries, "calibration": calibrations, "score": scores, "cost": costs}


def counts(b: Budget, kind: str, size: int) -> dict[str, int]:
    """Segments of each inverse in a cost measurement: fewer of a slow one, and of problems with large matrices."""
    if kind == "segments":
        return {name: size for name in b.costly if name not in SLOW or size <= b.many}
    many = max(b.least, b.many // max(1, size // 8)) if kind in ("dimension", "regions") else b.many
    return {name: b.least if name in SLOW else many for name in b.costly}


EXPERIMENT = Experiment(
    name="sensitivity",
    command="sensitivity",
    kind=page.kind,
    group="kind of cell",
    groups=lambda b: CELLS,
    cells=cells,
    report=page.report,
    presets={name: partial(BUDGETS.__getitem__, name) for name in BUDGETS},
)
