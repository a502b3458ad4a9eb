"""The simulator: against a plain-Python one, against published returns, and laws that hold for any action."""

import functools

import chex
import hypothesis.extra.numpy as hnp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ohio_envs.routing import demand, oracle, policies, scenario
from ohio_envs.routing.simulator import Routing

from ohio_jax.errors import UserError
from ohio_jax.rollout import episode_keys, rollouts, scripted
from tests.ohio_envs.cities import city, line_city, published
from tests.reference import routing as plain

# Returns of episodes 0 to 9 with seed 10, which need no linear program: (city, minutes, policy, dynamics).
RETURNS = """
nyc 3 none strict           22838.9 22849.4 22050.4 22327.9 24095.3 22919.4 22158.8 23891.6 21920.0 24671.7
nyc 3 none conserving       22984.7 22952.8 22174.3 22463.0 24194.5 23055.4 22236.7 24010.5 21988.2 24808.5
nyc 3 inf strict            41434.4 41930.2 41610.6 42224.0 43241.7 42090.2 42215.3 42666.7 40908.1 43581.2
nyc 4 none strict           26516.1 27914.3 27814.2 28667.6 27729.2 26782.6 27440.4 28308.6 27248.8 27492.5
nyc 4 none conserving       26881.2 28512.8 28269.3 29141.5 28303.7 27221.3 27882.2 28837.1 27687.4 28058.4
nyc 4 inf strict            56227.8 58623.5 56529.4 57832.6 58375.2 56087.4 57219.6 57517.9 56580.9 58338.9
shenzhen 3 none strict      59552.4 60953.8 61370.8 59280.5 59845.9 59623.8 60396.1 59737.5 59485.2 60138.6
shenzhen 3 none conserving  61167.3 62529.0 62902.4 60591.6 61486.0 61039.8 61846.9 61039.7 60811.1 61482.3
shenzhen 3 inf strict       42086.6 41228.9 42515.3 43239.5 45705.7 44079.6 43260.1 43737.3 44170.0 44168.1
"""
RETURNS = {tuple(line.split()[:4]): np.array(line.split()[4:], float) for line in RETURNS.strip().splitlines()}
REQUESTS = {
    ("nyc", 3): [2806, 2936, 2931, 2971, 2983, 2890, 2948, 2917, 3001, 2979],
    ("nyc", 4): [3694, 3908, 3753, 3902, 3855, 3821, 3853, 3829, 3888, 3939],
    ("shenzhen", 3): [5269, 5381, 5439, 5248, 5379, 5341, 5365, 5441, 5360, 5400],
}
SERVED = {
    ("nyc", 3): [1253, 1287, 1307, 1252, 1386, 1315, 1271, 1303, 1325, 1385],
    ("nyc", 4): [1657, 1631, 1633, 1649, 1595, 1607, 1686, 1651, 1649, 1689],
}
FIRST_REQUESTS = {
    ("nyc", 3): [(1, 6, 3), (5, 0, 1), (5, 1, 2), (5, 2, 2), (5, 6, 12), (5, 8, 2)],
    ("shenzhen", 3): [(0, 1, 3), (0, 2, 2), (0, 3, 1), (0, 8, 1), (1, 2, 3), (1, 3, 4)],
}


def fleet_accounted(state):
    """Int[], vehicles idle or on their way; constant over an episode in conserving dynamics."""
    fleet = state.pipeline_state
    gone = 0 if fleet.vanished is None else jnp.sum(fleet.vanished)
    return jnp.sum(fleet.idle) + jnp.sum(fleet.announced) - gone


@published
@pytest.mark.parametrize("name, minutes, policy, dynamics", RETURNS)
def test_published_returns(name, minutes, policy, dynamics):
    c, key = city(name, int(minutes)), (name, int(minutes))
    env = Routing(scenario.prepare(c), dynamics)
    act = scripted(policies.POLICIES[policy])
    episodes = rollouts(env, act, (), jnp.asarray(demand.sample_instances(c, 10, 10)), episode_keys(0, 10))
    np.testing.assert_allclose(episodes.returns, RETURNS[name, minutes, policy, dynamics], atol=0.1, rtol=0)
    assert episodes.metrics["requests"].tolist() == REQUESTS[key]
    if policy == "none" and dynamics == "strict" and key in SERVED:
        assert episodes.metrics["served"].tolist() == SERVED[key]
    assert (np.asarray(episodes.metrics["lost"]) > 0).all() == (dynamics == "strict")


@published
@pytest.mark.parametrize("name, minutes", FIRST_REQUESTS)
def test_published_requests(name, minutes):
    first = demand.sample_instances(city(name, minutes), 10, 1)[0, 0]
    assert [(i, j, first[i, j]) for i, j in np.argwhere(first)[:6]] == FIRST_REQUESTS[name, minutes]


# --- Small cities: one compiled rollout for all that follows ---------------------------------------------------------

N, T = 5, 8
CITIES = [scenario.synthetic(N, seed, horizon=T) for seed in (0, 1)]
EDGES = list({(i, j) for i in range(N) for j in (i, *(j for j in range(N) if j != i))})


@functools.cache
def environment(seed: int, dynamics: str, time: bool = False) -> Routing:
    return Routing(scenario.prepare(CITIES[seed]), dynamics, time)


@jax.jit
def play(env, requests, actions):
    """All states of an episode, stacked: [T + 1, ...]."""
    first = env.reset_to(requests)

    def step(state, action):
        after = env.step(state, action)
        return after, after

    _, states = jax.lax.scan(step, first, actions)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, states)


cities = st.integers(0, 1)
requests = hnp.arrays(np.int32, (T, N, N), elements=st.integers(0, 30))
# Anything a careless policy may ask for: too much, negative, fractions, a diagonal.
actions = hnp.arrays(np.float32, (T, N, N), elements=st.floats(-5, 150, width=32))
few = settings(max_examples=25, deadline=None)


@few
@given(cities, requests, actions, st.booleans())
def test_agrees_with_the_plain_simulator(seed, requests, actions, strict):
    env = environment(seed, "strict" if strict else "conserving")
    states = play(env, requests, actions)
    records, idle = plain.play(CITIES[seed], requests, actions, EDGES, strict)
    column = lambda name: np.array([record[name] for record in records])
    fleet = states.pipeline_state
    np.testing.assert_array_equal(fleet.idle[:T], column("idle"))
    np.testing.assert_array_equal(fleet.idle[T], idle)
    np.testing.assert_allclose(states.obs[:T].reshape(T, N, 13), column("features"), atol=1e-4, rtol=1e-5)
    # The last matching would be that of step T, which does not exist.
    np.testing.assert_array_equal(states.metrics["served"], [*column("served"), 0])
    np.testing.assert_array_equal(states.metrics["lost"], [*column("lost"), 0])
    np.testing.assert_allclose(states.metrics["rebalancing_cost"], [0, *column("cost")], rtol=1e-5)
    profit = np.maximum(column("profit"), 0)
    np.testing.assert_allclose(states.reward, np.append(profit, 0) - [0, *column("cost")], rtol=1e-5, atol=1e-2)
    flying = jax.vmap(fleet_accounted)(states) - fleet.idle.sum(axis=1)
    np.testing.assert_array_equal(flying[:T], column("in_flight"))


@few
@given(cities, requests, actions)
def test_no_vehicle_appears_or_vanishes(seed, requests, actions):
    states = play(environment(seed, "conserving"), requests, actions)
    assert set(jax.vmap(fleet_accounted)(states).tolist()) == {N * CITIES[seed].vehicles}
    fleet = states.pipeline_state
    assert (fleet.idle >= 0).all() and (fleet.announced >= 0).all()
    np.testing.assert_array_equal(fleet.reached[1:].sum(axis=1), fleet.idle[:-1].sum(axis=1))
    assert not states.metrics["lost"].any()


@few
@given(cities, requests, actions)
def test_strict_dynamics_lose_what_they_say(seed, requests, actions):
    states = play(environment(seed, "strict"), requests, actions)
    left = np.asarray(jax.vmap(fleet_accounted)(states))
    np.testing.assert_array_equal(left, N * CITIES[seed].vehicles - np.cumsum(states.metrics["lost"]))


@few
@given(cities, requests, actions)
def test_no_prefix_earns_more_than_the_bound(seed, requests, actions):
    states = play(environment(seed, "conserving"), requests, actions)
    bound = oracle.bound(CITIES[seed], requests[None])[0]
    assert np.cumsum(np.asarray(states.reward, np.float64)).max() <= bound + 1e-2


@few
@given(cities, requests, actions)
def test_served_and_asked(seed, requests, actions):
    states = play(environment(seed, "conserving"), requests, actions)
    live = CITIES[seed].lam[:T] > 0
    np.testing.assert_array_equal(states.metrics["requests"][:T], (requests * live).sum((1, 2)))
    assert (states.metrics["served"] <= states.metrics["requests"]).all()
    asked = np.minimum(np.maximum(np.trunc(actions), 0), N * CITIES[seed].vehicles) * (1 - np.eye(N))
    idle = np.asarray(states.pipeline_state.idle[:T])
    granted = np.minimum(asked.sum(2), idle).sum(1)
    np.testing.assert_array_equal(states.metrics["infeasible_requests"][1:], asked.sum((1, 2)) - granted)


@pytest.mark.parametrize("time", [False, True])
def test_end_of_the_horizon(time):
    env = environment(0, "conserving", time)
    states = play(env, CITIES[0].lam[:T].round(), np.zeros((T, N, N)))
    end = np.arange(T + 1) == T
    np.testing.assert_array_equal(states.done, end & time)
    np.testing.assert_array_equal(states.info["truncation"], end & (not time))
    assert states.obs.shape == (T + 1, env.observation_size) and env.observation_size == N * (14 if time else 13)
    if time:
        features = states.obs.reshape(T + 1, N, 14)
        np.testing.assert_allclose(features[:, :, 13], np.arange(T + 1)[:, None] / T * np.ones(N), rtol=1e-6)
        plain_obs = play(environment(0, "conserving"), CITIES[0].lam[:T].round(), np.zeros((T, N, N))).obs
        np.testing.assert_array_equal(features[:, :, :13], plain_obs.reshape(T + 1, N, 13))


def test_nothing_moves_behind_the_horizon():
    env = environment(0, "conserving")
    last = jax.tree.map(lambda x: x[-1], play(env, np.full((T, N, N), 3), np.zeros((T, N, N))))
    after = jax.jit(env.step)(last, jnp.full((N, N), 5))
    assert float(after.reward) == 0.0 and int(after.pipeline_state.t) == T
    assert int(fleet_accounted(after)) == N * CITIES[0].vehicles


def test_timing_by_hand():
    """Trips 0 -> 1 take two steps and earn 8 $ each; empty moves home take one step and cost 1 $."""
    env = Routing(scenario.prepare(line_city(T=7)))
    requests = np.zeros((7, 2, 2), np.int32)
    requests[[0, 4, 5], 0, 1] = 2
    states = play(env, requests, np.tile([[0, 0], [9, 0]], (7, 1, 1)))
    # Leave at 0, land in step 1 (empty) or 2 (trip), free from 2 or 3 on; the trips' vehicles drive home at 3, free
    # from 5 on.
    idle = [[0, 2], [0, 0], [2, 0], [2, 2], [0, 0], [0, 0], [0, 0], [0, 2]]
    assert states.pipeline_state.idle.tolist() == idle
    assert states.reward.tolist() == [16.0, -2.0, 0.0, 0.0, 16.0 - 2.0, 16.0, 0.0, 0.0]


@pytest.mark.parametrize("action", [np.nan, np.inf, -np.inf, 1e30])
def test_absurd_actions_are_survived(action):
    env = environment(0, "conserving")
    states = play(env, np.full((T, N, N), 3), np.full((T, N, N), action))
    assert np.isfinite(states.obs).all() and np.isfinite(states.reward).all()
    assert set(jax.vmap(fleet_accounted)(states).tolist()) == {N * CITIES[0].vehicles}


def test_flat_integer_and_real_actions_are_the_same():
    env = environment(1, "conserving")
    flows = np.random.default_rng(0).integers(0, 9, (T, N, N))
    forms = [flows, flows + 0.9, flows.reshape(T, N * N), flows.astype(np.float32)]
    results = [play(env, np.full((T, N, N), 2), form) for form in forms]
    for other in results[1:]:
        chex.assert_trees_all_equal(results[0], other)


def test_demand_of_another_shape():
    with pytest.raises(UserError, match=r"demand: expected an array of shape \(8, 5, 5\), found \(8, 5\)"):
        environment(0, "conserving").reset_to(jnp.zeros((T, N)))


@pytest.mark.parametrize("dynamics", ["conserving", "strict"])
def test_jit_vmap_and_loop_agree(dynamics):
    env = environment(0, dynamics)
    keys = jax.random.split(jax.random.key(3), 4)
    flows = jax.random.randint(jax.random.key(4), (4, N, N), 0, 40)
    run = lambda key, a: env.step(env.reset(key), a)
    together = jax.jit(jax.vmap(run))(keys, flows)
    jitted = jax.jit(run)
    for e in range(4):
        one = jax.tree.map(lambda x, e=e: x[e], together)
        chex.assert_trees_all_close(one, jitted(keys[e], flows[e]), rtol=1e-5)
    chex.assert_trees_all_close(one, env.step(env.reset_to(env.sample_instance(keys[3])), flows[3]), rtol=1e-5)


def test_cities_are_leaves_and_nothing_retraces():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def first_step(env, key):
        return env.step(env.reset(key), jnp.zeros((N, N))).reward

    # Another fleet, another price: the same program.
    for change in ({"vehicles": 30}, {"vehicles": 60}, {"price": 2 * CITIES[0].price}):
        c = scenario.City(**(vars(CITIES[0]) | change))
        assert np.isfinite(float(first_step(Routing(scenario.prepare(c)), jax.random.key(0))))


def test_environments_can_be_vmapped():
    envs = jax.vmap(lambda cost: Routing(environment(0, "conserving").scenario.replace(cost=cost)))(jnp.array([0.0, 2.0]))
    move = jnp.zeros((N, N)).at[0, 1].set(3.0)
    costs = jax.vmap(lambda env: env.step(env.reset_to(jnp.zeros((T, N, N))), move).metrics["rebalancing_cost"])(envs)
    assert costs.tolist() == [0.0, 6.0 * int(CITIES[0].reb_time[0, 1])]


@pytest.mark.parametrize("time", [False, True])
def test_brax_wrappers_run_unmodified(time):
    training = pytest.importorskip("brax.envs.wrappers.training")
    env = training.EvalWrapper(training.wrap(environment(0, "conserving", time), episode_length=T))
    assert env.observation_size == N * (14 if time else 13) and env.action_size == N * N
    state = jax.jit(env.reset)(jax.random.split(jax.random.PRNGKey(0), 3))
    first = state.obs
    step = jax.jit(env.step)
    for _ in range(T):
        state = step(state, jnp.zeros((3, env.action_size)))
    assert state.done.tolist() == [1.0] * 3
    assert state.info["truncation"].tolist() == [0.0 if time else 1.0] * 3
    np.testing.assert_array_equal(state.obs, first)  # reset by the wrapper
    assert (state.metrics["served"] >= 0).all() and state.info["eval_metrics"].episode_steps.tolist() == [T] * 3
    state = step(state, jnp.zeros((3, env.action_size)))
    assert state.done.tolist() == [0.0] * 3 and state.pipeline_state.t.tolist() == [1] * 3
