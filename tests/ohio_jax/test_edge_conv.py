"""The supply chain's networks: messages by hand, and stores that are treated alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.networks import edge_conv
from ohio_jax.networks.heads import Product, Simplex, UnitBox

S, FEATURES, HIDDEN = 3, 5, 8
STAR = edge_conv.Graph((0.5,) * FEATURES, (1.0, 2.0, 2.0))
ALIKE = edge_conv.Graph((0.5,) * FEATURES, (2.0,) * S)
SPECS = {"nodes": Product((Simplex(S + 1), UnitBox(1))), "edges": UnitBox(S + 1)}
KINDS = {"nodes": edge_conv.node_networks, "edges": edge_conv.edge_networks}


def observations(*batch):
    return jnp.asarray(np.random.default_rng(0).normal(size=(*batch, (S + 1) * FEATURES)), jnp.float32)


def test_messages_by_hand():
    obs = observations()
    encoder = edge_conv.Encoder(STAR, HIDDEN)
    params = encoder.init(jax.random.key(0), obs)
    h = encoder.apply(params, obs)
    first, second = (params["params"][f"Linear_{k}"] for k in (0, 1))
    x = 0.5 * np.asarray(obs, np.float64).reshape(S + 1, FEATURES)

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
    obs, goal = observations(6), jax.vmap(lambda key: spec.random(key, ())[0])(jax.random.split(jax.random.key(1), 6))
    actor = networks.actor.init(jax.random.key(2), obs)
    critic = networks.critic.init(jax.random.key(3), obs, goal)
    raw, value = networks.actor.apply(actor, obs), networks.critic.apply(critic, obs, goal)
    assert raw.shape == (6, *spec.raw_shape) and value.shape == (6,)
    assert spec.mode(raw).shape == goal.shape
    np.testing.assert_allclose(networks.actor.apply(actor, obs[2]), raw[2], atol=1e-6)
    np.testing.assert_allclose(networks.critic.apply(critic, obs[2], goal[2]), value[2], atol=1e-5)
    many = networks.critic.apply(critic, obs[None], jnp.stack([goal, goal[::-1]]))
    np.testing.assert_allclose(many[0], value, atol=1e-5)
    of_state = networks.value.apply(networks.value.init(jax.random.key(4), obs), obs)
    assert of_state.shape == (6,)


@pytest.mark.parametrize("kind", KINDS)
def test_exchanging_stores_exchanges_what_is_said_of_them(kind):
    networks, spec = KINDS[kind](ALIKE, HIDDEN), SPECS[kind]
    obs, order = observations(), np.array([2, 0, 1, 3])
    other = obs.reshape(S + 1, FEATURES)[order].reshape(-1)
    params = networks.actor.init(jax.random.key(0), obs)
    mode, exchanged = (np.asarray(spec.mode(networks.actor.apply(params, x))) for x in (obs, other))
    np.testing.assert_allclose(exchanged[:4], mode[:4][order], atol=1e-5)
    np.testing.assert_allclose(exchanged[4:], mode[4:], atol=1e-5)
    goal = spec.random(jax.random.key(1), ())[0]
    params = networks.critic.init(jax.random.key(2), obs, goal)
    same = networks.critic.apply(params, other, jnp.concatenate([goal[:4][order], goal[4:]]))
    np.testing.assert_allclose(same, networks.critic.apply(params, obs, goal), atol=1e-5)


def test_parameter_counts_are_the_papers():
    networks = edge_conv.node_networks(edge_conv.Graph((1.0,) * 18, (1.0,) * 3), 256)
    obs, goal, key = jnp.zeros((1, 72)), jnp.zeros((1, 5)), jax.random.key(0)
    shapes = jax.eval_shape(
        lambda: (networks.actor.init(key, obs), networks.critic.init(key, obs, goal), networks.value.init(key, obs))
    )
    assert [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in shapes] == [76_345, 146_689, 146_177]
