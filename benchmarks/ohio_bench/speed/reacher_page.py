"""The page and the plot of `ohio-jax speed reacher`, made of its numbers alone."""

from typing import Any

from ohio_bench.report import plots
from ohio_bench.report.text import number, table
from ohio_bench.speed.pages import rates

SPACES = {
    "ohio_compat": "the original's setting: its learned model, no drift",
    "ohio": "an ensemble of three learned models, with drift",
}
GROWTH = {"batch": "segments a call", "steps": "steps a segment"}


def page(found: dict[str, Any]) -> list[str]:
    """The paragraphs after the head, from the numbers of `run` alone."""
    learning, original = found["learning"], found["original_seconds"]
    took = ", ".join(f"{seconds:.1f} s for `{space}`" for space, seconds in learning["seconds"].items())
    parts = [
        "## Segments inverted a second",
        "Segments of five steps of the scripted expert's data, LQR gains included, arrays in memory, spread over all cores. "
        f"Models were learned beforehand from {number(learning['steps'])} steps (compiling included: {took}). `x original`: "
        "against the seconds a segment of the released code, measured on one core of a machine of this kind: "
        + ", ".join(f"{1e3 * seconds:.3g} ms {name}" for name, seconds in original.items())
        + "; least squares is set against numerical. Numerical and reg. analytic make the original's Adam steps, early "
        "stopping included. Residuals are whitened (1 is a deviation of the noise).",
    ]
    for space, part in found["inverses"].items():
        quality = lambda key, form, part=part: {name: format(of[key], form) for name, of in part["quality"].items()}
        more = {
            "x original": part["times_original"],
            "wanted": part["wanted"],
            "median residual": quality("residual_median", ".2g"),
            "90th percentile": quality("residual_90th_percentile", ".2g"),
            "iterations": quality("iterations_mean", ".0f"),
        }
        shown = rates(part["segments_per_second"], more, str)
        parts += [f"### `{space}`: {SPACES[space]}", shown, f"Residuals on the same {part['compared']} segments."]
        peer = part.get("numpy", {})
        if "missing" in peer:
            parts.append(f"No NumPy peer: {peer['missing']}.")
        elif peer:
            ratio = part["segments_per_second"]["analytic"]["best"] / peer["segments_per_second"]["best"]
            parts.append(
                "The original's analytical inverse in plain NumPy, gains from MuJoCo's finite differences, on one core of this "
                f"machine: {number(peer['segments_per_second']['best'])} segments a second; ours is {number(ratio)} "
                f"times as fast. Goals differ by {peer['median_difference_of_goal']:.2g} in the median."
            )

    for kind, what in GROWTH.items():
        rows = [[size, *map(number, row.values())] for size, row in found["growth"][kind].items()]
        parts += [f"### Microseconds a segment against {what}", table([what, *next(iter(found["growth"][kind].values()))], rows)]
    part = found["relabel"]
    rows = [[name, f"{seconds:.1f}", f"{part['wanted']:.0f}"] for name, seconds in part["seconds"].items()]
    parts += [
        f"In `{next(iter(found['inverses']))}`; {found['growth']['segments']} segments a call in the second table, five steps in "
        "the first.",
        "![Cost of a segment](reacher.png)",
        "## Seconds to relabel a dataset",
        f"{number(part['segments'])} segments of {number(part['steps'])} steps (collected in {part['collect_seconds']:.1f} s) "
        "through `relabel`, compiling and transfers included, by the model learned beforehand.",
        table(["inverse", "seconds", "at most"], rows),
    ]

    part = found["simulator"]
    parts += [
        "## Environment steps a second",
        f"Random torques drawn beforehand, {part['steps']} steps an episode, reward and observation included. dm_control plays "
        "in a Python loop on one core; mujoco rollout steps physics alone, one thread a core. Wanted: "
        + ", ".join(f"{times} times dm_control at {name.replace('_', ' ')}" for name, times in part["wanted"].items())
        + ".",
        rates(part["steps_per_second"], {"x dm_control": part["ratio"]}),
    ]
    if part["missing"]:
        parts.append(f"No peer: {part['missing']}.")

    parts += [
        "## MPC solves a second",
        "Box-constrained linear-quadratic programs of one random model, random states and goals. ohio-jax solves them as they "
        "are; qpax and cvxpylayers get them condensed to the actions, which is not timed. cvxpylayers (diffcp) is batched but "
        "not compiled. Gradient: of the first actions by the goal. Violation: largest "
        "|u - clip(u - slope / curvature)|, 0 at an optimum.",
        *(f"Not installed, and left out: {name}." for name in found["mpc"]["missing"]),
    ]
    for shape, listed in found["mpc"]["shapes"].items():
        named = lambda row: f"{row['solver']}, {row['dtype']}, batch {row['batch']}{', gradient' if row['gradient'] else ''}"
        off = {named(row): f"{row['violation']:.1e}" for row in listed if "violation" in row}
        parts += [f"### {shape}", rates({named(row): row["solves_per_second"] for row in listed}, {"violation": off}, str)]
    return parts


def chart(found: dict[str, Any]) -> bytes:
    """PNG: microseconds a segment against batch size and against steps a segment."""
    figure, (axes,) = plots.subplots(1, 2, (10, 4), sharey=True)
    for axis, (kind, what) in zip(axes, GROWTH.items(), strict=True):
        rows = found["growth"][kind]
        for inverse in next(iter(rows.values())):
            axis.loglog([int(size) for size in rows], [row[inverse] for row in rows.values()], "o-", label=inverse)
        axis.set_xlabel(what)
        axis.grid(True, which="both", alpha=0.3)
    axes[0].set_ylabel("microseconds a segment")
    axes[0].legend()
    return plots.png(figure)
