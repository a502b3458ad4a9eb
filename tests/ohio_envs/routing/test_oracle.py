"""The full-information bound: published means, a city solved by hand, and no policy above it."""

import numpy as np
import pytest
from ohio_envs.routing import demand, oracle, scenario

from tests.ohio_envs.cities import city, line_city, published

# Mean and standard deviation over episodes 0 to 9 of seed 10.
BOUNDS = {
    ("nyc", 3): (53144, 747),
    ("nyc", 4): (65313, 815),
    ("shenzhen", 3): (71719, 661),
    ("shenzhen", 4): (92158, 1272),
}


@published
@pytest.mark.parametrize("name, minutes", BOUNDS)
def test_published_bounds(name, minutes):
    c = city(name, minutes)
    bounds = oracle.bound(c, demand.sample_instances(c, 10, 10))
    assert (bounds.mean(), bounds.std()) == pytest.approx(BOUNDS[name, minutes], abs=0.6)


@pytest.mark.parametrize(
    "steps, best",
    [
        ((), 0),  # nothing to do: no empty move is forced
        ((0,), 2 * 8),
        ((0, 1), 2 * 8),  # no vehicle is back in time
        ((0, 2), 2 * 8 + 2 * 8 - 2 * 1),  # region 1's vehicles come at once
        ((0, 2, 5), 3 * 2 * 8 - 2 * 2 * 1),  # landed in step 2, free at 3, home in step 4, free at 5
        ((0, 2, 4), 2 * 2 * 8 - 2 * 1),  # one step too early for that
    ],
)
def test_by_hand(steps, best):
    requests = np.zeros((1, 6, 2, 2), int)
    requests[0, list(steps), 0, 1] = 2
    assert oracle.bound(line_city(T=6), requests) == pytest.approx([best])


def test_losing_trips_are_refused():
    c = line_city(price=np.full((19, 2, 2), 1.0))  # 2 $ of driving for 1 $
    assert oracle.bound(c, np.full((2, 6, 2, 2), 3)) == pytest.approx([0.0, 0.0])


def test_unpriced_pairs_earn_nothing():
    requests = np.zeros((1, 6, 2, 2), int)
    requests[:, :, 1, 0] = 5
    assert oracle.bound(line_city(), requests) == pytest.approx([0.0])


def test_more_requests_never_hurt():
    c = scenario.synthetic(6, seed=2, horizon=8)
    requests = demand.sample_instances(c, 3, 2)
    more = requests + demand.sample_instances(c, 4, 2)
    assert (oracle.bound(c, more) >= oracle.bound(c, requests)).all()
