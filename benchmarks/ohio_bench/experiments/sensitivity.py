"""`ohio-jax sensitivity`: what OHIO's inverses lose to wrong models and noisy low levels, and what they cost.

Its readers ask: a learned model against a given one (Q1), sensitivity to its accuracy (Q2), a stochastic low level (Q4), growth
of cost (Q5), and every controller beside every inverse (C1). Most is of the reacher under LQR, wrong models of other domains as
well. One run file a cell, whose runs have a data set each; a cell that exists with the same configuration is not run again.
"""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
from ohio_envs import plans

from ohio_bench.report import sensitivity as page
from ohio_bench.runner.cell import Cell, Experiment
from ohio_bench.runner.sensitivity import cost, domains, recovery, score, timed
from ohio_bench.runner.sensitivity.arm import Belief, beliefs
from ohio_bench.runner.store import digest, plain, slug
from ohio_jax.controllers import CONTROLLERS
from ohio_jax.inverse import INVERSES
from ohio_jax.streams import Data, Test

SIZES = {
    "segments": (64, 1024, 16384, 131072),
    "horizon": (1, 2, 5, 10, 20, 50),
    "dimension": (2, 4, 8, 16, 32, 64, 100),
    "regions": (10, 16, 32, 64, 128, 256),
    "stores": (3, 10, 30, 100, 300),
}
# These get `few` segments.
SLOW = ("numerical", "cross_entropy", "program", *(name for name in INVERSES if name.startswith("gradient")))
HOSTED = ("convex",)  # controllers whose optimum is solved for outside compiled code, a millisecond each: a sixteenth of segments
FACTORS = (0.5, 0.9, 1.1, 1.5)
ENDS = dict.fromkeys(("masses", "gear", "damping"), (FACTORS[0], FACTORS[-1]))
# Of what domains' inverses are told, see `ohio_bench.runner.sensitivity.domains`.
DOMAINS = {
    ("routing", "travel times"): (1.0, 1.1, 1.25, 1.5, 2.0),
    ("routing", "unit of travel times"): (2.0,),
    ("supply chain", "lead times"): (2.0, 4.0),
    ("supply chain", "largest production"): (0.5, 0.8, 1.0, 1.25, 2.0),
    ("serial chain", "lead times"): (0.5, 0.75, 1.0, 1.25, 1.5, 2.0),
}


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        runs: of each cell, each with a data set of its own.
        factors: of the arm's quantities.
        shares: of the logs' episodes that models are learned from.
        model_noises: of A and B of the model that was learned from all of them.
        lengths: `h`; masses and learned models alone at those other than `middle`.
        noises: deviations of the torques' noise, as shares of the gear, of the questions about noise.
        grid_noises: of the grid, masses and learned models alone above 0.
        inverses: of the grid, with `segments` each, slow ones `few`.
        compared: those of other lengths, and under noise on A and B.
        episodes: of the expert's logs.
        updates: gradient steps of learned models.
        scored: models -> inverses that get a score with them, at `middle` steps a segment.
        calibrated: `h` of the questions about noise.
        noisy: models of the questions about noise.
        judged: inverses that get a score there, under the true model.
        estimates: names in `recovery.ESTIMATES`.
        clones: gradient steps of behavior cloning.
        test_episodes: of each score.
        domains: (domain, quantity) -> factors by which inverses are told it wrong.
        controllers: that every inverse is compared under.
        sizes: what grows -> sizes.
        many, least: segments a call of the cost measurements, and of large or slow ones.
        costly: inverses of those.
        seconds: see `timing.race`.
    """

    runs: int = 5
    factors: Mapping[str, tuple[float, ...]] = dict.fromkeys(ENDS, FACTORS)
    shares: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3, 1.0)
    model_noises: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    lengths: tuple[int, ...] = (1, 5, 10)
    noises: tuple[float, ...] = (0.03, 0.1, 0.3)
    grid_noises: tuple[float, ...] = (0.0, 0.1)
    inverses: tuple[str, ...] = (
        *("analytic", "ridge", "reg_analytic", "numerical", "least_squares", "posterior", "cross_entropy", "implicit"),
        "observed",
    )
    compared: tuple[str, ...] = ("analytic", "ridge", "least_squares", "posterior", "implicit", "observed")
    segments: int = 512
    few: int = 32
    episodes: int = 200
    updates: int = 4000
    scored: tuple[tuple[Belief, tuple[str, ...]], ...] = (
        *((belief, ("analytic", "least_squares")) for belief in beliefs({"masses": ENDS["masses"]}, (0.01, 1.0))),
        *((Belief(quantity, factor), ("least_squares",)) for quantity in ("gear", "damping") for factor in ENDS[quantity]),
    )
    middle: int = 5
    calibrated: tuple[int, ...] = (5, 10)
    noisy: tuple[Belief, ...] = (Belief(), Belief(share=1.0))
    judged: tuple[str, ...] = ("least_squares", "posterior")
    estimates: tuple[str, ...] = tuple(recovery.ESTIMATES)
    clones: int = 6000
    test_episodes: int = 50
    domains: Mapping[tuple[str, str], tuple[float, ...]] = DOMAINS
    controllers: tuple[str, ...] = tuple(CONTROLLERS)
    sizes: Mapping[str, tuple[int, ...]] = SIZES
    many: int = 1024
    least: int = 32
    costly: tuple[str, ...] = ("analytic", "least_squares", "numerical")
    seconds: float = 0.2


BUDGETS = {
    "cpu": Budget(),
    "quick": Budget(
        runs=2,
        factors={"masses": (1.5,)},
        shares=(1.0,),
        model_noises=(),
        lengths=(5,),
        noises=(0.1,),
        grid_noises=(0.0,),
        inverses=("analytic",),
        compared=("analytic",),
        segments=64,
        few=8,
        episodes=2,
        updates=200,
        scored=((Belief(), ("analytic",)), (Belief(share=1.0), ("analytic",))),
        calibrated=(5,),
        noisy=(Belief(),),
        judged=(),
        estimates=("posterior, whole covariance",),
        clones=100,
        test_episodes=2,
        domains={("supply chain", "largest production"): (1.0, 2.0), ("routing", "travel times"): (2.0,)},
        controllers=("direct",),
        sizes={"dimension": (4,), "regions": (10,), "stores": (3,)},
        many=32,
        least=8,
        costly=("analytic",),
        seconds=0.01,
    ),
}


def cells(b: Budget, kinds: Iterable[str]) -> Iterator[Cell]:
    """Every cell of these kinds; its name is `<kind>/<what>`. What it is measured with is its configuration."""
    for kind in kinds:
        for words, measure, given in CELLS[kind](b):
            as_dict = lambda value: asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            config = {name: as_dict(value) for name, value in given.items()} | {"data_stream": Data().name}
            yield Cell(f"{kind}/{slug(*words)}", config, partial(_alone, measure, given))


def declares(preset: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a run file has the configuration of a cell of the preset; of costs, on the platform that they were measured on."""
    alike = lambda config: digest({**config, "platform": ""})
    listed = functools.cache(lambda: {alike(plain(cell.config)) for cell in cells(EXPERIMENT.preset(preset), CELLS)})
    there = lambda cell: cell["provenance"]["hardware"]["platform"]
    return lambda cell: cell["config"].get("platform", there(cell)) == there(cell) and alike(cell["config"]) in listed()


def _alone(measure: Callable[..., dict[str, Any]], given: dict[str, Any], work: Any) -> dict[str, Any]:
    """A cell without the programs of those before it: all cells' together are more than one process may map into its memory."""
    jax.clear_caches()
    return timed(measure, given, work)


# Each of these gives the words of a cell's name, what measures it, and with which arguments.
Listed = Iterator[tuple[tuple[str, ...], Callable[..., dict[str, Any]], dict[str, Any]]]


def head(b: Budget, belief: Belief, steps: int, noise: float) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What names a cell of the arm, and what all of them are given."""
    given = {"belief": belief, "steps": steps, "noise": noise, "episodes": b.episodes, "updates": b.updates}
    return (belief.name, f"h{steps}", f"noise{noise:g}"), given


def amounts(b: Budget, inverses: Iterable[str]) -> dict[str, int]:
    return {name: b.few if name in SLOW else b.segments for name in inverses}


def recoveries(b: Budget) -> Listed:
    masses = {name: of for name, of in b.factors.items() if name == "masses"}
    for noise, steps in itertools.product(b.grid_noises, b.lengths):
        if noise and steps != b.middle:
            continue
        alone = noise or steps != b.middle
        for belief in beliefs(masses, b.shares) if alone else beliefs(b.factors, b.shares, b.model_noises):
            words, given = head(b, belief, steps, noise)
            some = b.inverses if steps == b.middle and not belief.noise else b.compared
            yield words, recovery.recovered, {**given, "inverses": amounts(b, some), "runs": b.runs}


def calibrations(b: Budget) -> Listed:
    compared = [(steps, belief) for steps in b.calibrated for belief in b.noisy if steps == b.middle or belief == Belief()]
    for noise, (steps, belief) in itertools.product(b.noises, compared):
        words, given = head(b, belief, steps, noise)
        yield words, recovery.calibrated, {**given, "segments": b.segments, "estimates": b.estimates, "runs": b.runs}


def scores(b: Budget) -> Listed:
    plan = plans.make("reacher", b.runs, 64, {"bc": b.clones}, 256)[score.SPACE, "bc"]
    test = {"plan": plan, "test_stream": Test().name, "test_episodes": b.test_episodes}
    wanted: list[Any] = [(belief, 0.0, inverse) for belief, inverses in b.scored for inverse in inverses]
    wanted += itertools.product((Belief(),), (0.0, *b.noises), b.judged)
    for belief, noise, inverse in dict.fromkeys(wanted):
        words, given = head(b, belief, b.middle, noise)
        yield (*words, inverse), score.scored, {**given, "inverse": inverse, **test}


def of_domains(b: Budget) -> Listed:
    shared = {"segments": b.segments, "few": b.few, "episodes": b.episodes, "runs": b.runs}
    for (domain, quantity), factors in b.domains.items():
        for factor in factors:
            given = {"domain": domain, "quantity": quantity, "factor": factor, **shared}
            yield (domain, quantity, f"{factor:g}"), domains.misspecified, given


def of_controllers(b: Budget) -> Listed:
    for name in b.controllers:
        amounts = {"segments": b.segments, "few": b.few}
        if name in HOSTED:
            amounts = {key: max(2, amount // 16) for key, amount in amounts.items()}
        given = {"controller": name, "slow": SLOW, **amounts, "runs": b.runs}
        yield (name,), domains.of_controller, given


def costs(b: Budget) -> Listed:
    platform = jax.default_backend()
    shared = {"platform": platform, "runs": b.runs, "seconds": b.seconds, "episodes": b.episodes}
    for kind, sizes in b.sizes.items():
        for size in sizes:
            given = {"kind": kind, "size": size, "segments": counts(b, kind, size), **shared}
            yield (platform, kind, str(size)), cost.measured, given


CELLS = {
    "recovery": recoveries,
    "calibration": calibrations,
    "score": scores,
    "domain": of_domains,
    "controller": of_controllers,
    "cost": costs,
}


def counts(b: Budget, kind: str, size: int) -> dict[str, int]:
    """Segments of each inverse in a cost measurement: fewer of a slow one, and of problems with large matrices."""
    if kind == "segments":
        return {name: size for name in b.costly if name not in SLOW or size <= b.many}
    many = max(b.least, b.many // max(1, size // 8)) if kind in ("dimension", "regions", "stores") else b.many
    return {name: b.least if name in SLOW else many for name in b.costly}


EXPERIMENT = Experiment(
    name="sensitivity",
    command="sensitivity",
    kind=page.kind,
    group="kind of cell",
    groups=lambda b: CELLS,
    cells=cells,
    report=lambda results, preset: page.report(results, preset, declares(preset)),
    presets={name: partial(BUDGETS.__getitem__, name) for name in BUDGETS},
)
