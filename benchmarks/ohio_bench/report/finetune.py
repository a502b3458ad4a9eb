"""The page, the CSV and the figure of `ohio-jax finetune`, made of its run files alone."""

import csv
import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ohio_bench.report import plots
from ohio_bench.report.policies import cards
from ohio_bench.report.text import between, filled, machine, table
from ohio_bench.runner import references, store
from ohio_bench.runner.cell import Report
from ohio_bench.runner.freshness import Declared, freshness
from ohio_jax import scores
from ohio_jax.errors import counted

KIND = "finetune"  # of run files, see `ohio_bench.runner.schema`
INTERFACES = {"ohio": "OHIO", "end_to_end": "E2E (fair)", "end_to_end_compat": "E2E (paper)"}
VIOLATIONS = {"infeasible_requests": "infeasible requests an episode", "over_capacity": "units above storage an episode"}
SMOOTH = 0.05  # of the curve that a point of the figure is the mean of


@dataclass(frozen=True)
class Run:
    """A cell as the page shows it.

    Attributes:
        updates: made online.
        decisions: `Float[K]`, made when each round of episodes ended.
        score: `Float[K, S]`, with sampled actions.
        violations: name -> `Float[K, S]`, of an episode.
        start, end: `Float[S]`, mean test scores before and after, with the mean action.
        tested: name -> violations in the tests after.
    """

    domain: str
    interface: str
    method: str
    behavior_policy: float
    updates: int
    decisions: np.ndarray
    score: np.ndarray
    violations: dict[str, np.ndarray]
    start: np.ndarray
    end: np.ndarray
    tested: dict[str, float]

    @property
    def name(self) -> str:
        """The method, with its action interface."""
        return f"{INTERFACES[self.interface]} {self.method}"

    @property
    def last(self) -> np.ndarray:
        """`Float[S]`, score while learning: mean over the last tenth of the rounds."""
        return self.score[-max(1, len(self.score) // 10) :].mean(axis=0)


def run_of(cell: dict[str, Any]) -> Run:
    config, reference = cell["config"], cell["reference"]
    normal = lambda returns: scores.normalize(returns, reference["zero"], reference["full"])
    curve = {name: np.asarray(value, np.float64) for name, value in cell["curve"].items()}
    test = {when: normal(of["returns"]).mean(axis=1) for when, of in cell["tests"].items()}
    online = config["online"]
    rounds = np.arange(1, len(curve["return"]) + 1)
    # Where episodes are longer than rounds, some round sees none end, and has no score.
    some = (curve["episodes"] > 0).all(axis=1)
    length = np.round(config["horizon"] * online["envs"] * len(rounds) / curve["episodes"].sum(axis=0).mean())
    return Run(
        domain=config["domain"],
        interface=config["interface"],
        method=config["method"]["name"],
        behavior_policy=float(normal(np.mean([card["return_mean"] for card in cards(cell)]))),
        updates=online["plan"]["updates"],
        decisions=online["envs"] * (online["learning_starts"] + rounds[some] * config["horizon"]),
        score=normal(curve["return"])[some],
        violations={name: curve[name][some] * length for name in VIOLATIONS if name in curve},
        start=test["start"],
        end=test["end"],
        tested={name: float(np.mean(of)) for name, of in cell["tests"]["end"].items() if name in VIOLATIONS},
    )


def load(results: Path, preset: str) -> list[dict[str, Any]]:
    """The run files, OHIO's first."""
    place = store.folder("finetune", preset, results)
    found = store.read_all(place, KIND, partial(store.check_place, "finetune", preset), file_name)
    references.check(place, found, file_name, results)
    order = list(INTERFACES)
    return sorted(found, key=lambda cell: (cell["config"]["domain"], order.index(cell["config"]["interface"])))


def file_name(cell: dict[str, Any]) -> str:
    """Of a run file, as `ohio_bench.experiments.finetune` calls it."""
    config = cell["config"]
    return store.slug(config["domain"], config["interface"], config["method"]["name"])


def report(results: Path, preset: str, declared: Declared) -> Report:
    """The page, the CSV and the figure if there are run files. declared: see `ohio_bench.runner.freshness`."""
    cells = load(results, preset)
    if not cells:
        return Report({})
    runs, stem = [run_of(cell) for cell in cells], results / f"finetune-{preset}"
    fresh = freshness(cells, results, declared)
    made = {".md": text(cells, runs, preset, fresh.text()).encode(), ".csv": as_csv(runs).encode(), ".png": figure(runs)}
    return Report({stem.with_suffix(suffix): content for suffix, content in made.items()}, freshness=fresh)


def smooth(values: np.ndarray) -> np.ndarray:
    """Means over the last `SMOOTH` of the curve, `Float[K, ...]`, fewer at its beginning."""
    width = max(1, round(SMOOTH * len(values)))
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    stop = np.arange(1, len(values) + 1)
    first = np.maximum(stop - width, 0)
    return (total[stop] - total[first]) / (stop - first)[:, None]


def summary(values: np.ndarray) -> tuple[float, float, float]:
    """Mean over runs and its 95 % t interval; values: `Float[S]`."""
    low, high = scores.t_interval(values)
    return float(values.mean()), float(low), float(high)


def _lines(runs: list[Run]) -> list[list[str]]:
    out = []
    for run in runs:
        found = (run.violations, run.tested)
        violated = [f"{np.mean(of[name]):,.1f}" if name in of else "" for of in found for name in VIOLATIONS]
        lowest = f"{smooth(run.score).mean(axis=1).min():.1f}"
        start, last, end = (between(*summary(values)) for values in (run.start, run.last, run.end))
        scored = [start, lowest, last, end, between(*summary(run.end - run.start))]
        out.append([INTERFACES[run.interface], run.method, f"{run.updates:,}", *scored, *violated])
    return out


def text(cells: list[dict[str, Any]], runs: list[Run], preset: str, stale: str = "") -> str:
    head = ["interface", "method", "updates", "before", "lowest", "last tenth", "after", "gain"]
    head += ["infeasible requests", "above storage", "infeasible requests, after", "above storage, after"]
    parts = []
    for domain in dict.fromkeys(run.domain for run in runs):
        of = [run for run in runs if run.domain == domain]
        made = f"The behavior policy scores {of[0].behavior_policy:.1f}."
        parts += [f"## {domain}", made, table(head, _lines(of))]
    given = {
        "preset": preset,
        "stale": stale,
        "command": f"ohio-jax finetune --preset {preset}",
        "share": 100 * SMOOTH,
        "runs": counted(cells[0]["config"]["offline"]["seeds"], "run"),
        "episodes": counted(cells[0]["config"]["test_episodes"], "test episode"),
        "domains": "\n\n".join(parts),
        "provenance": machine(cells[0]["provenance"]),
    }
    return filled("ohio_bench.report", "finetune", {**cells[0], **given})


def as_csv(runs: list[Run]) -> str:
    """The curves, a line for each round and seed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["domain", "interface", "method", "seed", "decisions", "score", *VIOLATIONS])
    for run in runs:
        for k, decisions in enumerate(run.decisions):
            for seed in range(run.score.shape[1]):
                more = [f"{run.violations[name][k, seed]:.3f}" if name in run.violations else "" for name in VIOLATIONS]
                head = [run.domain, run.interface, run.method, seed, int(decisions)]
                writer.writerow([*head, f"{run.score[k, seed]:.3f}", *more])
    return out.getvalue()


def figure(runs: list[Run]) -> bytes:
    """A row for each domain; score and violations against decisions, bands are 95 % t intervals over runs."""
    domains = list(dict.fromkeys(run.domain for run in runs))
    methods = list(dict.fromkeys(run.method for run in runs))
    panels = ["score", *VIOLATIONS]
    styles = dict(zip(INTERFACES, ("-", "--", ":"), strict=True))
    drawn, axes = plots.subplots(len(domains), len(panels), (15, 4.2 * len(domains)))
    for row, domain in zip(axes, domains, strict=True):
        for run in (run for run in runs if run.domain == domain):
            color = f"C{methods.index(run.method)}"
            for axis, name in zip(row, panels, strict=True):
                if name != "score" and name not in run.violations:
                    continue
                values = smooth(run.score if name == "score" else run.violations[name])
                axis.plot(run.decisions, values.mean(axis=1), styles[run.interface], color=color, label=run.name, linewidth=1.4)
                some = slice(None, None, max(1, len(values) // 40))
                if values.shape[1] > 1:
                    low, high = scores.t_interval(values[some])
                    low = low if name == "score" else np.maximum(low, 0)  # of violations there are none or some
                    axis.fill_between(run.decisions[some], low, high, color=color, alpha=0.12, linewidth=0)
        row[0].axhline(next(run.behavior_policy for run in runs if run.domain == domain), color="black", linewidth=1)
        # Collapsed runs fall far below the score of random actions, 0; the axis ends before.
        lowest = min(float(smooth(run.score).mean(axis=1).min()) for run in runs if run.domain == domain)
        row[0].set_ylim(max(lowest, -60.0) - 5.0, 105.0)
        for axis, label in zip(row, ("score", *VIOLATIONS.values()), strict=True):
            axis.set_title(f"{domain}: {label}", fontsize=10)
            axis.set_xlabel("decisions")
            axis.spines[["top", "right"]].set_visible(False)
        for axis in row[1:]:
            axis.set_yscale("symlog", linthresh=1.0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    drawn.legend(handles, labels, ncols=5, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 0.0))
    drawn.suptitle("Offline-to-online fine-tuning (black: the behavior policy)")
    drawn.tight_layout()
    return plots.png(drawn, dpi=100)
