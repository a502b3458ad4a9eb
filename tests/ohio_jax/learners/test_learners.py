"""Learners: probes with known optima, updates against NumPy, and the properties the algorithms promise."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ohio_jax.data import Batch, Transitions
from ohio_jax.learners import LEARNERS, Spec, awac, bc, common, cql, edac, fql, iql, rebrac, riql, sac, sac_n, td3_bc
from ohio_jax.networks import Networks
from ohio_jax.networks.heads import Box, Counts, Product, Simplex, Simplices, UnitBox
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax import numpy_learners as reference
from tests.ohio_jax.learning import (
    FAST,
    MORE,
    OBS,
    TableActor,
    TableCritic,
    TableValue,
    assert_models_close,
    assert_trees_close,
    begin,
    both_actions,
    fit,
    mode,
    relative_gap,
    small_batch,
    start,
)
from tests.ohio_jax.probes import ACTIONS, POLICIES, TARGETS, VALUES

# --- Probes

VARIANTS = ("rebrac", "awac", "riql", "sac_n", "edac")  # of other learners: what these promise, slow tests see to


def cases(probes):
    """(name, probe, action); of MORE, slow but for the probe that needs most of a learner, on the kind that is not a box."""
    slow = lambda name, probe, action: name in VARIANTS or (name in MORE and (probe, action) != ("both", "simplex"))
    every = itertools.product(FAST, probes, ACTIONS)
    return [pytest.param(*case, marks=[pytest.mark.slow] if slow(*case) else []) for case in every]


@pytest.mark.parametrize("name, probe, action", cases(VALUES))
def test_critics_find_the_value(name, probe, action):
    learner, (spec, batch, _, value) = LEARNERS[name], VALUES[probe](action)
    state = fit(learner, start(learner, spec, FAST[name]), batch, 1000)
    expected = value(np.asarray(batch.obs), 0.97)
    q = state.spec.critics(state.critic.params, batch.obs, batch.action)
    np.testing.assert_allclose(q, np.broadcast_to(expected, q.shape), atol=0.05)
    if name in ("iql", "riql"):
        np.testing.assert_allclose(spec.value(state.value.params, batch.obs), expected, atol=0.05)


@pytest.mark.parametrize("name, probe, action", cases(POLICIES))
def test_actors_find_the_best_goal(name, probe, action):
    learner, (spec, batch, best, _) = LEARNERS[name], POLICIES[probe](action)
    assert best is not None
    state = fit(learner, start(learner, spec, FAST[name]), batch, 2000)
    np.testing.assert_allclose(learner.act(state, jnp.asarray(OBS), jax.random.key(0), True), best(OBS), atol=0.1)


@both_actions
def test_cloning_finds_the_behavior(action):
    """A behavior that plays one goal for each observation, with a little noise."""
    spec, batch, best, _ = POLICIES["both"](action)
    assert best is not None
    noise = 0.02 * np.random.default_rng(0).normal(size=batch.action.shape)
    goal = spec.action.project(jnp.asarray(best(np.asarray(batch.obs)) + noise, jnp.float32))
    # What has no weight has no say.
    ignored = jnp.arange(len(goal)) % 4 == 0
    goal = jnp.where(ignored[:, None], spec.action.project(jnp.ones_like(goal)), goal)
    batch = batch._replace(action=goal, weight=jnp.where(ignored, 0.0, 1.0))
    state = fit(bc, start(bc, spec, bc.Config(actor_lr=1e-2, actor_lr_decay_steps=1e3)), batch, 1000)
    np.testing.assert_allclose(mode(state), TARGETS[action], atol=0.05)
    drawn = cql.act(state, jnp.asarray(OBS), jax.random.key(1), False)
    np.testing.assert_allclose(drawn, TARGETS[action], atol=0.25)


# --- IQL on a tabular chain


STATES, GAMMA = 5, 0.9


def chain():
    """Five states in a row; left and right are logged once in each. The right end pays 1 and ends, the left end 0.3."""
    rows = [(s, a) for s in range(STATES) for a in (0, 1)]
    after = [s + (1 if a else -1) for s, a in rows]
    ends = [not 0 <= s < STATES for s in after]
    reward = [1.0 if s == STATES else 0.3 if s < 0 else 0.0 for s in after]
    one_hot = np.eye(STATES)
    columns = (
        [one_hot[s] for s, _ in rows],
        [[0.5 if a else -0.5] for _, a in rows],
        reward,
        [one_hot[min(max(s, 0), STATES - 1)] for s in after],
        [0.0 if end else 1.0 for end in ends],
        np.ones(len(rows)),
    )
    return rows, after, ends, reward, Batch(*(jnp.asarray(np.array(column), jnp.float32) for column in columns))


def expectile_iteration(expectile):
    """Fixed point of V(s) = expectile of Q(s, .) over the data, Q = r + gamma V(s'), by iteration."""
    rows, after, ends, reward, _ = chain()
    q = np.zeros((STATES, 2))
    for _ in range(500):
        low, high = q.min(axis=1), q.max(axis=1)
        v = (1.0 - expectile) * low + expectile * high  # of two equally likely values
        for (s, a), to, end, r in zip(rows, after, ends, reward, strict=True):
            q[s, a] = r if end else r + GAMMA * v[to]
    return q, v


def fit_chain(expectile, v_target="s"):
    spec = Spec(STATES, Box((1.0,)), Networks(TableActor(), TableCritic(), TableValue()))
    config = iql.Config(critic_lr=5e-3, discount=GAMMA, tau=0.2, expectile=expectile, reward_scale=1.0,
                        v_target=v_target)  # fmt: skip
    state = fit(iql, iql.init(jax.random.key(0), spec, config), chain()[-1], 4000)
    return np.asarray(state.critic.params["params"]["table"][0]), np.asarray(state.value.params["params"]["table"])


@pytest.mark.parametrize("expectile", [0.5, 0.99])
def test_iql_on_a_chain_is_expectile_iteration(expectile):
    """0.5 gives the values of the behavior (SARSA), towards 1 those of value iteration."""
    q, v = fit_chain(expectile)
    expected_q, expected_v = expectile_iteration(expectile)
    np.testing.assert_allclose(q, expected_q, atol=0.01)
    np.testing.assert_allclose(v, expected_v, atol=0.01)
    if expectile == 0.99:
        optimal, _ = expectile_iteration(1.0)
        np.testing.assert_allclose(q, optimal, atol=0.05)
        np.testing.assert_array_equal(q.argmax(axis=1), optimal.argmax(axis=1))


def test_the_compat_value_target_is_another_algorithm():
    """Regressing V(s) on Q(s', u) leaks a step of lookahead: the values are wrong, which is why it is no default."""
    _, expected_v = expectile_iteration(0.99)
    _, v = fit_chain(0.99, "s_next")
    assert np.abs(v - expected_v).max() > 0.03


# --- One update against NumPy


@pytest.mark.parametrize("fields", [{}, {"v_target": "s_next"}, {"value_update": "new"}, {"max_grad_norm": 0.1}], ids=str)
def test_an_iql_update_equals_numpy(fields, x64):
    spec = Spec(3, Simplex(4), mlp_networks(Simplex(4), 5, layers=1))
    config = iql.Config(reward_scale=0.01, **fields)
    state, batch = begin(iql, spec, config), small_batch(spec)
    after, metrics = jax.jit(iql.update)(state, batch)
    expected = reference.iql_update(jax.tree.map(np.asarray, state), batch)
    assert_models_close(after, expected)
    assert_trees_close(after.target, expected["target"])
    for name in ("actor_loss", "critic_loss", "value_loss"):
        assert float(metrics[name]) == pytest.approx(float(expected[name]), rel=1e-5)


def test_iql_begins_by_cloning_when_told_to():
    """Two updates that are BC's, with nothing else learned; then IQL's, from what cloning left."""
    spec = Spec(3, Simplex(4), mlp_networks(Simplex(4), 5, layers=1))
    batch, first = small_batch(spec), begin(iql, spec, iql.Config(bc_warmup=2))
    update, clone = jax.jit(iql.update), jax.jit(bc.update)
    cloned, state = begin(bc, spec, bc.Config(actor_lr=first.config.actor_lr)).replace(actor=first.actor), first
    for _ in range(2):
        cloned, state = clone(cloned, batch)[0], update(state, batch)[0]
    assert relative_gap(state.actor.params, cloned.actor.params) < 1e-6
    for name in ("critic", "value", "target"):
        assert_trees_close(getattr(state, name), getattr(first, name), rtol=0.0, atol=0.0)
    after, plain = update(state, batch)[0], update(state.replace(config=state.config.replace(bc_warmup=0)), batch)[0]
    assert_trees_close(after.replace(config=None), plain.replace(config=None), rtol=1e-6)
    assert relative_gap(after.critic.params, first.critic.params) > 0


def test_a_periodic_rate_falls_and_rises_along_a_cosine():
    """That of PyTorch's CosineAnnealingLR beyond its length, (1 + cos(pi t / T)) / 2; each update of BC moves by it."""
    spec = Spec(3, Simplex(4), mlp_networks(Simplex(4), 5, layers=1))
    batch, length, rate = small_batch(spec), 4, 1e-5  # so small that no gradient changes
    state = begin(bc, spec, bc.Config(actor_lr=rate, actor_lr_decay_steps=float(length), periodic_lr=True))
    update, moved = jax.jit(bc.update), []
    for _ in range(2 * length + 1):
        before, state = state, update(state, batch)[0]
        gaps = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), state.actor.params, before.actor.params)
        moved.append(max(jax.tree.leaves(gaps)))
    expected = rate * (1 + np.cos(np.pi * np.arange(2 * length + 1) / length)) / 2
    np.testing.assert_allclose(moved, expected, atol=0.02 * rate)


def test_a_step_is_one_of_adam_along_optaxs_cosine():
    """At a rate and a length that are traced: of optax's schedule the length is none."""
    params, gradients = jnp.array([1.0, -2.0]), jax.random.normal(jax.random.key(0), (5, 2))
    model, step = common.TrainState.create(params), jax.jit(common.adam_step)
    adam = optax.adam(optax.cosine_decay_schedule(0.1, 3))
    memory = adam.init(params)
    for gradient in gradients:
        change, memory = adam.update(gradient, memory)
        params, model = params + change, step(model, gradient, 0.1, 3.0)
        np.testing.assert_allclose(model.params, params, rtol=1e-6)
    assert int(model.step) == 5


# --- What batches hold beside a transition


def test_what_an_episode_went_on_to_earn():
    zeros = np.zeros(5)
    given = Transitions(
        obs=zeros[:, None], action=zeros[:, None], reward=np.array([1.0, 2.0, 4.0, 8.0, 16.0]), next_obs=zeros[:, None],
        elapsed=np.ones(5, int), terminal=zeros > 0, weight=np.ones(5), status=zeros, residual=zeros,
        episode=np.array([0, 0, 0, 3, 3]), episode_return=zeros[:2], card={},
    )  # fmt: skip
    np.testing.assert_allclose(given.mc_returns(0.5), [1 + 1 + 1, 2 + 2, 4, 8 + 8, 16])
    longer = dataclasses.replace(given, elapsed=np.array([4, 2, 4, 8, 1]), card={"steps": 4})  # a half, and two segments at once
    np.testing.assert_allclose(longer.mc_returns(0.25), [1 + 1, 2 + 2, 4, 8 + 1, 16])


def test_which_goal_followed():
    """That of the next transition; its own at an episode's end, and where the inverse failed on the next."""
    zeros = np.zeros(6)
    given = Transitions(
        obs=zeros[:, None], action=np.arange(6.0)[:, None], reward=zeros, next_obs=zeros[:, None],
        elapsed=np.ones(6, int), terminal=zeros > 0, weight=np.array([1.0, 1.0, 0.0, 1.0, 0.5, 1.0]), status=zeros,
        residual=zeros, episode=np.array([0, 0, 0, 0, 2, 2]), episode_return=zeros[:3], card={},
    )  # fmt: skip
    assert given.next_actions().tolist() == [[1.0], [1.0], [3.0], [3.0], [5.0], [5.0]]


# --- What every learner promises

TINY = {"bc": bc.Config(), "iql": iql.Config(), "cql": cql.Config(n_actions=2, chunk=3, n_sampled_terms=1), "sac": sac.Config()}
TINY |= {
    "cal_ql": TINY["cql"],
    "td3_bc": td3_bc.Config(policy_freq=1),
    "rebrac": rebrac.Config(policy_freq=1),
    "awac": awac.Config(),
}
TINY |= {"riql": riql.Config(critics=3), "sac_n": sac_n.Config(critics=3), "edac": edac.Config(critics=3)}
TINY["fql"] = fql.Config(steps=2)
UPDATE = {name: jax.jit(lambda state, batch, update=learner.update: update(state, batch)) for name, learner in LEARNERS.items()}
each_learner = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in VARIANTS else []) for name in LEARNERS]
)


def tiny(name, seed=0, **numbers):
    """A state, with networks built anew each time."""
    spec = Spec(3, Simplex(3), mlp_networks(Simplex(3), 4, layers=1))
    return begin(LEARNERS[name], spec, TINY[name].replace(**numbers), seed)


@each_learner
def test_one_compilation_serves_equal_specs_all_numbers_and_restored_states(name):
    state = tiny(name)
    batch = small_batch(state.spec)
    there, _ = UPDATE[name](state, batch)
    # A fresh state, a trained one, one that a checkpoint has turned into NumPy and back, and other hyperparameters.
    kept = jax.tree.map(jnp.asarray, jax.tree.map(np.asarray, state))
    jax.tree.map(np.testing.assert_array_equal, UPDATE[name](kept, batch)[0], there)
    for other in (there, tiny(name, seed=1, actor_lr=0.1)):
        UPDATE[name](other, batch)
    jax.tree.map(np.testing.assert_array_equal, state.config, there.config)
    assert UPDATE[name]._cache_size() == 1


@each_learner
def test_fresh_states_have_the_types_of_trained_ones(name):
    """Else the second call of a compiled block would compile again."""
    state = tiny(name)
    fresh = jax.eval_shape(lambda: LEARNERS[name].init(jax.random.key(0), state.spec, TINY[name]))
    later = jax.eval_shape(LEARNERS[name].update, fresh, small_batch(state.spec))[0]
    kind = lambda x: (x.shape, x.dtype, x.weak_type)
    assert jax.tree.map(kind, fresh) == jax.tree.map(kind, later)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(fresh))


@each_learner
def test_seeds_and_rates_side_by_side_equal_them_in_sequence(name):
    states = [tiny(name, seed=seed, actor_lr=rate) for seed, rate in ((0, 1e-3), (1, 3e-3))]
    batch = small_batch(states[0].spec)
    apart = [UPDATE[name](state, batch)[0] for state in states]
    stack = lambda *x: jnp.stack(x)
    together, _ = jax.jit(jax.vmap(LEARNERS[name].update, (0, None)))(jax.tree.map(stack, *states), batch)
    expected = jax.tree.map(stack, *apart)
    moments = lambda state: state.actor.opt_state[0].mu
    assert_trees_close(moments(together), moments(expected), rtol=1e-4, atol=1e-6)
    # Adam's first steps have the size of the rate however small a gradient, hence the absolute tolerance.
    assert_trees_close(together.actor.params, expected.actor.params, rtol=1e-4, atol=1e-5)
    if name != "bc":
        assert_trees_close(together.critic.params, expected.critic.params, rtol=1e-4, atol=1e-5)


@each_learner
def test_weight_zero_and_scaled_rewards(name):
    """A transition of weight 0 could as well be another one; the scale of rewards is nothing but a factor."""
    state = tiny(name)
    batch = small_batch(state.spec)
    without = batch._replace(weight=batch.weight.at[2].set(0.0))
    other = without._replace(action=without.action.at[2].set(1 / 3), reward=without.reward.at[2].set(-1e3))
    first, second = UPDATE[name](state, without)[0], UPDATE[name](state, other)[0]
    assert_trees_close(first.actor.params, second.actor.params, rtol=1e-6, atol=1e-8)
    if name != "bc":
        assert_trees_close(first.critic.params, second.critic.params, rtol=1e-6, atol=1e-8)
        doubled = state.replace(config=state.config.replace(reward_scale=state.config.reward_scale * 2.0))
        halved = batch._replace(reward=batch.reward / 2.0)
        same, as_this = UPDATE[name](doubled, halved)[0], UPDATE[name](state, batch)[0]
        assert_trees_close(same.critic.params, as_this.critic.params, rtol=1e-5, atol=1e-7)


@each_learner
def test_a_decaying_rate_ends_at_zero(name):
    """Updates 0, 1, 2 of a decay over two have the whole, half and none of the rate."""
    state = tiny(name, actor_lr_decay_steps=2.0)
    batch, whole = small_batch(state.spec), UPDATE[name](tiny(name), small_batch(state.spec))[0]
    states = [state]
    for _ in range(3):
        states.append(UPDATE[name](states[-1], batch)[0])
    assert_trees_close(states[1].actor.params, whole.actor.params, rtol=1e-6)
    assert_trees_close(states[3].actor.params, states[2].actor.params, rtol=0.0, atol=0.0)
    first, second = (relative_gap(states[i + 1].actor.params, states[i].actor.params) for i in (0, 1))
    assert 0.3 * first < second < 0.7 * first


@each_learner
def test_goals_come_out_of_the_action_space(name):
    state = tiny(name)
    obs = jax.random.normal(jax.random.key(0), (7, 3))
    for deterministic in (True, False):
        goal = np.asarray(LEARNERS[name].act(state, obs, jax.random.key(1), deterministic))
        assert goal.shape == (7, 3) and goal.min() >= 0.0
        np.testing.assert_allclose(goal.sum(axis=1), 1.0, rtol=1e-5)
    assert LEARNERS[name].act(state, obs[0], jax.random.key(1), True).shape == (3,)


EVERY = Product((Box((1.0, 3.0)), Simplex(3), UnitBox(2), Simplices(2, 2), Counts(2, 2.0, 50.0)))


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", LEARNERS)
def test_every_kind_of_goal_will_do(name, compiled):
    """All of them side by side. Traced: shapes and types fit. Compiled: an update is finite, and goals played have a density."""
    spec, learner = Spec(3, EVERY, mlp_networks(EVERY, 4, layers=1)), LEARNERS[name]
    batch = small_batch(spec)
    batch = batch._replace(reward=batch.reward / 100.0)

    def once(state):
        state, metrics = learner.update(state, batch)
        goals = [learner.act(state, batch.obs, jax.random.key(0), deterministic) for deterministic in (True, False)]
        raw = jnp.zeros((len(batch.reward), *EVERY.raw_shape))
        return state, metrics, goals, [EVERY.log_prob(raw, EVERY.project(goal)) for goal in goals]

    state = begin(learner, spec, TINY[name])
    found = jax.jit(once)(state) if compiled else jax.eval_shape(once, state)
    if compiled:
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    assert jax.tree.map(jnp.shape, found[0]) == jax.tree.map(jnp.shape, state)
    assert found[2][0].shape == found[2][1].shape == batch.action.shape


def test_configs_have_the_papers_numbers():
    assert (iql.Config().expectile, iql.Config().beta, iql.Config().reward_scale) == (0.9, 3.0, 1.0)
    assert (cql.Config().temperature, cql.Config().n_actions, cql.Config().reward_scale) == (0.3, 10, 1.0)
    for config in (iql.Config(), cql.Config()):
        assert (config.actor_lr, config.critic_lr, config.discount, config.tau) == (1e-4, 3e-4, 0.99, 0.005)
