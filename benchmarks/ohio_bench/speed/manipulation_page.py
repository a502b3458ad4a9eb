"""The page of `ohio-jax speed manipulation`, made of its numbers alone."""

from typing import Any

from ohio_bench.report.text import number
from ohio_bench.speed.pages import rates


def page(found: dict[str, Any]) -> list[str]:
    """The paragraphs after the head, from the numbers of `run` alone."""
    original, wanted = found["original_seconds"], found["wanted"]
    parts = [
        "## Transitions inverted a second",
        "Five torques of seven joints each, of the script with noise, under the gains named; arrays in memory, spread over all "
        f"cores. `x original`: against {original['gradient']:g} s a transition, the least that the released gradient descent "
        f"takes (its cross-entropy search: {original['cross_entropy']:g} s); wanted of least squares: "
        f"{number(wanted['inverse'])}. `gradient` makes the original's steps of Adam. Mismatch: the original's loss, N^2 m^2.",
    ]
    for name, part in found["inverses"].items():
        more = {"x original": {inverse: x for inverse, x in part["times_original"].items() if inverse != "observed"}}
        for kind in ("median", "mean"):
            more[f"{kind} mismatch"] = {inverse: f"{off[kind]:.3g}" for inverse, off in part["mismatch"].items()}
        shown = rates(part["transitions_per_second"], more, str)
        parts += [f"### {name}", shown, f"Mismatch on the same {part['compared']} transitions."]
    part = found["relabel"]
    parts += [
        "## Relabelling a dataset",
        f"{number(part['transitions'])} transitions of {number(part['episodes'])} episodes ({part['task']}) by least squares, "
        f"through `relabel`, in chunks, compiling and transfers included: {part['seconds']:.0f} s; wanted: at most "
        f"{wanted['relabel_seconds']} s for 750,000.",
        "## Control steps a second",
        "A step is a decision: five sub-steps of physics under operational-space control, observation and reward included, under "
        "random goals. robosuite plays one environment in its own Python loop on one core; wanted: "
        f"{wanted['simulator']} times as many at some batch.",
    ]
    for name, part in found["simulator"].items():
        peer = part["robosuite"]
        told = peer.get("missing") or f"robosuite 1.4.1: {number(peer['best'])} at best, {number(peer['median'])} in the median."
        parts += [f"### {name}", rates(part["steps_per_second"], {"x robosuite": part["ratio"]}), told]
    return parts
