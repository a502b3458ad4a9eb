"""Coverage of intervals, by simulation."""

import numpy as np
import pytest

from ohio_jax import scores
from ohio_jax.coverage import collapsing, coverage, normal, skewed


@pytest.mark.parametrize("runs", [3, 4, 5, 10])
@pytest.mark.parametrize("draw", [normal, skewed], ids=lambda draw: draw.__name__)
def test_t_intervals_cover_normal_and_moderately_skewed_runs(draw, runs):
    assert 0.93 <= coverage(draw, runs) <= 0.97


@pytest.mark.parametrize(("runs", "expected"), [(3, 0.41), (4, 0.36), (5, 0.41), (10, 0.65)])
def test_no_interval_covers_runs_of_which_some_collapse(runs, expected):
    """Without a collapsed run, which is so in 0.9^n of cells, nothing tells of one; of three or four one is often not enough."""
    found = coverage(collapsing, runs)
    assert found == pytest.approx(expected, abs=0.01) and found <= 1 - 0.9**runs + 0.15


def test_models_have_the_moments_they_say():
    drawn = {draw: draw(np.random.default_rng(1), (400_000,)) for draw in (normal, skewed, collapsing)}
    assert [of.mean() for of in drawn.values()] == pytest.approx([0, 0, 0], abs=0.2)
    assert [drawn[draw].std() for draw in (normal, skewed)] == pytest.approx([1, 1], abs=0.01)
    assert np.mean(drawn[skewed] ** 3) == pytest.approx(1.0, abs=0.05)


def bootstrap(rng, statistic, tables, resamples=200):
    """Percentile intervals, runs drawn anew within each stratum: what the jackknife stands in place of."""
    drawn = [np.take_along_axis(tables, rng.integers(0, tables.shape[-2], tables.shape), axis=-2) for _ in range(resamples)]
    return np.quantile([statistic(of) for of in drawn], [0.025, 0.975], axis=0)


@pytest.mark.parametrize(("runs", "expected"), [(3, 0.74), (4, 0.80), (5, 0.84)])
def test_the_percentile_bootstrap_does_not_cover(runs, expected):
    rng = np.random.default_rng(3)
    low, high = bootstrap(rng, scores.mean, normal(rng, (4_000, runs, 1)), 500)
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("shared", [0.0, 0.5], ids=["independent", "correlated"])
@pytest.mark.parametrize("draw", [normal, skewed], ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("shape", [(5, 8), (10, 4)], ids=str)
def test_jackknife_covers_aggregates_over_strata(shape, draw, shared):
    """Also where strata of a run are correlated, as those of one policy, one seed or one data set are."""
    rng, (runs, strata) = np.random.default_rng(2), shape
    middle, deviation = np.linspace(40.0, 98.0, strata), np.linspace(8.0, 3.0, strata)

    def tables(count, runs):
        own, common = draw(rng, (count, runs, strata)), draw(rng, (count, runs, 1))
        return middle + deviation * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common)

    found, many = tables(5_000, runs), tables(1, 100_000)[0]
    holds = lambda between, truth: np.mean((between[0] <= truth) & (truth <= between[1]))
    for statistic in (scores.mean, scores.interquartile_mean, scores.median, scores.optimality_gap):
        assert 0.925 <= holds(scores.interval(statistic, found), statistic(many)) <= 0.97
    theirs = tables(5_000, runs) - 4.0
    chance = np.mean(many > rng.permutation(many) - 4.0)
    assert 0.90 <= holds(scores.interval(scores.probability_of_improvement, found, theirs), chance) <= 0.97
    share = holds(bootstrap(rng, scores.mean, found[:1_000]), scores.mean(many))
    assert share < 0.8 if shared else share < 0.95
