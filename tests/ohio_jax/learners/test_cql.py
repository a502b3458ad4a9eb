"""Conservative Q-learning and Cal-QL: an update against NumPy, and what the penalty, its samples and its bound promise."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.data import Batch
from ohio_jax.errors import UserError
from ohio_jax.learners import Spec, bc, cal_ql, cql
from ohio_jax.networks.graph import edge_networks, node_networks
from ohio_jax.networks.heads import Box, Counts, Simplex, Simplices
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax import numpy_learners as reference
from tests.ohio_jax.learning import (
    assert_models_close,
    assert_trees_close,
    begin,
    relative_gap,
    small_batch,
)


def test_a_cql_update_equals_numpy(x64):
    spec = Spec(3, Box((1.0, 1.0)), mlp_networks(Box((1.0, 1.0)), 5, layers=1))
    config = cql.Config(n_actions=3, cql_alpha=2.0, reward_scale=0.01, max_grad_norm=0.5)
    state, batch = begin(cql, spec, config), small_batch(spec)
    after, metrics = jax.jit(cql.update)(state, batch)
    expected = reference.cql_update(state, batch)
    assert_models_close(after, expected)
    assert_trees_close(after.target, expected["target"])
    for name in ("actor_loss", "critic_loss", "penalty"):
        assert float(metrics[name]) == pytest.approx(float(expected[name]), rel=1e-5)


# --- What CQL promises


def test_cql_begins_by_cloning_when_told_to():
    spec = Spec(3, Box((1.0, 1.0)), mlp_networks(Box((1.0, 1.0)), 5, layers=1))
    batch, rate = small_batch(spec), cql.Config().actor_lr
    cloned, _ = jax.jit(bc.update)(begin(bc, spec, bc.Config(actor_lr=rate)), batch)
    update = jax.jit(cql.update)
    state = begin(cql, spec, cql.Config(n_actions=3, temperature=0.0, bc_warmup=1.0))
    first, _ = update(state.replace(actor=begin(bc, spec, bc.Config()).actor), batch)
    assert relative_gap(first.actor.params, cloned.actor.params) < 1e-6
    second, _ = update(first, batch)
    climbs, _ = update(change(first, bc_warmup=0.0), batch)
    jax.tree.map(np.testing.assert_array_equal, second.actor.params, climbs.actor.params)


@pytest.mark.parametrize("importance", [True, False])
def test_a_narrow_policy_counts_only_without_importance(importance):
    """Of eleven shares: what a policy asks for that is as narrow as one trained on data of one operator."""
    spec = Spec(3, Simplex(11), mlp_networks(Simplex(11), 8))
    state = begin(cql, spec, cql.Config(n_actions=4, importance=importance))
    raw = jnp.broadcast_to(jnp.linspace(20.0, 60.0, 11), (6, 11))
    _, goals, log_density = cql.propose(state, jax.random.key(0), jnp.zeros((6, 3)), raw, raw)
    share = np.asarray(jax.nn.softmax(-log_density, axis=-1)).reshape(6, 3, 4).sum((0, 2)) / 6.0
    assert goals.shape == (6, 12, 11)
    assert share[1:].sum() < 1e-4 if importance else share[1:].sum() == pytest.approx(2 / 3)


N, F, SIZE = 4, 3, 12
GRAPH = np.random.default_rng(0).random((N, N)) < 0.5
IN_TENS = Counts(N * N, 10.0, 40.0, "original", "softplus")  # the original's head end to end, of a fleet of 40
GRAPHS = {
    "node": Spec(N * F, Simplex(N), node_networks(GRAPH, F, 8)),
    "edge": Spec(N * F, Simplices(N, N), edge_networks(GRAPH, F, 8)),
    "requests": Spec(N * F, IN_TENS, edge_networks(GRAPH, F, 8, "requests", 10.0)),
}
critic_gradient = jax.jit(cql.critic_gradient)


@jax.jit
def ask(state, batch):
    raw, next_raw = (state.spec.actor(state.actor.params, obs) for obs in (batch.obs, batch.next_obs))
    proposals = cql.propose(state, jax.random.key(1), batch.obs, raw, next_raw)
    return cql.CriticBatch(batch.obs, batch.action, batch.reward / 100.0, batch.weight / len(batch.reward), *proposals)


@functools.cache
def cql_question(graph, mixed_states=False):
    """A learner and the question to its critics, as `update` asks it; three samples a source."""
    spec = GRAPHS[graph]
    state = begin(cql, spec, cql.Config(n_actions=3, mixed_states=mixed_states))
    return state, ask(state, small_batch(spec, SIZE))


def change(state, **fields):
    return state.replace(config=state.config.replace(**fields))


@pytest.mark.parametrize("graph", GRAPHS)
def test_blocked_gradients_equal_the_unblocked(graph):
    state, question = cql_question(graph)
    whole, loss, penalty = critic_gradient(state, jax.random.key(2), question)
    pieces, loss_of_pieces, penalty_of_pieces = critic_gradient(change(state, chunk=4), jax.random.key(2), question)
    assert relative_gap(pieces, whole) < 1e-6
    assert float(loss_of_pieces) == pytest.approx(float(loss), rel=1e-5)
    assert float(penalty_of_pieces) == pytest.approx(float(penalty), rel=1e-5)


@pytest.mark.parametrize("draws", [0, 2])
def test_calibration_between_its_limits(draws):
    """Outcomes below every value leave CQL as it is; above all of them the policy's goals are no longer pushed down."""
    action = Box((1.0, 2.0))
    spec = Spec(3, action, mlp_networks(action, 8))
    random = np.random.default_rng(0)
    obs, next_obs, goal = (jnp.asarray(random.normal(size=(6, k)) * 0.5, jnp.float32) for k in (3, 3, 2))
    one = jnp.ones(6)
    batch = Batch(obs, goal, one, next_obs, one, one)
    config = cql.Config(n_actions=3, n_sampled_terms=draws, reward_scale=1.0)
    state = begin(cal_ql, spec, config)

    def gradient(outcome):
        raw, next_raw = (spec.actor(state.actor.params, x) for x in (obs, next_obs))
        proposals = cql.propose(state, jax.random.key(0), obs, raw, next_raw)
        least = None if outcome is None else cal_ql.least(config, batch._replace(mc_return=jnp.full(6, outcome)))
        question = cql.CriticBatch(obs, goal, one, one / 6, *proposals, least)
        return question, cql.critic_gradient(state, jax.random.key(1), question)

    _, (wanted, loss, _) = gradient(None)
    _, (same, same_loss, _) = gradient(-1e3)
    jax.tree.map(np.testing.assert_array_equal, same, wanted)
    assert float(loss) == float(same_loss)
    question, (above, _, _) = gradient(50.0)

    # What is left is the regression, the data's own goals and nothing of the proposals, whose weight is all on the policy's.
    def rest(params):
        q = spec.critics(params, question.obs, question.action)
        return jnp.sum(question.weight[None] * (jnp.square(q - question.backup[None]) - q))

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), above, jax.grad(rest)(state.critic.params))


def test_drawn_gradients_are_unbiased_and_their_loss_is_exact():
    state, question = cql_question("node")
    state = change(state, cql_alpha=jnp.float32(50.0))
    exact, loss, penalty = critic_gradient(state, jax.random.key(2), question)
    keys = jax.random.split(jax.random.key(3), 4000)
    many = jax.jit(jax.vmap(cql.critic_gradient, (None, 0, None)))
    drawn, losses, penalties = many(change(state, n_sampled_terms=2, chunk=4), keys, question)
    np.testing.assert_allclose(losses, loss, rtol=1e-5)
    np.testing.assert_allclose(penalties, penalty, rtol=1e-5)
    one = jax.tree.map(lambda g: g[0], drawn)
    average = jax.tree.map(lambda g: np.mean(g, axis=0), drawn)
    assert relative_gap(one, exact) > 1e-3
    assert relative_gap(average, exact) < 0.1 * relative_gap(one, exact)


def test_without_conservatism_the_losses_are_those_of_soft_actor_critic():
    state, question = cql_question("node")

    def soft_actor_critic(params):
        q = state.spec.critics(params, question.obs, question.action)
        return jnp.sum(question.weight[None] * jnp.square(q - question.backup[None]))

    loss, gradient = jax.jit(jax.value_and_grad(soft_actor_critic))(state.critic.params)
    plain = change(state, cql_alpha=jnp.float32(0.0))
    found, found_loss, _ = critic_gradient(plain, jax.random.key(2), question)
    assert float(found_loss) == pytest.approx(float(loss), rel=1e-6)
    assert relative_gap(found, gradient) < 1e-6


@pytest.mark.parametrize("action, log_volume", [(Box((1.0, 1.0, 1.0)), 3 * math.log(2)), (Simplex(4), -math.log(6))])
def test_the_penalty_of_a_zero_critic_is_the_log_volume(action, log_volume):
    """Importance weights: with Q = 0 the log-sum-exp over 3 K samples tends to log 3 K + log of the space's volume."""
    spec, K = Spec(2, action, mlp_networks(action, 8, layers=1)), 3000
    state = begin(cql, spec, cql.Config(n_actions=K))
    zero = jax.tree.map(jnp.zeros_like, state.critic.params)
    state = state.replace(critic=state.critic._replace(params=zero))
    question = ask(state, small_batch(spec)._replace(weight=jnp.ones(6)))
    _, _, penalty = critic_gradient(state, jax.random.key(2), question)
    assert float(penalty) == pytest.approx(math.log(3 * K) + log_volume, abs=0.05)


@pytest.mark.parametrize("graph", ["node", "requests"])
def test_mixed_states_are_the_originals_tiling(graph):
    """States tiled K times, values read as if each had been repeated K times in place."""
    (plain, question), (mixed, asked) = cql_question(graph), cql_question(graph, mixed_states=True)
    _, _, penalty = critic_gradient(mixed, jax.random.key(2), asked)
    critics = jax.jit(plain.spec.critics)
    values = critics(plain.critic.params, question.asked, question.proposed) - question.log_density[None]
    rows = []
    for source in np.split(np.asarray(values, np.float64), 3, axis=2):  # [2, B, K]
        tiled = np.concatenate([source[:, :, k] for k in range(3)], axis=1)  # sample by sample
        rows.append(tiled.reshape(2, SIZE, 3))
    highest = np.log(np.exp(np.concatenate(rows, axis=2)).sum(axis=2))
    q = np.asarray(critics(plain.critic.params, question.obs, question.action))
    expected = np.sum(np.asarray(question.weight)[None] * (highest - q)) / 2.0
    assert float(penalty) == pytest.approx(expected, rel=1e-5)
    _, _, of_one_state = critic_gradient(plain, jax.random.key(2), question)
    assert abs(float(of_one_state) - float(penalty)) > 1e-4


def test_bad_static_settings_say_so():
    with pytest.raises(UserError, match="n_sampled_terms: expected 0 with mixed_states, found 1"):
        cql.init(jax.random.key(0), GRAPHS["node"], cql.Config(n_sampled_terms=1, mixed_states=True))
    state, question = cql_question("node")
    with pytest.raises(UserError, match="chunk: expected a divisor of the batch size 12, found 5"):
        critic_gradient(change(state, chunk=5), jax.random.key(2), question)
