"""The supply chain's networks: messages by hand, and stores that are treated alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.networks import edge_conv
from ohio_jax.networks.heads import Product, Simplex, UnitBox
from tests.ohio_jax.networks.modules import apply, start

S, FEATURES, HIDDEN = 3, 5, 8
STAR = edge_conv.Graph((1.0, 2.0, 2.0))
ALIKE = edge_conv.Graph((2.0,) * S)
SPECS = {"nodes": Product((Simplex(S + 1), UnitBox(1))), "edges": UnitBox(S + 1)}
KINDS = {"nodes": edge_conv.node_networks, "edges": edge_conv.edge_networks}


def observations(*batch):
    return jnp.asarray(np.random.default_rng(0).normal(size=(*batch, (S + 1) * FEATURES)), jnp.float32)


def test_messages_by_hand():
    obs = observations()
    encoder = edge_conv.Encoder(STAR, HIDDEN)
    params = jax.jit(encoder.init)(jax.random.key(0), obs)
    h = apply(encoder, params, obs)
    first, second = (params["params"][f"Linear_{k}"] for k in (0, 1))
    x = np.asarray(obs, np.float64).reshape(S + 1, FEATURES)

    def message(to, of):
        z = np.maximum(
            np.concatenate([x[to], x[of], [STAR.lead[min(to, of)]]]) @ np.asarray(first["kernel"]) + first["bias"], 0.0
        )
        return z @ np.asarray(second["kernel"]) + second["bias"]

    heard = [message(store, S) for store in range(S)] + [sum(message(S, store) for store in range(S))]
    np.testing.assert_allclose(h, np.concatenate([x, heard], axis=1), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_batches(kind):
    """One state alone, a batch, and many actions in one state give the same numbers."""
    networks, spec = KINDS[kind](STAR, HIDDEN), SPECS[kind]

    @jax.jit
    def ask(params, obs, goal):
        act, judge = functools.partial(networks.actor.apply, params[0]), functools.partial(networks.critic.apply, params[1])
        many = judge(obs[None], jnp.stack([goal, goal[::-1]]))
        of_state = networks.value.apply(params[2], obs)
        return act(obs), act(obs[2]), spec.mode(act(obs)), judge(obs, goal), judge(obs[2], goal[2]), many, of_state

    obs, goal = observations(6), spec.random(jax.random.key(1), (6,))[0]
    raw, raw_alone, mode, value, value_alone, many, of_state = ask(start(networks, spec, (S + 1) * FEATURES), obs, goal)
    assert raw.shape == (6, *spec.raw_shape) and value.shape == of_state.shape == (6,)
    assert mode.shape == goal.shape
    np.testing.assert_allclose(raw_alone, raw[2], atol=1e-6)
    np.testing.assert_allclose(value_alone, value[2], atol=1e-5)
    np.testing.assert_allclose(many[0], value, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_exchanging_stores_exchanges_what_is_said_of_them(kind):
    networks, spec = KINDS[kind](ALIKE, HIDDEN), SPECS[kind]
    obs, order = observations(), np.array([2, 0, 1, 3])
    other = obs.reshape(S + 1, FEATURES)[order].reshape(-1)
    actor, critic, _ = start(networks, spec, (S + 1) * FEATURES)
    mode, exchanged = (np.asarray(spec.mode(apply(networks.actor, actor, x))) for x in (obs, other))
    np.testing.assert_allclose(exchanged[:4], mode[:4][order], atol=1e-5)
    np.testing.assert_allclose(exchanged[4:], mode[4:], atol=1e-5)
    goal = spec.random(jax.random.key(1), ())[0]
    same = apply(networks.critic, critic, other, jnp.concatenate([goal[:4][order], goal[4:]]))
    np.testing.assert_allclose(same, apply(networks.critic, critic, obs, goal), atol=1e-5)


def test_parameter_counts_are_the_papers():
    networks = edge_conv.node_networks(edge_conv.Graph((1.0,) * 3), 256)
    obs, goal, key = jnp.zeros((1, 72)), jnp.zeros((1, 5)), jax.random.key(0)
    shapes = jax.eval_shape(
        lambda: (networks.actor.init(key, obs), networks.critic.init(key, obs, goal), networks.value.init(key, obs))
    )
    assert [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in shapes] == [76_345, 146_689, 146_177]
