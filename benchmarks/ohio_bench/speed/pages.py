"""What the pages of all speed tests share: numbers, tables of rates, and the paragraph on machine and method."""

from typing import Any

from ohio_bench.report.text import number, table

COLUMNS = ["best", "median", "a CPU second", "compile, s"]


def label(name: str) -> str:
    return name.replace("batch_", "ohio-jax, batch ").replace("_", " ")


def cells(rate: dict[str, float]) -> list[str]:
    """The cells of COLUMNS, from `timing.Timing.rates`."""
    return [number(rate[key]) for key in ("best", "median", "per_cpu_second", "compile_seconds")]


def rates(kind: dict[str, dict[str, float]], more: dict[str, dict[str, Any]], called=label, first: str = "") -> str:
    """A table of `COLUMNS` and then of `more`: header -> name -> number or text, nothing where there is none.

    called: name -> what a reader calls it; first: header of the names.
    """
    cell = lambda value: value if isinstance(value, str) else number(value)
    rows = [[called(name), *cells(rate), *(cell(of.get(name)) for of in more.values())] for name, rate in kind.items()]
    return table([first, *COLUMNS, *more], rows)


def updates(part: dict[str, Any]) -> list[str]:
    """What `updates.measure` found: a table of learners and one of the machine's products."""
    rows = []
    for learner, of in part["learners"].items():
        for seeds, rate in of["seeds"].items():
            speed = rate["seed_updates_per_second"]
            shares = [f"{100 * rate[key]:.0f} %" for key in ("share_of_best_product", "share_of_update_product")]
            rows.append([learner, seeds, *cells(speed), f"{of['gflop_per_update']:.3g}", number(rate["gflops"]), *shares])
    columns = ["learner", "seeds", *COLUMNS, "GFLOP an update", "GFLOP/s", "of best product", "of update's product"]
    products = [[shape, *(number(rate) for rate in of.values())] for shape, of in part["matrix_product_gflops"].items()]
    return [
        table(columns, rows),
        "Float32 matrix products at JAX's default precision, GFLOP/s:",
        table(["shape", "one device", f"{part['devices']} devices at once"], products),
    ]


def head(title: str, found: dict[str, Any]) -> list[str]:
    """Title, machine and method, from the numbers of a run."""
    source, machine = found["provenance"], found["provenance"]["hardware"]
    return [
        f"# Speed: {title}",
        f"{machine['cpu']}, {machine['cores']} cores; JAX on {machine['devices']} x {machine['device']} "
        f"({machine['platform']}). {source['time']}, revision {source['revision'] or 'unknown'}"
        f"{' with changes' if source['dirty'] else ''}, JAX {source['versions']['jax']}. Load average "
        f"{found['load_before'][0]} before and {found['load_after'][0]} after. Contenders took turns in "
        f"{found['windows']} windows of {found['window_seconds']} s; ratios are of the best windows. Compiling is not "
        "included and has its own column.",
        *(["**Quick run: a smoke test, not a measurement.**"] if found["quick"] else []),
    ]
