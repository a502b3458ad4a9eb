"""Settings of tasks, typed or as text from the command line (`--set KEY=VALUE`), checked and given their types."""

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ohio_jax.errors import UserError, unknown

# Checks a value, given as such or as text, and gives it its type; raises ValueError whose message says what is expected.
Convert = Callable[[Any], Any]


class Rule(NamedTuple):
    """A setting's default, as text, and what its value may be."""

    default: str
    convert: Convert


def integer(low: int, high: int) -> Convert:
    """Integers of [low, high]."""

    def convert(given: Any) -> int:
        try:
            value = int(given) if isinstance(given, str) else int(operator.index(given))
        except (ValueError, TypeError):
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return value

    return convert


def number(low: float, high: float) -> Convert:
    """Real numbers of [low, high]."""

    def convert(given: Any) -> float:
        try:
            value = float(given)
        except (ValueError, TypeError):
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}")
        return value

    return convert


def one_of(*words: str) -> Convert:
    """One of the words."""

    def convert(given: Any) -> str:
        if given not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return given

    return convert


def number_or(word: str, low: float, high: float) -> Convert:
    """Real numbers of [low, high], or the word."""
    convert = number(low, high)

    def either(given: Any) -> float | str:
        if given == word:
            return given
        try:
            return convert(given)
        except ValueError as error:
            raise ValueError(f"{word}, or {error}") from None

    return either


def parse(task: str, rules: dict[str, Rule], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of a task with its value, given (typed, or as text) or by default.

    Raises UserError naming task, setting, value found and values expected.
    """
    for name in settings:
        if name not in rules:
            raise unknown(f"setting of {task}", name, rules)
    values = {}
    for name, rule in rules.items():
        given = settings.get(name, rule.default)
        try:
            values[name] = rule.convert(given)
        except ValueError as error:
            raise UserError(f"{task}: setting {name}: expected {error}, found {given!r}") from None
    return values
