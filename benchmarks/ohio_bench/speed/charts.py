"""The plots of speed tests, made of their numbers alone."""

from typing import Any

from ohio_bench.report import plots
from ohio_bench.speed.pages import GROWTH

KINDS = {"train": "Seed-updates a second", "invert": "Segments inverted a second", "evaluate": "Episodes played a second"}


def reacher(found: dict[str, Any]) -> bytes:
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


def scaling(found: dict[str, Any]) -> bytes:
    """PNG: rates as multiples of one device's, against the number of devices."""
    counts = [int(count) for count in found["devices"]]
    figure, ((axis,),) = plots.subplots(1, 1, (6, 4))
    for name, title in KINDS.items():
        axis.plot(counts, [kinds[name]["times_one_device"] for kinds in found["devices"].values()], "o-", label=title)
    cores = found["provenance"]["hardware"]["cores"]
    axis.plot(counts, [min(count, cores) for count in counts], "k:", label=f"one core a device, of {cores}")
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [str(count) for count in counts])
    axis.set(xlabel="devices", ylabel="rate, x one device")
    axis.set_ylim(0)
    axis.grid(True, alpha=0.3)
    axis.legend()
    return plots.png(figure)


CHARTS = {"reacher": ("growth", reacher), "scaling": ("devices", scaling)}  # test -> the part that it draws, and how
