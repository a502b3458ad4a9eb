"""Inverses of the routing low levels: goals that come back, flows that cost the same, and honest statuses."""

import jax
import numpy as np
import pytest

from ohio_jax import low_level
from ohio_jax.controllers import requests, shares, transport
from ohio_jax.controllers.transport import counts
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, Problem, Segment, StateModel
from ohio_jax.solvers.transport import perturb
from tests.ohio_jax.fleets import N, act, segments, world


def apply(inverse, problem, segment):
    return jax.jit(jax.vmap(lambda s: INVERSES[inverse](problem, s)))(segment)


@pytest.mark.parametrize("inverse", ["analytic", "observed"])
@pytest.mark.parametrize("diagonal", ["kept", "zero"])
def test_round_trip_loses_no_cost(inverse, diagonal):
    """flows -> goal -> flows: the same end state at the same travel time, with the diagonal logged or not."""
    tau, idle, goal = world()
    params = transport.Params(perturb(tau))
    flows = act(transport, params, idle, goal)
    logged = flows if diagonal == "kept" else flows * (1 - np.eye(N, dtype=np.int32))
    answer = apply(inverse, transport.problem(params), segments(idle, logged))
    again = act(transport, params, idle, answer.goal)
    np.testing.assert_array_equal((tau * again).sum((1, 2)), (tau * flows).sum((1, 2)))
    np.testing.assert_array_equal(again.sum(1), flows.sum(1))
    # The tie-break makes even the flows the same.
    np.testing.assert_array_equal(again, flows)
    np.testing.assert_array_equal(answer.residual, 0)
    np.testing.assert_array_equal(answer.log_likelihood, 0)
    assert np.all(answer.converged) and not np.any(answer.iterations)
    np.testing.assert_array_equal(answer.status[1:], UNIQUE)


def test_inverse_is_the_papers_formula():
    tau, idle, goal = world(batch=20, seed=1)
    params = transport.Params(perturb(tau))
    flows = act(transport, params, idle, goal)
    found = apply("analytic", transport.problem(params), segments(idle, flows)).goal
    expected = (idle - flows.sum(2) + flows.sum(1))[1:] / idle.sum(1, keepdims=True)[1:]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-6)


def test_flooring_loses_up_to_one_vehicle_a_region():
    """What the original's rounding does to its own inverse: no target above what was reached, some one below."""
    tau, idle, goal = world()
    params = transport.Params(perturb(tau))
    flows = act(transport, params, idle, goal)
    found = np.asarray(apply("analytic", transport.problem(params), segments(idle, flows)).goal)
    floored = np.asarray(jax.vmap(lambda g, t: counts(g, t, "floor"))(found, idle.sum(1)))
    short = (flows.sum(1) - floored)[1:]
    assert short.min() >= 0 and short.max() == 1


def test_a_detour_is_explained_by_cheaper_flows():
    """Circular traffic leaves no trace in net changes: the recovered goal asks for the end state only."""
    cost = perturb(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]))
    params = transport.Params(cost)
    idle = np.array([[5, 5, 5]], np.int32)
    round_trip = np.array([[[0, 2, 0], [0, 0, 2], [2, 0, 0]]], np.int32)
    answer = apply("analytic", transport.problem(params), segments(idle, round_trip))
    again = act(transport, params, idle, answer.goal)
    np.testing.assert_array_equal(again[0], np.diag(idle[0]))


def test_statuses():
    params = transport.Params(perturb(world(3)[0]))
    idle = np.array([[0, 0, 0], [2, 0, 0], [2, 0, 0], [2, 0, 0], [0, 0, 0]], np.int32)
    flows = np.zeros((5, 3, 3), np.int32)
    flows[1, 0, 1] = 2
    flows[2, 0, 1] = 3
    flows[3, 1, 0] = -1
    flows[4, 0, 1] = 1  # of nobody: anything would be as good, but nothing explains it
    segment = segments(idle, flows)
    answer = apply("analytic", transport.problem(params), segment)
    np.testing.assert_array_equal(answer.status, [AMBIGUOUS, UNIQUE, *[UNEXPLAINED] * 3])
    np.testing.assert_allclose(answer.goal[0], 1 / 3)
    assert np.all(np.isfinite(answer.goal))
    for module in (shares, requests):
        status = apply("analytic", module.problem(module.Params()), segment).status
        np.testing.assert_array_equal(status[1:], [UNIQUE, *[UNEXPLAINED] * 3])
    assert apply("analytic", shares.problem(shares.Params()), segment).status[0] == AMBIGUOUS


def test_observed_reads_no_action():
    tau, idle, goal = world(batch=50)
    params = transport.Params(perturb(tau))
    segment = segments(idle, act(transport, params, idle, goal))
    seen = apply("observed", transport.problem(params), segment)
    blind = apply("observed", transport.problem(params), segment._replace(action=np.full_like(segment.action, -7)))
    jax.tree.map(np.testing.assert_array_equal, seen, blind)
    np.testing.assert_array_equal(seen.goal, apply("analytic", transport.problem(params), segment).goal)


def test_observed_reports_a_state_no_goal_reaches():
    """Vehicles that came from elsewhere: shares of what is there now do not give the counts that are there."""
    params = transport.Params(perturb(world(3)[0]))
    idle, after = np.array([[6, 0, 0]], np.int32), np.array([[6, 4, 2]], np.int32)
    answer = apply(
        "observed", transport.problem(params), Segment(idle[:, None], np.zeros((1, 1, 3, 3), np.int32), after[:, None])
    )
    assert answer.status[0] == UNEXPLAINED and answer.residual[0] > 1


def test_residual_is_vehicles_and_has_a_gradient():
    tau, idle, goal = world(batch=3)
    problem = transport.problem(transport.Params(perturb(tau)))
    segment = jax.tree.map(lambda x: x[2], segments(idle, act(transport, transport.Params(perturb(tau)), idle, goal)))
    at = low_level.prepare(problem, segment)
    off = jax.jit(lambda goal: low_level.residual(problem, goal, at))
    start = low_level.start(problem, at)
    residual = off(start)
    expected = np.asarray(counts(start, idle[2].sum())) - segment.next_state[-1]
    np.testing.assert_array_equal(residual, expected)
    slope = jax.jit(jax.grad(lambda g: 0.5 * (off(g) ** 2).sum()))(start)
    downhill = problem.project(start - 1e-7 * slope)
    assert np.linalg.norm(slope) > 0
    ahead = np.asarray(segment.next_state[-1] / idle[2].sum())
    assert np.linalg.norm(downhill - ahead) < np.linalg.norm(start - ahead)


def test_shares_round_trip():
    rng = np.random.default_rng(0)
    _, idle, _ = world()
    idle[:, ::3] = 0
    goal = rng.dirichlet(np.full(N, 0.3), (len(idle), N)).astype(np.float32)
    flows = act(shares, shares.Params(), idle, goal)
    for logged in (flows, flows * (1 - np.eye(N, dtype=np.int32))):
        answer = apply("analytic", shares.problem(shares.Params()), segments(idle, logged))
        np.testing.assert_array_equal(act(shares, shares.Params(), idle, answer.goal), flows)
        np.testing.assert_array_equal(answer.residual, 0)
        empty = idle == 0
        np.testing.assert_array_equal(np.asarray(answer.goal)[empty], np.eye(N)[np.nonzero(empty)[1]])


@pytest.mark.parametrize("with_diagonal", [True, False])
def test_requests_are_the_logged_flows(with_diagonal):
    """Operators differ in whether they log the vehicles that stay; the original's end-to-end goal is what they logged."""
    tau, idle, goal = world(batch=30)
    flows = act(transport, transport.Params(perturb(tau)), idle, goal)
    if not with_diagonal:
        flows = flows * (1 - np.eye(N, dtype=np.int32))
    answer = apply("analytic", requests.problem(requests.Params()), segments(idle, flows))
    np.testing.assert_array_equal(answer.goal.reshape(-1, N, N), flows)
    np.testing.assert_array_equal(act(requests, requests.Params(), idle, answer.goal), flows)
    np.testing.assert_array_equal(answer.residual, 0)


# Goals are states, and 0 is where all lead.
PLAIN = StateModel(lambda goal, at: goal[None], lambda segment, at: 0.0, lambda segment, at: 1.0)


def test_a_goal_that_is_not_finite_has_failed():
    broken = Problem(
        project=lambda goal: goal,
        start=lambda segment, at: segment.state[0],
        state=PLAIN,
        closed_form=lambda segment, at: (jax.numpy.log(segment.state[0]), UNIQUE),
    )
    answer = INVERSES["analytic"](broken, Segment(np.zeros((1, 2), np.float32), None, None))
    assert answer.status == FAILED and not answer.converged


@pytest.mark.parametrize("inverse", ["analytic", "observed"])
def test_a_low_level_without_it_is_refused(inverse):
    plain = Problem(project=lambda goal: goal, start=lambda segment, at: segment.state[0], state=PLAIN)
    with pytest.raises(UserError, match=inverse):
        INVERSES[inverse](plain, Segment(np.zeros((1, 2)), None, None))
