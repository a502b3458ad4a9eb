"""Settings of tasks as they come from the command line (`--set KEY=VALUE`), checked and given their types."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ohio_jax.errors import UserError, unknown

# Turns text into a value; raises ValueError whose message says what is expected.
Convert = Callable[[str], Any]


class Rule(NamedTuple):
    """A setting's default, as text, and what its text may be."""

    default: str
    convert: Convert


def integer(low: int, high: int) -> Convert:
    """Integers of [low, high]."""

    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return value

    return convert


def number(low: float, high: float) -> Convert:
    """Real numbers of [low, high]."""

    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return convert


def one_of(*words: str) -> Convert:
    """One of the words."""

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return convert


def number_or(word: str, low: float, high: float) -> Convert:
    """Real numbers of [low, high], or the word."""
    convert = number(low, high)

    def either(text: str) -> float | str:
        if text == word:
            return text
        try:
            return convert(text)
        except ValueError as error:
            raise ValueError(f"{word}, or {error}") from None

    return either


def parse(task: str, rules: dict[str, Rule], settings: dict[str, str]) -> dict[str, Any]:
    """Every setting of a task with its value, given or by default.

    Raises UserError naming task, setting, value found and values expected.
    """
    for name in settings:
        if name not in rules:
            raise unknown(f"setting of {task}", name, rules)
    values = {}
    for name, rule in rules.items():
        text = str(settings.get(name, rule.default))
        try:
            values[name] = rule.convert(text)
        except ValueError as error:
            raise UserError(f"{task}: setting {name}: expected {error}, found {text!r}") from None
    return values
