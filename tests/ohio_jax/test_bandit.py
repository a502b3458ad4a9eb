"""The bandit protocol against closed forms and a plain loop."""

from math import comb

import jax
import numpy as np
import pytest

from ohio_jax import bandit

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
MEANS = RNG.normal(60.0, 15.0, 24)


def best_of(means, k: int) -> float:
    """Expected largest of k values drawn without replacement."""
    ordered = np.sort(means)
    chances = [comb(i, k - 1) / comb(len(means), k) for i in range(len(means))]
    return float(np.dot(ordered, chances))


def test_returns_without_noise_have_a_closed_form():
    """After k pulls, each of another arm, the best of k is known; after eight nothing changes any more."""
    found = bandit.chosen(KEY, np.tile(MEANS[:, None], (1, 3)), arms=8, pulls=20, trials=4000)
    expected = [best_of(MEANS, min(k, 8)) for k in range(1, 21)]
    np.testing.assert_allclose(found, expected, atol=4 * MEANS.std() / np.sqrt(4000))


def test_fewer_policies_than_arms():
    found = bandit.chosen(KEY, [[1.0, 1.0], [3.0, 3.0]], arms=8, pulls=3, trials=500)
    np.testing.assert_allclose(found, [2.0, 3.0, 3.0], atol=0.2)


@pytest.fixture(scope="module")
def noisy():
    return MEANS[:, None] + RNG.normal(0.0, 20.0, (24, 100))


def test_neither_sign_nor_unit_of_returns_matters(noisy):
    """The published code takes an arm that was never pulled for one of return 0, and has a bonus in units of the returns."""
    found = bandit.chosen(KEY, noisy, pulls=40, trials=200)
    for shift, scale in ((-1000.0, 1.0), (0.0, 1e-3), (5e6, 1e4)):
        again = bandit.chosen(KEY, shift + scale * noisy, pulls=40, trials=200)
        np.testing.assert_allclose((again - shift) / scale, found, rtol=1e-6)


def test_it_equals_a_plain_loop(noisy):
    truth, scale = noisy.mean(axis=1), np.sqrt(noisy.var(axis=1).mean())
    rng = np.random.default_rng(1)
    total = np.zeros(40)
    for _ in range(600):
        arms = rng.permutation(24)[:8]
        seen = [[] for _ in arms]
        for t in range(1, 41):
            bound = [np.mean(of) + scale * np.sqrt(2 * np.log(t) / len(of)) if of else np.inf for of in seen]
            pulled = int(np.argmax(bound))
            seen[pulled].append(noisy[arms[pulled], rng.integers(100)])
            total[t - 1] += truth[arms[int(np.argmax([np.mean(of) if of else -np.inf for of in seen]))]]
    found = bandit.chosen(KEY, noisy, pulls=40, trials=4000)
    np.testing.assert_allclose(found, total / 600, atol=4 * truth.std() * np.sqrt(1 / 600 + 1 / 4000))
    assert found[0] == pytest.approx(truth.mean(), abs=1.0)  # one pull: any of them
    assert found[39] > found[7] > found[0]
