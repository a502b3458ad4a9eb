"""Runs: what a directory says of one, and which directories are refused."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest
from absl import logging

from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, bc, cql, iql, outside, sac
from ohio_jax.relabel import relabel
from ohio_jax.training import checkpoint
from ohio_jax.training.checkpoint import FORMAT, Progress, Run, load_policy
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same

PLAN = Plan("bc", bc.Config(), hidden=4, updates=6, batch=4, block=2, seeds=2)
# The second: of a scene that has none of something.
STATES = {"weights": np.arange(6.0, dtype=np.float32).reshape(2, 3), "bodies": np.zeros((2, 0, 7), np.float32)}


def test_a_run_in_memory_keeps_nothing():
    run = Run("toy", PLAN, {"task": "toy"})
    assert run.restore(STATES) is STATES and not run.finished and run.progress == Progress()


def test_a_run_goes_on_where_it_was_saved(tmp_path):
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    for number in range(2):
        run.progress = run.progress.after(2, {"loss": [0.5, number]}, 1.0, 0.25)
    run.save(STATES)
    again = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    assert_same(again.restore(jax.tree.map(np.zeros_like, STATES)), STATES)
    assert again.progress == run.progress == Progress(4, ({"loss": [0.5, 0.0]}, {"loss": [0.5, 1.0]}), 2.0, 0.5)
    assert not again.finished


def test_a_directory_whose_name_is_no_text_is_refused_before_the_work(tmp_path):
    """Orbax takes no other, and would say so once all is learned."""
    directory = tmp_path / os.fsdecode(b"run\xff")
    with pytest.raises(UserError, match="checkpoint: expected a path in UTF-8, found other bytes in it"):
        Run("toy", PLAN, {"task": "toy"}, directory).restore(STATES)
    assert os.listdir(tmp_path) == []


def test_a_checkpoint_that_cannot_be_written_is_one_line_and_leaves_none(tmp_path, monkeypatch, caplog):
    """What Orbax logs of what it raises is not said twice, and half a checkpoint does not fill a disk that is full."""
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    run.progress = run.progress.after(2, {"loss": [0.5, 1.0]}, 1.0, 0.25)
    run.save(STATES)

    def full(step, args):
        half = tmp_path / "run" / "checkpoint" / f"{step}.orbax-checkpoint-tmp"
        half.mkdir()
        (half / "half").write_bytes(b"half")
        logging.error("raised an exception")
        raise ValueError("RESOURCE_EXHAUSTED: No space left on device")

    monkeypatch.setattr(run._writer, "save", full)
    run.progress = run.progress.after(2, {"loss": [0.5, 1.0]}, 1.0, 0.25)
    before = logging.get_verbosity()
    with pytest.raises(UserError, match="checkpoint 4: expected to write it, found: RESOURCE_EXHAUSTED: No space left on device"):
        run.save(STATES)
    assert caplog.records == [] and logging.get_verbosity() == before
    assert [path.name for path in (tmp_path / "run" / "checkpoint").iterdir()] == ["2"]


@pytest.mark.parametrize(
    ("identity", "field"), [({"task": "other"}, "task"), ({"task": "toy", "hdpo": True}, "hdpo"), ({}, "task")]
)
def test_a_directory_holds_one_run(tmp_path, identity, field):
    """Whichever of the two knows more; once it has kept something."""
    Run("toy", PLAN, {"task": "toy"}, tmp_path / "run").save(STATES)
    with pytest.raises(UserError, match=rf"run\.json: field {field}: expected .*, found .*; give another directory"):
        Run("toy", PLAN, identity, tmp_path / "run")


def test_a_run_that_saved_nothing_leaves_its_directory_free(tmp_path):
    first, second = (Run("toy", PLAN, {"task": name}, tmp_path / "run") for name in ("first", "second"))
    assert list(tmp_path.iterdir()) == []
    second.save(STATES)
    with pytest.raises(UserError, match=r"run\.json: field task: expected first, found second; give another directory"):
        first.save(STATES)


def test_a_directory_of_an_older_version_is_refused_and_left_as_it_is(tmp_path):
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    run.save(STATES)
    described = tmp_path / "run" / "run.json"
    old = {key: value for key, value in json.loads(described.read_text()).items() if key != "format"}
    described.write_text(json.dumps(old))
    before = sorted(path for path in (tmp_path / "run").rglob("*"))
    for use in (lambda: Run("toy", PLAN, {"task": "toy"}, tmp_path / "run"), lambda: load_policy(tmp_path / "run", None)):
        with pytest.raises(
            UserError, match=rf"run\.json: field format: expected {FORMAT}, found .*another version.*train anew"
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


# --- What is no plan, no run, no checkpoint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden": 10**12}, "plan: field hidden: expected an integer from 1 to 8192, found 1000000000000"),
        ({"updates": 0}, "plan: field updates: expected an integer from 1"),
        ({"seeds": 10**18}, "plan: field seeds: expected an integer from 1 to 1000"),
        ({"batch": 4.0}, "plan: field batch: expected an integer .*, found 4.0"),
        ({"temperature": 0.0}, "plan: field temperature: expected a number from 1e-06 to 1e[+]06, found 0.0"),
        ({"config": sac.Config(temperature=0.0)}, "config: field temperature: expected a number from 1e-06"),
        ({"normalize": 1}, "plan: field normalize: expected bool, found 1"),
        ({"config": iql.Config(expectile=1.5)}, "config: field expectile: expected a number from 0.001 to 0.999, found 1.5"),
        ({"config": iql.Config(actor_lr=float("nan"))}, "config: field actor_lr: expected a number from 0 to 1, found nan"),
        ({"config": iql.Config(discount=-0.1)}, "config: field discount: expected a number from 0 to 1, found -0.1"),
        ({"config": iql.Config(reward_scale=float("inf"))}, "config: field reward_scale: expected a number from .*, found inf"),
        ({"config": iql.Config(v_target="s_before")}, "unknown value of config: field v_target 's_before'"),
        ({"config": cql.Config(importance=1)}, "config: field importance: expected bool, found 1"),
        ({"config": cql.Config(n_actions=10**9)}, "config: field n_actions: expected an integer from 1 to 1000"),
    ],
)
def test_what_is_no_plan(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        Run("toy", dataclasses.replace(PLAN, **changes), {"task": "toy"}, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learners_defaults_are_within_bounds(learner):
    plan = Plan(learner, LEARNERS[learner].Config())
    plan.check()
    assert Plan.of_json(json.loads(json.dumps(plan.as_json()))) == plan


DESCRIBED = {"task": "line", "settings": {"horizon": 6}, "interface": "ohio", "plan": PLAN.as_json(), "format": FORMAT}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([1], f"field format: expected {FORMAT}, found None"),
        ({"plan": None}, "field plan: expected dict, found None"),
        ({"task": ["line"]}, "field task: expected str, found"),
        ({"settings": "horizon"}, "field settings: expected dict"),
        ({"interface": "sideways"}, "unknown action interface in .*run.json 'sideways'"),
        ({"plan": {}}, "run.json: plan: expected what a run notes, found KeyError: 'learner'"),
        ({"plan": {**PLAN.as_json(), "learner": "magic"}}, "run.json: unknown learner 'magic'"),
        ({"plan": {**PLAN.as_json(), "learner": ["bc"]}}, "run.json: plan: expected what a run notes"),
        ({"plan": {**PLAN.as_json(), "speed": 3}}, "run.json: plan: expected what a run notes, found TypeError"),
        ({"plan": {**PLAN.as_json(), "config": [1]}}, "run.json: plan: expected what a run notes"),
        ({"plan": {**PLAN.as_json(), "config": {"actor_lr": "fast"}}}, "config: field actor_lr: expected a number"),
        ({"plan": {**PLAN.as_json(), "hidden": 10**15}}, "plan: field hidden: expected an integer"),
    ],
)
def test_what_is_no_run(tmp_path, changes, words):
    described = changes if isinstance(changes, list) else {**DESCRIBED, **changes}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=words):
        load_policy(tmp_path / "run", lambda name, settings: toy.line_task())
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_run_json_that_was_edited_is_refused(tmp_path):
    """Also where the edited plan would fit the weights; what it goes on from is no part of the run."""
    task, described = toy.line_task(), tmp_path / "run" / "run.json"
    transitions = relabel(collect(task, "half", 4, 1), task, "ohio", "analytic")
    trained = train(PLAN, task, "ohio", transitions, tmp_path / "run")
    load = lambda: load_policy(tmp_path / "run", lambda name, settings: task)
    whole = json.loads(described.read_text())
    edited = {**whole, "plan": {**whole["plan"], "batch": 8}}, {**whole, "settings": {"horizon": 7}}, {**whole, "more": 1}
    for other in edited:
        described.write_text(json.dumps(other))
        with pytest.raises(
            UserError, match=r"run\.json: expected what checkpoint 6 was trained by, found another run; train anew"
        ):
            load()
    described.write_text(json.dumps(whole, indent=3, sort_keys=True))
    assert_same(load()[3], trained.states)
    longer = dataclasses.replace(PLAN, updates=8)
    train(longer, task, "ohio", transitions, tmp_path / "run")
    assert json.loads(described.read_text())["extended"] == [6] and load()[2] == longer


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "run").write_text("mine")
    for use in (lambda: Run("toy", PLAN, {"task": "toy"}, tmp_path / "run"), lambda: load_policy(tmp_path / "run", None)):
        with pytest.raises(UserError, match=r"expected a (training directory|file that can be written), found"):
            use()
    assert (tmp_path / "run").read_text() == "mine"


def test_somebody_elses_folder_is_left_alone(tmp_path):
    mine = tmp_path / "run" / "checkpoint" / "1000" / "weights.bin"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"expected a new folder or a run's, found checkpoint without run.json") as caught:
        Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    assert "delete" not in str(caught.value)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == [mine] and mine.read_text() == "mine"


@pytest.mark.parametrize("damage", ["note", "weights", "later", "file"])
def test_what_is_no_checkpoint(tmp_path, damage):
    """In one line that says what was found, and advises to delete nothing."""
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    run.progress = run.progress.after(2, {"loss": [0.5, 0.5]}, 1.0, 0.25)
    run.save(STATES)
    folder = tmp_path / "run" / "checkpoint"
    if damage == "note":
        (folder / "2" / "note" / "metadata").write_text("[1]")
    elif damage == "weights":
        for path in (folder / "2" / "states").rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[:-9])
    elif damage == "later":
        (folder / "2").rename(folder / "9")
    else:
        shutil.rmtree(folder)
        folder.write_text("mine")
    with pytest.raises(UserError, match=r"train anew in another directory$") as caught:
        Run("toy", PLAN, {"task": "toy"}, tmp_path / "run").restore(STATES)
    assert "delete" not in str(caught.value)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), MemoryError()])
def test_a_checkpoint_is_not_to_blame_for_everything(tmp_path, monkeypatch, error):
    """What is sound and cannot be read now is not to be trained anew."""
    Run("toy", PLAN, {"task": "toy"}, tmp_path / "run").save(STATES)

    def fails(tree):
        raise error

    monkeypatch.setattr(checkpoint, "tree_digest", fails)
    with pytest.raises(type(error)):
        Run("toy", PLAN, {"task": "toy"}, tmp_path / "run").restore(STATES)


def test_run_json_is_read_like_any_file(tmp_path):
    described = tmp_path / "run" / "run.json"
    described.mkdir(parents=True)
    with pytest.raises(UserError, match=r"run\.json: expected a readable file, found a folder"):
        load_policy(tmp_path / "run", lambda name, settings: toy.line_task())
    described.rmdir()
    described.write_text('{"format": 5, "format": 5}')
    with pytest.raises(UserError, match=r"run\.json: field 'format': expected once, found twice"):
        load_policy(tmp_path / "run", lambda name, settings: toy.line_task())


def test_float64_is_refused(tmp_path):
    with jax.enable_x64(True), pytest.raises(UserError, match="jax_enable_x64: expected it unset, found it set"):
        Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writers_half_is_removed(tmp_path):
    run = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    run.progress = run.progress.after(2, {"loss": [0.5, 0.5]}, 1.0, 0.25)
    run.save(STATES)
    folder = tmp_path / "run" / "checkpoint"
    (folder / "4.orbax-checkpoint-tmp").mkdir()
    (folder / "4.orbax-checkpoint-tmp" / "half").write_text("half")
    again = Run("toy", PLAN, {"task": "toy"}, tmp_path / "run")
    assert_same(again.restore(STATES), STATES)
    again.progress = again.progress.after(2, {"loss": [0.5, 0.5]}, 1.0, 0.25)
    again.save(STATES)
    assert [path.name for path in folder.iterdir()] == ["4"]
