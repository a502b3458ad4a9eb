"""The page of `ohio-jax speed learners`, made of its numbers alone."""

from typing import Any

from ohio_bench.report.text import number, table
from ohio_bench.speed.pages import rates, updates

PRODUCT = 428  # GFLOP/s, the best matrix product where the other projects were measured


def page(found: dict[str, Any]) -> list[str]:
    """The paragraphs after the head, from the numbers of `run` alone."""
    part, sizes = found["updates"], found["sizes"]
    ours = {learner: of["seeds"]["1"]["seed_updates_per_second"] for learner, of in part["learners"].items()}
    parts = [
        f"Observations of {sizes['observation']} numbers, actions of {sizes['action']}, perceptrons {part['hidden']} x "
        f"{part['hidden']}, batch {part['batch']}, {part['transitions']} synthetic transitions. CQL compares 30 goals at each "
        "state. An update is one gradient step of all networks, drawing the batch and optimisers included.",
        "## Seed-updates a second",
        *updates(part),
        "`cql` takes the whole gradient of the penalty, 32 states at a time so that they stay in cache; `cql, one draw` an "
        "unbiased estimate of it, for a third of the work.",
        "## Beside PyTorch",
    ]
    if "missing" in found["agreement"]:
        parts += [f"Not measured: {found['agreement']['missing']}."]
    else:
        over = lambda name, of: ours[name.split(",")[0]][of] / part["peers"][name][of]
        columns = {"ours over it": "best", "a CPU second": "per_cpu_second"}
        more = {column: {name: over(name, of) for name in part["peers"]} for column, of in columns.items()}
        losses = [
            [f"{learner}, {loss}", f"{pair['ours']:.5f}", f"{pair['torch']:.5f}"]
            for learner, of in found["agreement"].items()
            for loss, pair in of.items()
        ]
        parts += [
            "The same equations in modules, optimisers and a loop, in the same run.",
            rates(part["peers"], more, str),
            "Losses of the first update from the same parameters on the same rows; CQL draws its own goals in each.",
            table(["loss", "ohio-jax", "PyTorch"], losses),
        ]
    best = max(rate for of in part["matrix_product_gflops"].values() for rate in of.values())
    before = [
        [learner, code, number(rate), number(ours[learner][kind])]
        for learner, of in found["before"].items()
        for code, rate in of.items()
        for kind in ["per_cpu_second" if "CPU" in code else "best"]
    ]
    parts += [
        "## Beside what was measured before",
        "Other projects' own code at this size, on two cores of a machine of this kind, in other runs: updates a second. The "
        f"best matrix product reached {PRODUCT} GFLOP/s there, {number(best)} here.",
        table(["learner", "code", "it", "ohio-jax, this run"], before, text=2),
    ]
    return parts
