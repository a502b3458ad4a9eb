"""Action densities: they integrate to one, their draws have their moments, and nothing is infinite by accident."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ohio_jax.errors import UserError
from ohio_jax.networks.gamma import log_gamma
from ohio_jax.networks.heads import Box, Counts, Product, Simplex, Simplices, UnitBox

SPECS = {
    "box": Box((1.0, 12.0, 0.5)),
    "action_scale box": Box((1.0, 12.0, 0.5), (0.5, 3.0, 0.5)),
    "simplex": Simplex(4),
    "simplices": Simplices(2, 3),
    "unit box": UnitBox(2),
    "counts": Counts(4, 2.0, 50.0),
    "counts by softplus": Counts(4, 2.0, 50.0, deviation="softplus"),
    "product": Product((Simplex(3), UnitBox(2), Simplices(2, 2))),
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def raw_of(concentration):
    """Raw parameters of Dirichlet concentrations."""
    return jnp.log(jnp.expm1(jnp.asarray(concentration) - 1e-3))


def test_a_box_counts_in_what_is_usual():
    """Raw numbers of one mean an action of the usual size, as far from zero in distance and coordinates, whatever the
    limits."""
    near, far = Box((0.1, 2.0)), Box((50.0, 1000.0), (0.1, 2.0))
    raw = jnp.stack([jnp.array([0.01, -0.02]), jnp.full(2, -4.0)], axis=-1)
    action_scale = jnp.array([0.1, 2.0])
    np.testing.assert_allclose(far.mode(raw), action_scale * raw[:, 0], rtol=1e-3)
    for spec in (near, far):
        np.testing.assert_allclose(spec.coordinates(action_scale), 1.0, rtol=1e-6)
        assert float(spec.bc_dist(action_scale, 0.0 * action_scale)) == pytest.approx(2.0)
        # Far from the limits a Gaussian is a Gaussian.
        np.testing.assert_allclose(spec.log_prob(raw, 0.03 * action_scale), near.log_prob(raw, 0.03 * action_scale), rtol=1e-2)
    np.testing.assert_allclose(far.at(jnp.array([1e4, -1e4])), [50.0, -1000.0])


@each_spec
def test_shapes_and_batch_axes(spec):
    @jax.jit
    def everything(raw):
        action, log_prob = spec.sample(raw, jax.random.key(1))
        tame = spec.project(action)
        together, one_by_one = spec.log_prob(raw, tame), jax.vmap(jax.vmap(spec.log_prob))(raw, tame)
        apart, same = spec.bc_dist(action, spec.mode(raw)), spec.bc_dist(action, action)
        anywhere = spec.at(2.0 * jax.random.normal(jax.random.key(3), action.shape))
        named = (tame, spec.at(spec.coordinates(tame)), anywhere, spec.project(anywhere))
        return action, log_prob, spec.mode(raw), together, one_by_one, apart, same, spec.random(jax.random.key(2), (7, 3)), named

    raw = jax.random.normal(jax.random.key(0), (5, 2, *spec.raw_shape))
    action, log_prob, mode, together, one_by_one, apart, same, (proposal, density), named = everything(raw)
    assert action.shape == mode.shape == (5, 2, *spec.shape) and log_prob.shape == apart.shape == (5, 2)
    assert proposal.shape == (7, 3, *spec.shape) and density.shape == (7, 3)
    np.testing.assert_allclose(one_by_one, together, rtol=1e-5, atol=1e-5)
    assert np.all(np.asarray(apart) > 0.0) and np.all(np.asarray(same) == 0.0)
    # Coordinates name actions, and any coordinates name one.
    tame, again, anywhere, inside = named
    np.testing.assert_allclose(again, tame, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(inside, anywhere, rtol=1e-4, atol=3e-4)


@each_spec
def test_the_density_of_a_draw_is_the_density_at_it(spec, x64):
    raw = 0.5 * jax.random.normal(jax.random.key(0), (200, *spec.raw_shape))  # tanh stays invertible
    action, log_prob = spec.sample(raw, jax.random.key(1))
    np.testing.assert_allclose(log_prob, spec.log_prob(raw, action), rtol=1e-6, atol=1e-6)


def test_dirichlet_integrates_to_one_on_a_grid():
    cells = 300
    edge = (np.arange(cells) + 0.5) / cells
    x, y = (axis.ravel() for axis in np.meshgrid(edge, edge))
    inside = x + y < 1.0
    points = jnp.asarray(np.stack([x, y, 1.0 - x - y], axis=-1)[inside], jnp.float32)
    for concentration in ([1.5, 2.0, 3.0], [1.0, 1.0, 1.0], [6.0, 2.0, 9.0]):
        density = jnp.exp(Simplex(3).log_prob(raw_of(concentration)[None], points))
        assert float(jnp.sum(density)) / cells**2 == pytest.approx(1.0, abs=5e-3)


def test_beta_tanh_gaussian_and_counts_integrate_to_one():
    cells = 20_000
    unit = jnp.asarray((np.arange(cells) + 0.5) / cells)[:, None]
    raw = jnp.array([[[0.3, -0.5]]])
    assert float(jnp.mean(jnp.exp(Box((3.0,)).log_prob(raw, 6.0 * unit - 3.0)))) * 6.0 == pytest.approx(1.0, abs=1e-3)
    beta = raw_of([[[2.5, 1.5]]])
    assert float(jnp.mean(jnp.exp(UnitBox(1).log_prob(beta, unit)))) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(
        UnitBox(1).log_prob(beta, unit[::999]), scipy.stats.beta(2.5, 1.5).logpdf(unit[::999, 0]), rtol=1e-4, atol=1e-4
    )
    counts = Counts(1, 10.0, 100.0)  # a density per 10 vehicles
    assert float(jnp.mean(jnp.exp(counts.log_prob(raw, 200.0 * unit - 100.0)))) * 20.0 == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    "scale, deviation, of",
    [(1.0, "exp", lambda x: np.exp(np.clip(x, -20, 2))), (10.0, "softplus", lambda x: np.log1p(np.exp(x)))],
)
def test_counts_are_the_originals_normals(scale, deviation, of):
    """Of its IQL in vehicles and its CQL in tens of them: softplus means, and what it makes of the other head."""
    spec, random = Counts(5, scale, 100.0, "original", deviation), np.random.default_rng(0)
    raw, action = 3.0 * random.normal(size=(7, 5, 2)), 50.0 * random.random((7, 5))
    normal = scipy.stats.norm(np.log1p(np.exp(raw[..., 0])), of(raw[..., 1]))
    found = spec.log_prob(*(jnp.asarray(x, jnp.float32) for x in (raw, action)))
    np.testing.assert_allclose(found, normal.logpdf(action / scale).sum(axis=-1), rtol=1e-3)
    many = jnp.broadcast_to(jnp.asarray(raw[0], jnp.float32), (40_000, 5, 2))
    drawn, _ = spec.sample(many, jax.random.key(0))
    mean, std = normal.mean()[0], normal.std()[0]
    np.testing.assert_allclose(drawn.mean(axis=0) / scale, mean, atol=5 * std.max() / 200)
    np.testing.assert_allclose(drawn.std(axis=0) / scale, std, rtol=0.03)
    np.testing.assert_allclose(spec.mode(many[:1])[0] / scale, mean, rtol=1e-5)


def test_dirichlet_agrees_with_scipy_in_value_and_moments():
    concentration = np.array([0.4, 1.0, 2.5, 6.0])
    spec, raw = Simplex(4), raw_of(concentration)
    action, log_prob = spec.sample(jnp.broadcast_to(raw, (20_000, 4)), jax.random.key(0))
    expected = scipy.stats.dirichlet(concentration)
    np.testing.assert_allclose(action.mean(axis=0), expected.mean(), atol=0.01)
    np.testing.assert_allclose(action.var(axis=0), expected.var(), atol=0.003)
    np.testing.assert_allclose(-log_prob.mean(), expected.entropy(), atol=0.05)
    np.testing.assert_allclose(spec.mode(raw), expected.mean(), rtol=1e-5)
    inner = np.asarray(spec.project(action[:50]), np.float64)
    inner /= inner.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(
        spec.log_prob(raw[None], jnp.asarray(inner, jnp.float32)), [expected.logpdf(row) for row in inner], rtol=1e-3
    )


def test_gamma_draws_follow_the_gamma_law():
    draw = jax.jit(log_gamma)
    for concentration in (0.05, 0.7, 1.0, 4.0, 300.0):
        draws = np.exp(np.asarray(draw(jax.random.key(3), jnp.full(4000, concentration)), np.float64))
        assert scipy.stats.kstest(draws, scipy.stats.gamma(concentration).cdf).pvalue > 1e-3


def test_gamma_gradient_against_finite_differences_of_the_distribution_function(x64):
    """A draw x(a) keeps its quantile: dx/da = -(dF/da) / density. Above one only the implicit part is left."""
    from ohio_jax.networks.gamma import _log_gamma_above_one as sample

    concentration = jnp.array([1.001, 1.5, 3.0, 12.0, 200.0])
    key, step = jax.random.key(0), 1e-5
    log_draw, slope = jax.jvp(lambda a: sample(key, a), (concentration,), (jnp.ones(5),))
    x, a = np.exp(log_draw), np.asarray(concentration)
    quantile_shift = (scipy.special.gammainc(a + step, x) - scipy.special.gammainc(a - step, x)) / (2 * step)
    expected = -quantile_shift / scipy.stats.gamma(a).pdf(x) / x
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


def test_sample_gradients_have_the_gradient_of_the_mean():
    """d E[share_0] / d raw is known; draws must give it on average, with small concentrations too."""
    spec, raw = Simplex(3), raw_of([0.3, 1.2, 2.0])
    keys = jax.random.split(jax.random.key(0), 20_000)
    slopes = jax.jit(jax.vmap(lambda key: jax.grad(lambda raw: spec.sample(raw, key)[0][0])(raw)))(keys)
    expected = jax.grad(lambda raw: spec.mode(raw)[0])(raw)
    error = np.asarray(slopes.std(axis=0)) / math.sqrt(len(keys))
    assert np.all(np.abs(slopes.mean(axis=0) - expected) < 5.0 * error)
    assert np.all(error < 0.2 * np.abs(expected).max())


def test_smooth_samplers_against_finite_differences(x64):
    key, step = jax.random.key(0), 1e-6
    for spec in (Box((1.0, 1.0, 1.0)), Counts(3, 2.0, 50.0), Counts(3, 2.0, 50.0, deviation="softplus")):
        raw, toward = jax.random.normal(jax.random.key(1), (2, *spec.raw_shape))
        outputs = lambda t, spec=spec, raw=raw, toward=toward: jnp.concatenate(
            [spec.sample(raw + t * toward, key)[0], spec.sample(raw + t * toward, key)[1][None]]
        )
        _, slope = jax.jvp(outputs, (0.0,), (1.0,))
        np.testing.assert_allclose(slope, (outputs(step) - outputs(-step)) / (2 * step), rtol=1e-6, atol=1e-7)


def test_densities_of_random_actions():
    density = lambda spec: float(spec.random(jax.random.key(0), ())[1])
    assert density(Box((1.0, 1.0, 1.0))) == pytest.approx(-3 * math.log(2))
    assert density(Simplex(14)) == pytest.approx(22.5522, abs=1e-3)
    assert density(Simplex(17)) == pytest.approx(30.6719, abs=1e-3)
    assert density(Simplices(2, 14)) == pytest.approx(2 * 22.5522, abs=1e-3)
    assert density(UnitBox(5)) == 0.0
    assert density(Product((Simplex(4), Box((1.0,))))) == pytest.approx(math.log(6) - math.log(2))
    # Figures of the original for its New York fleet of 1,498 in tens of vehicles, and what they should be.
    assert density(Counts(196, 10.0, 1498.0)) == pytest.approx(-982, abs=0.5)
    assert density(Counts(196, 10.0, 1498.0, "original")) == pytest.approx(-103.8, abs=0.05)


def test_random_actions_have_the_density_they_claim():
    uniform, density = Simplex(4).random(jax.random.key(0), (20_000,))
    flat = Simplex(4).log_prob(raw_of([1.0, 1.0, 1.0, 1.0])[None], uniform)
    np.testing.assert_allclose(flat, density, atol=1e-3)
    np.testing.assert_allclose(uniform.mean(axis=0), 0.25, atol=0.01)
    np.testing.assert_allclose(uniform.var(axis=0), scipy.stats.dirichlet([1, 1, 1, 1]).var(), atol=0.003)
    spread, _ = Counts(2, 10.0, 80.0).random(jax.random.key(0), (20_000,))
    assert scipy.stats.kstest(np.asarray(spread[:, 0]), scipy.stats.uniform(0.0, 80.0).cdf).pvalue > 1e-3


@each_spec
@given(data=st.data())
def test_project_makes_the_density_finite(spec, data):
    numbers = st.floats(-3.0, 3.0, width=32) | st.sampled_from([0.0, 1.0, -1.0, 1e-30])
    wild = data.draw(arrays.arrays(np.float32, spec.shape, elements=numbers))
    tame = spec.project(jnp.asarray(wild))
    assert np.all(np.isfinite(spec.log_prob(jnp.zeros(spec.raw_shape), tame)))
    np.testing.assert_allclose(spec.project(tame), tame, atol=2e-5)


def test_project_keeps_shares_above_the_floor_and_summing_to_one():
    spec = Simplex(4, floor=1e-3)
    tame = np.asarray(spec.project(jnp.array([[0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 0.0, 5.0], [-1.0, 0.25, 0.25, 0.5]])))
    np.testing.assert_allclose(tame.sum(axis=-1), 1.0, rtol=1e-6)
    assert tame.min() > 0.99e-3
    np.testing.assert_allclose(tame[0], 0.25)
    np.testing.assert_allclose(tame[1:], [[0.5, 0.0, 0.0, 0.5], [0.0, 0.25, 0.25, 0.5]], atol=2e-3)


@each_spec
def test_nothing_is_infinite_at_extreme_parameters(spec):
    extremes = jnp.repeat(jnp.array([-1e5, -60.0, -8.0, 60.0, 1e5]), 8)
    raw = jnp.broadcast_to(extremes.reshape(-1, *[1] * len(spec.raw_shape)), (40, *spec.raw_shape))

    def everything(raw):
        proposal = spec.project(spec.random(jax.random.key(0), (40,))[0])
        action, log_prob = spec.sample(raw, jax.random.key(1))
        return jnp.sum(action) + jnp.sum(log_prob) + jnp.sum(spec.log_prob(raw, proposal)) + jnp.sum(spec.mode(raw))

    value, slope = jax.jit(jax.value_and_grad(everything))(raw)
    assert np.isfinite(value) and np.all(np.isfinite(slope))


def test_specs_are_hashable_and_equal_by_value():
    again = Product((Simplex(3), UnitBox(2), Simplices(2, 2)))
    assert again == SPECS["product"] and hash(again) == hash(SPECS["product"])
    assert Simplex(3) != Simplex(3, floor=1e-3)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((8.0,), "Box: field limits: expected a tuple of numbers above 0, one of each entry, found 8.0"),
        (((),), "field limits"),
        (((1.0, 0.0),), "field limits"),
        (((1.0, math.inf),), "field limits"),
        (([1.0],), "field limits"),
        (((1.0,), (1.0, 2.0)), "field action_scale"),
        (((1.0,), 1.0), "field action_scale"),
    ],
)
def test_what_is_no_box(fields, words):
    with pytest.raises(UserError, match=words):
        Box(*fields)


@pytest.mark.parametrize(
    ("kind", "fields", "words"),
    [
        (Counts, (0, 1.0, 5.0), "size: expected a whole number from 1 on, found 0"),
        (Counts, (4.0, 1.0, 5.0), "size: expected a whole number from 1 on, found 4.0"),
        (Counts, (4, 0.0, 5.0), "scale: expected a number above 0, found 0.0"),
        (Counts, (4, 1.0, math.inf), "limit: expected a number above 0, found inf"),
        (Counts, (4, 1.0, 5.0, "fair"), "random_density: expected 'exact' or 'original', found 'fair'"),
        (Simplex, (0,), "n: expected a whole number from 1 on, found 0"),
        (Simplex, (3, 0.0), "floor: expected a number above 0 and below 1, found 0.0"),
        (Simplices, (True, 3), "rows: expected a whole number from 1 on, found True"),
        (Simplices, (2, "3"), "n: expected a whole number from 1 on, found '3'"),
        (Simplices, (2, 3, math.nan), "floor: expected a number above 0 and below 1, found nan"),
        (UnitBox, (-1,), "size: expected a whole number from 1 on, found -1"),
        (UnitBox, (1, 1.0), "floor: expected a number above 0 and below 1, found 1.0"),
    ],
)
def test_what_is_no_kind_of_action(kind, fields, words):
    with pytest.raises(UserError, match=f"^{kind.__name__}: field {words}$"):
        kind(*fields)
