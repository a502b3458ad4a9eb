"""SAC-N and EDAC: the least of all critics is believed, and diversity is the published one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.learners import Spec, common, edac, sac_n
from ohio_jax.networks.heads import Box, Simplex
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax.learning import assert_trees_close, begin, small_batch

SPEC = Spec(3, Box((1.0, 1.0)), mlp_networks(Box((1.0, 1.0)), 4, layers=1))


def test_the_backup_believes_the_least_of_all_critics():
    """Of critics that differ by a constant: with the third lowered the backup falls with it, raised it stays."""
    config = sac_n.Config(temperature=0.0, critics=3)
    state, batch = begin(sac_n, SPEC, config), small_batch(SPEC)
    batch = batch._replace(discount=jnp.ones(6), reward=jnp.zeros(6))
    alike = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), state.target)

    def mean_error(shift):
        """Of critics that answer zero to the backup: what they are asked to learn, squared."""
        last = alike["params"]["Perceptron_0"]["Linear_1"]
        shifted = {**last, "bias": last["bias"].at[2].add(shift)}
        target = {"params": {"Perceptron_0": {**alike["params"]["Perceptron_0"], "Linear_1": shifted}}}
        zero = jax.tree.map(jnp.zeros_like, state.critic.params)
        asked = state.replace(target=target, critic=common.TrainState.create(zero))
        return float(update(asked, batch)[1]["critic_loss"])

    update = jax.jit(sac_n.update)
    assert mean_error(50.0) == pytest.approx(mean_error(0.0), rel=1e-6)
    weight = float(jnp.mean(batch.weight))
    assert mean_error(-1000.0) == pytest.approx(3.0 * weight * (0.99 * 1000.0) ** 2, rel=0.01)


@pytest.mark.parametrize("action", [Box((1.0, 1.0)), Simplex(3)])
def test_likeness_is_the_mean_cosine_of_all_pairs(action):
    """Against the Jacobian of all critics, pair by pair; of shares only what moves along the simplex counts."""
    spec = Spec(3, action, mlp_networks(action, 4, layers=1))
    state, batch = begin(edac, spec, edac.Config(critics=4)), small_batch(spec)
    found = jax.jit(edac.likeness, static_argnums=0)(spec, state.critic.params, batch)

    def values(coordinates, obs):
        return spec.critics(state.critic.params, obs[None], action.at(coordinates[None]))[:, 0]

    slopes = jax.jit(jax.vmap(jax.jacrev(values)))(action.coordinates(batch.action), batch.obs)
    for row, expected in zip(found, np.asarray(slopes, np.float64), strict=True):
        unit = expected / np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-10)  # some networks are flat
        cosine = unit @ unit.T
        assert float(row) == pytest.approx((cosine.sum() - np.trace(cosine)) / 3.0, rel=1e-3, abs=1e-4)
    # Critics that are one and the same are as like as can be.
    same = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), state.critic.params)
    flat = np.linalg.norm(slopes, axis=2)[:, 0] < 1e-10
    np.testing.assert_allclose(edac.likeness(spec, same, batch), np.where(flat, 0.0, 4.0), rtol=1e-4, atol=1e-6)


def test_diversity_keeps_critics_apart_and_without_it_there_is_sac_n():
    batch = small_batch(SPEC)
    begun = lambda diversity: begin(edac, SPEC, edac.Config(critics=3, diversity=diversity, critic_lr=3e-3, reward_scale=0.01))
    step = jax.jit(edac.update)
    alike = jax.jit(lambda state: jnp.mean(edac.likeness(SPEC, state.critic.params, batch)))

    def after(diversity):
        state = begun(diversity)
        for _ in range(50):
            state, _ = step(state, batch)
        return float(alike(state))

    assert after(100.0) < after(0.0) - 0.1
    plain = begin(sac_n, SPEC, sac_n.Config(critics=3, critic_lr=3e-3, reward_scale=0.01))
    expected, found = jax.jit(sac_n.update)(plain, batch)[0], step(begun(0.0), batch)[0]
    assert_trees_close(found.critic.params, expected.critic.params, rtol=1e-6, atol=1e-8)
