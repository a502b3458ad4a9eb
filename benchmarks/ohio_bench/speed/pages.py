"""The pages of speed tests, made of their numbers alone: `templates` holds their words, a function here what is put into them."""

from collections.abc import Callable
from typing import Any

from ohio_bench.report.text import filled, machine, number, origin, table

Numbers = dict[str, Any]  # what `run.run` found
COLUMNS = ["best", "median", "a CPU second", "compile, s"]
INTERFACES = {
    "ohio_compat": "the original's setting: its learned model, no drift",
    "ohio": "an ensemble of three learned models, with drift",
}
GROWTH = {"batch": "segments a call", "steps": "steps a segment"}


def page(name: str, found: Numbers) -> str:
    """The page a reader sees. Raises KeyError, TypeError or ValueError where numbers are missing."""
    warning = "**Quick run: a smoke test, not a measurement.**" if found["quick"] else ""
    given = {**found, "provenance": machine(found["provenance"])}
    head = filled("ohio_bench.speed", "head", {**given, "source": origin(found["provenance"]), "warning": warning})
    return filled("ohio_bench.speed", name, {**found, **PAGES[name](found), "head": head})


def label(name: str) -> str:
    return name.replace("batch_", "ohio-jax, batch ").replace("_", " ")


def cells(rate: dict[str, float]) -> list[str]:
    """The cells of COLUMNS, from `timing.Timing.rates`."""
    return [number(rate[key]) for key in ("best", "median", "per_cpu_second", "compile_seconds")]


def rates(kind: dict[str, dict[str, float]], more: dict[str, dict[str, Any]], called=label, first: str = "") -> str:
    """A table of `COLUMNS` and then of `more`: header -> name -> number or text, nothing where there is none.

    Args:
        called: name -> what a reader calls it.
        first: header of the names.
    """
    cell = lambda value: value if isinstance(value, str) else number(value)
    rows = [[called(name), *cells(rate), *(cell(of.get(name)) for of in more.values())] for name, rate in kind.items()]
    return table([first, *COLUMNS, *more], rows)


def updates(part: Numbers) -> str:
    """What `updates.measure` found: a table of learners and one of the machine's products."""
    rows = []
    for learner, of in part["learners"].items():
        for seeds, rate in of["seeds"].items():
            speed = rate["seed_updates_per_second"]
            shares = [f"{100 * rate[key]:.0f} %" for key in ("share_of_best_product", "share_of_update_product")]
            rows.append([learner, seeds, *cells(speed), f"{of['gflop_per_update']:.3g}", number(rate["gflops"]), *shares])
    columns = ["learner", "seeds", *COLUMNS, "GFLOP an update", "GFLOP/s", "of best product", "of update's product"]
    products = [[shape, *(number(rate) for rate in of.values())] for shape, of in part["matrix_product_gflops"].items()]
    shapes = table(["shape", "one device", f"{part['devices']} devices at once"], products)
    return f"{table(columns, rows)}\n\nFloat32 matrix products at JAX's default precision, GFLOP/s:\n\n{shapes}"


def sections(found: Numbers, *shown: Callable[[str, Any], str]) -> str:
    """For each name of `found`, what each of `shown` makes of it and its part, a paragraph each."""
    return "\n\n".join(make(name, part) for name, part in found.items() for make in shown)


def learners(found: Numbers) -> dict[str, Any]:
    """What fills `templates/learners.md`."""
    part = found["updates"]
    ours = {learner: of["seeds"]["1"]["seed_updates_per_second"] for learner, of in part["learners"].items()}
    before = [
        [learner, code, number(rate), number(ours[learner]["per_cpu_second" if "CPU" in code else "best"])]
        for learner, of in found["before"].items()
        for code, rate in of.items()
    ]
    return {
        "rates": updates(part),
        "peers": beside_torch(found["agreement"], part.get("peers", {}), ours),
        "product": max(rate for of in part["matrix_product_gflops"].values() for rate in of.values()),
        "before": table(["learner", "code", "it", "ohio-jax, this run"], before, text=2),
    }


def beside_torch(agreement: Numbers, peers: Numbers, ours: Numbers) -> str:
    if "missing" in agreement:
        return f"Not measured: {agreement['missing']}."
    over = lambda of: {name: ours[name.split(",")[0]][of] / rate[of] for name, rate in peers.items()}
    losses = [
        [f"{learner}, {loss}", f"{pair['ours']:.5f}", f"{pair['torch']:.5f}"]
        for learner, of in agreement.items()
        for loss, pair in of.items()
    ]
    return "\n\n".join(
        [
            "The same equations in modules, optimizers and a loop, in the same run.",
            rates(peers, {"ours over it": over("best"), "a CPU second": over("per_cpu_second")}, str),
            "Losses of the first update from the same parameters on the same rows; CQL draws its own goals in each.",
            table(["loss", "ohio-jax", "PyTorch"], losses),
        ]
    )


def manipulation(found: Numbers) -> dict[str, Any]:
    """What fills `templates/manipulation.md`."""

    def inverses(_, part: Numbers) -> str:
        off = lambda kind: {inverse: f"{of[kind]:.3g}" for inverse, of in part["mismatch"].items()}
        times = {inverse: x for inverse, x in part["times_original"].items() if inverse != "observed"}
        more = {"x original": times, "median mismatch": off("median"), "mean mismatch": off("mean")}
        return rates(part["transitions_per_second"], more, str)

    def peer(_, part: Numbers) -> str:
        best = part["robosuite"]
        return best.get("missing") or f"robosuite 1.4.1: {number(best['best'])} at best, {number(best['median'])} in the median."

    title = lambda name, _: f"### {name}"
    compared = lambda _, part: f"Mismatch on the same {part['compared']} transitions."
    steps = lambda _, part: rates(part["steps_per_second"], {"x robosuite": part["ratio"]})
    return {
        "inverses": sections(found["inverses"], title, inverses, compared),
        "simulator": sections(found["simulator"], title, steps, peer),
    }


def reacher(found: Numbers) -> dict[str, Any]:
    """What fills `templates/reacher.md`."""

    def inverses(_, part: Numbers) -> str:
        quality = lambda key, form: {name: format(of[key], form) for name, of in part["quality"].items()}
        more = {
            "x original": part["times_original"],
            "wanted": part["wanted"],
            "median residual": quality("residual_median", ".2g"),
            "90th percentile": quality("residual_90th_percentile", ".2g"),
            "iterations": quality("iterations_mean", ".0f"),
        }
        return rates(part["segments_per_second"], more, str)

    def beside_numpy(_, part: Numbers) -> str:
        peer = part.get("numpy", {})
        if "segments_per_second" not in peer:
            return f"No NumPy peer: {peer['missing']}." if peer else ""
        ours, best = (of["segments_per_second"] for of in (part, peer))
        return (
            "The original's analytical inverse in plain NumPy, gains from MuJoCo's finite differences, on one core of this "
            f"machine: {number(best['best'])} segments a second; ours is {number(ours['analytic']['best'] / best['best'])} "
            f"times as fast. Goals differ by {peer['median_difference_of_goal']:.2g} in the median."
        )

    def grown(kind: str, what: str) -> str:
        of = found["growth"][kind]
        return table([what, *next(iter(of.values()))], [[size, *map(number, row.values())] for size, row in of.items()])

    def solved(_, listed: list[Numbers]) -> str:
        named = lambda row: f"{row['solver']}, {row['dtype']}, batch {row['batch']}{', gradient' if row['gradient'] else ''}"
        off = {named(row): f"{row['violation']:.1e}" for row in listed if "violation" in row}
        return rates({named(row): row["solves_per_second"] for row in listed}, {"violation": off}, str)

    simulator, relabel = found["simulator"], found["relabel"]
    missing = [f"Not installed, and left out: {name}." for name in found["mpc"]["missing"]]
    rows = [[name, f"{seconds:.1f}", f"{relabel['wanted']:.0f}"] for name, seconds in relabel["seconds"].items()]
    compared = lambda _, part: f"Residuals on the same {part['compared']} segments."
    return {
        "took": ", ".join(f"{seconds:.1f} s for `{interface}`" for interface, seconds in found["learning"]["seconds"].items()),
        "original": ", ".join(f"{1e3 * seconds:.3g} ms {name}" for name, seconds in found["original_seconds"].items()),
        "inverses": sections(
            found["inverses"],
            lambda interface, _: f"### `{interface}`: {INTERFACES[interface]}",
            inverses,
            compared,
            beside_numpy,
        ),
        "growing": sections(GROWTH, lambda _, what: f"### Microseconds a segment against {what}", grown),
        "first": next(iter(found["inverses"])),
        "relabeled": table(["inverse", "seconds", "at most"], rows),
        "wanted": ", ".join(
            f"{times} times dm_control at {name.replace('_', ' ')}" for name, times in simulator["wanted"].items()
        ),
        "played": rates(simulator["steps_per_second"], {"x dm_control": simulator["ratio"]}),
        "no_peer": f"No peer: {simulator['missing']}." if simulator["missing"] else "",
        "solved": "\n\n".join([*missing, sections(found["mpc"]["shapes"], lambda shape, _: f"### {shape}", solved)]),
    }


def routing(found: Numbers) -> dict[str, Any]:
    """What fills `templates/routing.md`."""

    def exact(_, part: Numbers) -> str:
        shares = ", ".join(f"{label(name)}: {count} of {part['instances']}" for name, count in part["exact"].items())
        return f"Exact: {shares}; pivots {part['pivots']['mean']:.1f} on average, {part['pivots']['max']} at most."

    sizes = [
        [n, *map(number, (*r["milliseconds"].values(), r["ratio"], r["pivots"])), f"{r['exact']} of {r['instances']}"]
        for n, r in found["growth"]["regions"].items()
    ]
    ratios = lambda part: {"x HiGHS": part["ratio_to_highs"], "x SciPy": part["ratio_to_scipy"]}
    return {
        "solved": sections(
            found["transport"],
            lambda size, part: f"### {part['task']}, {size}",
            lambda _, part: rates(part["solves_per_second"], ratios(part)),
            exact,
        ),
        "growing": table(["regions", "ohio-jax, ms a solve", "HiGHS, ms a solve", "ratio", "pivots", "exact"], sizes),
        "played": sections(
            found["simulator"],
            lambda size, part: f"### {part['task']}, {size}, {part['dynamics']} dynamics",
            lambda _, part: rates(part["steps_per_second"], {"x NumPy + HiGHS": part["ratio"]}),
            lambda _, part: f"Largest difference of an episode's return: {part['largest_difference_of_return']:.4f} $.",
        ),
        "rates": updates(found["updates"]),
        "on_pairs": updates(found["updates_on_pairs"]) if "updates_on_pairs" in found else "Not measured in this run.",
    }


def scaling(found: Numbers) -> dict[str, Any]:
    """What fills `templates/scaling.md`."""

    def kind(name: str) -> str:
        of = {count: kinds[name] for count, kinds in found["devices"].items()}
        column = lambda key, form: {count: format(kind[key], form) for count, kind in of.items()}
        more = {"x one device": column("times_one_device", ".2f"), "largest difference": column("largest_difference", ".1e")}
        return rates({count: kind["rate"] for count, kind in of.items()}, more, first="devices")

    words = {"learner": found["work"]["learner"].upper(), "inverse": found["work"]["inverse"].replace("_", " ")}
    return {**words, "counts": ", ".join(found["devices"]), **{name: kind(name) for name in ("train", "invert", "evaluate")}}


def supply_chain(found: Numbers) -> dict[str, Any]:
    """What fills `templates/supply-chain.md`."""
    rows = []
    for name, part in found["hdpo"].items():
        plan, seconds = part["plan"], part["seconds"]
        numbers = (plan["seeds"], plan["updates"], plan["batch"], part["last_return"], part["updates_to_99_percent"])
        times = (part["seconds_to_99_percent"], seconds["train"], seconds["compile"])
        rows.append([name, *map(number, (*numbers, *times))])
    columns = ["", "seeds", "updates", "episodes an update", "last return", "updates to 99 %", "seconds to 99 %"]
    ratios = lambda part: {"x NumPy": part["ratio_to_numpy"], "x original": part["ratio_to_original"]}
    return {
        "played": sections(
            found["simulator"],
            lambda name, _: f"### {name} (original: {1e3 * found['original_seconds'][name]:g} ms a step)",
            lambda _, part: rates(part["steps_per_second"], ratios(part)),
            lambda _, part: (
                f"Largest difference of an episode's return from NumPy's float64: {part['largest_difference_of_return']:.4f} $."
            ),
        ),
        "trained": table([*columns, "seconds in all", "compile, s"], rows),
    }


PAGES: dict[str, Callable[[Numbers], dict[str, Any]]] = {
    "reacher": reacher,
    "routing": routing,
    "supply-chain": supply_chain,
    "manipulation": manipulation,
    "learners": learners,
    "scaling": scaling,
}
