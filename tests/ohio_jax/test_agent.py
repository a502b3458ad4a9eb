"""What learners are shown: features in deviations from the data's mean, the same in training, acting and going on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import plans, registry

from ohio_jax import data
from ohio_jax.agent import Preprocessor, feature_size, shown
from ohio_jax.collect import collect, trained_policy
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import bc
from ohio_jax.relabel import relabel
from ohio_jax.task import of_logs
from ohio_jax.training import online
from ohio_jax.training.checkpoint import load_policy
from ohio_jax.training.offline import train
from ohio_jax.training.plan import Plan, batch_of, initial_agents
from tests.ohio_jax import toy
from tests.ohio_jax.runs import assert_same

BC = Plan("bc", bc.Config(actor_lr=3e-3), hidden=16, updates=200, batch=32, block=200)
# The same two numbers of a log in other units: (factor, zero) of each.
UNITS = {
    "Kelvin": ((1.0, 293.15), (1.0, 0.0)),
    "thousandths": ((1000.0, 0.0), (1000.0, 0.0)),
    "absolute thousandths": ((1000.0, 293_150.0), (1e-3, 2.0)),
}


# --- Moments


def test_moments_by_hand():
    obs = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 40.0]], np.float32)
    see = Preprocessor.plain(2).fitted(obs)
    np.testing.assert_allclose(see.mean, [3.0, 20.0])
    np.testing.assert_allclose(see.deviation, [np.sqrt(8 / 3), np.sqrt(200.0)], rtol=1e-6)
    np.testing.assert_allclose(see(obs), (obs - [[3.0, 20.0]]) / see.deviation[None], rtol=1e-6)
    np.testing.assert_allclose(see(obs[1]), see(obs)[1])
    assert see(obs[None, :, None]).shape == (1, 3, 1, 2)


def test_features_come_first():
    """What is normalized is what the task knows of an angle, not the angle."""
    turn = lambda obs: jnp.concatenate([jnp.sin(obs), jnp.cos(obs)], axis=-1)
    obs = np.random.default_rng(0).uniform(-9.0, 9.0, (500, 1)).astype(np.float32)
    see = Preprocessor.plain(1, turn).fitted(obs)
    assert feature_size(1, turn) == len(see.mean) == 2
    of = np.concatenate([np.sin(obs), np.cos(obs)], axis=1)
    np.testing.assert_allclose(see(obs), (of - of.mean(0)[None]) / of.std(0)[None], atol=1e-5)
    np.testing.assert_allclose(see(obs + 2 * np.pi), see(obs), atol=1e-4)


def test_nodes_of_a_graph_share_their_moments():
    """So that what differs between nodes and never changes can still be told from node to node."""
    rng = np.random.default_rng(0)
    nodes = np.stack([rng.normal(5.0, 2.0, (300, 4)), np.broadcast_to([1.0, 2.0, 3.0, 6.0], (300, 4))], axis=-1)
    obs = nodes.reshape(300, 8).astype(np.float32)
    see = Preprocessor.plain(8, nodes=4).fitted(obs)
    np.testing.assert_allclose(see.mean, nodes.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(see.deviation, nodes.std(axis=(0, 1)), rtol=1e-5)
    seen = np.asarray(see(obs)).reshape(-1, 2)
    np.testing.assert_allclose(seen.mean(0), 0.0, atol=1e-5)
    np.testing.assert_allclose(seen.std(0), 1.0, rtol=1e-5)
    assert len(np.unique(seen.reshape(300, 4, 2)[..., 1])) == 4


@pytest.mark.parametrize("constant", [0.0, 293.15, -0.1, 1e6])
def test_constants_keep_their_unit(constant):
    """Also where they carry the rounding of what computed them: a deviation that means nothing must not be blown up."""
    rng = np.random.default_rng(0)
    exact = np.full(1000, constant, np.float32)
    rounded = exact * (1 + rng.choice([0.0, 1.2e-7], 1000)).astype(np.float32)
    see = Preprocessor.plain(2).fitted(np.stack([exact, rounded], axis=1))
    np.testing.assert_array_equal(see.deviation, 1.0)
    size = max(1.0, abs(constant))
    np.testing.assert_allclose(see(np.stack([exact, exact + 2], axis=1)), [[0.0, 2.0]] * 1000, atol=3e-7 * size)


def test_plain_changes_no_bit():
    obs = np.random.default_rng(0).normal(3.0, 100.0, (50, 6)).astype(np.float32)
    np.testing.assert_array_equal(Preprocessor.plain(6, nodes=3)(obs), obs)
    np.testing.assert_array_equal(shown(Preprocessor.plain(6), obs), obs)


@pytest.mark.parametrize("name", ["reacher", "routing-synthetic", "supply-chain-1w3s", "inventory-one-store"])
def test_tasks_say_what_they_know_of_observations(name):
    """Whatever the interface, features are as many as its nodes share and its networks ask for, finite and not huge."""
    settings = {"regions": "4", "horizon": "6"} if name.startswith("routing") else {}
    task = registry.make(name, settings)
    obs = np.asarray(jax.vmap(task.env.reset_to)(task.instances(0, 3)).obs)
    for interface in task.interfaces:
        agents, _ = initial_agents(Plan("bc", bc.Config(), hidden=4), task, interface)
        agent = agents.of_seed(0)
        seen = np.asarray(agent.preprocess(obs))
        assert seen.shape == (3, agent.state.spec.observation_size) and np.isfinite(seen).all() and np.abs(seen).max() < 100
        goal = jax.eval_shape(lambda agent: agent.act(bc, obs, jax.random.key(0), True), agent)
        assert goal.shape == (3, *task.interfaces[interface].spec.shape), interface


# --- Learning offline


def room(units=((1.0, 0.0), (1.0, 0.0))):
    """(how observations are told, a task of logs alone, transitions whose goal depends on both numbers of an observation)."""
    rng = np.random.default_rng(0)
    obs = rng.normal([-1.0, 4.0], [3.0, 0.5], (400, 2))
    (a, b), (c, d) = units
    tell = lambda obs: (obs * [[a, c]] + [[b, d]]).astype(np.float32)
    goal = np.tanh(obs[:, :1] / 3 + obs[:, 1:] - 4)
    ones, none = np.ones(400, np.float32), np.zeros(400, np.int64)
    found = data.Transitions(
        obs=tell(obs),
        action=(0.9 * goal).astype(np.float32),
        reward=ones,
        next_obs=tell(obs),
        elapsed=ones.astype(np.int32),
        terminal=none.astype(bool),
        weight=ones,
        status=none.astype(np.int32),
        residual=0 * ones,
        episode=none,
        episode_return=ones[:1],
        card={"task": "room", "interface": "ohio"},
    )
    return tell, of_logs("room", 2, toy.line_task().interfaces), found


ASKED = np.random.default_rng(1).normal([-1.0, 4.0], [3.0, 0.5], (50, 2))


def cloned(units, normalize=True):
    """What behavior cloning does on the same observations, told in these units: Float[50]."""
    tell, task, found = room(units)
    agent = train(dataclasses.replace(BC, normalize=normalize), task, "ohio", found).states.of_seed(0)
    return np.asarray(agent.act(bc, tell(ASKED), jax.random.key(0), True))[:, 0]


def test_other_units_give_the_same_policy():
    action_scale = cloned(((1.0, 0.0), (1.0, 0.0)))
    assert np.std(action_scale) > 0.3
    for name, units in UNITS.items():
        np.testing.assert_allclose(cloned(units), action_scale, atol=1e-3, err_msg=name)
    assert np.abs(cloned(UNITS["Kelvin"], normalize=False) - action_scale).max() > 0.1


def test_what_no_loss_hears_does_not_count():
    """An inverse that failed leaves a row of weight 0, with whatever number stands for what was none."""
    _, task, found = room()
    spoiled, weight = found.obs.copy(), found.weight.copy()
    spoiled[::3], weight[::3] = 1e6, 0.0
    moments = lambda found: initial_agents(BC, task, "ohio", found)[0].preprocess
    few = dataclasses.replace(found, weight=weight)
    assert_same(moments(dataclasses.replace(few, obs=spoiled)), moments(few))


def test_batches_and_acting_are_shown_the_same():
    _, task, found = room(UNITS["absolute thousandths"])
    agent = initial_agents(BC, task, "ohio", found)[0].of_seed(0)
    batch = batch_of(BC, agent.state.spec, agent.preprocess, found)
    np.testing.assert_allclose(batch.obs.std(0), 1.0, rtol=1e-3)
    direct = bc.act(agent.state, batch.obs, jax.random.key(0), True)
    np.testing.assert_allclose(agent.act(bc, found.obs[:50], jax.random.key(0), True), direct[:50], atol=1e-6)


# --- The same moments wherever the policy goes


@pytest.fixture(scope="module")
def task():
    return toy.line_task()


@pytest.fixture(scope="module")
def transitions(task):
    return relabel(collect(task, "half", 20, 1), task, "ohio", "analytic")


SMALL = dataclasses.replace(BC, updates=40, block=20, batch=16, seeds=2)


def test_a_checkpoint_brings_its_moments(task, transitions, tmp_path):
    trained = train(SMALL, task, "ohio", transitions, tmp_path / "run")
    used = transitions.obs.astype(np.float64)
    np.testing.assert_allclose(trained.states.preprocess.mean, np.tile(used.mean(), (2, 1)), rtol=1e-6)
    np.testing.assert_allclose(trained.states.preprocess.deviation, np.tile(used.std(), (2, 1)), rtol=1e-6)
    _, interface, _, agents = load_policy(tmp_path / "run", lambda name, settings: task)
    assert_same(agents, trained.states)
    played = [evaluate_learner(task, interface, bc, of, 5, 3).returns for of in (agents, trained.states)]
    np.testing.assert_array_equal(*played)
    logged = collect(task, trained_policy(task, interface, "bc", agents.of_seed(1)), 5, 3)
    np.testing.assert_allclose(logged.returns, played[0][1], rtol=1e-4)
    with pytest.raises(UserError, match=r"run\.json: field plan"):
        train(dataclasses.replace(SMALL, normalize=False), task, "ohio", transitions, tmp_path / "run")


def test_a_policy_carried_elsewhere_keeps_its_moments(task, transitions):
    """Where observations lie otherwise it is shown what it was shown at home: it is the same function of them."""
    trained = train(SMALL, task, "ohio", transitions).states
    far = dataclasses.replace(task, instances=lambda seed, episodes: 50.0 + jnp.arange(episodes, dtype=jnp.float32))
    agent = trained.of_seed(0)
    logged = collect(far, trained_policy(far, "ohio", "bc", agent), 3, 0)
    goal = bc.act(agent.state, agent.preprocess(logged.obs[logged.obs_index]), jax.random.key(0), True)
    np.testing.assert_allclose(logged.action, 0.5 * (goal - logged.state), rtol=1e-4, atol=1e-4)


def test_online_nothing_is_normalized_unless_it_was_before(task, transitions):
    plan = Plan("bc", bc.Config(), hidden=8, updates=4, batch=8, block=4, seeds=2)
    assert plan.normalize
    go_on = lambda **given: (
        online.online(
            online.OnlinePlan(plan, envs=4, updates_per_step=2, learning_starts=0, buffer_size=500), task, "ohio", **given
        ).states.preprocess
    )
    fresh = go_on(data=transitions)
    assert not np.any(fresh.mean) and np.all(np.asarray(fresh.deviation) == 1.0)
    begun = train(plan, task, "ohio", transitions).states
    assert np.all(begun.preprocess.mean != 0.0)
    assert_same(go_on(states=begun, data=transitions), begun.preprocess)


def test_what_is_written_online_is_what_the_policy_was_shown(task, transitions):
    plain = initial_agents(SMALL, task, "ohio")[0].of_seed(0)
    fitted = initial_agents(SMALL, task, "ohio", transitions)[0].of_seed(0)
    assert fitted.preprocess.mean != 0.0
    env, act = task.high_level("ohio"), lambda agent, obs, key: jnp.full((4, 1), 0.5)

    def written(agent):
        carry = online.begin(agent, jax.random.key(1), env, 4, 4, None)
        return jax.jit(lambda carry: online.env_step(carry, jax.random.key(0), env, act, jnp.bool_(False)))(carry)[0].buffer.rows

    raw, seen = written(plain), written(fitted)
    np.testing.assert_allclose(seen.obs, fitted.preprocess(raw.obs), rtol=1e-6)
    np.testing.assert_allclose(seen.next_obs, fitted.preprocess(raw.next_obs), rtol=1e-6)
    assert_same(seen._replace(obs=0, next_obs=0), raw._replace(obs=0, next_obs=0))


def test_the_suites_plans_normalize_but_where_the_original_did_not():
    for family, presets in plans.PRESETS.items():
        for preset, made in presets.items():
            for (*_, interface, _), plan in made().items():
                assert plan.normalize == ("compat" not in interface and preset != "released"), (family, preset, interface)
    assert not plans.plan("reacher", "td3_bc", "ohio_compat").normalize
    assert plans.plan("reacher", "td3_bc", "ohio").normalize and plans.plan("a task of mine", "bc", "ohio").normalize
