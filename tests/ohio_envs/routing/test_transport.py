"""Solver, low level and inverse on the problems that operators of both cities really meet."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.speed import reference_routing
from ohio_envs import registry

from ohio_jax.collect import collect
from ohio_jax.controllers import transport
from ohio_jax.relabel import relabel
from ohio_jax.solvers.transport import solve
from tests.ohio_envs.cities import published
from tests.xla import OPTIMIZED

CITIES = ("routing-nyc", "routing-shenzhen")
EPISODES = 36


@functools.cache
def logged(city: str, policy: str):
    task = registry.make(city)
    return task, collect(task, policy, EPISODES, 77)


@functools.cache
def solver():
    return jax.jit(jax.vmap(solve, (None, 0, 0)))


@published
@pytest.mark.parametrize("city", CITIES)
@pytest.mark.parametrize("policy", ["disp", "prop", "dtv", "inf"])
def test_solver_equals_highs_on_every_step(city, policy):
    """36 episodes of 20 steps for each of 8 pairs: 5,760 instances, each equal in cost to HiGHS, whole and feasible."""
    task, data = logged(city, policy)
    tau = np.asarray(task.env.scenario.reb_time)
    supply, wanted = data.state, data.next_state
    assert len(supply) == EPISODES * 20
    found = jax.device_get(solver()(task.env.scenario.reb_cost, supply, wanted))
    assert (found.status == 0).all() and (found.gap == 0).all()
    assert found.flow.dtype == np.int32 and (found.flow >= 0).all()
    np.testing.assert_array_equal(found.flow.sum(axis=1), wanted)
    np.testing.assert_array_equal(found.flow.sum(axis=2) + found.slack, supply)
    reference = reference_routing.highs(tau)
    for s, d, flow in zip(supply, wanted, found.flow, strict=True):
        assert (tau * flow).sum() == (tau * reference(s, d)).sum()


@published
@pytest.mark.parametrize("city", CITIES)
@pytest.mark.parametrize("policy", ["dtv", "inf"])
def test_round_trip_costs_nothing(city, policy):
    """Flows -> goal -> flows: the same end state at the same cost, on every DTV and INF step."""
    task, data = logged(city, policy)
    tau = np.asarray(task.env.scenario.reb_time)
    interface = task.interfaces["ohio"]
    moved = data.action * (1 - np.eye(len(tau), dtype=int))
    end = data.state - moved.sum(axis=2) + moved.sum(axis=1)
    goal = (end / end.sum(axis=1, keepdims=True)).astype(np.float32)
    # As users compile it: without optimizations one of 2,880 goals is rounded differently in two places of the program.
    act = jax.jit(jax.vmap(lambda s, g: transport.act(interface.params, (), s, g)[0]), compiler_options=OPTIMIZED)
    again = act(jnp.asarray(data.state), goal)
    again = np.asarray(again) * (1 - np.eye(len(tau), dtype=int))
    np.testing.assert_array_equal(data.state - again.sum(axis=2) + again.sum(axis=1), end)
    np.testing.assert_array_equal((tau * again).sum(axis=(1, 2)), (tau * moved).sum(axis=(1, 2)))


@published
def test_flooring_loses_vehicles_and_largest_remainder_none():
    task, data = logged("routing-nyc", "dtv")
    for interface, exact in (("ohio", True), ("ohio_compat", False)):
        goals = relabel(data, task, interface, "analytic").action
        total = data.state.sum(axis=1)
        rounding = task.interfaces[interface].params.rounding
        counts = np.asarray(jax.vmap(lambda g, t, r=rounding: transport.counts(g, t, r))(goals, total))
        lost = total - counts.sum(axis=1)
        assert (lost == 0).all() if exact else lost[~data.truncated].mean() > 1


@published
@pytest.mark.parametrize("policy", ["dtv", "prop"])
def test_states_alone_show_the_same_goals(policy):
    """The state-only inverse sees idle counts before and after, and recovers what the flows say."""
    task, data = logged("routing-nyc", policy)
    from_flows, from_states = (relabel(data, task, "ohio", inverse) for inverse in ("analytic", "observed"))
    np.testing.assert_allclose(from_states.action, from_flows.action, atol=1e-6)
    assert (from_states.residual == 0).all() and (from_states.status == 0).all()
    blind = relabel(dataclasses.replace(data, action=np.zeros_like(data.action)), task, "ohio", "observed")
    np.testing.assert_array_equal(blind.action, from_states.action)
