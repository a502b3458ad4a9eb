"""Low levels of vehicle routing: rounding of shares, and what the three controllers do with a goal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax.controllers import CONTROLLERS, requests, shares, transport
from ohio_jax.controllers.transport import counts
from ohio_jax.solvers.transport import perturb

rounded = jax.jit(counts, static_argnames="rounding")

reals = st.floats(-1e6, 1e6, width=32)


def split(total, regions, draw):
    """Int[regions] that sum to `total`, often with empty regions and with one that holds nearly all."""
    weight = np.array(draw(st.lists(st.sampled_from([0, 0, 1, 2, 3, 50, 1000, 10**6]), min_size=regions, max_size=regions)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.multinomial(total, weight / weight.sum() if weight.any() else np.full(regions, 1 / regions))


@settings(max_examples=200)
@given(data=st.data(), regions=st.sampled_from([1, 2, 14, 17, 64, 256]), total=st.integers(0, 100_000))
def test_counts_returns_counts(data, regions, total):
    k = split(total, regions, data.draw)
    share = k.astype(np.float32) / np.float32(max(total, 1))
    if total:
        np.testing.assert_array_equal(rounded(share, total), k)
    assert rounded(share, total).sum() == total


def test_counts_returns_counts_where_small_shares_bias_their_sum():
    """255 equal crumbs beside one big share: their sum in float32 is off by most of a vehicle."""
    for crumb in range(1, 60):
        k = np.full(256, crumb)
        k[7] = 100_000 - 255 * crumb
        share = k.astype(np.float32) / np.float32(100_000)
        np.testing.assert_array_equal(rounded(share, 100_000), k)
        np.testing.assert_array_equal(rounded(7.3 * share, 100_000), k)


@settings(max_examples=200)
@given(share=st.lists(reals, min_size=5, max_size=5), total=st.integers(0, 100_000))
def test_counts_of_any_real_vector(share, total):
    share = np.array(share, np.float32)
    k = np.asarray(rounded(share, total))
    assert k.sum() == total and k.min() >= 0
    positive = np.maximum(share.astype(np.float64), 0)
    # What counts as zero in float32 on the device, it flushes to zero.
    positive = np.where(positive < 1e-30, 0, positive)
    quota = total * (positive / positive.sum() if positive.any() else np.full(5, 0.2))
    assert np.abs(k - quota).max() < 1.1
    if positive.any():
        assert not k[(positive == 0) & (share <= 0)].any()


def test_counts_breaks_ties_to_the_lowest_index():
    np.testing.assert_array_equal(rounded(np.full(4, 0.25, np.float32), 6), [2, 2, 1, 1])
    np.testing.assert_array_equal(rounded(np.array([0, 0.5, 0, 0.5], np.float32), 1), [0, 1, 0, 0])


def test_counts_survives_a_diverged_policy():
    np.testing.assert_array_equal(rounded(np.array([np.nan, 1.0, 1.0], np.float32), 4), [0, 2, 2])
    np.testing.assert_array_equal(rounded(np.zeros(3, np.float32), 4), [2, 1, 1])
    np.testing.assert_array_equal(rounded(-np.ones(3, np.float32), 3), [1, 1, 1])


def test_floor_is_the_originals():
    share = np.array([0.33, 0.33, 0.34], np.float32)
    np.testing.assert_array_equal(rounded(share, 10, rounding="floor"), [3, 3, 3])
    rng = np.random.default_rng(0)
    for total in (250, 1498):
        share = rng.dirichlet(np.ones(14)).astype(np.float32)
        k = np.asarray(rounded(share, total, rounding="floor"))
        np.testing.assert_array_equal(k, np.floor(share * np.float32(total)))
        assert total - 14 <= k.sum() <= total


def world(n=14, seed=0, batch=200):
    rng = np.random.default_rng(seed)
    tau = rng.integers(1, 13, (n, n))
    np.fill_diagonal(tau, 0)
    fleet = np.linspace(0, 1400, batch).astype(int)
    idle = np.stack([rng.multinomial(f, rng.dirichlet(np.ones(n))) for f in fleet]).astype(np.int32)
    goal = rng.dirichlet(np.ones(n), batch).astype(np.float32)
    return perturb(tau), idle, goal


@pytest.mark.parametrize("rounding", ["largest_remainder", "floor"])
def test_transport_reaches_what_the_goal_asks(rounding):
    cost, idle, goal = world()
    params = transport.Params(cost, rounding)
    assert transport.init(params) == ()
    act = jax.jit(jax.vmap(lambda s, g: transport.act(params, (), s, g)[0]))
    flows = np.asarray(act(idle, goal))
    asked = np.asarray(jax.vmap(lambda g, t: counts(g, t, rounding))(goal, idle.sum(1)))
    assert flows.min() >= 0
    np.testing.assert_array_equal(flows.sum(2), idle)
    surplus = flows.sum(1) - asked
    assert surplus.min() >= 0
    assert surplus.sum(1).max() == 0 if rounding == "largest_remainder" else 0 < surplus.sum(1).max() <= 14
    # What nobody asked for stays at home: a region with more than asked holds at least so many of its own.
    assert not np.any((surplus > 0) & (surplus > np.diagonal(flows, axis1=1, axis2=2)))


def test_transport_moves_nobody_toward_what_is():
    cost, idle, _ = world()
    params = transport.Params(cost)
    share = (idle / np.maximum(idle.sum(1, keepdims=True), 1)).astype(np.float32)
    flows = jax.jit(jax.vmap(lambda s, g: transport.act(params, (), s, g)[0]))(idle, share)
    np.testing.assert_array_equal(flows, idle[:, :, None] * np.eye(14, dtype=np.int32))


def test_shares_sends_every_vehicle_somewhere():
    rng = np.random.default_rng(0)
    idle = rng.integers(0, 50, 6).astype(np.int32)
    goal = rng.dirichlet(np.ones(6), 6).astype(np.float32)
    flows, memory = shares.act(shares.Params(), shares.init(shares.Params()), idle, goal)
    assert memory == () and np.min(flows) >= 0
    np.testing.assert_array_equal(np.sum(flows, axis=1), idle)
    assert np.abs(flows - goal * idle[:, None]).max() < 1
    np.testing.assert_array_equal(shares.act(shares.Params(), (), idle, goal.reshape(-1))[0], flows)
    np.testing.assert_array_equal(shares.act(shares.Params(), (), idle, -goal)[0], np.diag(idle))


def test_requests_truncates_toward_zero():
    goal = np.array([9.0, 2.9, -3.7, 0.2], np.float32)
    flows, _ = requests.act(requests.Params(), requests.init(requests.Params()), np.array([5, 5], np.int32), goal)
    np.testing.assert_array_equal(flows, [[9, 2], [0, 0]])
    assert flows.dtype == jnp.int32


def test_registry_modules_honour_the_contract():
    assert {"transport", "shares", "requests", "direct", "lqr", "mpc", "ilqr", "convex"} <= set(CONTROLLERS)
    assert {"osc", "joint_impedance"} <= set(CONTROLLERS)
    for name, module in CONTROLLERS.items():
        assert module.__name__ == f"ohio_jax.controllers.{name}"
        assert all(callable(getattr(module, function)) for function in ("Params", "init", "plan", "act", "problem"))
