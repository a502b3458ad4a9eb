"""The supply chain against its specification's golden returns and a NumPy reference, in whole and in smooth quantities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.speed.reference_supply_chain import chain
from ohio_envs import registry
from ohio_envs.supply_chain import demand, scenario
from ohio_envs.supply_chain.simulator import SupplyChain, demand_of

from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from tests.reference.supply_chain import NETWORKS, base_stock

NAMES = {"supply-chain-1w3s": scenario.ONE_WAREHOUSE_3, "supply-chain-1w10s": scenario.ONE_WAREHOUSE_10}

# Specification, section 9: returns of the original's test paths, the second to the eleventh of seed 0.
GOLDEN = {
    ("supply-chain-1w3s", "none"): (-6715.5, -6466.0, -6683.5, -6431.5, -6419.5, -6289.5, -6780.5, -6315.5, -6460.0, -6178.0),
    ("supply-chain-1w3s", "s_policy"): (4240.2, 4182.0, 4232.3, 4196.8, 4211.8, 4099.9, 4353.0, 4087.3, 4226.9, 4074.1),
    ("supply-chain-1w3s", "oracle"): (5570.7, 5350.6, 5538.3, 5427.6, 5393.6, 5330.4, 5653.4, 5350.4, 5447.1, 5331.6),
    ("supply-chain-1w10s", "none"): (
        *(-28307.0, -28290.0, -27774.0, -28804.0, -27977.5, -28349.5, -28700.0, -28378.5, -28981.0, -28510.5),
    ),
    ("supply-chain-1w10s", "s_policy"): (
        *(2080.84, 2147.33, 2756.855, 1431.81, 2561.83, 2174.82, 1875.83, 2142.34, 1520.80, 1726.81),
    ),
    ("supply-chain-1w10s", "oracle"): (
        *(13344.42, 13275.15, 13009.94, 13573.09, 13202.78, 13255.12, 13413.13, 13495.10, 13516.52, 13419.98),
    ),
}
# Mean, and share of demand served in its own period, of those policies whose single returns are not published.
MEANS = {
    ("supply-chain-1w3s", "s_policy"): (4190.4, 0.812),
    ("supply-chain-1w3s", "s_policy_intended"): (4412.5, 0.855),
    ("supply-chain-1w3s", "s_policy_fresh"): (4760.8, 0.925),
    ("supply-chain-1w10s", "s_policy_intended"): (2041.9, 0.539),
    ("supply-chain-1w10s", "s_policy_fresh"): (10738.5, 0.883),
}


def played(name, policy, **settings):
    """The original's ten test episodes."""
    task = registry.make(name, {"demand": "numpy"} | settings)
    found = evaluate_policy(task, policy, 11, 0)
    return jax.tree.map(lambda x: np.asarray(x, np.float64)[1:], found)


@pytest.mark.parametrize("name, policy", GOLDEN)
def test_golden_returns(name, policy):
    # Half a cent more than the published digits.
    np.testing.assert_allclose(played(name, policy).returns, GOLDEN[name, policy], atol=6e-3 if "10s" in name else 1e-3)


@pytest.mark.parametrize("name, policy", MEANS)
def test_golden_means(name, policy):
    mean, fill = MEANS[name, policy]
    found = played(name, policy)
    assert found.returns.mean() == pytest.approx(mean, abs=0.051)
    assert found.metrics["served"].sum() / found.metrics["demand"].sum() == pytest.approx(fill, abs=6e-4)


RULE = {"supply-chain-1w3s": (5221.1, 5082.7, 5371.5, 0.940), "supply-chain-1w10s": (12546.0, 12124.3, 12792.9, 0.942)}


@pytest.mark.parametrize("name", RULE)
def test_the_forecast_rule_is_the_published_one(name):
    """Mean, minimum, maximum and fill rate, to the last digit of the specification."""
    found = played(name, "base_stock")
    fill = found.metrics["served"].sum() / found.metrics["demand"].sum()
    numbers = found.returns.mean(), found.returns.min(), found.returns.max()
    assert (*(float(f"{x:.1f}") for x in numbers), float(f"{fill:.3f}")) == RULE[name]
    assert (found.metrics["over_capacity"] == 0).all() and (found.metrics["infeasible_requests"] == 0).all()


@pytest.mark.parametrize("name", RULE)
@pytest.mark.parametrize("source, seed", [("numpy", 7), ("jax", 3)])
def test_the_forecast_rule_is_a_plain_programs(name, source, seed):
    """Which shares no code with the package: order by order, on other demand."""
    task = registry.make(name, {"demand": source})
    logs = collect(task, "base_stock", 20, seed)
    plain = [base_stock(NETWORKS[name], path) for path in np.asarray(task.instances(seed, 20).demand, np.float64)]
    np.testing.assert_array_equal(logs.action, np.concatenate([orders for _, orders in plain]))
    np.testing.assert_allclose(logs.returns, [earned for earned, _ in plain], atol=0.02)


@pytest.mark.parametrize("name, mean", [("supply-chain-1w3s", 5352.9), ("supply-chain-1w10s", 12818.5)])
def test_the_operators_mean(name, mean):
    """Alternative optima move single episodes."""
    found = played(name, "mpc")
    assert found.returns.mean() == pytest.approx(mean, rel=2e-3)
    assert (found.metrics["over_capacity"] == 0).all() and (found.metrics["infeasible_requests"] == 0).all()
    # Nobody beats the bound.
    assert (found.returns <= played(name, "oracle").returns + 1e-2).all()


def test_forecasts():
    s = scenario.published(scenario.ONE_WAREHOUSE_3)
    np.testing.assert_array_equal(s.forecast[:5], [[5, 0, 9], [4, 0, 4], [4, 1, 0], [3, 3, 0], [3, 6, 4]])
    np.testing.assert_array_equal(s.forecast.sum(0), [72, 231, 291])
    path = demand_of(s, jnp.asarray(demand.sample_instances(s, 0, 2)[1]))
    np.testing.assert_array_equal(path[:5], [[6, 0, 10], [2, 0, 5], [4, 0, 0], [4, 2, 0], [2, 7, 4]])
    assert path.sum() == 574


@pytest.mark.parametrize("of", NAMES.values(), ids=list(NAMES))
@pytest.mark.parametrize("lead, lost", [(1, False), (3, False), (2, True)])
def test_any_orders_do_what_they_do_in_the_reference(of, lead, lost):
    """Fractions, negative orders, orders for which there is no stock, and above the limit."""
    s = scenario.published(of, lead=lead, lost=lost)
    env = SupplyChain(s)
    instance = env.sample_instance(jax.random.key(3))
    actions = np.random.default_rng(0).normal(2.0, 6.0, (s.horizon, s.nodes)).astype(np.float32)
    actions[:, -1] += 20.0

    def step(state, action):
        state = env.step(state, action)
        return state, (state.reward, state.metrics, state.pipeline_state)

    _, (reward, metrics, stocks) = jax.jit(lambda a: jax.lax.scan(step, env.reset_to(instance), a))(actions)
    plain = chain(s, instance.demand, instance.queue)
    for t, action in enumerate(actions.astype(np.float64)):
        expected, amounts = plain.step(action)
        np.testing.assert_allclose(reward[t], expected, rtol=1e-5, atol=1e-2)
        np.testing.assert_allclose(stocks.stock[t], plain.stock, atol=1e-4)
        np.testing.assert_allclose(stocks.owed[t], plain.owed, atol=1e-4)
        for name, amount in amounts.items():
            np.testing.assert_allclose(metrics[name][t], amount, rtol=1e-4, atol=1e-2)
    assert metrics["infeasible_requests"].sum() > 0 and metrics["over_capacity"].sum() > 0


def test_the_observation_is_the_originals():
    """Columns of the specification, section 3.1, a few periods into an episode."""
    s = scenario.published(scenario.ONE_WAREHOUSE_3)
    env = SupplyChain(s)
    instance = env.sample_instance(jax.random.key(0))
    state, plain = env.reset_to(instance), chain(s, instance.demand, instance.queue)
    for orders in ([0, 0, 0, 25], [5, 6, 7, 20], [3, 9, 8, 25]):
        state = env.step(state, jnp.array(orders, jnp.float32))
        plain.step(np.array(orders, np.float64))
    x = np.asarray(state.obs).reshape(4, 18)
    np.testing.assert_allclose(x[:, 0], [*plain.want, 0])
    np.testing.assert_allclose(x[:, 1:3], [[0.5, 0], [0.5, 0], [0.5, 0], [0.1, 5]])
    np.testing.assert_allclose(x[:, 3], [*plain.arriving, plain.made])
    np.testing.assert_allclose(x[:, 4], plain.stock)
    np.testing.assert_allclose(x[:3, 5:15], s.forecast[4:14].T)
    np.testing.assert_allclose(x[3, 5:15], 0)
    np.testing.assert_allclose(x[:, 15:], [[15, 15, 0], [15, 15, 0], [15, 15, 0], [0, 50, 25]])
    blind = SupplyChain(s, visible=2).reset_to(instance).obs.reshape(4, 18)
    np.testing.assert_allclose(blind[:3, 5:7], s.forecast[1:3].T)
    np.testing.assert_allclose(blind[:, 7:15], 0)


def episode(env, instance, orders):
    step = lambda state, action: (lambda after: (after, after.reward))(env.step(state, action))
    return jnp.sum(jax.lax.scan(step, env.reset_to(instance), orders)[1])


def in_float64(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == jnp.float32 else x, tree)


def test_smooth_quantities_agree_on_whole_orders_and_have_a_derivative(x64):
    s = in_float64(scenario.published(NAMES["supply-chain-1w10s"]))
    exact, smooth = SupplyChain(s), SupplyChain(s, smooth=True)
    instance = in_float64(exact.sample_instance(jax.random.key(1)))
    random = np.random.default_rng(1)
    whole = np.concatenate([random.integers(0, 4, (30, 10)), random.integers(30, 60, (30, 1))], axis=1).astype(np.float64)
    whole[0, :-1] = 0  # nothing is there to be shipped yet
    profit = jax.jit(lambda orders: episode(smooth, instance, orders))
    assert profit(whole) == pytest.approx(float(episode(exact, instance, jnp.asarray(whole))), abs=1e-9)
    orders = whole + random.uniform(0.1, 0.4, whole.shape)
    slope, tiny = jax.jit(jax.grad(profit))(orders), 1e-5
    assert np.isfinite(slope).all() and (np.abs(slope) > 0).mean() > 0.9
    for t, node in zip(random.integers(0, 30, 25), random.integers(0, 11, 25), strict=True):
        beside = np.zeros_like(orders)
        beside[t, node] = tiny
        wanted = (profit(orders + beside) - profit(orders - beside)) / (2 * tiny)
        assert float(slope[t, node]) == pytest.approx(float(wanted), abs=1e-5)


def test_nothing_happens_after_the_end():
    env = SupplyChain(scenario.published(NAMES["supply-chain-1w3s"], periods=3))
    state = env.reset(jax.random.key(0))
    for _ in range(3):
        assert state.done == 0
        state = env.step(state, jnp.ones(4))
    after = env.step(state, jnp.ones(4))
    assert state.done == after.done == 1 and after.reward == 0 and state.info["truncation"] == 0
    np.testing.assert_array_equal(after.pipeline_state.stock, state.pipeline_state.stock)


def test_orders_that_are_no_numbers_are_no_orders():
    env = SupplyChain(scenario.published(NAMES["supply-chain-1w3s"]))
    state = env.step(env.reset(jax.random.key(0)), jnp.array([jnp.nan, 0.0, jnp.nan, 3.0]))
    assert np.isfinite(state.reward) and state.metrics["ordering_cost"] == 15


def test_bad_input():
    env = SupplyChain(scenario.published(NAMES["supply-chain-1w3s"]))
    instance = env.sample_instance(jax.random.key(0))
    with pytest.raises(UserError, match=r"demand: expected an array of shape \(30, 3\), found \(29, 3\)"):
        env.reset_to(instance._replace(demand=instance.demand[1:]))
    with pytest.raises(UserError, match=r"supply-chain-1w3s: setting lead: expected an integer from 1 to 20, found '0'"):
        registry.make("supply-chain-1w3s", {"lead": "0"})
    with pytest.raises(UserError, match="seed: expected 0 to 4294967295 with demand=numpy, found -1"):
        registry.make("supply-chain-1w3s", {"demand": "numpy"}).instances(-1, 1)
