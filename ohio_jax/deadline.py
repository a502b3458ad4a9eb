"""A time by which work is to end: what cannot end by then is given up, and says what it would still need."""

import math
import time
from typing import NamedTuple

from ohio_jax import mesh


class OutOfTime(Exception):  # noqa: N818  (nobody's mistake)
    """Work was given up for lack of time.

    Attributes:
        seconds: what the rest of it would need; None where nothing was timed.
    """

    def __init__(self, seconds: float | None = None):
        super().__init__(seconds)
        self.seconds = seconds


class Deadline(NamedTuple):
    """When work is to end; without arguments: never.

    Attributes:
        at: in seconds of `time.time`, which the machines of a cluster share.
        reserve: seconds kept for what follows the work that asks, such as testing what was trained.
    """

    at: float = math.inf
    reserve: float = 0.0

    @classmethod
    def after(cls, minutes: float | None) -> "Deadline":
        """So many minutes from now; None: never."""
        return cls() if minutes is None else cls(time.time() + 60.0 * minutes)

    @property
    def is_set(self) -> bool:
        return self.at < math.inf

    def lacks(self, seconds: float = 0.0) -> bool:
        """Whether so many seconds are not left. Of several processes that work as one all get the first one's answer."""
        return self.is_set and mesh.broadcast_bool(time.time() + seconds + self.reserve > self.at)

    def require(self, seconds: float = 0.0) -> None:
        """Raises OutOfTime where so many seconds are not left."""
        if self.lacks(seconds):
            raise OutOfTime(seconds or None)


NEVER = Deadline()
