"""The one exception that is meant for the user's eyes, and how its line stays one."""

from collections.abc import Sequence
from typing import Any

LONGEST_LINE, LONGEST_VALUE = 480, 80  # characters of a message, and of a value that it quotes


class UserError(Exception):
    """A mistake at an edge (file, flag, array): one line naming the place, what was found and what was expected.

    The command prints it without a traceback and exits with code 2.
    """


class DivergedError(UserError):
    """Training whose numbers stopped being finite."""


class TooFewError(UserError):
    """Too few transitions are left to learn from. cards: of what there was, one for each data set."""

    def __init__(self, message: str, cards: Sequence[dict[str, Any]] = ()):  # a default, so that it can be pickled
        super().__init__(message)
        self.cards = list(cards)


def out_of_memory(error: Exception) -> bool:
    """Whether the host or a device has too little memory for what was asked."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def unknown(kind: str, name: str, known) -> UserError:
    """The error for a name that is in no registry, e.g. `unknown("task", "nyc", TASKS)`."""
    return UserError(f"unknown {kind} {short(name)}: expected one of {', '.join(sorted(known))}")


def short(value: Any) -> str:
    """A value as a message quotes it."""
    return one_line(repr(value), LONGEST_VALUE)


def brief(text: Any) -> str:
    """Words of others, such as a library's error, as a message quotes them."""
    return one_line(str(text), LONGEST_VALUE)


def counted(number: int, noun: str) -> str:
    """As in "1 run" and "2,000 runs"."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def one_line(text: str, longest: int = LONGEST_LINE) -> str:
    """The text on one line of printable characters, without its middle where it is longer than `longest`."""
    if len(text) > longest:
        text = f"{text[: 3 * longest // 4]} ... {text[-longest // 4 :]}"
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in " ".join(text.split()))
