"""Minari: logs come back as they went, goals are what other libraries read, and what does not fit is refused."""

import dataclasses
import warnings

import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.collect import collect
from ohio_jax.data import minari as bridge
from ohio_jax.errors import UserError
from ohio_jax.relabel import relabel
from tests.ohio_jax import toy

minari = pytest.importorskip("minari")
gymnasium = pytest.importorskip("gymnasium")


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


@pytest.fixture(scope="module")
def task():
    return toy.line_task(horizon=4)


@pytest.fixture(scope="module")
def logs(task):
    return collect(task, "wander", 3, seed=1)


def test_logs_come_back(task, logs):
    bridge.export(logs, "line/wander-v0")
    back = bridge.load("line/wander-v0", task)
    assert back.card == logs.card
    for field in dataclasses.fields(logs):
        if field.name != "card":
            mine, theirs = getattr(logs, field.name), getattr(back, field.name)
            np.testing.assert_array_equal(theirs, mine, err_msg=field.name)
            assert theirs.dtype == mine.dtype, field.name


def test_goals_are_an_ordinary_dataset(task, logs):
    goals = relabel(logs, task, "ohio", "analytic")
    bridge.export(goals, "line/goals-v0", author="us")
    written = minari.load_dataset("line/goals-v0")
    assert written.storage.metadata["author"] == {"us"} and written.action_space.shape == (1,)
    episodes = list(written.iterate_episodes())
    assert len(episodes) == 3
    np.testing.assert_array_equal(np.concatenate([e.actions for e in episodes]), goals.action)
    np.testing.assert_array_equal(np.concatenate([e.rewards for e in episodes]), goals.reward)
    np.testing.assert_array_equal(np.concatenate([e.observations[:-1] for e in episodes]), goals.obs)
    np.testing.assert_array_equal(np.concatenate([e.observations[1:] for e in episodes]), goals.next_obs)
    np.testing.assert_array_equal(np.concatenate([e.infos["weight"][1:] for e in episodes]), goals.weight)
    assert [e.truncations.tolist() for e in episodes] == [[False, False, False, True]] * 3
    assert not any(e.terminations.any() for e in episodes)


def test_a_gap_in_the_transitions_ends_an_episode(task, logs):
    goals = relabel(logs, task, "ohio", "analytic")
    names = [f.name for f in dataclasses.fields(goals) if f.name not in ("card", "episode_return")]
    keep = np.arange(len(goals.reward)) != 1
    holed = dataclasses.replace(goals, **{name: getattr(goals, name)[keep] for name in names})
    bridge.export(holed, "line/holed-v0")
    assert [len(e) for e in minari.load_dataset("line/holed-v0").iterate_episodes()] == [1, 2, 4, 4]


def foreign(name, observations, actions, action_space=None, steps=None, **flags):
    """A dataset as another project would write it: no infos, no card."""
    steps = steps or len(actions)
    flags = {"terminations": np.zeros(steps, bool), "truncations": np.arange(steps) == steps - 1} | flags
    buffer = minari.data_collector.EpisodeBuffer(observations=observations, actions=actions, rewards=np.ones(steps), **flags)
    box = lambda x: gymnasium.spaces.Box(-np.inf, np.inf, x.shape[1:], x.dtype)
    with warnings.catch_warnings(action="ignore"):  # of missing metadata
        spaces = {"observation_space": box(observations), "action_space": action_space or box(actions)}
        minari.create_dataset_from_buffers(name, [buffer], **spaces)


def test_logs_of_another_project(task):
    observations, actions = np.array([[3.0], [2.0], [2.5]]), np.array([[-1.0], [0.5]])
    foreign("theirs-v0", observations, actions)
    logs = bridge.load("theirs-v0", task, state=lambda episode: episode.observations)
    assert logs.card == {"task": "line", "settings": {"horizon": 4}, "behavior_policy": "theirs-v0"}
    assert logs.state.tolist() == [[3.0], [2.0]] and logs.next_state.tolist() == [[2.0], [2.5]]
    # The first step went half of the way to 1, the second to 3.
    np.testing.assert_allclose(relabel(logs, task, "ohio", "analytic").action, [[1.0], [3.0]])


def test_what_does_not_fit_is_refused(task, logs):
    with pytest.raises(UserError, match=r"nowhere-v0: no such Minari dataset"):
        bridge.load("nowhere-v0", task)
    with pytest.raises(UserError, match=r"expected a name like 'name-v0', found 'no version'"):
        bridge.export(logs, "no version")
    bridge.export(logs, "line/wander-v0")
    with pytest.raises(UserError, match=r"line/wander-v0: a Minari dataset of that name exists"):
        bridge.export(logs, "line/wander-v0")
    with pytest.raises(UserError, match=r"line/wander-v0: field card.task: expected 'other', found 'line'"):
        bridge.load("line/wander-v0", dataclasses.replace(task, name="other"))
    foreign("wide-v0", np.zeros((3, 2)), np.zeros((2, 1)))
    with pytest.raises(UserError, match=r"wide-v0: episode 0: field observations: expected .*\(3, 1\), found \(3, 2\)"):
        bridge.load("wide-v0", task)
    spaces = {"torque": gymnasium.spaces.Box(-1, 1, (1,), np.float64)}
    foreign("parts-v0", np.zeros((3, 1)), {"torque": np.zeros((2, 1))}, gymnasium.spaces.Dict(spaces), steps=2)
    with pytest.raises(UserError, match=r"parts-v0: episode 0: field actions: expected an array, found dict"):
        bridge.load("parts-v0", task)
    foreign("narrow-v0", np.zeros((3, 1)), np.zeros((2, 1)))
    with pytest.raises(UserError, match=r"field infos: expected state and next_state, or the argument `state`, found \[\]"):
        bridge.load("narrow-v0", task)
    foreign("broken-v0", np.full((3, 1), np.nan), np.zeros((2, 1)))
    with pytest.raises(UserError, match=r"broken-v0: field obs\[0, 0\]: expected a finite number"):
        bridge.load("broken-v0", task, state=lambda episode: episode.observations)


def test_flags_of_another_project(task):
    """Termination wins where both are set; an end inside an episode ends one; the last step always does."""
    x, flag = np.linspace(0.0, 0.5, 6)[:, None], lambda *steps: np.isin(np.arange(5), steps)
    for name, ends in {"both-v0": {"terminations": flag(4)}, "inside-v0": {"truncations": flag(1)}}.items():
        foreign(name, x, np.diff(x, axis=0), **ends)
    both, inside = (bridge.load(name, task, state=lambda episode: episode.observations) for name in ("both-v0", "inside-v0"))
    assert both.terminated.tolist() == flag(4).tolist() and not both.truncated.any()
    assert inside.offset.tolist() == [0, 2, 5] and inside.truncated.tolist() == flag(1, 4).tolist()
    np.testing.assert_array_equal(inside.obs[:, 0], np.float32(x[[0, 1, 2, 2, 3, 4, 5], 0]))


def test_a_few_bad_steps_of_another_project(task):
    x = np.linspace(0.0, 0.5, 6)[:, None]
    x[3] = np.nan
    foreign("gap-v0", x, np.full((5, 1), 0.1))
    state = lambda episode: episode.observations
    with pytest.raises(UserError, match=r"gap-v0: field obs\[3, 0\]: expected a finite number"):
        bridge.load("gap-v0", task, state=state)
    logs = bridge.load("gap-v0", task, state=state, allow_nan=True)
    assert logs.card["nonfinite_steps"] == 2 and relabel(logs, task, "ohio", "analytic").status.tolist()[2:4] == [3, 3]


def test_saved_copy_of_an_import_can_be_inverted(task, logs, tmp_path):
    bridge.export(logs, "line/wander-v0")
    path = tmp_path / "back.npz"
    data.save(path, bridge.load("line/wander-v0", task))
    again, first = (relabel(x, task, "ohio", "analytic") for x in (data.load(path, "trajectories"), logs))
    np.testing.assert_array_equal(again.action, first.action)
