"""Scores against closed forms; intervals, comparisons and corrections against SciPy and by hand."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ohio_jax import scores
from ohio_jax.errors import UserError

RNG = np.random.default_rng(0)
TABLE = RNG.normal([40.0, 60.0, 80.0], [5.0, 20.0, 1.0], size=(10, 3))  # Float[runs, strata], unequal spreads

# Small integers among the scores make ties likely.
values = st.floats(-100, 100, width=32) | st.integers(0, 3).map(float)
table = lambda *shapes: st.sampled_from(shapes).flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=values))


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


# --- Intervals and comparisons --------------------------------------------------------------------------------------

runs = lambda *shape: hnp.arrays(np.float64, shape, elements=st.floats(-100, 100, width=32))


@given(runs(5))
def test_t_interval_equals_scipys(of):
    scale = scipy.stats.sem(of)
    expected = scipy.stats.t.interval(0.95, 4, loc=of.mean(), scale=scale) if scale else (of.mean(), of.mean())
    assert scores.t_interval(of) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert np.stack(scores.t_interval([of, 2 * of]), axis=1)[1] == pytest.approx(2 * np.array(expected), rel=1e-9, abs=1e-9)


def test_t_interval_by_hand():
    low, high = scores.t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2.0 - 4.302653 / 3**0.5, 2.0 + 4.302653 / 3**0.5), rel=1e-6)
    assert scores.t_interval([1.0]) == (-np.inf, np.inf)
    low, high = scores.t_interval([1e8, 1e8 + 1.0])  # float32 knows only every eighth of these
    assert (low + high) / 2 == 1e8 + 0.5


@given(runs(2, 5))
def test_paired_equals_scipys_test(of):
    ours, theirs = of
    less = ours - theirs
    if np.ptp(less) < 1e-3:
        return
    found, expected = scores.paired(ours, theirs), scipy.stats.ttest_rel(ours, theirs)
    assert found.effect == pytest.approx(less.mean(), abs=1e-9) and found.p == pytest.approx(expected.pvalue, abs=1e-9)
    assert found[1:3] == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9, abs=1e-9)
    turned = scores.paired(theirs, ours)
    assert turned == pytest.approx((-found.effect, -found.high, -found.low, found.p), abs=1e-9)


def test_paired_at_its_edges():
    assert scores.paired([3.0, 4.0], [3.0, 4.0]) == (0.0, -np.inf, np.inf, 1.0)
    assert scores.paired([3.0], [1.0]) == (2.0, -np.inf, np.inf, 1.0)
    with pytest.raises(UserError, match=r"paired: expected two lists of as many runs, found \(2,\) and \(3,\)"):
        scores.paired([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("runs", [2, 5, 6, 10])
def test_differences_that_are_all_the_same_count_as_in_the_sign_test(runs):
    """No deviation was seen, so no p value is smaller than that of so many heads in a row; nor is one of rounding."""
    theirs = np.linspace(40.0, 60.0, runs)
    expected = scipy.stats.binomtest(runs, runs).pvalue
    for ours in (theirs + 0.1, theirs + 0.1 + 1e-7 * np.sin(np.arange(runs))):
        effect, low, high, p = scores.paired(ours, theirs)
        assert (effect, p) == (pytest.approx(0.1), expected)
        assert (high - low == 0.0) if expected <= 0.05 else (low, high) == (-np.inf, np.inf)
        assert np.isfinite(scores.paired(ours, theirs, 1 - 1.01 * expected).low)
        assert np.isinf(scores.paired(ours, theirs, 1 - 0.99 * expected).low)
    assert scores.paired(theirs, theirs).p == 1.0
    apart = theirs + 0.1 + 1e-3 * np.arange(runs)  # which is a deviation
    assert scores.paired(apart, theirs).p == pytest.approx(scipy.stats.ttest_rel(apart, theirs).pvalue)


def test_holm_by_hand():
    # Ordered 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, and never less than one before.
    assert scores.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert scores.holm([0.4, 0.6]) == pytest.approx([0.8, 0.8]) and scores.holm([0.7, 0.9]) == pytest.approx([1.0, 1.0])
    assert scores.holm([0.02]) == pytest.approx([0.02]) and scores.holm([]).shape == (0,)


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_lies_between_none_and_bonferroni_and_keeps_the_order(p):
    adjusted = scores.holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(len(p) * p, 1) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def test_holm_keeps_the_chance_of_any_false_difference():
    """Five equal methods of five runs: of ten comparisons of a table one or more is false in at most 5 % of tables."""
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(2_000, 5, 5)) + rng.normal(size=(2_000, 1, 5))  # a run is as lucky for all
    wrong = np.mean([(scores.ranks(table) != [1, 5]).any() for table in tables])
    assert 0.005 < wrong <= 0.05 + 0.01


def test_ranks():
    apart = [[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.1, 14.0], [5.0, 6.2, 7.0, 8.0]]
    assert scores.ranks(apart).tolist() == [[3, 3], [1, 1], [2, 2]]
    assert scores.ranks([[3.0, 1.0]]).tolist() == [[1, 1]] and scores.ranks([]).shape == (0, 2)
    # Runs that are apart only in the mean are tied; not those of which pairs differ nearly alike. Three that do exactly are few.
    assert scores.ranks([[0.0, 50.0, 100.0], [1.0, 51.1, 101.0]]).tolist() == [[2, 2], [1, 1]]
    assert scores.ranks([[0.0, 50.0, 100.0], [1.0, 51.0, 101.0]]).tolist() == [[1, 2], [1, 2]]
    assert scores.ranks([[0.0, 50.0, 100.0], [101.0, 1.0, 51.0]]).tolist() == [[1, 2], [1, 2]]
    # p is 0.03 alone, and 0.06 as one of two of three comparisons: the correction decides.
    ours, theirs = np.array([2.0, 3.0, 4.6, 5.0, 1.5]), np.array([0.0, 1.0, 4.0, 1.0, 1.0])
    assert 0.017 < scores.paired(ours, theirs).p < 0.05
    assert scores.ranks([ours, theirs]).tolist() == [[1, 1], [2, 2]]
    assert scores.ranks([ours, theirs, ours + np.array([0.1, -0.1, 0.0, 0.0, 0.0])]).tolist() == [[1, 3]] * 3
    # Where one has more runs than the other, those that both have are compared.
    assert scores.ranks([[5.0, 6.0, 7.1, -90.0, 0.0], [1.0, 2.0, 3.0]]).tolist() == [[1, 1], [2, 2]]


@given(runs(4, 3))
def test_jackknife_of_a_mean_is_students_interval_of_the_runs(table):
    for statistic in (scores.mean, lambda table: scores.means(table).mean(axis=-1)):
        expected = scores.t_interval(table.mean(axis=1))
        assert scores.interval(statistic, table) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_jackknife_equals_its_definition():
    whole = scores.interquartile_mean(TABLE)
    rows = range(len(TABLE))
    pseudo = [10 * whole - 9 * scores.interquartile_mean(np.delete(TABLE, row, axis=0)) for row in rows]
    half = scipy.stats.t.ppf(0.975, 9) * scipy.stats.sem(pseudo)
    assert scores.interval(scores.interquartile_mean, TABLE) == pytest.approx((whole - half, whole + half))
    profile = lambda table: scores.performance_profile(table, np.array([45.0, 70.0]))
    low, high = scores.interval(profile, TABLE)  # a share is a mean
    expected = scores.t_interval((TABLE[..., None] > [45.0, 70.0]).mean(axis=1).T)
    np.testing.assert_allclose((low, high), expected, rtol=1e-12)
    assert np.isinf(scores.interval(scores.mean, TABLE[:1])).all()


def test_jackknife_of_two_tables_leaves_the_same_run_out_of_both():
    less = lambda ours, theirs: scores.mean(ours) - scores.mean(theirs)
    expected = scores.paired(TABLE[:7].mean(axis=1), (TABLE + TABLE[:, :1])[:7].mean(axis=1))
    assert scores.interval(less, TABLE[:7], TABLE + TABLE[:, :1]) == pytest.approx((expected.low, expected.high))


def test_collapsed_runs():
    assert scores.collapsed([100.0, 98.0, 48.9]).tolist() == [False, False, True]
    assert scores.collapsed([100.0, 98.0, 49.0]).tolist() == [False, False, False]
    assert scores.collapsed([4.0, 3.0, 0.0]).tolist() == [False, False, False]  # too little to fall from
    assert scores.collapsed([0.0, -1.0, -30.0]).tolist() == [False, False, True] and not scores.collapsed([3.0]).any()
