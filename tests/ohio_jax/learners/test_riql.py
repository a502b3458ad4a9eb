"""Robust IQL: in its limits it is IQL, and what corrupted data leave of it is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.learners import Spec, iql, riql
from ohio_jax.networks.heads import Simplex
from ohio_jax.networks.mlp import mlp_networks
from tests.ohio_jax.learning import MORE, assert_trees_close, begin, fit, small_batch
from tests.ohio_jax.probes import constant_reward


def test_in_its_limits_it_is_iql():
    """Two critics, the smaller believed, errors below a threshold of one half: Huber's loss is then the square itself."""
    spec = Spec(3, Simplex(3), mlp_networks(Simplex(3), 4, layers=1))
    small = {"reward_scale": 1e-4, "expectile": 0.9, "discount": 0.97}
    batch = small_batch(spec)
    mine = begin(riql, spec, riql.Config(**small, quantile=0.0, threshold=0.5, critics=2))
    theirs = begin(iql, spec, iql.Config(**small, actor_lr=3e-4))
    quarter = jax.tree.map(lambda x: 0.25 * x, mine.critic.params)  # so that no error is as large
    mine, theirs = (s.replace(critic=s.critic._replace(params=quarter)) for s in (mine, theirs))
    after, metrics = jax.jit(riql.update)(mine, batch)
    expected, their_metrics = jax.jit(iql.update)(theirs, batch)
    for name in ("actor", "critic", "value"):
        mu = lambda state, name=name: getattr(state, name).opt_state[0].mu
        assert_trees_close(mu(after), mu(expected), rtol=1e-4, atol=1e-8)
    assert_trees_close(after.target, expected.target)
    assert {name: float(x) for name, x in metrics.items()} == pytest.approx(
        {name: float(x) for name, x in their_metrics.items()}, rel=1e-5
    )


@pytest.mark.slow
def test_absurd_rewards_move_the_critics_as_far_as_the_threshold_allows():
    """A share p of 30 among rewards of 1: Huber's loss is least at 1 + threshold p / (1 - p); their mean is beyond 6."""
    spec, batch, _, _ = constant_reward("simplex")
    batch = batch._replace(action=jnp.broadcast_to(batch.action[:1], batch.action.shape))
    absurd = np.arange(len(batch.reward)) % 5 == 0
    batch = batch._replace(reward=jnp.where(absurd, 30.0, batch.reward))
    config = MORE["riql"].replace(threshold=0.4)
    state = fit(riql, begin(riql, spec, config), batch, 1000)
    q = np.asarray(spec.critics(state.critic.params, batch.obs, batch.action))
    for obs in (-1.0, 1.0):
        here = np.asarray(batch.obs[:, 0]) == obs
        p = absurd[here].mean()
        np.testing.assert_allclose(q[:, here], 1.0 + 0.4 * p / (1.0 - p), atol=0.05)


def test_backups_stay_between_their_limits():
    spec = Spec(3, Simplex(3), mlp_networks(Simplex(3), 4, layers=1))
    batch = small_batch(spec)
    update = jax.jit(riql.update)

    def loss(reward, **limits):
        state = begin(riql, spec, riql.Config(critics=2, **limits))
        return float(update(state, batch._replace(reward=reward))[1]["critic_loss"])

    far = jnp.full(6, 1e6)
    assert loss(far, highest=3.0) == pytest.approx(loss(jnp.full(6, 1e3), highest=3.0))
    assert loss(-far, lowest=-3.0) == pytest.approx(loss(jnp.full(6, -1e3), lowest=-3.0))
    assert loss(far) > 10.0 * loss(far, highest=3.0)
