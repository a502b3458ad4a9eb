"""Runs: what a directory says of one, and which directories are refused."""

import json

import numpy as np
import pytest

from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, bc, outside
from ohio_jax.relabel import relabel
from ohio_jax.training.checkpoint import Progress, Run, load_policy
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same

PLAN = Plan("bc", bc.Config(), hidden=4, updates=6, batch=4, block=2, seeds=2)
STATES = {"weights": np.arange(6.0, dtype=np.float32).reshape(2, 3)}


def test_a_run_in_memory_keeps_nothing():
    run = Run("toy", PLAN, {"task": "toy"})
    assert run.restore(STATES) is STATES and not run.finished and run.progress == Progress()


def test_a_run_goes_on_where_it_was_saved(tmp_path):
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    for number in range(2):
        run.progress = run.progress.after(2, {"loss": [0.5, number]}, 1.0, 0.25)
    run.save(STATES)
    again = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    assert_same(again.restore({"weights": np.zeros((2, 3), np.float32)}), STATES)
    assert again.progress == run.progress == Progress(4, ({"loss": [0.5, 0.0]}, {"loss": [0.5, 1.0]}), 2.0, 0.5)
    assert not again.finished


@pytest.mark.parametrize(
    ("identity", "field"), [({"task": "other"}, "task"), ({"task": "toy", "hdpo": True}, "hdpo"), ({}, "task")]
)
def test_a_directory_holds_one_run(tmp_path, identity, field):
    """Whichever of the two knows more."""
    Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    with pytest.raises(UserError, match=rf"run\.json: field {field}: expected .*, found .*; give another directory"):
        Run("toy", PLAN, identity, tmp_path / "run")


def test_a_directory_of_an_older_version_is_refused_and_left_as_it_is(tmp_path):
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    run.save(STATES)
    described = tmp_path / "run" / "run.json"
    old = {key: value for key, value in json.loads(described.read_text()).items() if key != "format"}
    described.write_text(json.dumps(old))
    before = sorted(path for path in (tmp_path / "run").rglob("*"))
    for use in (lambda: Run("toy", PLAN, {"task": "toy"}, tmp_path / "run"), lambda: load_policy(tmp_path / "run", None)):
        with pytest.raises(
            UserError, match=r"run\.json: field format: expected 5, found .*another version.*train anew"
        ) as caught:
            use()
        assert "\n" not in str(caught.value)
    assert sorted(path for path in (tmp_path / "run").rglob("*")) == before and json.loads(described.read_text()) == old


def test_a_learner_from_elsewhere_is_found_again(tmp_path, monkeypatch):
    """By a program that never heard of it."""
    (tmp_path / "a_learner_of_mine.py").write_text("from ohio_jax.learners.bc import Config, act, init, update\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = toy.line_task()
    try:
        plan = Plan(outside.find("a_learner_of_mine:"), bc.Config(), hidden=4, updates=2, batch=4, block=2)
        trained = train(plan, task, "ohio", relabel(collect(task, "half", 4, 1), task, "ohio", "analytic"), tmp_path / "run")
        del LEARNERS["a_learner_of_mine"], outside.FROM["a_learner_of_mine"]
        _, _, loaded, states = load_policy(tmp_path / "run", lambda name, settings: task)
        assert loaded == plan and "a_learner_of_mine" in LEARNERS
        assert_same(states, trained.states)
    finally:
        LEARNERS.pop("a_learner_of_mine", None), outside.FROM.pop("a_learner_of_mine", None)
