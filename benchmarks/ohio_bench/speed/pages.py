"""The pages of speed tests, made of their numbers alone.

`templates/<test>/<part>.md` holds the words of a part, and a function here says what is put into them. A figure stands beside its
ratio to a witness that was timed in the same run.
"""

from collections.abc import Callable
from typing import Any

from ohio_bench.report.text import filled, machine, number, origin, table
from ohio_bench.speed import beside

Numbers = dict[str, Any]  # what `run.run` found
COLUMNS = ["best", "median", "a CPU second", "compile, s"]
INTERFACES = {
    "ohio_compat": "the original's setting: its learned model, no drift",
    "ohio": "an ensemble of three learned models, with drift",
}
IN_NUMPY = (
    "`x NumPy`: against the original's analytical inverse in plain NumPy, gains from MuJoCo's finite differences, one segment "
    "after another on one core. "
)
GROWTH = {"batch": "segments a call", "steps": "steps a segment"}
CONTENDERS = {"ours": "ohio-jax", "plain scan": "plain scan", "torch": "PyTorch"}


def page(name: str, found: Numbers, cpu: Numbers | None = None, plot: str = "") -> str:
    """The page a reader sees. Raises KeyError, TypeError or ValueError where numbers are missing.

    Args:
        cpu: what the same test found on a CPU, where `found` is of an accelerator.
        plot: file name of the plot, where there is one.
    """
    warning = "**Quick run: a smoke test, not a measurement.**" if found["quick"] else ""
    given = {**found, "provenance": machine(found["provenance"])}
    head = filled("ohio_bench.speed", "head", {**given, "source": origin(found["provenance"]), "warning": warning})
    late = ", ".join(found.get("not_measured", []))
    written = [f"# Speed: {name.replace('-', ' ')}", head, f"Not measured, for lack of time: {late}." if late else ""]
    if cpu is not None:
        written.append(beside.section(found, cpu))
    for part, of_part in PAGES[name].items():
        if part in found:
            written.append(filled("ohio_bench.speed", f"{name}/{part}", {**found, "plot": plot, **of_part(found)}))
    return "\n\n".join(text.strip("\n") for text in written if text) + "\n"


def label(name: str) -> str:
    return name.replace("batch_", "ohio-jax, batch ").replace("_", " ")


def cells(rate: dict[str, float]) -> list[str]:
    """The cells of COLUMNS, from `timing.Timing.rates`."""
    return [number(rate[key]) for key in ("best", "median", "per_cpu_second", "compile_seconds")]


def over(rates: dict[str, dict[str, float]], witness: str) -> dict[str, float]:
    """Each best rate over that of one of them; nothing where that is not there."""
    return {name: rate["best"] / rates[witness]["best"] for name, rate in rates.items()} if witness in rates else {}


def rates(kind: dict[str, dict[str, float]], more: dict[str, dict[str, Any]], called=label, first: str = "") -> str:
    """A table of `COLUMNS` and then of `more`: header -> name -> number or text, nothing where there is none.

    Args:
        called: name -> what a reader calls it.
        first: header of the names.
    """
    cell = lambda value: value if isinstance(value, str) else number(value)
    more = {title: of for title, of in more.items() if of}
    rows = [[called(name), *cells(rate), *(cell(of.get(name)) for of in more.values())] for name, rate in kind.items()]
    return table([first, *COLUMNS, *more], rows)


def updates(part: Numbers) -> str:
    """What `updates.measure` found: a table of learners and one of the machine's products."""
    rows, peers = [], part.get("peers", {})
    scanned = any(name.endswith("plain scan") for name in peers)
    for learner, of in part["learners"].items():
        scan = peers.get(f"{learner.split(',')[0]}, plain scan")
        for seeds, rate in of["seeds"].items():
            speed = rate["seed_updates_per_second"]
            shares = [f"{100 * rate[key]:.0f} %" for key in ("share_of_best_product", "share_of_update_product")]
            ratio = [number(speed["best"] / scan["best"]) if scan else ""] if scanned else []
            row = [learner, seeds, *cells(speed), *ratio, f"{of['gflop_per_update']:.3g}", number(rate["gflops"]), *shares]
            rows.append(row)
    columns = ["learner", "seeds", *COLUMNS, *(["x plain scan"] if scanned else [])]
    columns += ["GFLOP an update", "GFLOP/s", "of best product", "of update's product"]
    products = [[shape, *(number(rate) for rate in of.values())] for shape, of in part["matrix_product_gflops"].items()]
    shapes = table(["shape", "one device", f"{part['devices']} devices at once"], products)
    return f"{table(columns, rows)}\n\nFloat32 matrix products at JAX's default precision, GFLOP/s:\n\n{shapes}"


def sections(found: Numbers, *shown: Callable[[str, Any], str]) -> str:
    """For each name of `found`, what each of `shown` makes of it and its part, a paragraph each."""
    return "\n\n".join(text for name, part in found.items() for make in shown if (text := make(name, part)))


# --- Learners ---------------------------------------------------------------------------------------------------------


def learner_updates(found: Numbers) -> dict[str, Any]:
    part, chunk = found["updates"], found["sizes"].get("chunk", 32)
    ours = {learner: of["seeds"]["1"]["seed_updates_per_second"] for learner, of in part["learners"].items()}
    chunks = f", {chunk} states at a time so that they stay in cache" if chunk else ""
    return {"rates": updates(part), "chunks": chunks, "peers": witnesses(found, part.get("peers", {}), ours)}


def witnesses(found: Numbers, peers: Numbers, ours: Numbers) -> str:
    ratio = lambda of: {name: ours[name.split(",")[0]][of] / rate[of] for name, rate in peers.items()}
    names = list(next(iter(next(iter(found["agreement"].values())).values()))) if peers else []
    losses = [
        [f"{learner}, {loss}", *(f"{value:.5f}" for value in of.values())]
        for learner, losses in found["agreement"].items()
        for loss, of in losses.items()
        if peers
    ]
    how = {
        "plain scan": "as one file of plain JAX has them, one seed in one jitted scan",
        "torch": "in PyTorch's modules, optimizers and a loop, on the CPU",
    }
    text = [
        f"The same equations, in the same run: {'; '.join(how[name] for name in names[1:])}. `x it`: ours, one seed, over it.",
        rates(peers, {"x it": ratio("best"), "x it, a CPU second": ratio("per_cpu_second")}, str),
        "Losses of the first update from the same parameters on the same rows; CQL draws its own actions in each.",
        table(["loss", *(CONTENDERS[name] for name in names)], losses),
    ]
    missing = [f"Not measured: {missing}."] if (missing := found.get("missing")) else []
    return "\n\n".join([*(text if peers else []), *missing])


# --- Manipulation -----------------------------------------------------------------------------------------------------


def descents(found: Numbers) -> dict[str, Any]:
    def inverses(_, part: Numbers) -> str:
        speed = part["transitions_per_second"]
        off = lambda kind: {inverse: f"{of[kind]:.3g}" for inverse, of in part["mismatch"].items()}
        return rates(
            speed, {"x gradient": over(speed, "gradient"), "median mismatch": off("median"), "mean mismatch": off("mean")}, str
        )

    title, compared = lambda name, _: f"### {name}", lambda _, part: f"Mismatch on the same {part['compared']} transitions."
    return {"inverses": sections(found["inverses"], title, inverses, compared)}


def relabeled_transitions(found: Numbers) -> dict[str, Any]:
    part = found["relabel"]
    descent = found.get("inverses", {}).get(part["task"], {}).get("transitions_per_second", {}).get("gradient")
    if descent is None:
        return {"times": ""}
    return {"times": f", {number(part['transitions'] / part['seconds'] / descent['best'])} times the rate of `gradient` above"}


def control_steps(found: Numbers) -> dict[str, Any]:
    def peer(_, part: Numbers) -> str:
        best = part["robosuite"]
        if "missing" in best:
            return f"robosuite was not timed: {best['missing']}."
        return f"robosuite 1.4.1: {number(best['best'])} at best, {number(best['median'])} in the median."

    engine = lambda part: {"c": "", "mjx": ", on MJX"}[part.get("backend", "c")]
    more = lambda part: {"x mujoco rollout": part.get("ratio_to_mujoco", {}), "x robosuite": part["ratio"]}
    title, steps = lambda name, part: f"### {name}{engine(part)}", lambda _, part: rates(part["steps_per_second"], more(part))
    return {"simulator": sections(found["simulator"], title, steps, peer)}


# --- Reacher ----------------------------------------------------------------------------------------------------------


def in_numpy(found: Numbers) -> dict[str, Any]:
    """What the original's analytical inverse in NumPy did, beside the first interface's; empty where it is missing."""
    parts = found.get("inverses", {}).values()
    return next((part["numpy"] for part in parts if "segments_per_second" in part.get("numpy", {})), {})


def segments_inverted(found: Numbers) -> dict[str, Any]:
    peer = in_numpy(found)
    least = peer["segments_per_second"]["best"] if peer else None

    def inverses(_, part: Numbers) -> str:
        speed = part["segments_per_second"]
        quality = lambda key, form: {name: format(of[key], form) for name, of in part["quality"].items()}
        more = {
            "x NumPy": {name: rate["best"] / least for name, rate in speed.items()} if least else {},
            "x numerical": over(speed, "numerical"),
            "median residual": quality("residual_median", ".2g"),
            "90th percentile": quality("residual_90th_percentile", ".2g"),
            "iterations": quality("iterations_mean", ".0f"),
        }
        return rates(speed, more, str)

    def beside_numpy(_, part: Numbers) -> str:
        own = part.get("numpy", {})
        if "segments_per_second" not in own:
            return f"No NumPy peer: {own['missing']}." if own else ""
        best = own["segments_per_second"]["best"]
        return (
            f"The original's analytical inverse in NumPy: {number(best)} segments a second; `analytic` is "
            f"{number(part['segments_per_second']['analytic']['best'] / best)} times the original. Goals differ by "
            f"{own['median_difference_of_goal']:.2g} in the median."
        )

    return {
        "took": ", ".join(f"{seconds:.1f} s for `{interface}`" for interface, seconds in found["learning"]["seconds"].items()),
        "witness": IN_NUMPY if peer else "",
        "inverses": sections(
            found["inverses"],
            lambda interface, _: f"### `{interface}`: {INTERFACES[interface]}",
            inverses,
            lambda _, part: f"Residuals on the same {part['compared']} segments.",
            beside_numpy,
        ),
    }


def segment_costs(found: Numbers) -> dict[str, Any]:
    def grown(kind: str, what: str) -> str:
        of = found["growth"][kind]
        names = list(next(iter(of.values())))
        ours = [name for name in names if name != "numpy"] if "numpy" in names else []
        ratios = lambda row: [number(row["numpy"] / row[name]) for name in ours]
        rows = [[size, *map(number, row.values()), *ratios(row)] for size, row in of.items()]
        return table([what, *names, *(f"{name}, x numpy" for name in ours)], rows)

    grown_with = sections(GROWTH, lambda _, what: f"### Microseconds a segment against {what}", grown)
    return {"growing": grown_with, "first": next(iter(found["learning"]["seconds"]))}


def relabeled_segments(found: Numbers) -> dict[str, Any]:
    relabel, peer = found["relabel"], in_numpy(found)
    alone = relabel["segments"] / peer["segments_per_second"]["best"] if peer else None  # seconds that NumPy would take
    rows = [
        [name, f"{seconds:.1f}", *([number(alone / seconds)] if alone else [])] for name, seconds in relabel["seconds"].items()
    ]
    return {"relabeled": table(["inverse", "seconds", *(["x NumPy"] if alone else [])], rows)}


def reacher_steps(found: Numbers) -> dict[str, Any]:
    simulator = found["simulator"]
    return {
        "played": rates(simulator["steps_per_second"], {"x dm_control": simulator["ratio"]}),
        "no_peer": f"No peer: {simulator['missing']}." if simulator["missing"] else "",
    }


def programs(found: Numbers) -> dict[str, Any]:
    def solved(_, listed: list[Numbers]) -> str:
        kind, named = lambda row: (row["dtype"], row["gradient"]), {beside.program(row): row for row in listed}
        peers = {(*kind(row), row["batch"]): row["solves_per_second"]["best"] for row in listed if row["solver"] == "qpax"}
        best = lambda row: max((rate for (*of, _), rate in peers.items() if tuple(of) == kind(row)), default=None)
        witness = {name: peers.get((*kind(row), row["batch"]), best(row)) for name, row in named.items()}
        ratio = {
            name: row["solves_per_second"]["best"] / witness[name]
            for name, row in named.items()
            if witness[name] and row["solver"] != "qpax"
        }
        off = {name: f"{row['violation']:.1e}" for name, row in named.items() if "violation" in row}
        return rates({name: row["solves_per_second"] for name, row in named.items()}, {"x qpax": ratio, "violation": off}, str)

    missing = [f"Not installed, and left out: {name}." for name in found["mpc"]["missing"]]
    return {"solved": "\n\n".join([*missing, sections(found["mpc"]["shapes"], lambda shape, _: f"### {shape}", solved)])}


# --- Routing, supply chain, scaling -----------------------------------------------------------------------------------


def transport(found: Numbers) -> dict[str, Any]:
    def exact(_, part: Numbers) -> str:
        shares = ", ".join(f"{label(name)}: {count} of {part['instances']}" for name, count in part["exact"].items())
        return f"Exact: {shares}; pivots {part['pivots']['mean']:.1f} on average, {part['pivots']['max']} at most."

    ratios = lambda part: {"x HiGHS": part["ratio_to_highs"], "x SciPy": part["ratio_to_scipy"]}
    solves = lambda _, part: rates(part["solves_per_second"], ratios(part))
    return {"solved": sections(found["transport"], lambda size, part: f"### {part['task']}, {size}", solves, exact)}


def solve_costs(found: Numbers) -> dict[str, Any]:
    sizes = [
        [n, *map(number, (*r["milliseconds"].values(), r["ratio"], r["pivots"])), f"{r['exact']} of {r['instances']}"]
        for n, r in found["growth"]["regions"].items()
    ]
    return {"growing": table(["regions", "ohio-jax, ms a solve", "HiGHS, ms a solve", "x HiGHS", "pivots", "exact"], sizes)}


def routing_steps(found: Numbers) -> dict[str, Any]:
    played = sections(
        found["simulator"],
        lambda size, part: f"### {part['task']}, {size}, {part['dynamics']} dynamics",
        lambda _, part: rates(part["steps_per_second"], {"x NumPy + HiGHS": part["ratio"]}),
        lambda _, part: f"Largest difference of an episode's return: {part['largest_difference_of_return']:.4f} $.",
    )
    return {"played": played}


def periods(found: Numbers) -> dict[str, Any]:
    played = sections(
        found["simulator"],
        lambda name, _: f"### {name}",
        lambda _, part: rates(part["steps_per_second"], {"x NumPy": part["ratio_to_numpy"]}),
        lambda _, part: (
            f"Largest difference of an episode's return from NumPy's float64: {part['largest_difference_of_return']:.4f} $."
        ),
    )
    return {"played": played}


def trained(found: Numbers) -> dict[str, Any]:
    rows = []
    for name, part in found["hdpo"].items():
        plan, seconds = part["plan"], part["seconds"]
        numbers = (plan["seeds"], plan["updates"], plan["batch"], part["last_return"], part["updates_to_99_percent"])
        times = (part["seconds_to_99_percent"], seconds["train"], seconds["compile"])
        speed, peer = (
            part.get("periods_per_second"),
            found.get("simulator", {}).get(name, {}).get("steps_per_second", {}).get("numpy"),
        )
        rows.append([name, *map(number, (*numbers, *times, speed, speed / peer["best"] if speed and peer else None))])
    columns = ["", "seeds", "updates", "episodes an update", "last return", "updates to 99 %", "seconds to 99 %"]
    return {"trained": table([*columns, "seconds in all", "compile, s", "periods a second", "x NumPy"], rows)}


def devices(found: Numbers) -> dict[str, Any]:
    def kind(name: str) -> str:
        of = {count: kinds[name] for count, kinds in found["devices"].items()}
        column = lambda key, form: {count: format(kind[key], form) for count, kind in of.items()}
        more = {"x one device": column("times_one_device", ".2f"), "largest difference": column("largest_difference", ".1e")}
        return rates({count: kind["rate"] for count, kind in of.items()}, more, first="devices")

    words = {"learner": found["work"]["learner"].upper(), "inverse": found["work"]["inverse"].replace("_", " ")}
    return {**words, "counts": ", ".join(found["devices"]), **{name: kind(name) for name in ("train", "invert", "evaluate")}}


# Test -> part -> what fills its template.
PAGES: dict[str, dict[str, Callable[[Numbers], dict[str, Any]]]] = {
    "learners": {"updates": learner_updates},
    "routing": {
        "transport": transport,
        "growth": solve_costs,
        "simulator": routing_steps,
        "updates": lambda found: {"rates": updates(found["updates"])},
        "updates_on_pairs": lambda found: {"rates": updates(found["updates_on_pairs"])},
    },
    "reacher": {
        "inverses": segments_inverted,
        "growth": segment_costs,
        "relabel": relabeled_segments,
        "simulator": reacher_steps,
        "mpc": programs,
    },
    "manipulation": {"inverses": descents, "relabel": relabeled_transitions, "simulator": control_steps},
    "supply-chain": {"simulator": periods, "hdpo": trained},
    "scaling": {"devices": devices},
}
