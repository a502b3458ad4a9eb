"""The classical inventory tasks: their world against a NumPy network, what they promise, and errors that say what is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.supply_chain import classical, optimum, scenario, search
from ohio_envs.supply_chain.simulator import SupplyChain, echelon_positions

from ohio_jax import scores
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.low_level import UNIQUE
from ohio_jax.relabel import relabel
from ohio_jax.streams import ReferenceStream
from tests.reference.inventory import Network

CHAIN = scenario.serial(2, 9.0, 30)
NETWORKS = {
    "one store": scenario.one_store(3, 9.0, 30),
    "lost sales": scenario.one_store(3, 9.0, 30, lost=True),
    "serial": CHAIN,
    "many stores": scenario.many_stores(4, 30, seed=1),
    "a tree": scenario.classical(
        (1.0, 2.0, 0.5, 0.4), (1, 2, 2, 3), (2, 3, 3, -1), (4.0, 6.0), (1.0, 2.0), 7.0, 30, lost=True
    ),
}  # fmt: skip


# --- The world


@pytest.mark.parametrize("s", NETWORKS.values(), ids=list(NETWORKS))
def test_any_orders_do_what_they_do_in_numpy(s):
    """Also where sources are asked for more than they have; and nothing is lost or made on the way."""
    env = SupplyChain(scenario.check(s), smooth=True)
    instance = env.sample_instance(jax.random.key(2))
    random = np.random.default_rng(0)
    orders = random.uniform(-3.0, 4.0, (s.horizon, s.nodes)) * np.asarray(scenario.lead_time_demand(s)[0]) / 5.0
    orders = orders.astype(np.float32)

    def step(state, action):
        state = env.step(state, action)
        now = state.pipeline_state
        return state, (state.reward, now.stock, now.owed, jnp.sum(now.due), echelon_positions(s, now))

    reward, stock, owed, under_way, position = jax.jit(lambda a: jax.lax.scan(step, env.reset_to(instance), a)[1])(orders)
    network = Network(np.asarray(s.holding, np.float64), s.lead, s.source, float(s.backlog), s.stores, s.lost)
    short = 0
    for t in range(s.horizon):
        asked = np.maximum(orders[t], 0.0)
        arriving = network.stock + [sum(u for due, to, u in network.under_way if (due, to) == (t, n)) for n in range(s.nodes)]
        short += sum(asked[np.array(s.source) == n].sum() > arriving[n] + 1e-6 for n in range(s.nodes))
        cost = network.step(orders[t].astype(np.float64), np.asarray(instance.demand[t], np.float64))
        assert float(reward[t]) == pytest.approx(-cost if t >= s.free else 0.0, rel=1e-4, abs=1e-2)
        np.testing.assert_allclose(stock[t], network.stock, atol=2e-3)
        np.testing.assert_allclose(owed[t], network.owed, atol=2e-3)
        np.testing.assert_allclose(position[t], [network.position(n) for n in range(s.nodes)], atol=5e-3)
        assert network.stock.sum() + float(under_way[t]) == pytest.approx(network.bought - network.sold, abs=1e-2)
    assert short > 0 or s.nodes == 1


@pytest.mark.parametrize("order", [0.0, 1.0])
def test_a_source_that_rounding_left_with_less_than_nothing_ships_nothing(order):
    env = SupplyChain(CHAIN, smooth=True)
    state = env.reset(jax.random.key(0))
    state = state.replace(pipeline_state=state.pipeline_state._replace(stock=jnp.full(4, -1e-6)))
    after = env.step(state, jnp.full(4, order))
    np.testing.assert_array_equal(jnp.sum(after.pipeline_state.due, axis=0), [0.0, 0.0, 0.0, order])
    assert np.isfinite(after.obs).all() and np.isfinite(after.reward)


def test_the_demand_ahead_of_a_node():
    mean, deviation = scenario.lead_time_demand(NETWORKS["a tree"])
    # Stores wait 1 + 1 and 2 + 1 periods; node 2 has 2 more; node 3 has 3 more than each of its two ways.
    np.testing.assert_allclose(mean, [4 * 2, 6 * 3, 4 * 4, 4 * 7 + 6 * 6], rtol=1e-6)
    np.testing.assert_allclose(deviation**2, [2, 4 * 3, 4, 7 + 4 * 6], rtol=1e-6)


# --- The tasks


SMALL = {
    "inventory-one-store": {"horizon": "50", "holding": "2", "underage": "18"},
    "inventory-serial": {"horizon": "50"},
    "inventory-many-stores": {"horizon": "50", "stores": "3"},
}


@pytest.fixture(scope="module", params=SMALL)
def task(request):
    return registry.make(request.param, SMALL[request.param])


def test_what_a_task_offers(task):
    env = task.env
    assert env.smooth and env.scenario.free == 30 and task.settings["horizon"] == 50
    assert list(task.policies) == list(classical.NAMES) == registry.policies()["inventory"][:-1]
    assert task.reference.zero < task.reference.full < 0
    settings = ",".join(f"{key}={value}" for key, value in task.settings.items())
    assert (
        f"`ohio-jax evaluate {task.name} --policy random --stream reference --episodes 100 --set {settings}`"
        in task.reference.how
    )
    instances = task.instances(5, 100)
    np.testing.assert_allclose(task.bound(instances), [task.reference.full] * 100)

    @jax.jit
    def step(instance):
        high = [task.high_level(name) for name in ("ohio", "end_to_end")]
        return [env.step(env.reset_to(instance), jnp.full(env.action_size, 0.5)) for env in high]

    for state, interface in zip(step(jax.tree.map(lambda x: x[0], instances)), task.interfaces.values(), strict=True):
        assert interface.spec.shape == (env.action_size,) and np.isfinite(state.obs).all()
        # All order half of what they may: echelons half of the largest level, or twice their demand.
        largest = interface.params.largest
        np.testing.assert_allclose(jnp.sum(state.pipeline_state.due, axis=0)[-1], largest[-1] / 2, rtol=1e-5)


def test_recovered_goals_are_the_levels(task):
    """Of logs of base-stock policies: wherever every node orders, the goal is what theory or search said."""
    logs = collect(task, "base_stock", 3, 3)
    found = relabel(logs, task, "ohio", "analytic")
    assert found.card["unexplained"] == found.card["failed"] == 0
    unique = found.status == UNIQUE
    theory = optimum.echelon if not task.env.scenario.lost else search.search
    levels = theory(task.env.scenario).levels
    goals = found.action[unique] * np.asarray(task.interfaces["ohio"].params.largest)
    assert unique.mean() > 0.5
    np.testing.assert_allclose(goals, np.broadcast_to(levels, goals.shape), rtol=1e-4)


def test_references(task):
    """Score 100 is theory's, in all periods that are paid for; twice the costs are twice as much."""
    best = "the mean cost of the best policy there is"
    said = {"one-store": f"{best}, 12.554 $", "serial": f"{best}, 10.584 $", "many-stores": "a bound on what any policy can cost"}
    assert said[task.name.removeprefix("inventory-")] in task.reference.how and "in each of 20 periods" in task.reference.how
    random = np.mean(evaluate_policy(task, "random", 100, ReferenceStream().seed).returns)
    assert random == pytest.approx(task.reference.zero)


def test_gaps_are_percent_of_the_best():
    np.testing.assert_allclose(scores.gap([-110.0, -100.0, -99.0], -100.0), [10.0, 0.0, -1.0])
    assert scores.gap(90.0, 120.0) == pytest.approx(25.0)
    with pytest.raises(UserError, match="gap: expected a best return other than 0, found 0"):
        scores.gap(1.0, 0.0)


# --- Bad parameters


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("one-store", {"lead": "0"}, "setting lead: expected an integer from 1 to 20, found '0'"),
        ("one-store", {"underage": "-9"}, "setting underage: expected a number from 0.01 to 1000, found '-9'"),
        ("one-store", {"holding": "0"}, "setting holding: expected a number from 0.01 to 1000, found '0'"),
        ("one-store", {"holding": "nan"}, "setting holding: expected a number from 0.01 to 1000, found 'nan'"),
        ("one-store", {"underage": "much"}, "setting underage: expected a number .*found 'much'"),
        ("one-store", {"unmet": "both"}, "setting unmet: expected one of backlog, lost, found 'both'"),
        ("one-store", {"stores": "2"}, "unknown setting of inventory-one-store 'stores'"),
        ("serial", {"horizon": "20"}, "setting horizon: expected at least 21 for a way of 13 periods, found 20"),
        ("serial", {"lead": "20", "horizon": "40"}, "setting horizon: expected at least 48 for a way of 29 periods, found 40"),
        ("serial", {"unmet": "lost"}, "unknown setting of inventory-serial 'unmet'"),
        ("many-stores", {"stores": "0"}, "setting stores: expected an integer from 1 to 1000, found '0'"),
        ("many-stores", {"seed": "-1"}, "setting seed: expected an integer from 0 to 2147483647, found '-1'"),
    ],
)
def test_bad_settings(name, settings, message):
    with pytest.raises(UserError, match=message):
        registry.make(f"inventory-{name}", settings)


def negative(field, place):
    return {field: getattr(CHAIN, field).at[place].set(-2.5)}


@pytest.mark.parametrize(
    "changes, message",
    [
        (negative("holding", 2), r"field holding: expected finite numbers of at least 0, found -2.5 \(place 2\)"),
        (negative("ordering", 0), r"field ordering: expected finite numbers of at least 0, found -2.5 \(place 0\)"),
        (negative("backlog", ()), "field backlog: expected finite numbers of at least 0, found -2.5$"),
        (negative("over_capacity", ()), "field over_capacity: expected finite numbers of at least 0, found -2.5"),
        (negative("storage", 1), r"field storage: expected numbers of at least 0, found -2.5 \(place 1\)"),
        (negative("limit", 3), r"field limit: expected numbers of at least 0, found -2.5 \(place 3\)"),
        (negative("initial", 0), r"field initial: expected finite numbers of at least 0, found -2.5 \(place 0\)"),
        (negative("spread", 0), "field spread: expected finite numbers of at least 0, found -2.5"),
        (negative("curve", (4, 0)), r"field curve: expected finite numbers of at least 0, found -2.5 \(place 4, 0\)"),
        ({"holding": jnp.array([1.0, jnp.nan, 1.0, 1.0])}, r"field holding: expected finite numbers .*found nan \(place 1\)"),
        ({"price": jnp.float32(jnp.inf)}, "field price: expected finite numbers of at least 0, found inf"),
        ({"lead": (1, 3, 0, 4)}, r"field lead: expected whole periods, at least 1, found 0 \(node 2\)"),
        ({"lead": (1, 3)}, "field lead: expected 4 numbers, one for each source, found 2"),
        ({"source": (1, 2, 3, 4)}, r"field source: expected a node, 0 to 3, or -1 for the outside, found 4 \(node 3\)"),
        ({"source": (1, -2, 3, -1)}, r"field source: expected a node, .*found -2 \(node 1\)"),
        (
            {"source": (1, 2, 1, -1)},
            r"field source: expected a way from the outside to every node, found none to nodes \[0, 1, 2\], supplied in a circle",
        ),
        (
            {"source": (1, 2, 3, 3)},
            r"field source: expected a way from the outside .*found none to nodes \[0, 1, 2, 3\]",
        ),
        ({"stores": 5}, "field stores: expected 1 to 4, for there are 4 sources, found 5"),
        ({"stores": 2}, r"field forecast: expected an array of shape \(40, 2\), found shape \(40, 1\)"),
        ({"holding": jnp.ones(3)}, r"field holding: expected an array of shape \(4,\), found shape \(3,\)"),
        ({"free": 30}, "field free: expected 0 to 29 of 30 periods, found 30"),
        ({"horizon": 0}, "field horizon: expected at least 1 period, found 0"),
        ({"family": "gamma"}, "field family: expected one of whole, normal, poisson, found gamma"),
    ],
)
def test_a_scenario_of_ones_own_is_checked(changes, message):
    for refuse in (scenario.check, lambda s: classical.task_of("mine", s, {})):
        with pytest.raises(UserError, match=f"^scenario: {message}") as error:
            refuse(CHAIN.replace(**changes))
        assert "\n" not in str(error.value)


def test_a_task_of_a_network_of_ones_own():
    task = classical.task_of("mine", NETWORKS["a tree"], {})
    assert task.env.action_size == 4 and task.reference.zero < task.reference.full < 0
    with pytest.raises(UserError, match="optimum: expected a serial chain"):
        classical.task_of("mine", NETWORKS["a tree"].replace(lost=False), {})
