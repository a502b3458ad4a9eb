"""Deadlines: what is left by the clock, and what is kept for what follows."""

import pickle
import time

import pytest

from ohio_jax.deadline import NEVER, Deadline, OutOfTime


def test_without_one_nothing_is_late():
    assert Deadline.after(None) == NEVER and not NEVER.is_set and not NEVER.lacks(1e30)
    NEVER.require(1e30)


def test_what_is_left():
    soon = Deadline.after(1.0)
    assert soon.is_set and soon.at == pytest.approx(time.time() + 60.0, abs=5.0)
    assert not soon.lacks() and not soon.lacks(50.0) and soon.lacks(61.0)
    assert soon._replace(reserve=20.0).lacks(50.0) and Deadline(at=0.0).lacks()
    soon.require(50.0)
    for deadline, seconds, needed in ((soon, 61.0, 61.0), (Deadline(at=0.0), 0.0, None)):
        with pytest.raises(OutOfTime) as caught:
            deadline.require(seconds)
        assert caught.value.seconds == needed


def test_it_comes_back_from_another_process():
    assert pickle.loads(pickle.dumps(OutOfTime(3.0))).seconds == 3.0
