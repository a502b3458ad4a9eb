"""What Markdown pages are written with: text that is no markup, numbers, tables, and the templates that hold a page's words."""

import re
import string
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

import numpy as np


def plain(text: str) -> str:
    """Text of a run file as Markdown shows it: nothing in it is a tag, a link, mathematics or a cell's end."""
    return re.sub(r"([\\`*_\[\]|<>&$~])", r"\\\1", text)


def formatted(value: float, form: str) -> str:
    """Formatted, or nothing for NaN."""
    return "" if np.isnan(value) else format(value, form)


def between(value: float, low: float, high: float, digits: int = 1) -> str:
    """A number with its interval, by itself where that is infinite."""
    return f"{value:.{digits}f}" + (f" ({low:.{digits}f} to {high:.{digits}f})" if np.isfinite(low) else "")


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


def origin(provenance: dict[str, Any]) -> str:
    """When numbers were made, and with which version of the code."""
    changed = " with changes" if provenance.get("dirty") else ""
    return f"{provenance['time']}, revision {provenance['revision'] or 'unknown'}{changed}, JAX {provenance['versions']['jax']}"


def machine(provenance: dict[str, Any]) -> dict[str, Any]:
    """The provenance whose hardware a template may name."""
    return {**provenance, "hardware": {name: plain(x) if isinstance(x, str) else x for name, x in provenance["hardware"].items()}}


class _Formatter(string.Formatter):
    """Knows the format `number` beside Python's own."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return number(value) if format_spec == "number" else super().format_field(value, format_spec)


def filled(package: str, name: str, given: dict[str, Any]) -> str:
    """A template of the package, `templates/<name>.md`, with its fields filled; what is empty leaves no gap."""
    template = resources.files(package).joinpath("templates", f"{name}.md").read_text(encoding="utf-8")
    return re.sub(r"\n{3,}", "\n\n", _Formatter().vformat(template, (), given)).strip("\n") + "\n"
