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


def _within(low: float, high: float, read: Callable[[Any], Any], expected: str) -> Convert:
    """What `read` makes of a value, if that lies in [low, high]."""

    def convert(given: Any) -> Any:
        try:
            value = read(given)
        except (ValueError, TypeError, OverflowError):
            value = math.nan
        if not low <= value <= high:
            raise ValueError(expected)
        return value

    return convert


def integer(low: int, high: int) -> Convert:
    """Integers of [low, high]."""
    read = lambda given: int(given) if isinstance(given, str) else operator.index(given)
    return _within(low, high, read, f"an integer from {low} to {high}")


def number(low: float, high: float) -> Convert:
    """Real numbers of [low, high]."""
    return _within(low, high, float, f"a number from {low:g} to {high:g}")


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

    Raises:
        UserError: naming task, setting, value found and values expected.
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
