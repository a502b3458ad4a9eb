"""Flow Q-learning: flows of known velocity, and behavior of two minds, which one Gaussian could not clone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from ohio_jax.learners import Spec, fql
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax.learning import MORE, OBS, begin, fit
from tests.ohio_jax.probes import reward_of_both


class Decay(nn.Module):
    """Velocity obs - x + time, so that Euler's method can be followed by hand."""

    @nn.compact
    def __call__(self, obs, coordinates, time):
        return obs - coordinates + time[..., None]


def test_noise_is_carried_by_eulers_method():
    action = Box((1.0, 1.0))
    spec = Spec(2, action, mlp_networks(action, 4)._replace(flow=Decay()))
    obs, noise = jnp.array([[1.0, 2.0], [0.0, -1.0]]), jnp.array([[0.5, 0.0], [3.0, 1.0]])
    x = np.asarray(noise, np.float64)
    for k in range(4):
        x = x + (np.asarray(obs) - x + k / 4.0) / 4.0
    np.testing.assert_allclose(fql.carried(spec, {}, obs, noise, 4), x, rtol=1e-6)
    np.testing.assert_allclose(fql.one_step(spec, {}, obs, noise), obs - noise)


@pytest.mark.slow
def test_two_minds_are_cloned_as_two():
    """The behavior plays one of two goals with even odds; draws are near one or the other, where their mean is near none."""
    spec, batch, _, _ = reward_of_both("simplex")
    one, two = jnp.array([0.8, 0.1, 0.1]), jnp.array([0.1, 0.1, 0.8])
    first = jnp.asarray(np.random.default_rng(0).random(len(batch.obs)) < 0.5)
    batch = batch._replace(action=jnp.where(first[:, None], one[None], two[None]))
    config = MORE["fql"].replace(flow_weight=100.0)
    state = fit(fql, begin(fql, spec, config), batch, 2000)
    goal = np.asarray(fql.act(state, jnp.repeat(jnp.asarray(OBS), 200, axis=0), jax.random.key(1), False))
    near = [np.abs(goal - np.asarray(peak)).max(axis=1) < 0.2 for peak in (one, two)]
    assert np.mean(near[0] | near[1]) > 0.8
    for obs in (slice(0, 200), slice(200, 400)):
        assert 0.3 < np.mean(near[0][obs]) / np.mean((near[0] | near[1])[obs]) < 0.7
