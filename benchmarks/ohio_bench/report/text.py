"""What Markdown pages are written with: text that is no markup, numbers, and tables."""

import re
from collections.abc import Iterable, Sequence

import numpy as np


def plain(text: str) -> str:
    """Text of a run file as Markdown shows it: nothing in it is a tag, a link or a cell's end."""
    return re.sub(r"([\\`*_\[\]|<>&])", r"\\\1", text)


def formatted(value: float, form: str) -> str:
    """Formatted, or nothing for NaN."""
    return "" if np.isnan(value) else format(value, form)


def number(value: float | None) -> str:
    """Three digits, thousands separated; nothing for None."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text: int | None = 1) -> str:
    """A Markdown table whose first `text` columns are text and whose others are numbers, set to the right; None: all alike."""
    line = lambda fields: f"| {' | '.join(fields)} |"
    rule = "|---" * len(head) + "|" if text is None else line(["---"] * text + ["---:"] * (len(head) - text))
    return "\n".join([line(head), rule, *map(line, rows)])
