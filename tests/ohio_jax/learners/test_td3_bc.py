"""TD3+BC and ReBRAC: updates against NumPy, and what the delay, the noise and the penalties promise."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.errors import UserError
from ohio_jax.learners import Spec, fql, rebrac, td3_bc
from ohio_jax.networks import Networks
from ohio_jax.networks.heads import Box, Product, Simplex, UnitBox
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax import numpy_learners as reference
from tests.ohio_jax.learning import (
    MORE,
    OBS,
    TableActor,
    TableCritic,
    TableValue,
    assert_models_close,
    assert_trees_close,
    begin,
    fit,
    small_batch,
)
from tests.ohio_jax.probes import reward_of_both

SQUARE = Box((1.0, 1.0))
UPDATES = {
    "td3_bc": (td3_bc, reference.td3_bc_update, td3_bc.Config(policy_freq=1, reward_scale=0.01)),
    "rebrac": (rebrac, reference.rebrac_update, rebrac.Config(policy_freq=1, reward_scale=0.01, critic_penalty=0.5)),
}


@pytest.mark.parametrize("learner, transcription, config", UPDATES.values(), ids=UPDATES)
def test_an_update_equals_numpy(learner, transcription, config, x64):
    spec = Spec(3, SQUARE, mlp_networks(SQUARE, 5, layers=1))
    state, batch = begin(learner, spec, config), small_batch(spec)
    after, metrics = jax.jit(learner.update)(state, batch)
    expected = transcription(state, batch)
    assert_models_close(after, expected)
    assert_trees_close(after.target, expected["target"])
    assert_trees_close(after.target_actor, expected["target_actor"])
    for name in ("actor_loss", "critic_loss"):
        assert float(metrics[name]) == pytest.approx(float(expected[name]), rel=1e-5)


def test_actor_and_targets_follow_every_other_update():
    spec = Spec(3, SQUARE, mlp_networks(SQUARE, 4, layers=1))
    update, batch = jax.jit(td3_bc.update), small_batch(spec)
    states = [begin(td3_bc, spec, td3_bc.Config(policy_freq=2))]
    losses = []
    for _ in range(3):
        state, metrics = update(states[-1], batch)
        states.append(state)
        losses.append(float(metrics["actor_loss"]))
    slow = [jax.tree.leaves((state.actor, state.target, state.target_actor)) for state in states]
    same = [all(np.array_equal(a, b) for a, b in zip(*pair, strict=True)) for pair in itertools.pairwise(slow)]
    assert same == [True, False, True]
    # An update that only the critics take repeats what the actor's last step said; nothing before the first.
    assert losses[0] == 0.0 and np.isfinite(losses[1]) and losses[1] == losses[2] != 0.0


@pytest.mark.slow
def test_without_values_the_behavior_is_cloned():
    """A behavior of one goal for each observation, and noise of which the mean is left."""
    spec, batch, best, _ = reward_of_both("simplex")
    assert best is not None
    noise = 0.05 * np.random.default_rng(0).normal(size=batch.action.shape)
    batch = batch._replace(action=spec.action.project(jnp.asarray(best(np.asarray(batch.obs)) + noise, jnp.float32)))
    config = MORE["td3_bc"].replace(alpha=0.0)
    state = fit(td3_bc, begin(td3_bc, spec, config), batch, 1000)
    np.testing.assert_allclose(td3_bc.act(state, jnp.asarray(OBS), jax.random.key(0), True), best(OBS), atol=0.02)


def test_noise_stays_in_the_space_and_within_its_bounds():
    action = Product((Simplex(3), UnitBox(2), Box((2.0,))))
    spec = Spec(2, action, mlp_networks(action, 4, layers=1))
    state = begin(td3_bc, spec, td3_bc.Config(policy_noise=10.0, noise_clip=0.5, exploration_noise=1.0))
    state = state.replace(target_actor=state.actor.params)
    obs = jax.random.normal(jax.random.key(0), (200, 2))
    quiet, loud = (np.asarray(td3_bc.act(state, obs, jax.random.key(1), still)) for still in (True, False))
    smooth = np.asarray(td3_bc.smoothed(state, obs, jax.random.key(1)))
    for goal in (quiet, loud, smooth):
        np.testing.assert_allclose(action.project(jnp.asarray(goal)), goal, atol=2e-4)
    moved = np.abs(action.coordinates(jnp.asarray(smooth)) - action.coordinates(jnp.asarray(quiet)))
    # Of logits that sum to zero the mean of the noise is lost.
    assert moved[:, :3].max() <= 2 / 3 + 1e-3 and moved[:, 3:5].max() <= 0.5 + 1e-3 and moved[:, 5].max() <= 0.5 + 1e-5
    assert np.abs(loud - quiet).max(axis=0).min() > 0.2


@pytest.mark.parametrize("learner", [rebrac, fql])
def test_networks_without_what_a_learner_needs_are_refused(learner):
    spec = Spec(5, Box((1.0,)), Networks(TableActor(), TableCritic(), TableValue()))
    with pytest.raises(UserError, match="networks: critic: expected a field layer_norm, found none in TableCritic"):
        learner.init(jax.random.key(0), spec, learner.Config())
    with pytest.raises(UserError, match="networks: flow: expected a module, found none"):
        spec.init_flow(jax.random.key(0))
