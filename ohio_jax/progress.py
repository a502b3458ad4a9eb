"""Progress on standard error: a bar with rate and time left on a terminal, a line every ten seconds elsewhere.

Standard output stays free for results. Short work in a log file says nothing; long work shows that it is alive. Of several
processes that work as one (`ohio_jax.mesh`) the first shows it for all.
"""

import shutil
import sys
import time
from typing import Self

from tqdm import tqdm

from ohio_jax import mesh

SECONDS_BETWEEN_LINES = 10.0


def progress(label: str, total: int, unit: str, done: int = 0) -> "tqdm | Lines":
    """A context manager with `update(n)`, for `total` units of work of which an earlier, killed run did `done`."""
    if not mesh.is_main_process():
        return tqdm(disable=True)
    if sys.stderr.isatty():
        # Asked here because tqdm draws nothing on a terminal that does not know its size, as in some containers.
        size = shutil.get_terminal_size()
        return tqdm(
            desc=label,
            total=total,
            initial=done,
            unit=f" {unit}",
            file=sys.stderr,
            ncols=size.columns,
            nrows=size.lines,
        )
    return Lines(label, total, unit, done)


class Lines:
    """The bar's stand-in where standard error is a file or a pipe."""

    def __init__(self, label: str, total: int, unit: str, done: int):
        self.label, self.total, self.unit = label, total, unit
        self.initial = self.done = done
        self.start = self.shown = time.monotonic()

    def update(self, n: int = 1) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = now
            print(self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        return tqdm.format_meter(
            self.done,
            self.total,
            time.monotonic() - self.start,
            prefix=self.label,
            unit=f" {self.unit}",
            initial=self.initial,
            bar_format="{desc}: {percentage:3.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        """Nothing to close."""
