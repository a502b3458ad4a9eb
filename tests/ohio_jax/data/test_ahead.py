"""Windows of several decisions: against a loop over episodes, whatever their lengths, ends and weights."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax import data
from ohio_jax.agent import Preprocessor
from ohio_jax.data import Transitions
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS, bc, iql, rebrac, sac
from ohio_jax.training import plan as plans
from ohio_jax.training.offline import train
from ohio_jax.training.online import OnlinePlan, online
from ohio_jax.training.plan import Plan
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same


def transitions(lengths: list[int], steps: int, seed: int, ends: float = 0.5, failed: float = 0.2) -> Transitions:
    """Episodes of these lengths, of which a share `ends` truly, and a share `failed` of transitions that have no weight."""
    rng, rows = np.random.default_rng(seed), sum(lengths)
    last = np.isin(np.arange(rows), np.cumsum(lengths) - 1)
    normal = lambda *shape: rng.normal(size=shape).astype(np.float32)
    return Transitions(
        obs=normal(rows, 2), action=normal(rows, 1), reward=normal(rows), next_obs=normal(rows, 2),
        elapsed=np.where(last, rng.integers(1, steps + 1, rows), steps), terminal=last & (rng.random(rows) < ends),
        weight=np.where(rng.random(rows) < failed, 0.0, rng.random(rows)).astype(np.float32), status=np.zeros(rows, int),
        residual=normal(rows) ** 2, episode=np.repeat(np.arange(len(lengths)), lengths),
        episode_return=normal(len(lengths)), card={"task": "line", "interface": "ohio", "steps": steps},
    )  # fmt: skip


def looked_ahead(of: Transitions, row: int, ahead: int, discount: float) -> tuple[float, float, int]:
    """(reward, what follows counts, the last transition) of one row's window, step by step."""
    reward, elapsed, at = 0.0, 0, row
    for number in range(ahead):
        at = row + number
        reward += discount ** (elapsed / of.steps) * float(of.reward[at])
        elapsed += int(of.elapsed[at])
        ended = at + 1 == len(of.reward) or of.episode[at + 1] != of.episode[row]
        if ended or of.terminal[at] or of.weight[at + 1] == 0:
            break
    return reward, 0.0 if of.terminal[at] else discount ** (elapsed / of.steps), at


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    steps=st.integers(1, 5),
    ahead=st.integers(1, 12),
    discount=st.sampled_from([1.0, 0.97, 0.3]),
    seed=st.integers(0, 99),
)
def test_a_window_is_what_a_loop_says(lengths, steps, ahead, discount, seed):
    given = transitions(lengths, steps, seed)
    found, rows = given.batch(discount, ahead=ahead), range(len(given.reward))
    reward, follows, last = map(np.array, zip(*(looked_ahead(given, row, ahead, discount) for row in rows), strict=True))
    np.testing.assert_allclose(found.reward, reward, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(discount * found.discount, follows, rtol=1e-5)
    np.testing.assert_array_equal(found.next_obs, given.next_obs[last])
    for name in ("obs", "action", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
    # What follows the window: the first window's end starts the next one.
    later = np.minimum(last + 1, len(last) - 1)
    goes_on = (given.episode[later] == given.episode[last]) & (given.weight[later] > 0)
    np.testing.assert_array_equal(given.next_actions(ahead=ahead), given.action[np.where(goes_on, later, last)])
    # Some rows, in any order and number, are those of all.
    some = np.random.default_rng(seed).integers(0, len(last), 7)
    for name, array in found._asdict().items():
        if array is not None:
            np.testing.assert_array_equal(getattr(given.batch(discount, some, ahead), name), array[some])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 99))
def test_one_decision_ahead_is_a_transition_as_it_is(lengths, steps, seed):
    given = transitions(lengths, steps, seed)
    one, last = given.window(0.9), given.window(0.9).last
    np.testing.assert_array_equal(one.reward, given.reward)
    np.testing.assert_array_equal(one.elapsed, given.elapsed)
    np.testing.assert_array_equal(np.arange(len(given.reward))[last], np.arange(len(given.reward)))


def test_to_the_end_a_window_is_the_return_of_the_rest():
    """Of episodes that truly end, without failures; and no discount is needed where nothing follows."""
    given = transitions([4, 1, 7], 3, 0, ends=1.0, failed=0.0)
    found = given.batch(0.9, ahead=1_000)
    np.testing.assert_allclose(found.reward, given.mc_returns(0.9), rtol=1e-5)
    assert not found.discount.any()
    np.testing.assert_allclose(given.batch(0.0, ahead=5).reward, given.reward)


def test_what_has_no_weight_is_not_looked_beyond():
    """A failed transition ends the window before it: what is bootstrapped from is the state that it starts in."""
    given = dataclasses.replace(transitions([5], 1, 0, ends=0.0), weight=np.array([1.0, 1.0, 0.0, 1.0, 1.0], np.float32))
    assert given.window(0.9, ahead=3).last.tolist() == [1, 1, 4, 4, 4]
    np.testing.assert_array_equal(given.batch(0.9, ahead=3).weight, given.weight)


@pytest.mark.parametrize("learner", ["iql", "rebrac", "cal_ql"])
def test_every_part_of_a_batch_is_of_the_window(learner):
    given, plan = transitions([6, 3, 8], 2, 1), Plan(learner, LEARNERS[learner].Config(discount=0.9), hidden=4, ahead=3)
    task = toy.line_task()
    spec = plans.spec_of(task, task.interfaces["ohio"], 4)._replace(observation_size=2)
    found = plans.batch_of(plan, spec, Preprocessor.plain(2), given)
    expected = given.batch(0.9, ahead=3)
    for name in ("reward", "discount", "next_obs", "obs", "weight"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    if learner == "rebrac":
        np.testing.assert_allclose(found.next_action, spec.action.project(given.next_actions(ahead=3)))
    if learner == "cal_ql":  # what the episode went on to earn does not depend on how far one looks
        np.testing.assert_array_equal(found.mc_return, given.mc_returns(0.9))


def on_the_line(lengths: list[int]) -> Transitions:
    """With observations of one number, as `toy.line_task` has them."""
    given = transitions(lengths, 1, 2)
    return dataclasses.replace(given, obs=given.obs[:, :1], next_obs=given.next_obs[:, :1])


def played(task, plan: Plan, given: Transitions, **places):
    trained = train(plan, task, "ohio", given, **places)
    return trained.states, evaluate_learner(task, "ohio", LEARNERS[plan.learner], trained.states, 5, 3).returns


@pytest.mark.parametrize("config", [iql.Config(), rebrac.Config()], ids=["iql", "rebrac"])
def test_host_and_files_make_the_batches_of_memory(tmp_path, config):
    """On the device, gathered on the host, and from a folder whose arrays stay in their files: the same policies."""
    task, learner = toy.line_task(), type(config).__module__.rpartition(".")[2]
    given = on_the_line([9, 4, 7, 12])
    data.save(tmp_path / "folder", given)
    plan = Plan(learner, config, hidden=8, updates=20, batch=8, block=10, seeds=2, ahead=4)
    rows = np.array([3, 30, 0, 3])
    spec = plans.spec_of(task, task.interfaces["ohio"], 4)
    take = lambda of: plans.rows_of(plan, spec, Preprocessor.plain(1), of)(rows)
    filed = data.load(tmp_path / "folder", "transitions")
    assert isinstance(filed.obs, data.mapped.Mapped)
    assert_same(take(filed), take(given))
    states, returns = played(task, plan, given)
    on_host, again = played(task, plan, given, data_on="host")
    np.testing.assert_allclose(again, returns, rtol=1e-4)
    from_files, _ = played(task, plan, filed, data_on="host")
    assert_same(from_files, on_host)
    other, _ = played(task, dataclasses.replace(plan, ahead=1), given)
    with pytest.raises(AssertionError):
        assert_same(other, states)


def test_a_plan_notes_how_far_it_looks(tmp_path):
    """Only where that is not one decision: a run from before there was the field goes on, and a longer look is another run."""
    one = Plan("iql", iql.Config(), hidden=4, updates=4, batch=4, block=2)
    five = dataclasses.replace(one, ahead=5)
    assert "ahead" not in one.as_json() and five.as_json()["ahead"] == 5
    assert Plan.of_json(one.as_json()) == one and Plan.of_json(five.as_json()) == five
    task, given = toy.line_task(), on_the_line([6, 5])
    train(one, task, "ohio", given, tmp_path / "run")
    with pytest.raises(UserError, match=r"run\.json: field plan\.ahead: expected 5, found None; give another directory"):
        train(five, task, "ohio", given, tmp_path / "run")


@pytest.mark.parametrize("ahead", [0, -1, 2.0, True, "5"])
def test_how_far_a_plan_looks_is_a_whole_number(ahead):
    with pytest.raises(UserError, match="plan: field ahead: expected an integer from 1 to 1000000, found"):
        dataclasses.replace(Plan("bc", bc.Config()), ahead=ahead).check()


def test_what_gathers_its_own_data_looks_one_decision_ahead():
    task, small = toy.line_task(), {"hidden": 4, "updates": 4, "batch": 4, "block": 4, "normalize": False}
    with pytest.raises(UserError, match="online: ahead: expected 1, since what is gathered is one transition, found 3"):
        online(OnlinePlan(Plan("sac", sac.Config(), ahead=3, **small), envs=2, updates_per_step=1), task, "ohio")
