"""The JAX simulator against the independent NumPy one, step by step; and that one against published anchors."""

import functools
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ohio_bench.speed import reference_routing as reference
from ohio_envs.routing import demand, policies, scenario
from ohio_envs.routing.simulator import Routing

from ohio_jax.errors import UserError
from tests.ohio_envs.cities import city as published_city

DYNAMICS = ("conserving", "strict")
SYNTHETIC = {"synthetic 5": (5, 0), "synthetic 12": (12, 3)}
PUBLISHED = {"nyc 3": ("nyc", 3), "nyc 4": ("nyc", 4), "shenzhen 3": ("shenzhen", 3), "shenzhen 4": ("shenzhen", 4)}


def inf(city: reference.City, t: int, idle: np.ndarray, solve, farthest: int = 6) -> np.ndarray:
    """Informed rebalancing at its default parameters, where all vehicles of a region go to its best region.

    Best is requests times the time saved against `farthest` steps; a region that is its own best keeps its vehicles.
    """
    n = len(idle)
    times = np.where(np.eye(n, dtype=bool), 0, city.reb_time)
    gain = reference.open_requests(city, t)[None, :] * np.maximum(farthest - times, 0)
    target = np.where(np.diag(gain) >= gain.max(axis=1), np.arange(n), gain.argmax(axis=1))
    flows = np.zeros((n, n), np.int64)
    flows[np.arange(n), target] = idle
    np.fill_diagonal(flows, 0)
    return flows


POLICIES = {"none": reference.none, "dtv": reference.dtv, "inf": inf, "uniform": reference.uniform}


def demands(city: reference.City, seed: int, episodes: int, horizon: int = 20) -> np.ndarray:
    """Int[episodes, horizon, n, n]: requests of the original's episodes from NumPy's frozen legacy generator.

    The original draws once when it builds the scenario, so episode e is the draw e + 1; every draw covers all rates of
    `city.lam` (which must be twice the horizon for the original's stream) although only the first half is used.
    """
    generator = np.random.RandomState(seed)
    live = city.lam > 0
    draws = np.zeros((episodes + 1, *city.lam.shape), np.int64)
    draws[:, live] = [generator.poisson(city.lam[live]) for _ in range(episodes + 1)]
    return draws[1:, :horizon]


class Trace(NamedTuple):
    """What the JAX simulator did: arrays [T, ...], and the idle counts after the last step."""

    idle: np.ndarray
    obs: np.ndarray
    flows: np.ndarray
    pax_reward: np.ndarray
    reward: np.ndarray
    served: np.ndarray
    lost: np.ndarray
    reb_cost: np.ndarray
    infeasible_requests: np.ndarray
    last_idle: np.ndarray


@functools.cache
def the_city(name: str) -> scenario.City:
    return scenario.synthetic(*SYNTHETIC[name]) if name in SYNTHETIC else published_city(*PUBLISHED[name])


@functools.cache
def environment(name: str, dynamics: str) -> Routing:
    return Routing(scenario.prepare(the_city(name)), dynamics)


def plain(city: scenario.City) -> reference.City:
    idle = np.full(city.regions, city.vehicles)
    return reference.City(city.lam, city.price, city.pax_time, city.reb_time, idle, city.cost)


@functools.partial(jax.jit, static_argnames="policy")
def _play(env, policy, requests, actions) -> Trace:
    """Plays the policy, or `actions` where it is None."""

    def step(state, action):
        flows = action if policy is None else policy(env, jax.random.key(0), state)
        after = env.step(state, flows)
        amounts = state.metrics
        seen = (state.pipeline_state.idle, state.obs, flows, amounts["passenger_reward"], after.reward)
        later = (after.metrics["rebalancing_cost"], after.metrics["infeasible_requests"])
        return after, (*seen, amounts["served"], amounts["lost"], *later)

    last, columns = jax.lax.scan(step, env.reset_to(requests), actions)
    return Trace(*columns, last.pipeline_state.idle)


def play(env, policy, requests, actions=None) -> Trace:
    actions = np.zeros(requests.shape, np.float32) if actions is None else actions
    return jax.tree.map(np.asarray, _play(env, policy, jnp.asarray(requests, jnp.int32), jnp.asarray(actions)))


def agree(trace: Trace, episode: reference.Episode) -> None:
    """Counts are equal as integers, dollars to a cent, features to float32."""
    np.testing.assert_array_equal(trace.idle, episode.idle)
    np.testing.assert_array_equal(trace.last_idle, episode.after[-1])
    np.testing.assert_array_equal(trace.served, episode.served)
    np.testing.assert_allclose(trace.pax_reward, episode.pax_reward, atol=1e-2, rtol=0)
    np.testing.assert_allclose(trace.reb_cost, episode.reb_cost, atol=1e-2, rtol=0)
    # A step's reward: its moves and the next matching, of which there is none after the last.
    rewards = np.append(episode.pax_reward[1:], 0.0) - episode.reb_cost
    np.testing.assert_allclose(trace.reward, rewards, atol=1e-2, rtol=0)
    features = episode.observation.reshape(len(episode.observation), -1)
    np.testing.assert_allclose(trace.obs, features, atol=1e-4, rtol=1e-5)


def random_requests(random: np.random.Generator, city: scenario.City) -> np.ndarray:
    """From quiet to far beyond the fleet, never where there is no rate and hence no price."""
    rate = city.lam[: city.horizon] * random.choice([0.3, 1.0, 5.0])
    return random.poisson(rate)


def random_actions(random: np.random.Generator, city: scenario.City, greed: float) -> np.ndarray:
    """Real flows; `greed` times the initial fleet of a region is asked for in all, with negatives and a diagonal."""
    n, T = city.regions, city.horizon
    sparse = random.random((T, n, n)) < random.choice([0.1, 0.5, 1.0])
    asked = random.gamma(0.5, 2 * greed * city.vehicles / n, (T, n, n)) * sparse
    return np.where(random.random((T, n, n)) < 0.1, -asked, asked).astype(np.float32)


def check_random_flows(name: str, dynamics: str, seed: int, greed: float) -> None:
    city, random = the_city(name), np.random.default_rng(seed)
    requests, actions = random_requests(random, city), random_actions(random, city, greed)
    given_flows = lambda city, t, idle, solve: actions[t]
    episode = reference.simulate(plain(city), requests, given_flows, strict=dynamics == "strict")
    trace = play(environment(name, dynamics), None, requests, actions)
    agree(trace, episode)
    fleet = city.regions * city.vehicles
    # What one entry asks for counts up to the whole fleet.
    wanted = np.clip(np.trunc(actions), 0, fleet).astype(np.int64) * (1 - np.eye(city.regions, dtype=np.int64))
    np.testing.assert_array_equal(trace.infeasible_requests, (wanted - episode.flows).sum(axis=(1, 2)))

    accounted = episode.after.sum(axis=1) + episode.in_flight
    if dynamics == "conserving":
        assert (accounted == fleet).all()
        assert not trace.lost.any()
    else:
        np.testing.assert_array_equal(accounted, fleet - np.cumsum(trace.lost))


@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize("dynamics", DYNAMICS)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), greed=st.sampled_from([0.2, 1.0, 10.0]))
def test_random_flows_on_synthetic_cities(name, dynamics, seed, greed):
    check_random_flows(name, dynamics, seed, greed)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_random_flows_on_published_cities(city_files, name, dynamics):
    for seed, greed in enumerate([0.2, 1.0, 10.0]):
        check_random_flows(name, dynamics, seed, greed)


def check_policies(name: str, dynamics: str, episodes: int) -> None:
    """The same flows at every step: the perturbed costs leave one optimum, whichever solver finds it."""
    city, env = the_city(name), environment(name, dynamics)
    solve = reference.highs(reference.rebalancing_cost(np.asarray(env.scenario.reb_cost)))
    off_diagonal = 1 - np.eye(city.regions, dtype=np.int64)
    for requests in demand.sample_instances(city, 7, episodes):
        for policy in ("none", "dtv", "inf", "uniform"):
            trace = play(env, policies.POLICIES[policy], requests)
            act = POLICIES[policy]
            episode = reference.simulate(plain(city), requests, act, solve, strict=dynamics == "strict")
            np.testing.assert_array_equal(trace.flows * off_diagonal, episode.flows, err_msg=policy)
            agree(trace, episode)
        check_prop(city, env, requests)


def check_prop(city: scenario.City, env: Routing, requests: np.ndarray) -> None:
    """PROP rounds down: shares in float32 and float64 may fall on either side of a whole number of vehicles."""
    trace = play(env, policies.prop, requests)
    replay = lambda city, t, idle, solve: trace.flows[t]
    agree(trace, reference.simulate(plain(city), requests, replay, strict=env.dynamics == "strict"))
    for t, (idle, flows) in enumerate(zip(trace.idle, trace.flows, strict=True)):
        expected = city.lam[t + 1 : t + 6].sum(axis=(0, 2))
        wanted = expected / expected.sum() * idle.sum()
        moved = flows * (1 - np.eye(city.regions, dtype=np.int64))
        assert (idle - moved.sum(axis=1) + moved.sum(axis=0) >= np.floor(wanted - 1e-3)).all()


def test_policies_on_a_synthetic_city():
    check_policies("synthetic 12", "strict", episodes=2)


def test_policies_on_a_published_city(city_files):
    check_policies("nyc 4", "conserving", episodes=2)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_policies_on_published_cities(city_files, name, dynamics):
    check_policies(name, dynamics, episodes=10)


# --- The reference by itself -----------------------------------------------------------------------------------------

# Returns of episodes 0 to 9 with seed 10 that need no linear program, from a run beside the original's simulator.
ANCHORS = {
    ("nyc", 4, "none", False): [
        26881.2,
        28512.8,
        28269.3,
        29141.5,
        28303.7,
        27221.3,
        27882.2,
        28837.1,
        27687.4,
        28058.4,
    ],
    ("shenzhen", 3, "inf", True): [
        42086.6,
        41228.9,
        42515.3,
        43239.5,
        45705.7,
        44079.6,
        43260.1,
        43737.3,
        44170.0,
        44168.1,
    ],
}
REQUESTS = {
    "nyc": [3694, 3908, 3753, 3902, 3855, 3821, 3853, 3829, 3888, 3939],
    "shenzhen": [5269, 5381, 5439, 5248, 5379, 5341, 5365, 5441, 5360, 5400],
}


@pytest.mark.parametrize("name, minutes, policy, strict", ANCHORS)
def test_anchors(city_files, name, minutes, policy, strict):
    city = reference.read(city_files, name, minutes)
    requests = demands(city, 10, 10)
    assert requests.sum(axis=(1, 2, 3)).tolist() == REQUESTS[name]
    returns = [reference.simulate(city, one, POLICIES[policy], strict=strict).total for one in requests]
    np.testing.assert_allclose(returns, ANCHORS[name, minutes, policy, strict], atol=0.051, rtol=0)


@pytest.mark.parametrize("name", PUBLISHED)
def test_two_readers_agree_to_the_last_bit(city_files, name):
    ours, theirs = the_city(name), reference.read(city_files, *PUBLISHED[name])
    off_diagonal = ~np.eye(ours.regions, dtype=bool)
    for field in ("lam", "price", "pax_time"):
        np.testing.assert_array_equal(getattr(ours, field), getattr(theirs, field), err_msg=field)
    np.testing.assert_array_equal(ours.reb_time[off_diagonal], theirs.reb_time[off_diagonal])
    assert theirs.idle.tolist() == [ours.vehicles] * ours.regions
    assert ours.cost == theirs.step_cost
    np.testing.assert_array_equal(demand.sample_instances(ours, 10, 3), demands(theirs, 10, 3))


@pytest.mark.parametrize("warm", [False, True])
def test_peers_solve_transport_problems(warm):
    """HiGHS persistent and through SciPy: feasible, integral, of equal cost; a dummy origin covers what is missing."""
    random = np.random.default_rng(0)
    for n in (2, 5, 14):
        times = random.integers(1, 9, (n, n))
        cost = reference.rebalancing_cost(times)
        assert not cost[:n].diagonal().any() and not cost[n].any()
        persistent, fresh = reference.highs(cost, warm), reference.scipy_linprog(cost)
        for _ in range(20):
            idle, wanted = random.integers(0, 30, n), random.integers(0, 30, n)
            supply = np.append(idle, max(0, wanted.sum() - idle.sum()))
            answers = [solve(supply, wanted) for solve in (persistent, fresh)]
            for flow in answers:
                assert flow.dtype == np.int64 and (flow >= 0).all()
                assert (flow.sum(axis=1) <= supply).all()
                np.testing.assert_array_equal(flow.sum(axis=0), wanted)
            assert len({int((cost * flow).sum()) for flow in answers}) == 1


def test_a_missing_solver_is_said_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(UserError, match="pip install highspy"):
        reference.highs(np.ones((3, 2)))
