"""The page of `ohio-jax speed routing`, made of its numbers alone."""

from typing import Any

from ohio_bench.report.text import number, table
from ohio_bench.speed.pages import label, rates, updates


def page(found: dict[str, Any]) -> list[str]:
    """The paragraphs after the head, from the numbers of `run` alone."""
    parts = [
        "## Transport solves a second",
        "Rebalancing problems met on the way (DTV, proportional, uniform and random goals), all arrays in memory. "
        "Batch 1 is one call a problem, dispatch included; larger batches are spread over all cores, while HiGHS and SciPy "
        "use one (see the rates per CPU second). HiGHS keeps one model and changes bounds; SciPy builds a "
        "model each time. Exact: whole, feasible, and of the least travel time according to HiGHS.",
    ]
    for size, part in found["transport"].items():
        shares = ", ".join(f"{label(name)}: {count} of {part['instances']}" for name, count in part["exact"].items())
        pivots = f"pivots {part['pivots']['mean']:.1f} on average, {part['pivots']['max']} at most"
        ratios = {"x HiGHS": part["ratio_to_highs"], "x SciPy": part["ratio_to_scipy"]}
        parts += [f"### {part['task']}, {size}", rates(part["solves_per_second"], ratios), f"Exact: {shares}; {pivots}."]

    sizes = [
        [n, *map(number, (*r["milliseconds"].values(), r["ratio"], r["pivots"])), f"{r['exact']} of {r['instances']}"]
        for n, r in found["growth"]["regions"].items()
    ]
    power = found["growth"]["exponent"]
    parts += [
        "### Growth with the number of regions",
        table(["regions", "ohio-jax, ms a solve", "HiGHS, ms a solve", "ratio", "pivots", "exact"], sizes),
        "Synthetic cities, random goals, all instances in one batch. Fitted power of n: ohio-jax "
        f"{power['ours']:.2f}, HiGHS {power['highs']:.2f}.",
        "## Environment steps a second with DTV",
        "A step is matching, observation, DTV's transport problem, moves and arrivals; requests are drawn beforehand. "
        "Batches are spread over all cores. The peer is a NumPy simulator of the same semantics with a persistent HiGHS model, "
        "one episode after another on one core.",
    ]
    for size, part in found["simulator"].items():
        parts += [
            f"### {part['task']}, {size}, {part['dynamics']} dynamics",
            rates(part["steps_per_second"], {"x NumPy + HiGHS": part["ratio"]}),
            f"Largest difference of an episode's return: {part['largest_difference_of_return']:.4f} $.",
        ]

    part = found["updates"]
    parts += [
        "## Seed-updates a second",
        f"{part['task']}, node networks of width {part['hidden']}, batch {part['batch']}, {part['transitions']} "
        "transitions. An update is one gradient step of all of a learner's networks, drawing the batch and optimisers "
        "included; checkpoints, evaluation and moving the dataset are not. GFLOP from XLA's cost analysis of one update.",
        *updates(part),
    ]
    return parts
