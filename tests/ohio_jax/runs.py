"""What tests of training loops share: a run that dies after a checkpoint, and states that must be the same bit by bit."""

import jax
import numpy as np
import pytest

from ohio_jax.training import loop
from ohio_jax.training.checkpoint import Run


class KilledError(Exception):
    """The end of a run that a test kills."""


def kill_after(monkeypatch, updates: int, run) -> None:
    """Calls `run()`, which saves after every block and dies where `updates` are saved."""
    save = Run.save

    def save_and_die(self, states):
        save(self, states)
        if self.progress.done == updates:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        patch.setattr(Run, "save", save_and_die)
        with pytest.raises(KilledError):
            run()


def leaves(states) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree.leaves(states)]


def assert_same(a, b) -> None:
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
