"""Scores against closed forms, and intervals against SciPy's bootstrap."""

import jax
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ohio_jax import scores
from ohio_jax.errors import UserError

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
TABLE = RNG.normal([40.0, 60.0, 80.0], [5.0, 20.0, 1.0], size=(10, 3))  # Float[runs, strata], unequal spreads

# Small integers among the scores make ties likely.
values = st.floats(-100, 100, width=32) | st.integers(0, 3).map(float)
table = lambda *shapes: st.sampled_from(shapes).flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=values))


def scipy_interval(statistic):
    """95 % percentile interval with each stratum resampled on its own."""
    pooled = lambda *columns, axis: statistic(np.concatenate(columns, axis=axis), axis=axis)
    options = {"n_resamples": 20_000, "method": "percentile", "rng": np.random.default_rng(1)}
    return scipy.stats.bootstrap(tuple(TABLE.T), pooled, **options).confidence_interval


def test_normalize():
    assert scores.normalize([2.0, 6.0, 10.0], 2.0, 10.0).tolist() == [0.0, 50.0, 100.0]
    assert scores.normalize(np.full((2, 3), 5.0), 0.0, 4.0).shape == (2, 3)
    assert scores.normalize(-1.0, 0.0, -4.0) == 25.0
    # float64 inside: large returns that differ by a cent keep their difference.
    assert np.diff(scores.normalize([1e9, 1e9 + 0.01], 0.0, 100.0))[0] == pytest.approx(0.01, rel=1e-4)


def test_normalize_needs_two_references():
    with pytest.raises(UserError, match=r"found 3\.0 for both"):
        scores.normalize([1.0], 3.0, 3.0)


@given(table((1, 1), (2, 3), (7, 1), (5, 4)))
def test_aggregates_equal_scipy(table):
    assert float(scores.mean(table)) == pytest.approx(table.astype(np.float64).mean(), rel=1e-5, abs=1e-3)
    assert float(scores.std(table)) == pytest.approx(table.astype(np.float64).std(), rel=1e-4, abs=1e-3)
    trimmed = scipy.stats.trim_mean(table.astype(np.float64), 0.25, axis=None)
    assert float(scores.interquartile_mean(table)) == pytest.approx(trimmed, rel=1e-5, abs=1e-3)


def test_interquartile_mean_by_hand():
    assert float(scores.interquartile_mean([1e6, 1.0, 2.0, -1e6])) == 1.5
    assert float(scores.interquartile_mean([[7.0]])) == 7.0


@given(table((1, 3), (5, 3)), table((1, 3), (4, 3)))
def test_probability_of_improvement_equals_mann_whitney(ours, theirs):
    pairs = len(ours) * len(theirs)
    strata = zip(ours.T, theirs.T, strict=True)
    expected = np.mean([scipy.stats.mannwhitneyu(a, b).statistic / pairs for a, b in strata])
    found = float(scores.probability_of_improvement(ours, theirs))
    assert found == pytest.approx(expected, abs=1e-6)
    assert found + float(scores.probability_of_improvement(theirs, ours)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "reference"),
    [(scores.mean, np.mean), (scores.interquartile_mean, lambda x, axis: scipy.stats.trim_mean(x, 0.25, axis=axis))],
    ids=["mean", "interquartile_mean"],
)
def test_interval_equals_scipys(ours, reference):
    low, high = scores.interval(KEY, TABLE, statistic=ours)
    expected = scipy_interval(reference)
    tolerance = 0.03 * (expected.high - expected.low)
    assert low == pytest.approx(expected.low, abs=tolerance)
    assert high == pytest.approx(expected.high, abs=tolerance)


def test_interval_of_a_mean_has_its_closed_form():
    # A mean of strata means, each of n draws from that stratum: variance sum_t var_t / n / T^2, nearly normal.
    table = RNG.normal([0.0, 100.0], [1.0, 3.0], size=(400, 2))
    deviation = np.sqrt(table.var(axis=0).sum() / 400) / 2
    for confidence in (0.8, 0.95):
        width = scipy.stats.norm.ppf(0.5 + confidence / 2) * deviation
        low, high = scores.interval(KEY, table, confidence=confidence)
        assert (low, high) == pytest.approx((table.mean() - width, table.mean() + width), abs=0.05 * width)


def test_median_is_of_the_strata_means():
    assert float(scores.median([[0.0, 10.0, 50.0], [2.0, 30.0, 50.0]])) == 20.0


def test_optimality_gap_of_normal_scores_has_its_closed_form():
    # E max(c - X, 0) of X ~ N(m, s) is (c - m) Phi(z) + s phi(z), z = (c - m) / s.
    sample = np.random.default_rng(3).normal(90.0, 20.0, 200_000)
    z = (100.0 - 90.0) / 20.0
    expected = 10.0 * scipy.stats.norm.cdf(z) + 20.0 * scipy.stats.norm.pdf(z)
    assert float(scores.optimality_gap(sample)) == pytest.approx(expected, rel=5e-3)
    assert float(scores.optimality_gap([120.0, 40.0])) == 30.0
    assert float(scores.optimality_gap([0.5], full=2.0)) == 1.5


def test_performance_profile_is_one_less_the_distribution():
    thresholds = np.array([-10.0, 40.0, 59.5, 80.0, TABLE[0, 1], 200.0])
    expected = scipy.stats.ecdf(TABLE.ravel()).sf.evaluate(thresholds)
    found = scores.performance_profile(TABLE, thresholds)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-15)


def _shares(table):
    return scores.performance_profile(table, np.array([45.0, 70.0]))


def test_interval_of_a_profile_is_binomial():
    # With one stratum the resampled share of runs above a threshold is Binomial(n, share) / n.
    runs = np.random.default_rng(4).normal(60.0, 20.0, (50, 1))
    low, high = scores.interval(KEY, runs, statistic=_shares)
    share = (runs > np.array([[45.0, 70.0]])).mean(axis=0)
    step = 1 / 50 + 1e-9
    np.testing.assert_allclose(low, scipy.stats.binom.ppf(0.025, 50, share) / 50, rtol=0, atol=step)
    np.testing.assert_allclose(high, scipy.stats.binom.ppf(0.975, 50, share) / 50, rtol=0, atol=step)


def test_ranks():
    assert scores.ranks([5.0, 1.0, 4.0], [6.0, 2.0, 5.5]).tolist() == [[1, 2], [3, 3], [1, 2]]
    assert scores.ranks([0.0, 1.0], [1.0, 2.0]).tolist() == [[1, 2], [1, 2]]  # intervals that touch are a tie
    assert scores.ranks([3.0], [4.0]).tolist() == [[1, 1]]
    # A long interval is tied with two that are not tied with each other.
    assert scores.ranks([0.0, 0.0, 8.0], [10.0, 2.0, 9.0]).tolist() == [[1, 3], [2, 3], [1, 2]]


def test_intervals_are_counted_in_float64():
    table = 1e8 + np.array([[0.0], [1.0], [2.0], [3.0]])  # float32 knows only every eighth of these
    low, high = scores.interval(KEY, table)
    assert (low, high) == pytest.approx((1e8 + 0.5, 1e8 + 2.5), abs=0.26)
    assert scores.mean(table) == 1e8 + 1.5


def test_strata_are_not_mixed():
    constant = np.tile([0.0, 50.0, 100.0], (5, 1))
    assert scores.interval(KEY, constant) == pytest.approx((50.0, 50.0), abs=1e-4)


def test_interval_of_one_run_is_a_point():
    assert scores.interval(KEY, [[3.0]]) == (3.0, 3.0)


def test_interval_of_two_samples():
    better = TABLE + 20.0
    low, high = scores.interval(KEY, better, TABLE[:7], statistic=scores.probability_of_improvement)
    assert 0.5 < low <= float(scores.probability_of_improvement(better, TABLE[:7])) <= high <= 1.0
    # The samples are drawn independently of each other: against itself a sample wins half the time, with some spread.
    low, high = scores.interval(KEY, TABLE, TABLE, statistic=scores.probability_of_improvement)
    assert 0.2 < low < 0.4
    assert 0.6 < high < 0.8


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 4), (8, 8), (100, 3)])
def test_runs_are_drawn_as_jax_draws_a_table(shape):
    """Whatever length is drawn: each number of a table is one that `randint` gives for the table's own shape."""
    table = np.arange(np.prod(shape), dtype=float).reshape(shape)
    spread = lambda tables: tables.reshape(-1, table.size)  # every entry a statistic of its own; of one resample the entries
    low, high = scores.interval(KEY, table, statistic=spread, resamples=1)
    (key,) = jax.random.split(jax.random.split(KEY, 1)[0], 1)
    rows = np.asarray(jax.random.randint(key, shape, 0, shape[0]))
    np.testing.assert_array_equal(low, np.take_along_axis(table, rows, axis=0).ravel())
    np.testing.assert_array_equal(low, high)


def test_the_key_decides():
    once, again = scores.interval(KEY, TABLE, resamples=501), scores.interval(KEY, TABLE, resamples=501)
    assert once == again
    assert once != scores.interval(jax.random.key(1), TABLE, resamples=501)


def test_students_interval_has_its_closed_form_and_covers():
    low, high = scores.t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2.0 - 4.302653 / 3**0.5, 2.0 + 4.302653 / 3**0.5), rel=1e-6)
    assert scores.t_interval([1.0]) == (-np.inf, np.inf)
    runs = np.random.default_rng(0).normal(5.0, 2.0, (2_000, 5))
    inside = [low <= 5.0 <= high for low, high in map(scores.t_interval, runs)]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
