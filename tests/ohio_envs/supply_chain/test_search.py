"""Exhaustive search for base-stock levels: as good as theory's where there are any, and no worse than what lies about them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.supply_chain import optimum, scenario, search
from ohio_envs.supply_chain.simulator import SupplyChain

from ohio_jax import scores
from ohio_jax.errors import UserError


def mean_costs(s, levels, episodes, seed=7):
    """Of several levels on the same demand."""
    env = SupplyChain(s, smooth=True)
    instances = search.draw(env, jax.random.split(jax.random.key(seed), episodes))
    return np.asarray(search.mean_costs(env, instances, jnp.asarray(np.stack(levels), jnp.float32)), np.float64)


def reaches_the_optimum(s, searched, tested):
    """Whether the levels found cost at most 1 % more than theory's, which cost what theory says, on demand that neither knows."""
    found, best = search.search(s, searched), optimum.echelon(s)
    ours, theirs = mean_costs(s, [found.levels, best.levels], tested)
    assert -0.2 < scores.gap(-ours, -theirs) < 1.0
    assert theirs == pytest.approx(best.cost, rel=0.03)


@pytest.mark.parametrize("s", [scenario.one_store(4, 9.0, 100), scenario.serial(2, 9.0, 50)], ids=["one store", "serial"])
def test_search_reaches_the_optimum(s):
    reaches_the_optimum(s, 64, 4096)


@pytest.mark.slow
@pytest.mark.parametrize("underage", [4.0, 9.0, 19.0, 39.0])
@pytest.mark.parametrize(
    "chain, lead", [(scenario.one_store, 1), (scenario.one_store, 20), (scenario.serial, 1), (scenario.serial, 4)]
)
def test_search_reaches_every_optimum(chain, lead, underage):
    """With the demand that policies by search have."""
    reaches_the_optimum(chain(lead, underage, 100), None, 16_384)


def test_search_where_theory_knows_no_optimum():
    """What it finds is no worse than its neighbors, nor than a store that could owe would have; and never below the bound."""
    s = scenario.many_stores(4, 50, seed=3)
    found = search.search(s, episodes=64)
    mean, deviation = scenario.lead_time_demand(s)
    factor = (found.levels - mean) / deviation
    np.testing.assert_allclose(factor[:4], factor[0])
    shift = lambda stores, warehouse: found.levels + deviation * np.array([stores] * 4 + [warehouse])
    others = [shift(*away) for away in ((0, 0), (-0.3, 0), (0.3, 0), (0, -0.3), (0, 0.3), (0.5, 0.5))]
    costs = mean_costs(s, others, 1024)
    assert (costs[0] < costs[1:] + 0.002 * costs[0]).all() and costs[0] > optimum.lost_sales_bound(s)


def test_search_is_for_few_echelons():
    nodes = 7
    s = scenario.classical((1.0,) * nodes, (1,) * nodes, (1, 2, 3, 4, 5, 6, -1), (5.0,), (1.0,), 9.0, 50)
    with pytest.raises(UserError, match="search: expected at most 4 nodes that are no stores, found 6"):
        search.search(s)
