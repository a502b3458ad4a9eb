"""Training by a deadline: given up by its first updates, or going on to the same numbers; and the layout of an accelerator."""

import dataclasses
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from ohio_jax.collect import collect
from ohio_jax.deadline import Deadline, OutOfTime
from ohio_jax.errors import UserError
from ohio_jax.learners import bc, sac
from ohio_jax.relabel import relabel
from ohio_jax.training import host_batches, loop
from ohio_jax.training.offline import train
from ohio_jax.training.online import OnlinePlan, online
from ohio_jax.training.plan import Plan
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same, leaves

PLAN = Plan("bc", bc.Config(actor_lr=1e-2), hidden=16, updates=60, batch=16, block=20, seeds=2)


@pytest.fixture(scope="module")
def task():
    return toy.line_task()


@pytest.fixture(scope="module")
def transitions(task):
    return relabel(collect(task, "wander", 40, 1), task, "ohio", "analytic")


@pytest.fixture
def asked(monkeypatch):
    """A deadline that gives these answers, one after another, to whoever asks whether time is lacking, and what it was asked.

    Of what ran before only the paces given are known.
    """

    def deadline(*answers: bool, paces=None):
        monkeypatch.setattr(loop, "_paces", paces or {})
        monkeypatch.setattr(loop, "_compiled", {})
        given, seconds = iter(answers), []
        lacks = lambda needed=0.0: seconds.append(needed) or next(given)
        return SimpleNamespace(is_set=True, lacks=lacks), seconds

    return deadline


def test_time_enough_changes_no_number(task, transitions):
    whole = train(PLAN, task, "ohio", transitions)
    by = train(PLAN, task, "ohio", transitions, deadline=Deadline.after(60.0))
    assert_same(by.states, whole.states)
    for name, values in whole.curve.items():
        np.testing.assert_array_equal(by.curve[name], values)


def test_where_the_first_block_cannot_end_no_block_is_compiled(task, transitions, asked, tmp_path):
    """The fewest updates say so, of which nothing is kept; others with the same programs are not timed again."""
    deadline, seconds = asked(True)
    with pytest.raises(OutOfTime) as caught:
        train(PLAN, task, "ohio", transitions, tmp_path / "run", deadline=deadline)
    assert len(loop._compiled) == 1 and caught.value.seconds == pytest.approx(3 * seconds[0])  # 60 updates, 20 of a block
    assert not (tmp_path / "run").exists()
    deadline, again = asked(True, paces=loop._paces)
    with pytest.raises(OutOfTime):
        train(PLAN, task, "ohio", transitions, tmp_path / "other", deadline=deadline)
    assert not loop._compiled and again == seconds
    deadline, _ = asked(False, False, False)
    by = train(PLAN, task, "ohio", transitions, tmp_path / "run", deadline=deadline)
    assert_same(by.states, train(PLAN, task, "ohio", transitions).states)


def test_a_run_that_cannot_end_is_given_up_after_a_block_and_goes_on_later(task, transitions, asked, tmp_path):
    whole = train(PLAN, task, "ohio", transitions)
    deadline, seconds = asked(False, True)
    with pytest.raises(OutOfTime) as caught:
        train(PLAN, task, "ohio", transitions, tmp_path / "run", deadline=deadline)
    pace = list(loop._paces.values())[1]  # after that of the fewest updates
    assert seconds[1] == caught.value.seconds == pytest.approx(40 * pace)
    # Another run of the same program is given up by that pace before it begins, and so is this one where it stopped.
    for folder, left in (("other", 60), ("run", 40)):
        deadline, seconds = asked(True, paces=loop._paces)
        with pytest.raises(OutOfTime) as caught:
            train(PLAN, task, "ohio", transitions, tmp_path / folder, deadline=deadline)
        assert seconds == [caught.value.seconds] == [pytest.approx(left * pace)]
    assert not (tmp_path / "other").exists()
    deadline, seconds = asked(False, False, paces=loop._paces)  # at that pace, and after the first of two blocks
    resumed = train(PLAN, task, "ohio", transitions, tmp_path / "run", deadline=deadline)
    assert_same(resumed.states, whole.states)
    for name, values in whole.curve.items():
        np.testing.assert_array_equal(resumed.curve[name], values)
    assert len(seconds) == 2


def test_batches_from_the_host_by_a_deadline(task, transitions, asked, tmp_path, monkeypatch):
    """Its blocks are what batches are gathered for: the first of them is what is timed, and none is gathered twice."""
    whole = train(PLAN, task, "ohio", transitions, data_on="host")
    gathered = []
    noted = lambda keys, first, *given, do=host_batches.indices: gathered.append(first) or do(keys, first, *given)
    monkeypatch.setattr(host_batches, "indices", noted)
    deadline, seconds = asked(True)
    with pytest.raises(OutOfTime) as caught:
        train(PLAN, task, "ohio", transitions, tmp_path / "run", data_on="host", deadline=deadline)
    assert seconds == [caught.value.seconds] and len(loop._compiled) == 1 and gathered == [0, 20]
    gathered.clear()
    deadline, again = asked(False, False, paces=loop._paces)
    resumed = train(PLAN, task, "ohio", transitions, tmp_path / "run", data_on="host", deadline=deadline)
    assert_same(resumed.states, whole.states)
    assert len(again) == 2 and gathered == [20, 40]


def test_online_training_by_a_deadline(task, asked):
    """The fewest updates are those of one step, which changes nothing of the buffer that training begins with."""
    learn = Plan("sac", sac.Config(), hidden=16, updates=12, batch=16, block=4, seeds=2)
    plan = OnlinePlan(learn, envs=4, updates_per_step=2, learning_starts=5, buffer_size=64)
    whole = online(plan, task, "ohio")
    deadline, _ = asked(False, False, False)
    assert_same(online(plan, task, "ohio", deadline=deadline).states, whole.states)
    deadline, _ = asked(True)
    with pytest.raises(OutOfTime):
        online(plan, task, "ohio", deadline=deadline)


# --- The layout of an accelerator, on a CPU by its switch


def test_vmapped_seeds_learn_what_seeds_in_turn_do(task, transitions, monkeypatch):
    """Three on two devices, of which one has two."""
    plan = dataclasses.replace(PLAN, seeds=3)
    turns = train(plan, task, "ohio", transitions)
    monkeypatch.setenv("OHIO_LAYOUT", "accelerator")
    vmapped = []
    monkeypatch.setattr(jax, "vmap", lambda *given, vmap=jax.vmap, **more: vmapped.append(given[0]) or vmap(*given, **more))
    side_by_side = train(plan, task, "ohio", transitions)
    assert any(getattr(function, "__qualname__", "").startswith("over_seeds") for function in vmapped)
    for x, y in zip(leaves(side_by_side.states), leaves(turns.states), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    monkeypatch.setenv("OHIO_LAYOUT", "wide")
    with pytest.raises(UserError, match="unknown layout in OHIO_LAYOUT 'wide': expected one of accelerator, auto, cpu"):
        train(plan, task, "ohio", transitions)
