"""Settings of inventory theory: its levels cost what it says, in our simulator, and no others cost less."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.supply_chain import optimum, policies, scenario
from ohio_envs.supply_chain.simulator import SupplyChain
from scipy.stats import norm, poisson

from ohio_jax.errors import UserError
from tests.reference.inventory import lost_sales_optimum

EPISODES = 256


def cost_of(s):
    """levels -> (mean cost a period, its standard error), always on the same demand."""
    env = SupplyChain(s, smooth=True)
    keys = jax.random.split(jax.random.key(0), EPISODES)

    def episode(levels, key):
        def step(state, _):
            state = env.step(state, policies.echelon_base_stock(levels, env, key, state))
            return state, state.reward

        return -jnp.sum(jax.lax.scan(step, env.reset(key), None, s.horizon)[1]) / (s.horizon - s.free)

    @jax.jit
    def cost(levels):
        each = jax.vmap(episode, (None, 0))(levels, keys)
        return jnp.mean(each), jnp.std(each) / EPISODES**0.5

    return cost


def test_one_store_is_a_newsvendor():
    """Order up to the u / (u + h) quantile of the demand of lead time and review; clipping at 0 hardly matters here."""
    found = optimum.echelon(scenario.one_store(4, 9.0, 10))
    deviation = 1.6 * 5**0.5
    assert found.levels[0] == pytest.approx(norm.ppf(0.9, 25.0, deviation), abs=0.02)
    assert found.cost == pytest.approx(10.0 * deviation * norm.pdf(norm.ppf(0.9)), rel=2e-3)


@pytest.mark.parametrize(
    "chain, lead, underage",
    [(scenario.one_store, 4, 9.0), (scenario.one_store, 1, 39.0), (scenario.serial, 4, 9.0), (scenario.serial, 1, 19.0)],
)
def test_theory_and_simulator_agree(chain, lead, underage):
    s = chain(lead, underage, 500)
    best, cost = optimum.echelon(s), cost_of(s)
    levels = jnp.asarray(best.levels, jnp.float32)
    mean, error = cost(levels)
    assert float(mean) == pytest.approx(best.cost, abs=4 * float(error)) and float(error) < 0.01 * best.cost
    for node in range(s.nodes):
        for away in (-2.0, 2.0):
            assert cost(levels.at[node].add(away))[0] > mean


def test_a_store_with_poisson_demand_is_a_newsvendor():
    s = scenario.one_store(2, 9.0, 10, lost=True).replace(lost=False)
    found, units = optimum.echelon(s), np.arange(80)
    cost = lambda y: poisson.pmf(units, 15.0) @ np.where(units < y, y - units, 9.0 * (units - y))
    assert found.levels[0] == pytest.approx(poisson.ppf(0.9, 15.0), abs=0.03)
    assert found.cost == pytest.approx(min(map(cost, units)), rel=1e-3)


@pytest.mark.parametrize("lead, underage", [(1, 4.0), (1, 39.0), (2, 9.0), (2, 19.0)])
def test_no_policy_that_loses_sales_costs_less_than_the_bound(lead, underage):
    """Not even the best one there is, by dynamic programming, which costs a sixth to a tenth more."""
    bound = optimum.lost_sales_bound(scenario.one_store(lead, underage, 10, lost=True))
    assert 1.05 * bound < lost_sales_optimum(lead, underage) < 1.25 * bound


def test_the_dynamic_program_gives_published_costs():
    """Zipkin, Old and new methods for lost-sales inventory systems (2008): Poisson demand, mean 5."""
    published = {(1, 4.0): 4.04, (1, 9.0): 5.44, (1, 39.0): 7.84, (2, 4.0): 4.40, (2, 9.0): 6.09, (2, 39.0): 9.11}
    for (lead, underage), cost in published.items():
        assert lost_sales_optimum(lead, underage) == pytest.approx(cost, abs=6e-3)


def test_another_network_has_no_such_optimum():
    for other in (scenario.many_stores(3, 10), scenario.one_store(4, 9.0, 10, lost=True)):
        with pytest.raises(UserError, match="optimum: expected a serial chain with one store and backlog"):
            optimum.echelon(other)
    chain = scenario.serial(4, 9.0, 10)
    with pytest.raises(UserError, match=r"expected holding costs that fall from the store to the outside, found \[1.0, 2.0,"):
        optimum.echelon(chain.replace(holding=chain.holding.at[1].set(2.0)))


@pytest.mark.parametrize("theory", [optimum.echelon, optimum.lost_sales_bound])
def test_what_theory_does_not_know(theory):
    """Limits, prices, penalties, and demand that comes and goes."""
    s = scenario.one_store(4, 9.0, 10, lost=theory is optimum.lost_sales_bound)
    for field, value in (("limit", jnp.ones(1)), ("storage", jnp.ones(1)), ("ordering", jnp.ones(1)), ("price", jnp.ones(()))):
        with pytest.raises(UserError, match=rf"optimum: field {field}: expected (inf|0), .*found \[?1.0"):
            theory(s.replace(**{field: value}))
    with pytest.raises(UserError, match=r"field source: expected stores that supply nobody, found \(1, -1\)"):
        theory(scenario.classical((1.0, 1.0), (1, 1), (1, -1), (5.0, 5.0), (1.0, 1.0), 9.0, 10))
    for changes in ({"family": "whole"}, {"curve": s.curve.at[3].add(1.0)}):
        with pytest.raises(UserError, match="expected normal or poisson demand, the same in all periods, found"):
            theory(s.replace(**changes))


def test_families_of_demand():
    for s, mean, spread in (
        (scenario.one_store(4, 9.0, 4000), 5.0, 1.6),
        (scenario.one_store(4, 9.0, 4000, lost=True), 5.0, 5.0**0.5),
        (scenario.serial(4, 9.0, 4000), 5.0, 2.0),
    ):
        demand = SupplyChain(s).sample_instance(jax.random.key(0)).demand
        assert demand.shape == (4000, 1) and float(demand.min()) >= 0
        np.testing.assert_allclose([demand.mean(), demand.std()], [mean, spread], rtol=0.05)
    noise = SupplyChain(scenario.published(scenario.ONE_WAREHOUSE_10, noise=3)).sample_instance(jax.random.key(0)).demand
    curve = scenario.published(scenario.ONE_WAREHOUSE_10).curve
    away = np.asarray(noise - curve)[np.asarray(curve) > 4]
    assert -3.5 <= away.min() < -2.5 and 1.5 < away.max() <= 2.5  # one of -3 .. 2, then rounded


def test_any_number_of_stores():
    s = scenario.many_stores(200, 20)
    env = SupplyChain(s, smooth=True)
    state = jax.jit(env.step)(env.reset(jax.random.key(0)), jnp.full(201, 5.0))
    assert state.obs.shape == (201 * 20,) and np.isfinite(state.obs).all() and state.reward == 0  # a free period
