"""The city format: published statistics, exact arithmetic, and every way a file can be wrong."""

import ast
import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
from ohio_envs.routing import scenario

from ohio_jax.errors import UserError
from tests.ohio_envs.cities import city, load_content, load_text, published, tiny_content

# regions, graph edges, fleet per region; E[requests] an episode and a step (least, most); live pairs a step (least, most) and
# in all; rates (least, most); mean price; trip steps (mean, least, most); empty steps (the same); asymmetric pairs
COLUMNS = "regions edges vehicles requests per_step live union rates price trip reb asymmetric"
STATISTICS = {
    ("nyc", 3): """14, 56, 107, 2925.0, (100.8, 174.6), (27, 29), 46, (1.8, 32.4), 31.62,
        (6.58, 2, 23), (5.41, 2, 11), 48""",
    ("nyc", 4): """14, 56, 107, 3864.0, (134.4, 232.8), (24, 40), 53, (0.6, 43.2), 30.29,
        (4.76, 1, 17), (4.05, 1, 8), 40""",
    ("shenzhen", 3): """17, 62, 104, 5385.0, (256.5, 285.5), (131, 144), 205, (0.5, 11.5), 21.92,
        (5.08, 1, 22), (5.42, 1, 12), 158""",
    ("shenzhen", 4): """17, 62, 107, 6863.3, (278.7, 380.7), (128, 180), 222, (0.17, 15.3), 21.97,
        (3.79, 1, 16), (4.01, 1, 9), 136""",
}


@published
@pytest.mark.parametrize("name, minutes", STATISTICS)
def test_published_statistics(name, minutes):
    expected = SimpleNamespace(**dict(zip(COLUMNS.split(), ast.literal_eval(f"({STATISTICS[name, minutes]})"), strict=True)))
    c = city(name, minutes)
    lam, price, time = c.lam[:20], c.price[:20], c.pax_time[:20]
    assert (c.regions, int(c.adjacency.sum()), c.vehicles) == (expected.regions, expected.edges, expected.vehicles)
    assert c.cost == 0.5 * minutes
    steps, pairs = lam.sum((1, 2)), (lam > 0).sum((1, 2))
    assert lam.sum() == pytest.approx(expected.requests, abs=0.1)
    assert (steps.min(), steps.max()) == pytest.approx(expected.per_step, abs=0.06)
    assert (pairs.min(), pairs.max()) == expected.live
    assert int((lam > 0).any(0).sum()) == expected.union
    assert (lam[lam > 0].min(), lam.max()) == pytest.approx(expected.rates, abs=0.05)
    assert (lam * price).sum() / lam.sum() == pytest.approx(expected.price, abs=0.006)
    trip = (lam * time).sum() / lam.sum(), time[lam > 0].min(), time.max()
    assert trip == pytest.approx(expected.trip, abs=0.006)
    moves = c.reb_time[~np.eye(c.regions, dtype=bool)]
    assert (moves.mean(), moves.min(), moves.max()) == pytest.approx(expected.reb, abs=0.006)
    assert int((c.reb_time != c.reb_time.T).sum()) == expected.asymmetric


@published
def test_published_imbalance():
    lam = city("nyc", 3).lam[:20].sum(0)
    np.testing.assert_allclose(lam.sum(1), [0, 27, 0, 0, 0, 1080, 567, 9, 18, 18, 81, 378, 738, 9], atol=1e-6)
    np.testing.assert_allclose(lam.sum(0), [45, 99, 90, 0, 36, 162, 1143, 63, 126, 126, 153, 675, 162, 45], atol=1e-6)


@published
def test_only_shenzhen_has_one_way_edges():
    one_way = lambda c: int((c.adjacency & ~c.adjacency.T).sum())
    assert one_way(city("nyc", 4)) == 0 and one_way(city("shenzhen", 3)) == 6


@published
@pytest.mark.parametrize("name, minutes, most", [("nyc", 4, 45), ("nyc", 3, 60), ("shenzhen", 7, 25)])
def test_horizon_ends_with_the_file(name, minutes, most):
    assert city(name, minutes, most).horizon == most
    with pytest.raises(UserError, match=f"horizon: expected at most {most} .*found {most + 1}"):
        city(name, minutes, most + 1)


def test_arithmetic_of_a_tiny_file(tmp_path):
    content = tiny_content()
    content["demand"][0] |= {"demand": 0.6, "price": 22.5, "travel_time": 30}  # first minute of 0 -> 1
    c = load_content(tmp_path, content)
    assert c.name == "tiny" and c.vehicles == 10 and c.cost == 2.0
    assert c.lam.shape == (12, 3, 3)
    assert c.lam[0, 0, 1] == pytest.approx(2.0 * (0.6 + 3 * 0.2)) and c.lam[1, 0, 1] == pytest.approx(1.6)
    assert c.price[0, 0, 1] == pytest.approx((0.6 * 22.5 + 0.6 * 12.5) / 1.2)
    assert c.pax_time[0, 0, 1] == 5  # 20 minutes on average
    assert c.pax_time[1, 0, 1] == 2  # 10 minutes are 2.5 steps: halves round to even
    assert c.reb_time.tolist() == [[0, 2, 2], [2, 0, 2], [2, 2, 0]]  # 7, 8 and 9 minutes
    assert c.lam[:, 0, 2].sum() == 0 and c.price[:, 0, 2].sum() == 0 and c.pax_time[:, 0, 2].sum() == 0
    assert c.adjacency.sum() == 2 and c.adjacency[0, 1]


def test_fleet_hour_is_the_middle_of_the_episode(tmp_path):
    assert load_content(tmp_path, tiny_content(), horizon=20).vehicles == 6  # round(40 / 60) = 1 hour later
    assert load_content(tmp_path, tiny_content(), minutes=3, horizon=20).vehicles == 10  # round(0.5) = 0


def broken(path, value):
    """The tiny file with the value at `path` replaced, or removed if `value` is Ellipsis."""
    content = tiny_content()
    *steps, last = path
    place = content
    for step in steps:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(content)


BROKEN = [
    (json.dumps(tiny_content())[:-40], "expected JSON in UTF-8, found damage"),
    ("", "expected JSON in UTF-8, found damage"),
    ('{"nlat": 3, "nlat": 3}', "field 'nlat': expected once, found twice"),
    ("[" * 100_000, "expected JSON in UTF-8, found damage"),
    (json.dumps(tiny_content()).replace("0.2", "1" * 5000, 1), "expected JSON in UTF-8, found damage"),
    (
        json.dumps(tiny_content()).replace("0.2", "1" * 4000, 1),
        r"demand\[0\].demand: expected a number from 0 to 1e.09, found 1",
    ),
    ("[1, 2]", r"expected a JSON object, found \[1, 2\]"),
    (broken(["nlat"], 0), "nlat: expected an integer from 1 to 4096, found 0"),
    (broken(["nlon"], ...), "nlon: expected an integer from 1 to 4096, found None"),
    (broken(["nlat"], 1), "nlat .* 2 to 1024 regions, found 1"),
    (broken(["nlat"], 4096), "nlat .* 2 to 1024 regions, found 4096"),
    (broken(["demand", 3, "travel_time"], 1e9), r"demand\[3\].travel_time: expected a number from 0 to 1440, found 1000000000.0"),
    (broken(["rebTime", 5, "reb_time"], 1e9), r"rebTime\[5\].reb_time: .*found 1000000000.0"),
    (broken(["totalAcc", 0, "acc"], 0), "totalAcc: expected 3 to 1000000 vehicles in hour 7, for 3 regions, found 0"),
    (broken(["totalAcc", 0, "acc"], 2), "totalAcc: expected 3 to 1000000 vehicles in hour 7, .*found 2"),
    (broken(["totalAcc", 0, "acc"], 10**8), r"totalAcc: .*found 1e\+08"),
    (broken(["demand"], ...), "demand: expected a list of records, found no such field"),
    (broken(["demand"], []), r"demand: expected a list of records, found \[\]"),
    (broken(["demand", 3], 7), r"demand\[3\]: expected a record, found 7"),
    (broken(["demand", 3, "price"], ...), r"demand\[3\].price: expected a number from 0 .*found no such field"),
    (broken(["demand", 3, "price"], float("nan")), r"demand\[3\].price: expected a number from 0 .*found nan"),
    (broken(["demand", 3, "price"], float("inf")), r"demand\[3\].price: .*found inf"),
    (broken(["demand", 3, "price"], "9"), r"demand\[3\].price: .*found '9'"),
    (broken(["demand", 3, "price"], True), r"demand\[3\].price: .*found True"),
    (broken(["demand", 3, "demand"], 1e4), "demand: expected at most 1000 requests .*from region 1 to 2 in step 0"),
    (broken(["demand", 3, "demand"], -0.1), r"demand\[3\].demand: .*found -0.1"),
    (broken(["demand", 3, "travel_time"], None), r"demand\[3\].travel_time: .*found None"),
    (broken(["demand", 3, "time_stamp"], 421.5), r"demand\[3\].time_stamp: expected an integer .*found 421.5"),
    (broken(["demand", 3, "origin"], 3), r"demand\[3\].origin: expected an integer from 0 to 2, found 3"),
    (broken(["demand", 3, "destination"], -1), r"demand\[3\].destination: .*found -1"),
    (broken(["rebTime", 5, "reb_time"], float("nan")), r"rebTime\[5\].reb_time: .*found nan"),
    (broken(["rebTime", 1], ...), "rebTime: expected a record of hour 7 from region 0 to 1, found none"),
    (broken(["totalAcc", 0], ...), r"totalAcc: expected a record of hour 7, found hours \[8\]"),
    (broken(["totalAcc", 0, "acc"], -1), r"totalAcc\[0\].acc: .*found -1"),
    (broken(["topology_graph", 0, "j"], 3), r"topology_graph\[0\].j: expected an integer from 0 to 2, found 3"),
    (broken(["topology_graph"], {}), r"topology_graph: expected a list of records, found \{\}"),
]


@pytest.mark.parametrize("text, message", BROKEN)
def test_broken_file_is_named(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as error:
        load_text(tmp_path, text)
    assert "scenario_tiny.json" in str(error.value) and "\n" not in str(error.value)


def test_a_published_name_asks_for_the_published_content(tmp_path):
    (tmp_path / "c.json").write_text(json.dumps(tiny_content()))
    found = hashlib.sha256((tmp_path / "c.json").read_bytes()).hexdigest()
    assert scenario.load(tmp_path / "c.json", 7, 2.0, 0.5, 4, 5, sha256=found).regions == 3
    with pytest.raises(UserError, match=f"c.json: expected SHA-256 {'0' * 64}, found {found}"):
        scenario.load(tmp_path / "c.json", 7, 2.0, 0.5, 4, 5, sha256="0" * 64)


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(UserError, match=r"no\.json: expected a readable file, found No such file"):
        scenario.load(tmp_path / "no.json", 7, 1.0, 0.5, 4, 5)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"b\.json: expected JSON in UTF-8, found damage"):
        scenario.load(tmp_path / "b.json", 7, 1.0, 0.5, 4, 5)


def test_clipping_order_is_the_original_s():
    order = scenario.clipping_order(14)
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(14), (14, 1)))
    edges = list({(i, j) for i in range(14) for j in (i, *(j for j in range(14) if j != i))})
    assert edges[:5] == [(12, 4), (4, 0), (4, 9), (5, 1), (8, 0)]  # as published; else CPython hashes tuples anew
    assert order[4].tolist() == [j for i, j in edges if i == 4]


def test_ranking_prefers_the_dearest_then_the_first():
    price = np.zeros((19, 4, 4))
    price[:, 0, 1:] = [5.0, 9.0, 5.0 + 1e-12]
    flat = scenario.synthetic(4, seed=1, horizon=6)
    c = scenario.City(**(vars(flat) | {"price": price, "lam": np.sign(price), "pax_time": np.sign(price).astype(int)}))
    s = scenario.prepare(c)
    # In float32 the second and third price are equal.
    assert s.destination[0, :, 0].tolist() == [2, 3, 1] and s.trip_time[0, :, 0].tolist() == [1, 1, 1]
    assert s.trip_time[0, :, 1].tolist() == [0, 0, 0]


def test_tables_look_ahead():
    c = scenario.synthetic(5, seed=3, horizon=8)
    s = scenario.prepare(c)
    revenue, rate = (c.lam * c.price).sum(2), c.lam.sum(2)
    np.testing.assert_allclose(s.value[3, :, 0], 0.01 * revenue[4], rtol=1e-5)
    np.testing.assert_allclose(s.value[8, :, 5], 0.01 * revenue[14], rtol=1e-5)
    np.testing.assert_array_equal(s.forecast[2], np.rint(rate[3:9].mean(0)))
    np.testing.assert_allclose(s.shares[2], rate[3:8].sum(0) / rate[3:8].sum(), rtol=1e-5)


def test_an_empty_forecast_shares_evenly():
    c = scenario.synthetic(5, seed=3, horizon=8)
    lam = c.lam.copy()
    lam[4:] = 0.0
    s = scenario.prepare(scenario.City(**(vars(c) | {"lam": lam})))
    np.testing.assert_allclose(s.shares[3], 0.2, rtol=1e-6)


@pytest.mark.parametrize("regions", [2, 10, 256])
def test_synthetic_city_is_sound(regions):
    c = scenario.synthetic(regions, seed=4)
    live = c.lam > 0
    assert c.regions == regions and (c.lam >= 0).all() and np.isfinite(c.price).all()
    assert (c.pax_time[live] >= 1).all() and (c.pax_time[~live] == 0).all()
    assert (c.price - c.cost * c.pax_time)[live].min() > 0  # every trip pays
    assert (c.reb_time[~np.eye(regions, dtype=bool)] >= 1).all() and not c.reb_time.diagonal().any()
    assert not c.adjacency.diagonal().any()
    if regions > 2:
        assert (c.reb_time != c.reb_time.T).any()
    again, other = scenario.synthetic(regions, seed=4), scenario.synthetic(regions, seed=5)
    assert np.array_equal(c.lam, again.lam) and not np.array_equal(c.lam, other.lam)


def test_synthetic_city_needs_two_regions():
    with pytest.raises(UserError, match="regions: expected at least 2, found 1"):
        scenario.synthetic(1)
