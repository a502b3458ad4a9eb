"""The page and the plot of `ohio-jax speed scaling`, made of its numbers alone."""

from typing import Any

from ohio_bench.report import plots
from ohio_bench.report.text import number
from ohio_bench.speed.pages import rates

KINDS = {"train": "Seed-updates a second", "invert": "Segments inverted a second", "evaluate": "Episodes played a second"}


def page(found: dict[str, Any]) -> list[str]:
    """The paragraphs after the head, from the numbers of `run` alone."""
    work = found["work"]
    parts = [
        f"The same work, on `{work['task']}`, on {', '.join(found['devices'])} devices, each number of them in a process of its "
        "own. On a CPU these are XLA's stand-ins for devices, which share the machine's cores, so no more is to be gained than "
        "one device leaves idle: this shows what it costs to spread work, and that the numbers stay what they are.",
        "![Rates against one device](scaling.png)",
    ]
    what = {
        "train": f"{work['seeds']} seeds of {work['learner'].upper()}, networks of width {work['hidden']}, {work['updates']} "
        "updates of each a call. Difference: of the losses of the first call.",
        "invert": f"{number(work['segments'])} segments a call, by {work['inverse'].replace('_', ' ')}. Difference: of goals.",
        "evaluate": f"{work['episodes']} episodes a call of an untrained policy under the low level. Difference: of returns.",
    }
    for name, title in KINDS.items():
        column = lambda key, form, name=name: {count: format(kind[name][key], form) for count, kind in found["devices"].items()}
        more = {"x one device": column("times_one_device", ".2f"), "largest difference": column("largest_difference", ".1e")}
        shown = rates({count: kind[name]["rate"] for count, kind in found["devices"].items()}, more, first="devices")
        parts += [f"## {title}", what[name], shown]
    parts.append("Differences are from one device, as a share of the largest number there.")
    return parts


def chart(found: dict[str, Any]) -> bytes:
    """PNG: rates as multiples of one device's, against the number of devices."""
    counts = [int(count) for count in found["devices"]]
    figure, ((axis,),) = plots.subplots(1, 1, (6, 4))
    for name, title in KINDS.items():
        axis.plot(counts, [kinds[name]["times_one_device"] for kinds in found["devices"].values()], "o-", label=title)
    cores = found["provenance"]["hardware"]["cores"]
    axis.plot(counts, [min(count, cores) for count in counts], "k:", label=f"one core a device, of {cores}")
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.set_xlabel("devices")
    axis.set_ylabel("rate, x one device")
    axis.set_ylim(0)
    axis.grid(True, alpha=0.3)
    axis.legend()
    return plots.png(figure)
