"""Online training: what goes into the buffer, resume equals uninterrupted, one compilation, and that it learns."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax import data
from ohio_jax.agent import Agent, Preprocessor
from ohio_jax.collect import collect, trained_policy
from ohio_jax.data import Batch
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_learner, evaluate_policy
from ohio_jax.learners import LEARNERS, sac
from ohio_jax.relabel import relabel
from ohio_jax.training import online
from ohio_jax.training.checkpoint import load_policy
from ohio_jax.training.loop import _compiled
from ohio_jax.training.offline import train
from ohio_jax.training.online import Buffer, OnlinePlan
from ohio_jax.training.plan import Plan, initial_agents, spec_of
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same, kill_after, leaves
from tests.xla import OPTIMIZED

CONFIG = sac.Config(actor_lr=3e-3, critic_lr=3e-3, discount=0.9, tau=0.1, temperature=0.02)


@pytest.fixture(scope="module")
def task():
    return toy.line_task()


def plan(learner=None, **changes) -> OnlinePlan:
    base = Plan("sac", CONFIG, hidden=16, updates=60, batch=16, block=20, seeds=2)
    base = dataclasses.replace(base, **(learner or {}))
    return dataclasses.replace(OnlinePlan(base, envs=4, updates_per_step=2, learning_starts=5, buffer_size=64), **changes)


# --- The buffer


def rows(numbers) -> Batch:
    """Transitions whose every number is their own."""
    x = jnp.asarray(numbers, jnp.float32)
    return Batch(x[:, None], x[:, None], x, x[:, None], x, x)


@pytest.mark.parametrize(("buffer_size", "size", "writes"), [(12, 4, 2), (12, 4, 7), (10, 4, 9), (7, 7, 3)])
def test_the_buffer_keeps_the_newest(buffer_size, size, writes):
    """Also where a write runs over the end of the ring."""
    buffer = Buffer(jax.tree.map(lambda x: 0.0 * x, rows(range(buffer_size))), jnp.int32(0))
    for write in range(writes):
        buffer = buffer.write(rows(range(1 + write * size, 1 + (write + 1) * size)))
    total = writes * size
    expected = set(range(max(1, total - buffer_size + 1), total + 1))
    assert set(np.asarray(buffer.rows.reward).astype(int).tolist()) - {0} == expected
    drawn = buffer.sample_batch(jax.random.key(0), 4000)
    values, counts = np.unique(np.asarray(drawn.reward), return_counts=True)
    assert set(values.astype(int).tolist()) == expected  # never a row that was not written
    assert counts.min() > 0.6 * 4000 / len(expected) and counts.max() < 1.5 * 4000 / len(expected)
    for column in jax.tree.leaves(drawn):
        np.testing.assert_array_equal(np.asarray(column).reshape(-1), drawn.reward)


# --- Decisions


def fresh_agent(hidden):
    task = toy.line_task()
    return Agent(sac.init(jax.random.key(0), spec_of(task, task.interfaces["ohio"], hidden), CONFIG), Preprocessor.plain(1))


def play(env, steps, reset_every=None, envs=8, goal=1.0):
    """The buffer's columns [steps, envs, ...] and the metrics of so many decisions with one goal."""
    carry = online.begin(fresh_agent(4), jax.random.key(1), env, envs, steps * envs, None)
    act = lambda agent, obs, key: jnp.full((envs, 1), goal)
    decide = jax.jit(lambda carry, key, due: online.env_step(carry, key, env, act, due))
    metrics = []
    for step in range(steps):
        due = jnp.bool_(reset_every is not None and (step + 1) % reset_every == 0)
        carry, lived = decide(carry, jax.random.key(step), due)
        metrics.append(jax.device_get(lived))
    kept = jax.tree.map(lambda x: np.asarray(x).reshape(steps, envs, *x.shape[1:]), carry.buffer.rows)
    return kept, {name: np.array([row[name] for row in metrics]) for name in metrics[0]}


def high(env):
    task = toy.line_task()
    return dataclasses.replace(task, env=env).high_level("ohio")


def test_a_time_limit_goes_on_in_the_backup_and_a_true_end_does_not():
    kept, metrics = play(high(toy.Line(wall=1.6, horizon=3)), 12, goal=0.9)
    obs, after = kept.obs[..., 0], kept.next_obs[..., 0]
    np.testing.assert_allclose(after, obs + 0.5 * (0.9 - obs), atol=1e-5)  # what the simulator does, no reset in between
    np.testing.assert_array_equal(kept.discount, (np.abs(after) < 1.6).astype(np.float32))
    assert 0.0 < kept.discount.mean() < 1.0
    np.testing.assert_allclose(kept.reward, -np.abs(after), atol=1e-6)
    # Where an episode ended, the next starts from an instance; elsewhere it goes on.
    went_on = np.abs(obs[1:] - after[:-1]) < 1e-6
    assert np.isin(obs[1:][~went_on], [0.0, 1.0, 2.0, 3.0]).all()
    ended = kept.discount[:-1] == 0.0
    assert not (went_on & ended).any() and metrics["episodes"].sum() >= ended.sum()
    assert len(np.unique(obs[1:][~went_on])) == 4  # and not always from the same


def test_returns_of_finished_episodes_by_hand():
    horizon, envs = 3, 8
    kept, metrics = play(high(toy.Line(horizon=horizon)), 7)
    expected = kept.reward[:6].reshape(2, horizon, envs).sum(axis=(1, 2))
    np.testing.assert_array_equal(metrics["episodes"], [0, 0, envs, 0, 0, envs, 0])
    np.testing.assert_allclose(metrics["return"][[2, 5]], expected, rtol=1e-5)
    np.testing.assert_array_equal(metrics["return"][[0, 1, 3, 4, 6]], 0.0)
    assert (kept.discount == 1.0).all()


def test_all_environments_start_anew_where_told():
    kept, metrics = play(high(toy.Line(horizon=100)), 6, reset_every=2)
    np.testing.assert_array_equal(metrics["episodes"], [0, 8, 0, 8, 0, 8])
    assert (kept.discount == 1.0).all() and np.isin(kept.obs[::2], [0.0, 1.0, 2.0, 3.0]).all()


# --- The loop


def test_resume_equals_uninterrupted(task, tmp_path, monkeypatch):
    whole = online.online(plan(), task, "ohio", tmp_path / "whole")
    run = lambda: online.online(plan(), task, "ohio", tmp_path / "cut")
    kill_after(monkeypatch, 40, run)
    resumed = run()
    assert_same(resumed.states, whole.states)
    assert whole.curve.keys() == resumed.curve.keys() >= {"reward", "return", "episodes", "q"}
    for name, values in whole.curve.items():
        assert values.shape == (3, 2)
        np.testing.assert_array_equal(resumed.curve[name], values)
    # A finished run is only read.
    again = online.online(plan(), task, "ohio", tmp_path / "cut")
    assert_same(again.states, whole.states)
    with pytest.raises(UserError, match=r"run\.json: field online"):
        online.online(plan(envs=8), task, "ohio", tmp_path / "cut")


def test_load_policy_reads_the_directory(task, tmp_path):
    trained = online.online(plan(), task, "ohio", tmp_path / "run")
    _, interface, loaded, states = load_policy(tmp_path / "run", lambda name, settings: task)
    assert (interface, loaded) == ("ohio", plan().plan)
    assert_same(states, trained.states)


def test_one_compilation_serves_all_hyperparameters(task):
    online.online(plan(), task, "ohio")
    programs = dict(_compiled)
    online.online(plan({"config": CONFIG.replace(actor_lr=1e-2)}), task, "ohio")
    assert programs == _compiled
    online.online(plan({"updates": 40}), task, "ohio")
    assert programs == _compiled


@pytest.fixture
def as_users_compile(monkeypatch):
    """Blocks of updates with the optimizations that tests leave out, for what two programs must say alike to the last bits."""
    compiled = jax.stages.Lowered.compile
    monkeypatch.setattr(jax.stages.Lowered, "compile", lambda lowered: compiled(lowered, OPTIMIZED))


def test_a_seed_does_not_depend_on_its_neighbors(task, as_users_compile):
    two, three = (online.online(plan({"seeds": seeds}), task, "ohio") for seeds in (2, 3))
    for x, y in zip(leaves(two.states), leaves(three.states), strict=True):
        np.testing.assert_allclose(x, y[:2], rtol=1e-4, atol=1e-5)
    assert any(not np.array_equal(x[1], x[0]) for x in leaves(three.states))


def test_it_learns(task):
    """Halfway between here and the goal is zero where the goal is the mirror image of here."""
    learn = {"updates": 1500, "batch": 64, "block": 500, "hidden": 32}
    trained = online.online(plan(learn, envs=8, buffer_size=4000, learning_starts=20), task, "ohio")
    played = evaluate_learner(task, "ohio", sac, trained.states, 20, 9)
    start = evaluate_policy(task, "half", 20, 9).returns.mean()
    assert start < -0.3
    assert played.returns.shape == (2, 20) and (played.returns.mean(axis=1) > 0.3 * start).all()
    assert (trained.curve["return"][-1] > trained.curve["return"][0]).all()


# --- What is given


@pytest.fixture(scope="module")
def transitions(task):
    return relabel(collect(task, "half", 10, 1), task, "ohio", "analytic")


def test_other_data_or_states_in_the_same_directory_are_refused(task, transitions, tmp_path):
    mixes = plan(mixing=((0, 0.5),))
    online.online(mixes, task, "ohio", tmp_path / "run", data=transitions)
    with pytest.raises(UserError, match=r"run\.json: field data_sha256"):
        online.online(mixes, task, "ohio", tmp_path / "run", data=dataclasses.replace(transitions, action=-transitions.action))
    states, _ = initial_agents(mixes.plan, task, "ohio")
    with pytest.raises(UserError, match=r"run\.json: field start_sha256"):
        online.online(mixes, task, "ohio", tmp_path / "run", states, transitions)


def test_offline_data_and_states_come_first(task, transitions):
    """With a buffer full of data and environments that add none, it is offline training on."""
    states = train(plan().plan, task, "ohio", transitions).states
    sown = online.online(plan(learning_starts=0), task, "ohio", states=states, data=transitions)
    np.testing.assert_array_equal(sown.states.state.actor.step, 120)  # the optimizer goes on, too
    given = transitions.batch()
    carry = online.begin(fresh_agent(4), jax.random.key(1), task.high_level("ohio"), 4, 64, given)
    assert int(carry.buffer.written) == len(given.reward) == 60
    assert_same(jax.tree.map(lambda x: x[:60], carry.buffer.rows), given)


def test_batches_are_mixed_as_planned(task, transitions, as_users_compile):
    """Given shares of rows; with a share of one the environments' own data teach nothing."""
    new, old = rows(range(1, 101)), rows(range(-50, 0))
    for share, theirs in ((0.0, 0), (0.25, 25), (1.0, 100)):
        batch = online.mixed(new, old, jax.random.key(0), jnp.float32(share))
        assert (np.asarray(batch.reward) < 0).sum() == theirs
        for column in jax.tree.leaves(batch):
            np.testing.assert_array_equal(np.asarray(column).reshape(-1), batch.reward)
    mixing = ((0, 0.5), (10, 0.25), (20, 0.0))
    shares = [float(online.share_at(mixing, jnp.int32(number))) for number in (0, 9, 10, 19, 20, 99)]
    assert shares == [0.5, 0.5, 0.25, 0.25, 0.0, 0.0]
    # The same offline data, other worlds: only the order of draws from the data counts.
    learned = lambda envs: (
        online.online(plan(mixing=((0, 1.0),), envs=envs, learning_starts=0), task, "ohio", data=transitions).states
    )
    assert_same(learned(2).state.actor, learned(8).state.actor)


def test_critics_come_first(task):
    fresh = initial_agents(plan().plan, task, "ohio")[0].state
    early = online.online(plan(critics_first=5 + 30), task, "ohio").states.state
    assert_same(early.actor, fresh.actor)
    assert not np.array_equal(leaves(early.critic)[0], leaves(fresh.critic)[0])
    late = online.online(plan(critics_first=5 + 29), task, "ohio").states.state
    assert not np.array_equal(leaves(late.actor)[0], leaves(fresh.actor)[0])


def test_the_originals_fault_is_an_option(task):
    env = task.high_level("ohio")
    carry = online.begin(fresh_agent(4), jax.random.key(1), env, 8, 8, None)
    act = lambda agent, obs, key: jnp.full((8, 1), 0.5)
    kept, faulty = (
        online.env_step(carry, jax.random.key(0), env, act, jnp.bool_(False), stale)[0].buffer.rows for stale in (0, 1)
    )
    np.testing.assert_array_equal(faulty.obs, kept.next_obs)
    np.testing.assert_array_equal(faulty.next_obs, kept.next_obs)
    assert not np.array_equal(kept.obs, kept.next_obs)


def test_a_trained_policy_acts_in_its_own_warm_up(task, transitions):
    """Spread evenly, goals move more than those of a policy that was cloned from small ones."""
    cloned = train(Plan("bc", LEARNERS["bc"].Config(actor_lr=1e-2), 16, 300, 16, 100, 2), task, "ohio", transitions)
    none = {"learner": "bc", "config": LEARNERS["bc"].Config(actor_lr=0.0), "updates": 2, "block": 2}
    moved = lambda states: online.online(plan(none, learning_starts=40, buffer_size=400, envs=8), task, "ohio", states=states)
    assert_same(moved(cloned.states).states.state.actor.params, cloned.states.state.actor.params)
    assert moved(cloned.states).curve["moved"].mean() < moved(None).curve["moved"].mean()


QUICK = ("bc", "iql", "cql", "td3_bc")  # these tell whether any would; sac is everywhere else here
OTHERS = [name for name in LEARNERS if name not in (*QUICK, "sac", "cal_ql", "rebrac")]


@pytest.mark.parametrize("learner", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_any_learner_will_do(task, learner):
    config = LEARNERS[learner].Config()
    if learner == "cql":
        config = config.replace(n_actions=1)
    brief = {"learner": learner, "config": config, "updates": 4, "block": 4, "seeds": 1}
    trained = online.online(plan(brief, learning_starts=0), task, "ohio")
    assert all(np.isfinite(x).all() for x in leaves(trained.states))


@pytest.mark.parametrize(
    ("learn", "changes", "message"),
    [
        ({"updates": 61}, {}, "updates: expected a multiple of 2 updates a step, found 61"),
        ({"block": 15}, {}, "block: expected a multiple of 2"),
        ({"learner": "cal_ql"}, {}, "learner: cal_ql learns from episodes that have ended; go on from it with sac"),
        ({"learner": "rebrac"}, {}, "learner: rebrac learns from episodes that have ended; go on from it with sac"),
        ({"sampling": "return"}, {}, "sampling: expected 'uniform', found 'return'"),
        ({}, {"buffer_size": 3}, "buffer_size: expected at least 4"),
        ({}, {"mixing": ((0, 0.5),)}, "mixing: expected data to mix with, found none"),
        ({}, {"buffer_size": 40}, "buffer_size: expected at least 60"),
        ({}, {"updates_per_step": 0}, "^online: updates_per_step: expected an integer from 1 to 10000, found 0"),
        ({}, {"envs": 0}, "^online: envs: expected an integer from 1 to 100000, found 0"),
        ({}, {"learning_starts": -1}, "^online: learning_starts: expected an integer from 0"),
        ({}, {"reset_every": 1.5}, "^online: reset_every: expected an integer from 0 .*, found 1.5"),
        ({}, {"buffer_size": 10**12}, "^online: buffer_size: expected an integer from 1 to 10000000"),
        ({"seeds": 3}, {}, "seeds: expected 2 as in the states given, found 3"),
    ],
)
def test_impossible_plans(task, transitions, learn, changes, message):
    states = None if "seeds" not in learn else jnp.zeros((2, 1))
    given = transitions if changes.get("buffer_size") == 40 else None
    with pytest.raises(UserError, match=message):
        online.online(plan(learn, **changes), task, "ohio", states=states, data=given)


# --- Logging what was learned


@pytest.mark.parametrize("steps", [1, 3])
def test_logs_of_a_trained_policy_are_what_it_does(steps):
    """Also where several low-level steps share a goal, and where the episode's end cuts the last of them short."""
    task = toy.line_task(horizon=7)
    task = dataclasses.replace(task, interfaces={"ohio": dataclasses.replace(task.interfaces["ohio"], steps=steps)})
    agent = jax.device_get(fresh_agent(8))
    logged = collect(task, trained_policy(task, "ohio", "sac", agent), 6, 5)
    played = evaluate_learner(task, "ohio", sac, jax.tree.map(lambda x: x[None], agent), 6, 5)
    np.testing.assert_allclose(logged.returns, played.returns[0], rtol=1e-4)
    assert len(logged.reward) == 6 * 7 and logged.truncated.sum() == 6
    assert logged.card["behavior_policy"] == "ohio sac" and logged.card["deterministic"]
    np.testing.assert_allclose(logged.state + logged.action, logged.next_state, atol=1e-5)
    goal = np.asarray(sac.act(agent.state, jnp.asarray(logged.obs[logged.obs_index]), jax.random.key(0), True))
    first = np.arange(len(logged.reward)) % 7 // steps * steps + logged.offset[logged.episode]
    np.testing.assert_allclose(logged.action, 0.5 * (goal[first] - logged.state), atol=1e-5)


# --- The command


SMALL = (
    "online reacher --set horizon=10 --interface end_to_end --envs 4 --env-steps 80 --learning-starts 40 --updates-per-step 2"
    " --batch 8 --hidden 8 --buffer-size 64 --out run"
)


def test_from_the_task_to_scores_and_logs(command):
    code, out, _ = command(f"{SMALL} --seeds 2 --config actor_lr=1e-3,temperature=0.5 --json")
    found = json.loads(out)
    assert code == 0 and found["decisions"] == 80 and len(found["metrics"]["return"]) == 2
    with open("run/run.json") as file:
        described = json.load(file)
    assert described["plan"]["updates"] == 20 and described["plan"]["config"]["temperature"] == 0.5
    code, out, _ = command("evaluate --checkpoint run --episodes 3 --seed 1 --json")
    played = json.loads(out)
    assert code == 0 and len(played["returns"]) == 6 and played["policy"] == "end_to_end sac"
    code, out, _ = command("collect --checkpoint run --training-seed 1 --episodes 3 --seed 1 --out d.npz --json")
    card = json.loads(out)
    assert code == 0 and card["behavior_policy"] == "end_to_end sac" and card["settings"]["horizon"] == 10
    assert card["return_mean"] == pytest.approx(np.mean(played["returns"][3:]))
    assert len(data.load("d.npz", "trajectories").reward) == 30


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"{SMALL} --learner magic", ["learner", "magic", "sac"]),
        (f"{SMALL} --config speed=3", ["Config", "speed", "temperature"]),
        (f"{SMALL} --config discount=fast", ["discount", "float", "fast"]),
        (SMALL.replace("end_to_end", "sideways"), ["action interface", "sideways"]),
        (SMALL.replace("--env-steps 80", "--env-steps 40"), ["--env-steps", "40"]),
        (
            "online reacher --env-steps 10000000000 --envs 1 --learning-starts 0 --out run",
            ["--env-steps: expected at most 62500000 with --envs 1 and --updates-per-step 16, found 10000000000"],
        ),
        ("collect --out d.npz --policy expert", ["TASK"]),
        ("collect reacher --checkpoint run --out d.npz", ["no TASK"]),
        ("collect --checkpoint nowhere --out d.npz", ["nowhere", "run.json"]),
    ],
)
def test_a_mistake_is_one_line(command, line, words):
    code, out, err = command(line)
    assert code == 2 and not out and err.count("\n") == 1
    assert all(word in err for word in words)
