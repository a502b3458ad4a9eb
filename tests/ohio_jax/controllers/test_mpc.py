"""Linear MPC as a low level: it is LQR where nothing binds, keeps its bounds where something does, and can be inverted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.controllers import lqr, mpc
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, UNIQUE
from tests.ohio_jax.linear import lqr_params, mpc_params, play_all


@pytest.fixture(scope="module")
def goals():
    return 2.0 * jax.random.normal(jax.random.key(0), (16, 3)), jax.random.normal(jax.random.key(1), (16, 3))


@jax.jit
def recover(p, goals):
    """(segments, what least squares finds); parameters are an argument, so that others compile nothing."""
    segments = play_all(mpc, p, goals[1], goals[0])
    return segments, jax.vmap(lambda segment: INVERSES["least_squares"](mpc.problem(p), segment))(segments)


def test_without_bounds_the_first_action_is_lqrs(goals):
    segments, _ = recover(mpc_params(1e6, m=3), goals)
    linear = play_all(lqr, lqr_params(steps=5, m=3), goals[1], goals[0])
    np.testing.assert_allclose(segments.action[:, 0], linear.action[:, 0], rtol=1e-4, atol=1e-5)


def test_goals_come_back_where_they_show(goals):
    """As many actions as states. Unconstrained: all of them. With bounds a far goal may end where another does."""
    for bound, share in ((1e6, 1.0), (1.0, 0.6)):
        segments, found = recover(mpc_params(bound, m=3), goals)
        assert jnp.max(jnp.abs(segments.action)) <= bound
        sure = np.asarray(found.status == UNIQUE)
        assert sure.all() if bound > 1 else 0 < sure.sum() < 16
        right = np.abs(found.goal - goals[0]).max(axis=1) < 5e-3
        assert right[sure].mean() >= share


def test_what_a_stationary_controller_hides_is_called_ambiguous(goals):
    """With fewer actions than states, the third one without effect, its feedback is the same at every step, and some goals
    all look alike."""
    p = mpc_params(1e6, m=3)
    A, B, c = p.model.constants
    model = p.model.replace(constants=(A, B.at[:, 2].set(0.0), c))
    p = p.replace(dynamics=model, model=model)
    segments, found = recover(p, goals)
    assert (found.status == AMBIGUOUS).all() and (found.residual < 1e-3).all()
    again, _ = recover(p, (found.goal, goals[1]))
    np.testing.assert_allclose(again.action, segments.action, atol=1e-4)


def test_actions_differentiate_through_the_optimum(x64):
    """With respect to the goal, against central differences, where some planned actions are on their bounds."""
    p = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), mpc_params(0.4))
    first = lambda x, goal: (mpc.act(p, mpc.init(p), x, goal)[0],) * 2
    # The slope and the action itself, one program.
    look = jax.jit(jax.vmap(jax.jacfwd(first, 1, has_aux=True)))
    x, goal = jnp.asarray(0.3 * np.random.default_rng(0).normal(size=(2, 20, 3)))
    slope, _ = look(x, goal)
    tiny = 1e-6
    for i in range(3):
        step = tiny * jnp.eye(3)[None, i]
        central = (look(x, goal + step)[1] - look(x, goal - step)[1]) / (2 * tiny)
        np.testing.assert_allclose(slope[..., i], central, atol=1e-5)
    assert (jnp.max(jnp.abs(slope), axis=(1, 2)) > 0).any()
