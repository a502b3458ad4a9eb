"""Models: their linearization is exact, and what is learned from steps predicts steps it has not seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Homogeneous, Model
from ohio_jax.errors import UserError


def pendulum(constants, x, u):
    """An angle and its speed: nonlinear drift, an effect of the action that depends on the angle."""
    angle, speed = x
    push = constants * u[0] * (1.0 + 0.5 * jnp.cos(angle))
    return jnp.stack([angle + 0.1 * speed, speed - 0.1 * jnp.sin(angle) + 0.1 * push])


def steps(N, seed=0):
    random = np.random.default_rng(seed)
    x = jnp.asarray(np.stack([random.uniform(-6, 6, N), random.normal(size=N)], axis=1), jnp.float32)
    u = jnp.asarray(random.uniform(-1, 1, (N, 1)), jnp.float32)
    return x, u, jax.vmap(lambda x, u: pendulum(1.0, x, u))(x, u)


def test_linearization_is_the_taylor_expansion(x64):
    model = Model(1.0, pendulum, 1)
    x = jnp.array([0.7, -0.3])
    A, B, c = model.linear(x)
    np.testing.assert_allclose(A @ x + c, model.step(x, jnp.zeros(1)), atol=1e-14)
    tiny = 1e-6
    for i in range(2):
        beside = tiny * jnp.eye(2)[i]
        slope = (model.step(x + beside, jnp.zeros(1)) - model.step(x - beside, jnp.zeros(1))) / (2 * tiny)
        np.testing.assert_allclose(A[:, i], slope, atol=1e-9)
    np.testing.assert_allclose(B[:, 0], (model.step(x, jnp.full(1, tiny)) - model.step(x, -jnp.full(1, tiny))) / (2 * tiny))


def test_homogeneous_models_are_constants_to_derivatives():
    model = Homogeneous(2.0, lambda k, x: (k * jnp.eye(2) * x[0], jnp.ones((2, 1)) * x[1]))
    x, u = jnp.array([3.0, 5.0]), jnp.array([7.0])
    np.testing.assert_allclose(model.step(x, u), [2 * 3 * 3 + 35, 2 * 3 * 5 + 35])
    np.testing.assert_allclose(jax.jacfwd(model.step)(x, u), 6.0 * np.eye(2))
    assert model.linear(x)[2].tolist() == [0.0, 0.0]


@pytest.fixture(scope="module")
def fitted():
    return learned.fit(learned.Config(hidden=32, angles=(0,), epochs=30), jax.random.key(0), *steps(4000))


def test_learned_steps_are_those_of_the_plant(fitted):
    x, u, after = steps(1000, seed=1)
    predicted = jax.vmap(fitted.model.step)(x, u)
    error = jnp.sqrt(jnp.mean(jnp.square(predicted - after), axis=0))
    assert (error < 0.1 * jnp.std(after - x, axis=0)).all()
    # The held-out error promises what new steps show.
    np.testing.assert_allclose(error, fitted.error, rtol=0.4)


def test_learned_angles_go_round(fitted):
    """Trained on a turn and a half to either side, right three turns away: only sine and cosine enter."""
    x, u, after = steps(200, seed=2)
    turns = jnp.array([6 * jnp.pi, 0.0])
    away = jax.vmap(fitted.model.step)(x + turns[None], u) - turns[None]
    assert float(jnp.median(jnp.abs(away - after)[:, 1])) < 0.05


def test_learned_effect_of_actions(fitted):
    _, B, _ = fitted.model.linear(jnp.array([0.0, 0.0]))
    _, wanted, _ = Model(1.0, pendulum, 1).linear(jnp.array([0.0, 0.0]))
    np.testing.assert_allclose(B, wanted, atol=0.03)


def test_steps_that_are_not_finite_are_left_out(fitted):
    x, u, after = (np.asarray(y) for y in steps(4000))
    bad = [np.insert(y, [7, 4000], np.float32(value), axis=0) for y, value in ((x, 0.0), (u, np.nan), (after, np.inf))]
    again = learned.fit(learned.Config(hidden=32, angles=(0,), epochs=30), jax.random.key(0), *bad)
    np.testing.assert_array_equal(again.error, fitted.error)


def test_same_key_same_model(fitted):
    again = learned.fit(learned.Config(hidden=32, angles=(0,), epochs=30), jax.random.key(0), *steps(4000))
    for mine, theirs in zip(jax.tree.leaves(fitted.model), jax.tree.leaves(again.model), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_models_of_one_form_share_their_programs(fitted):
    """However they were learned: what is compiled for one serves all."""
    again = learned.fit(learned.Config(hidden=32, angles=(0,), epochs=1, rate=1e-2), jax.random.key(1), *steps(1000))
    assert jax.tree.structure(again.model) == jax.tree.structure(fitted.model)


def test_the_originals_model_keeps_its_last_epoch():
    config = learned.Config(hidden=16, members=1, rate=1e-2, batch=32, epochs=12, homogeneous=True)
    found = learned.fit(config, jax.random.key(0), *steps(1000))
    assert int(found.epoch) == 11
    assert isinstance(found.model, Homogeneous) and np.isfinite(found.error).all()


def test_too_few_steps_are_refused():
    with pytest.raises(UserError, match=r"dynamics: expected steps for validation and a batch of 256, found 100 finite steps"):
        learned.fit(learned.Config(), jax.random.key(0), *steps(100))
