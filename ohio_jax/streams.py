"""Seeds of episodes by their purpose, as types: no episode is used for two purposes.

Each stream is a range of seeds of its own. An episode's instance and its policy's randomness both follow from seed and number of
the episode (`Task.instances`, `rollout.episode_keys`), from different folds of the seed's key. Seeds below 1,000, which are what
people type, are in none of the streams.
"""

from dataclasses import dataclass
from typing import ClassVar, TypeVar

from ohio_jax import limits

SPAN = limits.BUDGETS["data_seed"][1] + 1  # seeds of a stream


@dataclass(frozen=True)
class Stream:
    """One seed of a stream.

    Attributes:
        number: which seed of the stream, from 0.
        place: number of the stream's range among ranges of `SPAN` seeds.

    Raises:
        UserError: for a number that the stream does not have.
    """

    number: int = 0
    place: ClassVar[int]

    def __post_init__(self):
        if type(self) is Stream:
            raise TypeError(f"expected one of {', '.join(of.__name__ for of in STREAMS.values())}, found Stream itself")
        limits.check(f"number of {type(self).__name__}", self.number, limits.BUDGETS["data_seed"])

    @property
    def seed(self) -> int:
        """What `Task.instances`, `collect` and `evaluate_policy` take."""
        return int(self.place * SPAN + self.number)

    @property
    def name(self) -> str:
        return next(name for name, of in STREAMS.items() if type(self) is of)


@dataclass(frozen=True)
class Data(Stream):
    """Episodes that are logged to learn from."""

    place = 1


@dataclass(frozen=True)
class Selection(Stream):
    """Episodes for choosing settings, budgets and methods."""

    place = 2


@dataclass(frozen=True)
class ReferenceStream(Stream):
    """Episodes for measuring the returns that score 0 and 100."""

    place = 3


@dataclass(frozen=True)
class Test(Stream):
    """Episodes for reported scores; nothing is ever chosen by them."""

    place = 4
    __test__ = False  # to pytest


STREAMS: dict[str, type[Stream]] = {"data": Data, "selection": Selection, "reference": ReferenceStream, "test": Test}
S = TypeVar("S", bound=Stream)


def require(stream: object, kind: type[S]) -> S:
    """The stream, if it is of this kind. Raises TypeError for another, or for a plain seed."""
    if not isinstance(stream, kind):
        raise TypeError(f"expected episodes of {kind.__name__}, found {stream!r}")
    return stream
