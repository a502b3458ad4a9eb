"""The training loop: resume equals uninterrupted, seeds do not know of each other, one compilation."""

import dataclasses
import json
import math
import re
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import data, interrupts
from ohio_jax.agent import Agent
from ohio_jax.collect import collect
from ohio_jax.data import mapped
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_learner, evaluate_policy
from ohio_jax.learners import LEARNERS, bc, cql, iql, sac
from ohio_jax.relabel import relabel
from ohio_jax.training import host_batches, loop
from ohio_jax.training.checkpoint import Run, load_policy
from ohio_jax.training.loop import _compiled
from ohio_jax.training.offline import fingerprint, train
from ohio_jax.training.plan import Plan
from ohio_jax.training.sharding import SeedSharding
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same, kill_after, leaves

CONFIGS = {"bc": bc.Config(actor_lr=1e-2), "iql": iql.Config(), "cql": cql.Config(n_actions=2), "sac": sac.Config()}
CONFIGS["cal_ql"] = CONFIGS["cql"]


@pytest.fixture(scope="module")
def task():
    return toy.line_task()


@pytest.fixture(scope="module")
def transitions(task):
    return relabel(collect(task, "wander", 40, 1), task, "ohio", "analytic")


def plan(learner="bc", **changes) -> Plan:
    config = CONFIGS.get(learner) or LEARNERS[learner].Config()
    base = Plan(learner, config, hidden=16, updates=60, batch=16, block=20, seeds=2)
    return dataclasses.replace(base, **changes)


# The others' states hold nothing that these do not.
@pytest.mark.parametrize("learner", [pytest.param(x, marks=[] if x in CONFIGS else [pytest.mark.slow]) for x in LEARNERS])
def test_resume_equals_uninterrupted(task, transitions, tmp_path, monkeypatch, learner):
    whole = train(plan(learner), task, "ohio", transitions, tmp_path / "whole")
    run = lambda: train(plan(learner), task, "ohio", transitions, tmp_path / "cut")
    kill_after(monkeypatch, 40, run)
    resumed = run()
    assert_same(resumed.states, whole.states)
    for name, values in whole.curve.items():
        np.testing.assert_array_equal(resumed.curve[name], values)


def test_a_seed_does_not_depend_on_its_neighbors(task, transitions):
    one, three = (train(plan(seeds=s), task, "ohio", transitions) for s in (1, 3))
    for x, y in zip(leaves(one.states), leaves(three.states), strict=True):
        np.testing.assert_allclose(x[0], y[0], rtol=1e-5, atol=1e-6)
    assert any(not np.array_equal(x[1], x[0]) for x in leaves(three.states))
    assert all(value.shape == (3, 3) for value in three.curve.values())


def test_block_length_does_not_change_the_result(task, transitions):
    a, b = (train(plan(block=block), task, "ohio", transitions) for block in (20, 25))
    for x, y in zip(leaves(a.states), leaves(b.states), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_one_compilation_serves_all_data_and_hyperparameters(task, transitions):
    train(plan(), task, "ohio", transitions)
    programs = dict(_compiled)
    other = dataclasses.replace(transitions, reward=transitions.reward + 1)
    again = train(plan(config=bc.Config(actor_lr=3e-3)), task, "ohio", other)
    assert programs == _compiled and again.seconds["compile"] < 0.5


def test_behavior_cloning_learns_the_goals(task, transitions):
    half = relabel(collect(task, "half", 40, 1), task, "ohio", "analytic")
    trained = train(plan(updates=600), task, "ohio", half)
    played = evaluate_learner(task, "ohio", bc, trained.states, 20, 9)
    target = evaluate_policy(task, "half", 20, 9)
    assert played.returns.shape == (2, 20)
    np.testing.assert_allclose(played.returns.mean(), target.returns.mean(), atol=0.1)


def test_trajectory_weighting_is_an_option(task, transitions):
    trained = train(plan(sampling="return"), task, "ohio", transitions)
    uniform = train(plan(), task, "ohio", transitions)
    assert any(not np.array_equal(x, y) for x, y in zip(leaves(trained.states), leaves(uniform.states), strict=True))


def test_load_policy_brings_back_what_was_trained(task, transitions, tmp_path):
    trained = train(plan("iql"), task, "ohio", transitions, tmp_path / "run")
    _, interface, loaded, states = load_policy(tmp_path / "run", lambda name, settings: task)
    assert (interface, loaded) == ("ohio", plan("iql"))
    assert_same(states, trained.states)


def test_other_data_in_the_same_directory_are_refused(task, transitions, tmp_path):
    """Also where they were never saved, and whatever their cards say."""
    first = train(plan(), task, "ohio", transitions, tmp_path / "run")
    other = dataclasses.replace(transitions, action=-transitions.action)
    with pytest.raises(UserError, match=r"run\.json: field data_sha256: expected \w+, found \w+; give another directory"):
        train(plan(), task, "ohio", other, tmp_path / "run")
    data.save(tmp_path / "t.npz", transitions)
    again = train(plan(), task, "ohio", data.load(tmp_path / "t.npz", "transitions"), tmp_path / "run")
    assert_same(again.states, first.states)


def test_data_written_to_since_are_other_data(task, transitions, tmp_path):
    own = dataclasses.replace(transitions, reward=transitions.reward.copy())
    train(plan(), task, "ohio", own, tmp_path / "run")
    own.reward[0] += 1.0
    with pytest.raises(UserError, match=r"run\.json: field data_sha256"):
        train(plan(), task, "ohio", own, tmp_path / "run")
    data.save(tmp_path / "own.npz", own)
    assert data.load(tmp_path / "own.npz", "transitions").reward[0] == own.reward[0]


def test_segments_cut_short_of_other_lengths_are_other_data(task, transitions, tmp_path):
    """Their arrays may be the same, and what follows counts something else; of whole segments a run says nothing of steps."""
    assert "steps" not in fingerprint(plan("iql"), task, "ohio", transitions)

    def trained(steps):
        short = dataclasses.replace(transitions, card={**transitions.card, "steps": steps})
        longer = dataclasses.replace(task, interfaces={"ohio": dataclasses.replace(task.interfaces["ohio"], steps=steps)})
        train(plan("iql"), longer, "ohio", short, tmp_path / "run")

    trained(2)
    with pytest.raises(UserError, match=r"run\.json: field steps: expected 3, found 2; give another directory"):
        trained(3)


def test_another_run_or_damage_is_refused(task, transitions, tmp_path):
    train(plan(), task, "ohio", transitions, tmp_path / "run")
    with pytest.raises(UserError, match=r"run\.json: field plan"):
        train(plan(batch=80), task, "ohio", transitions, tmp_path / "run")
    saved = sorted(p for p in (tmp_path / "run" / "checkpoint").rglob("*") if p.is_file() and p.stat().st_size > 200)
    for path in saved:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="checkpoint 60"):
        load_policy(tmp_path / "run", lambda name, settings: task)
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: expected JSON"):
        load_policy(tmp_path / "run", lambda name, settings: task)
    with pytest.raises(UserError, match=r"found no run\.json"):
        load_policy(tmp_path / "nowhere", lambda name, settings: task)


def test_unfinished_run_is_no_policy(task, transitions, tmp_path):
    train(plan(), task, "ohio", transitions, tmp_path / "run")
    described = tmp_path / "run" / "run.json"
    run = json.loads(described.read_text())
    run["plan"]["updates"] = 80
    described.write_text(json.dumps(run))
    with pytest.raises(UserError, match="finished run of 80 updates, found 60"):
        load_policy(tmp_path / "run", lambda name, settings: task)


@pytest.mark.parametrize("directory", ["run", None])
def test_agents_are_fetched_once_a_checkpoint(task, transitions, tmp_path, monkeypatch, directory):
    fetched, gather = [], SeedSharding.gather
    monkeypatch.setattr(SeedSharding, "gather", lambda self, tree: fetched.append(type(tree)) or gather(self, tree))
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    train(plan(), task, "ohio", transitions, directory and tmp_path / directory)
    assert fetched == ([dict, Agent] * 3 if directory else [dict] * 3 + [Agent])  # metrics of each block, and agents


def test_transitions_that_are_none_train_nothing(task, transitions, tmp_path):
    for changes, words in (
        ({"weight": 0.0 * transitions.weight}, "weight: expected some above 0, found none"),
        ({"reward": np.full_like(transitions.reward, np.nan)}, r"reward\[0\]: expected a finite number"),
    ):
        with pytest.raises(UserError, match=f"^transitions: field {words}"):
            train(plan(), task, "ohio", dataclasses.replace(transitions, **changes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_saved_transitions_train_the_same(task, transitions, tmp_path):
    data.save(tmp_path / "t.npz", transitions)
    back = data.load(tmp_path / "t.npz", "transitions")
    assert_same(train(plan(), task, "ohio", back).states, train(plan(), task, "ohio", transitions).states)


# --- Where the data lie


@pytest.fixture
def stored(transitions, tmp_path):
    """The same transitions in a folder, in many chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapped, "CHUNK", 64)
        data.save(tmp_path / "t", transitions)
    return data.load(tmp_path / "t", "transitions")


@pytest.mark.parametrize(
    ("learner", "seeds"), [("iql", 3), ("cal_ql", 1), ("rebrac", 2)]
)  # plain, with returns, with next actions
def test_batches_gathered_on_the_host_are_those_drawn_on_the_device(task, transitions, stored, learner, seeds):
    on_device = train(plan(learner, seeds=seeds), task, "ohio", transitions)
    on_host = train(plan(learner, seeds=seeds), task, "ohio", stored, data_on="host")
    for x, y in zip(leaves(on_host.states), leaves(on_device.states), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-6)
    for name, values in on_device.curve.items():
        np.testing.assert_allclose(on_host.curve[name], values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sampling", ["uniform", "advantage"])
def test_resume_equals_uninterrupted_on_the_host(task, stored, tmp_path, monkeypatch, sampling):
    wanted = plan(sampling=sampling, updates=50)  # the last block is shorter
    whole = train(wanted, task, "ohio", stored, tmp_path / "whole", "host")
    run = lambda place="host": train(wanted, task, "ohio", stored, tmp_path / "cut", place)
    kill_after(monkeypatch, 40, run)
    with pytest.raises(UserError, match="field data_on: expected None, found host"):
        run("device")
    assert_same(run().states, whole.states)


def test_large_data_stay_on_the_host(task, transitions, stored, monkeypatch):
    gathered = []
    monkeypatch.setattr(host_batches, "indices", lambda *given, do=host_batches.indices: gathered.append(given[1]) or do(*given))
    train(plan(), task, "ohio", transitions)
    assert gathered == []
    monkeypatch.setattr(host_batches, "ON_DEVICE", 4 * len(transitions.reward) * 8 - 1)  # two features, two actions and four
    train(plan(), task, "ohio", transitions)
    assert gathered == [0, 20, 40]
    with pytest.raises(UserError, match="unknown place for data 'disk': expected one of device, host"):
        train(plan(), task, "ohio", transitions, data_on="disk")


def test_one_compilation_serves_all_blocks_on_the_host(task, stored):
    train(plan(seeds=1), task, "ohio", stored, data_on="host")
    programs, drawn = dict(_compiled), host_batches.indices._cache_size()
    train(plan(seeds=1, updates=80), task, "ohio", stored, data_on="host")
    assert programs == _compiled and host_batches.indices._cache_size() == drawn


def test_damage_that_training_meets_is_one_line(task, stored, tmp_path):
    file = tmp_path / "t" / "next_obs.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    for place in ("host", "device"):
        with pytest.raises(UserError, match=r"t/next_obs\.npy: chunk \d+ \(rows \d+ to 239\): damaged"):
            train(plan(), task, "ohio", stored, tmp_path / "run", place)
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_the_data_lie_on_the_host_once(task, transitions):
    """Whatever the number of its devices."""
    seeds = SeedSharding(2)
    assert len(seeds.devices) == 2
    shared = seeds.share((transitions.batch(), np.arange(1000, dtype=np.uint32)))
    for x in jax.tree.leaves(shared):
        assert len({part.data.unsafe_buffer_pointer() for part in x.addressable_shards}) == 1


# --- Numbers that stop being numbers


class Breaks:
    """Behavior cloning that loses its metric or its parameters after so many updates."""

    Config, init, act = bc.Config, staticmethod(bc.init), staticmethod(bc.act)

    def __init__(self, after: int, loses: str):
        self.after, self.loses = after, loses

    def update(self, state, batch):
        lost = jnp.where(state.actor.step >= self.after, jnp.nan, 0.0)
        new, metrics = bc.update(state, batch)
        if self.loses == "metric":
            return new, {"actor_loss": metrics["actor_loss"] + lost}
        return new.replace(actor=new.actor._replace(params=jax.tree.map(lambda x: x + lost, new.actor.params))), {}


@pytest.mark.parametrize(
    ("loses", "after", "words"),
    [
        ("metric", 50, "updates 41 to 60: metric actor_loss: expected a finite number, found nan in seed 0"),
        ("parameters", 59, "update 60: state.actor.params.*: expected finite parameters, found others"),
    ],
)
def test_training_stops_where_numbers_are_lost(task, transitions, tmp_path, monkeypatch, loses, after, words):
    """What the last finite checkpoint holds stays, and the end is never one that is not finite."""
    monkeypatch.setitem(LEARNERS, "breaks", Breaks(after, loses))
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    with pytest.raises(UserError, match=f"^train line ohio breaks: {words}"):
        train(plan("breaks"), task, "ohio", transitions, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoint").iterdir()] == ["40"]
    with pytest.raises(UserError, match="expected a finished run of 60 updates, found 40"):
        load_policy(tmp_path / "run", lambda name, settings: task)


@pytest.mark.parametrize("field", ["reward", "obs"])
def test_data_beyond_float32_train_nothing(task, transitions, field):
    huge = dataclasses.replace(transitions, **{field: np.full_like(getattr(transitions, field), 1e30)})
    with pytest.raises(UserError, match=r"^train line ohio td3_bc: updates 1 to 20: metric \w+: expected a finite number"):
        train(plan("td3_bc", normalize=False), task, "ohio", huge)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_no_policy(task, transitions, tmp_path, number):
    wanted = plan(updates=20)
    trained = train(wanted, task, "ohio", transitions)
    run = Run("toy", wanted, fingerprint(wanted, task, "ohio", transitions), tmp_path / "run")
    run.progress = run.progress.after(20, {"actor_loss": [0.0, 0.0]}, 0.0, 0.0)
    run.save(jax.tree.map(lambda x: np.full_like(x, number) if x.dtype == np.float32 else x, trained.states))
    with pytest.raises(UserError, match="checkpoint 20: expected finite weights, found others in state"):
        load_policy(tmp_path / "run", lambda name, settings: task)


@pytest.mark.parametrize(
    ("fields", "width", "words"),
    [
        (["action"], 2, r"field action: expected .*\(1,\).*found \(2,\)"),
        (["obs", "next_obs"], 3, r"field obs: expected .*1.*found .*3"),
    ],
)
def test_data_of_other_sizes_than_the_task(task, transitions, tmp_path, fields, width, words):
    other = dataclasses.replace(transitions, **{name: np.repeat(getattr(transitions, name), width, axis=1) for name in fields})
    with pytest.raises(UserError, match=words):
        train(plan(), task, "ohio", other, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"task": "plane"}, "task: expected 'line', as line ohio has it, found 'plane'"),
        ({"interface": "end_to_end"}, "interface: expected 'ohio', as line ohio has it, found 'end_to_end'"),
        ({"steps": 5}, "steps: expected 1, as line ohio has it, found 5"),
        ({"settings": {"gain": 3.0, "backend": "c"}}, "settings.gain: expected 2.0, as line ohio has it, found 3.0"),
    ],
)
def test_data_of_another_task_than_is_trained_in(task, transitions, tmp_path, card, words):
    """What a card does not say, or says of settings that are none, contradicts nothing."""
    here = dataclasses.replace(task, settings={"gain": 2.0, "backend": "mjx"})
    other = lambda card: dataclasses.replace(transitions, card={**transitions.card, **card})
    with pytest.raises(UserError, match=f"^transitions: field card.{re.escape(words)}"):
        train(plan(), here, "ohio", other(card), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(plan(updates=20), here, "ohio", other({"settings": {"gain": 2.0, "backend": "c", "gone": 1}}))


@pytest.mark.parametrize("place", ["device", "host"])
def test_actions_that_are_none_of_the_interface(task, transitions, tmp_path, place):
    """What is a little out of range is projected; what is thousands of times out is of another quantity."""
    row = np.arange(len(transitions.reward))[:, None] == 7
    with_action = lambda number: dataclasses.replace(transitions, action=np.where(row, np.float32(number), transitions.action))
    assert_same(*(train(plan(), task, "ohio", with_action(number), data_on=place).states for number in (1.0, 900.0)))
    with pytest.raises(UserError, match=r"field action\[7, 0\]: expected an action of line ohio, within 1000, found 9\.99"):
        train(plan(), task, "ohio", with_action(1e38), tmp_path / "run", data_on=place)


# --- Signals


def test_a_signal_ends_training_once_it_is_saved(task, transitions, tmp_path, monkeypatch):
    whole = train(plan(), task, "ohio", transitions)
    monkeypatch.setattr(interrupts, "_first", None)
    monkeypatch.setattr(interrupts, "_raised", -math.inf)
    monkeypatch.setattr(loop, "executable", lambda *given, make=loop.executable: (make(*given), arrive())[0])

    def arrive():
        interrupts._arrived(signal.SIGTERM, None)

    with pytest.raises(interrupts.Interrupted), interrupts.immediate():
        train(plan(), task, "ohio", transitions, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoint").iterdir()] == ["20"]
    monkeypatch.undo()
    assert_same(train(plan(), task, "ohio", transitions, tmp_path / "run").states, whole.states)
