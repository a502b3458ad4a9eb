"""The behavior policies: feasible, as defined, and as good as published."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.routing import demand, oracle, policies, scenario
from ohio_envs.routing.simulator import Routing
from scipy.optimize import linprog

from ohio_jax.rollout import episode_keys, rollouts, scripted
from tests.ohio_envs.cities import city, published

# Mean return in strict dynamics over episodes 0 to 9 of seed 10: the range that ties between optimal flows leave.
STRICT = {
    ("nyc", 3): {"uniform": (40_692, 41_882), "prop": (36_737, 38_857), "dtv": (40_270, 41_741)},
    ("nyc", 4): {"uniform": (48_293, 50_036), "prop": (49_786, 50_993), "dtv": (50_179, 52_102)},
    ("shenzhen", 3): {"uniform": (58_596, 59_715), "prop": (55_514, 56_674), "dtv": (60_423, 60_884)},
}
# Mean in conserving dynamics; ties leave 3 %, and DISP's draws are its own.
CONSERVING = {
    ("nyc", 3): {"uniform": 40_455, "prop": 36_551, "dtv": 40_989, "inf": 42_299, "disp": 15_701},
    ("nyc", 4): {"uniform": 48_851, "prop": 50_810, "dtv": 51_907, "inf": 57_743, "disp": 24_759},
    ("shenzhen", 3): {"uniform": 60_277, "prop": 57_704, "dtv": 61_214, "inf": 44_431, "disp": 47_677},
}
TOLERANCE = {"inf": 0.6, "disp": 3000.0}


@functools.cache
def returns(name, minutes, policy, dynamics):
    c = city(name, minutes)
    env = Routing(scenario.prepare(c), dynamics)
    instances = jnp.asarray(demand.sample_instances(c, 10, 10))
    act = scripted(policies.POLICIES[policy])
    return np.asarray(rollouts(env, act, (), instances, episode_keys(0, 10)).returns, np.float64)


slow = lambda *values: pytest.param(*values, marks=pytest.mark.slow)


@published
@pytest.mark.parametrize("name, minutes", [slow("nyc", 3), ("nyc", 4), ("shenzhen", 3)])
def test_published_means_strict(name, minutes):
    for policy, (low, high) in STRICT[name, minutes].items():
        slack = 0.01 * high  # eight tie-breaks were tried to find the range; ours is one more
        assert low - slack <= returns(name, minutes, policy, "strict").mean() <= high + slack, policy


@published
@pytest.mark.parametrize(
    "name, minutes, names",
    [("nyc", 4, ("dtv", "inf")), *(slow(*setting, tuple(means)) for setting, means in CONSERVING.items())],
)
def test_published_means_conserving(name, minutes, names):
    c = city(name, minutes)
    bound = oracle.bound(c, demand.sample_instances(c, 10, 10))
    for policy in names:
        episodes, mean = returns(name, minutes, policy, "conserving"), CONSERVING[name, minutes][policy]
        assert abs(episodes.mean() - mean) < TOLERANCE.get(policy, 0.03 * mean), policy
        assert (episodes <= bound).all()


N, T = 6, 8
CITY = scenario.synthetic(N, seed=2, horizon=T)


@functools.cache
def environment() -> Routing:
    return Routing(scenario.prepare(CITY))


@functools.cache
def decisions(policy: str):
    """Three episodes of a policy: (states before each decision, flows), leading axes [3, T]."""

    def episode(env, key):
        def step(state, key):
            flows = policies.POLICIES[policy](env, key, state)
            return env.step(state, flows), (state, flows)

        return jax.lax.scan(step, env.reset(key), jax.random.split(key, T))[1]

    keys = jax.random.split(jax.random.key(0), 3)
    states, flows = jax.jit(jax.vmap(episode, (None, 0)))(environment(), keys)
    return states, np.asarray(flows)


@pytest.mark.parametrize("policy", policies.POLICIES)
def test_flows_are_feasible(policy):
    states, flows = decisions(policy)
    idle = np.asarray(states.pipeline_state.idle)
    assert flows.shape == (3, T, N, N) and flows.dtype == np.int32 and (flows >= 0).all()
    off_diagonal = flows * (1 - np.eye(N, dtype=int))
    assert (off_diagonal.sum(-1) <= idle).all()
    assert not states.metrics["infeasible_requests"].any()
    assert off_diagonal.any() == (policy != "none")


def cheapest(idle, wanted):
    """Least cost of giving min(sum idle, sum wanted) of the wanted vehicles a vehicle, by linear programming."""
    origin, destination = np.indices((N, N)).reshape(2, -1)
    region = np.arange(N)[:, None]
    rows = np.concatenate([origin[None] == region, destination[None] == region]).astype(float)
    limits = np.concatenate([idle, wanted])
    total = np.ones((1, N * N))
    answer = linprog(CITY.reb_time.ravel(), rows, limits, total, [min(idle.sum(), wanted.sum())], method="highs")
    return answer.fun


def test_dtv_is_the_cheapest_way_to_its_forecast():
    states, flows = decisions("dtv")
    idle, forecast = np.asarray(states.pipeline_state.idle), np.asarray(environment().scenario.forecast)
    short = 0
    for e in range(3):
        for t in range(T):
            served = np.minimum(flows[e, t].sum(0), forecast[t]).sum()
            assert served == min(idle[e, t].sum(), forecast[t].sum())
            cost = (flows[e, t] * CITY.reb_time).sum()
            assert cost == pytest.approx(cheapest(idle[e, t], forecast[t]))
            short += idle[e, t].sum() < forecast[t].sum()
    assert short < 3 * T


def test_dtv_serves_what_it_can_when_vehicles_are_few():
    env = environment()
    state = env.reset_to(jnp.zeros((T, N, N)))
    idle = jnp.array([3, 0, 1, 0, 0, 2])
    state = state.replace(pipeline_state=state.pipeline_state._replace(idle=idle))
    flows = np.asarray(jax.jit(policies.dtv)(env, jax.random.key(0), state))
    wanted = np.asarray(env.scenario.forecast[0])
    assert wanted.sum() > 6 and flows.sum() == 6
    assert (flows.sum(0) <= wanted).all() and (flows.sum(1) == np.asarray(idle)).all()
    assert (flows * CITY.reb_time).sum() == pytest.approx(cheapest(np.asarray(idle), wanted))


def test_inf_sends_all_or_nothing_to_the_greatest_gain():
    states, flows = decisions("inf")
    idle, forecast = np.asarray(states.pipeline_state.idle), np.asarray(environment().scenario.forecast)
    for e in range(3):
        for t in range(T):
            gain = forecast[t] * np.maximum(6 - CITY.reb_time, 0)
            for i in range(N):
                target = i if gain[i, i] == gain[i].max() else int(gain[i].argmax())
                assert flows[e, t, i].tolist() == [idle[e, t, i] if j == target else 0 for j in range(N)]


@pytest.mark.parametrize("policy", ["uniform", "prop", "disp"])
def test_distributions_are_reached(policy):
    states, flows = decisions(policy)
    idle = np.asarray(states.pipeline_state.idle)
    moved = flows * (1 - np.eye(N, dtype=int))
    after = idle - moved.sum(-1) + moved.sum(-2)
    total = idle.sum(-1)
    if policy == "uniform":
        assert (after >= total[..., None] // N).all()
    if policy == "prop":
        shares = np.asarray(environment().scenario.shares)
        assert (after >= np.floor(shares[None] * total[..., None] - 1e-3)).all()
    if policy == "disp":
        target = after / np.maximum(total[..., None], 1)
        assert target.std() > 0.05 and not np.allclose(target[0], target[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_rebalancing_pays_in_synthetic_cities(seed):
    c = scenario.synthetic(10, seed)
    env = Routing(scenario.prepare(c))
    instances = jnp.asarray(demand.sample_instances(c, 0, 4))
    mean = lambda policy: float(rollouts(env, scripted(policy), (), instances, episode_keys(0, 4)).returns.mean())
    assert mean(policies.none) < 0.8 * mean(policies.dtv) < 0.8 * oracle.bound(c, np.asarray(instances)).mean()
