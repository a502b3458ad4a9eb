"""The inverse of linear programs: agrees with closed forms, and with a search through all cases where there is none."""

import functools
import itertools
import json
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from ohio_jax import data, low_level
from ohio_jax.controllers import inventory, lqr, transport
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES, program
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNEXPLAINED, UNIQUE, ActionModel, LinearProgram, Problem, Segment, StateModel
from ohio_jax.solvers.transport import perturb
from tests.ohio_jax import fleets, linear, warehouse
from tests.reference import transport_highs


@functools.partial(jax.jit, static_argnames=("problem", "inverse"))
def _apply(problem, segments, inverse):
    return jax.vmap(lambda segment: INVERSES[inverse](problem, segment))(segments)


def apply(problem, segments, inverse="program"):
    """What an inverse makes of segments, on the host."""
    return jax.tree.map(np.asarray, _apply(problem, segments, inverse))


act = jax.jit(jax.vmap(lambda params, state, goal: inventory.act(params, (), state, goal)[0], in_axes=(None, 0, 0)))


def programs(problem, segments):
    """Their programs one by one, in float64."""
    of_one = lambda segment: program.program_of(problem, low_level.prepare(problem, segment))
    batch = jax.jit(jax.vmap(of_one))(segments)
    for i in range(len(segments.action)):
        yield LinearProgram(*(x if x is None else np.asarray(jax.tree.map(lambda x, i=i: x[i], x), np.float64) for x in batch))


def optimum(p, goal):
    """The x that HiGHS finds for a goal."""
    cost = p.cost if p.price is None else p.cost + p.price @ goal
    answer = linprog(cost, A_eq=p.A, b_eq=p.b + p.B @ goal, method="highs")
    assert answer.status == 0, answer.message
    return answer.x


# --- Supply chain

WITHIN = replace(warehouse.RELEASED, rounding="largest_remainder")  # a warehouse whose storage binds
KINDS = {"unlimited": warehouse.CORRECTED, "within": WITHIN, "smooth": replace(WITHIN, rounding="none")}


@pytest.fixture(scope="module", params=KINDS)
def chain(request):
    """(parameters, problem, segments, what program says, what the closed form says) of 150 states, 30 with full production."""
    params = KINDS[request.param]
    state, goal = warehouse.states(150, seed=3), warehouse.goals(150, seed=4)
    goal[-30:, -1] = 1.0
    segments = Segment(*(jnp.asarray(x)[:, None] for x in (state, act(params, state, goal), state)))
    problem = inventory.problem(params)
    return params, problem, segments, apply(problem, segments), apply(problem, segments, "analytic")


def test_supply_chain_goals_are_the_closed_forms(chain):
    _, problem, segments, found, known = chain
    assert found.converged.all() and (found.residual <= 1e-4).all() and np.isfinite(found.goal).all()
    np.testing.assert_allclose(found.goal, known.goal, atol=2e-6)
    for p, goal, action in zip(programs(problem, segments), found.goal, np.asarray(segments.action), strict=True):
        np.testing.assert_allclose(optimum(p, goal)[: action.size], action[0], atol=1e-4)


def test_supply_chain_statuses_are_exact(chain):
    """By hand: other shares do if there are none, or if a store is full and something is left to ask for; more production
    does where the warehouse is full and production below its limit."""
    params, _, segments, found, known = chain
    room, stock = np.asarray(segments.state)[:, 0, :-1], np.asarray(segments.state)[:, 0, -1]
    ship, made = np.asarray(segments.action)[:, 0, :-1], np.asarray(segments.action)[:, 0, -1]
    total, limit = ship.sum(axis=1), float(params.limit)
    near = 1e-4
    store = (ship >= room - near).any(axis=1) & (total < stock - near)
    warehouse = (made >= np.maximum(float(params.storage) - stock + total, 0.0) - near) & (made < limit - near)
    np.testing.assert_array_equal(found.status == AMBIGUOUS, (stock == 0) | store | warehouse)
    assert set(np.unique(found.status)) == {UNIQUE, AMBIGUOUS}
    assert (known.status[found.status == AMBIGUOUS] != UNIQUE).all()  # the closed form is no less careful
    counts = [(stock == 0).sum(), store.sum(), (made == limit).sum(), (found.status == UNIQUE).sum()]
    assert min(counts) >= 5 and (warehouse.sum() >= 5) == np.isfinite(float(params.storage))


def test_the_program_is_the_papers(chain):
    """The two objectives of the paper's lexicographic program at the goal found are those of the logged action."""
    params, _, segments, found, _ = chain
    for i in np.flatnonzero(np.asarray(segments.state)[:60, 0, -1] <= warehouse.STORAGE):
        state, action = (np.asarray(x, np.float64)[i, 0] for x in (segments.state, segments.action))
        want, make = found.goal[i, : action.size - 1] * state[-1], found.goal[i, -1] * float(params.limit)
        storage = min(float(params.storage), 1e4)
        overfill, deviation = warehouse.program(state, want, make, storage)
        assert overfill == pytest.approx(0.0, abs=1e-6)
        assert np.abs(action - np.append(want, make)).sum() == pytest.approx(deviation, abs=1e-3)


def test_what_a_supply_chain_would_not_do():
    """More than there is room for, more than there is, production where the warehouse is full; one order is the low level's."""
    state = jnp.array([[10.0, 10.0, 10.0, 40.0]] * 4)
    action = jnp.array([[12.0, 0, 0, 5], [10, 10, 25, 5], [1, 2, 3, 20], [1, 2, 3, 5]])
    segments, problem = Segment(state[:, None], action[:, None], state[:, None]), inventory.problem(WITHIN)
    found = apply(problem, segments)
    assert found.converged.all()
    np.testing.assert_array_equal(found.status, [UNEXPLAINED] * 3 + [UNIQUE])
    # By hand: all 12 go to the first store, which takes 10; the third store takes what it has room for; production is cut to 16.
    np.testing.assert_array_equal(act(WITHIN, state, found.goal), [[10, 0, 0, 5], [10, 10, 10, 5], [1, 2, 3, 16], [1, 2, 3, 5]])


def test_bad_segments_fail_alone():
    """Not finite, or absurd: flagged, and not felt by the rest of the batch."""
    segments, problem = warehouse.segments(WITHIN, inventory, 8), inventory.problem(WITHIN)
    clean = apply(problem, segments)
    for field in ("state", "action"):
        bad = getattr(segments, field).at[2, 0, 1].set(jnp.nan).at[5, 0, -1].set(jnp.inf).at[6, 0, 0].set(3e38)
        found = apply(problem, segments._replace(**{field: bad.at[7, 0, -1].set(-1e20)}))
        assert (found.status[[2, 5]] == FAILED).all() and not found.converged[[2, 5]].any() and np.isfinite(found.goal).all()
        assert (found.status[[6, 7]] != UNIQUE).all()
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[[0, 1, 3, 4]], b[[0, 1, 3, 4]]), found, clean)


# --- Transport


@pytest.mark.parametrize("n, cost", [(5, "ties"), (9, "perturbed")])
def test_cheapest_flows_come_back(n, cost):
    """Also flows that are one of many cheapest; checked by HiGHS on the demand they reach."""
    tau, idle, goal = fleets.world(n, 20, seed=n)
    tau = tau % 3 if cost == "ties" else tau
    flows = fleets.act(transport, transport.Params(perturb(tau)), idle, goal)
    problem = transport.problem(transport.Params(perturb(tau) if cost == "perturbed" else jnp.asarray(tau, jnp.int32)))
    segments = fleets.segments(idle, flows)
    found, known = apply(problem, segments), apply(problem, segments, "analytic")
    np.testing.assert_array_equal(found.goal, known.goal)
    np.testing.assert_array_equal(found.status, [AMBIGUOUS] + [UNIQUE] * 19)  # the first fleet is empty
    assert found.converged.all() and (found.residual == 0).all()
    for shares, supply, flow in zip(found.goal[1:], idle[1:], flows[1:], strict=True):
        least = transport_highs.optimum(tau, supply, np.round(shares * supply.sum()))
        assert least == pytest.approx((tau * flow).sum())


def test_a_detour_is_no_cheapest_flow():
    """What the closed form cannot see. The goal is one of those whose flows come nearest, by all there are."""
    tau = np.array([[0, 2, 3], [2, 0, 2], [3, 2, 0]])
    params = transport.Params(perturb(tau))
    idle = np.array([[2, 2, 2], [4, 1, 1], [2, 2, 2]], np.int32)
    flows = np.array([[[0, 2, 0], [0, 0, 2], [2, 0, 0]], [[0, 4, 0], [0, 0, 1], [0, 1, 0]], [[0, 2, 0], [0, 0, 0], [0, 1, 0]]])
    segments = fleets.segments(idle, flows.astype(np.int32))
    found, known = (apply(transport.problem(params), segments, inverse) for inverse in ("program", "analytic"))
    np.testing.assert_array_equal(found.status, [UNEXPLAINED, UNEXPLAINED, UNIQUE])
    assert (known.status == UNIQUE).all() and found.converged.all()
    off = lambda x: x * (1 - np.eye(3, dtype=int))
    ends = np.array([np.float32([a, b, 6 - a - b]) / 6 for a in range(7) for b in range(7 - a)])
    goals = np.concatenate([np.concatenate([ends, goal[None]]) for goal in found.goal])
    done = fleets.act(transport, params, np.repeat(idle, len(ends) + 1, axis=0), goals)
    away = np.abs(off(done).reshape(3, -1, 3, 3) - flows[:, None]).sum(axis=(2, 3))
    np.testing.assert_array_equal(away[:, -1], away.min(axis=1))
    np.testing.assert_array_equal(away[:, -1] > 0, found.status == UNEXPLAINED)


# --- Anyone's linear program


class Dispatch:
    """Three plants, cheapest first, serve a load; what they cannot is shed, which is avoided before any cost.

    goal: load and cap of the first plant; action: what plants make.
    """

    LIMIT = np.array([4.0, 5.0])  # of the other two
    COST = np.array([1.0, 2.0, 4.0])
    SHED = 5.0  # above what a unit more can cost

    @classmethod
    def act(cls, goal):
        load, cap = goal
        first = jnp.minimum(load, cap)
        second = jnp.minimum(load - first, cls.LIMIT[0])
        return jnp.stack([first, second, jnp.minimum(load - first - second, cls.LIMIT[1])])

    @classmethod
    def problem(cls, preferred):
        # Entries: three plants, what is shed, what each plant could make more.
        of_plants, spare = np.eye(3, 7), np.eye(3, 7, 4)
        return Problem(
            project=lambda goal: jnp.clip(goal, 0.0, 15.0),
            start=lambda segment, at: preferred,
            action=ActionModel(lambda goal, at: cls.act(goal)[None], lambda segment, at: 1.0),
            program=lambda segment, at: LinearProgram(
                cost=np.array([*cls.COST, cls.SHED, 0.0, 0.0, 0.0]),
                A=np.concatenate([[[1.0] * 4 + [0.0] * 3], of_plants + spare]),
                b=np.array([0.0, 0.0, *cls.LIMIT]),
                B=np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]),
                action=segment.action[0],
                goal=preferred,
                most=np.array([15.0, 6.0]),
            ),
        )


GRID = np.array(list(itertools.product(range(16), range(7))), float)


def test_one_weight_is_as_good_as_two_objectives():
    """First as little shed as can be, then the cost: at every goal the weighted program's optimum is that of the two."""
    (p,) = programs(Dispatch.problem(jnp.zeros(2)), Segment(None, jnp.zeros((1, 1, 3)), None))
    shed, cost = np.eye(7)[3], np.where(np.arange(7) == 3, 0.0, p.cost)
    for goal in GRID[::5]:
        right = p.b + p.B @ goal
        least = linprog(shed, A_eq=p.A, b_eq=right, method="highs").fun
        then = linprog(cost, A_eq=np.vstack([p.A, shed]), b_eq=np.append(right, least), method="highs")
        assert then.status == 0
        np.testing.assert_allclose(optimum(p, goal), then.x, atol=1e-9)
        np.testing.assert_allclose(Dispatch.act(goal), then.x[:3], atol=1e-9)


@pytest.mark.parametrize("preferred", [(7.0, 3.0), (15.0, 0.0)])
def test_a_dispatch_is_inverted_as_by_trying_all_goals(preferred):
    """Its corners are whole numbers, so that whole goals tell all: which explain an action, and which of them is nearest."""
    problem = Dispatch.problem(jnp.array(preferred))
    made = np.asarray(jax.jit(jax.vmap(Dispatch.act))(jnp.asarray(GRID, jnp.float32)))
    (p,) = programs(problem, Segment(None, jnp.zeros((1, 1, 3)), None))
    np.testing.assert_allclose(made, [optimum(p, goal)[:3] for goal in GRID], atol=1e-5)
    found = apply(problem, Segment(jnp.zeros((len(GRID), 1, 1)), jnp.asarray(made)[:, None], jnp.zeros((len(GRID), 1, 1))))
    same = (made[:, None] == made[None]).all(axis=2)
    np.testing.assert_array_equal(found.status, np.where(same.sum(axis=1) > 1, AMBIGUOUS, UNIQUE))
    assert 0.2 < (found.status == UNIQUE).mean() < 0.8
    np.testing.assert_allclose(found.goal[found.status == UNIQUE], GRID[found.status == UNIQUE], atol=1e-5)
    away = lambda goal: np.abs(goal - np.array(preferred)).sum(axis=-1)
    np.testing.assert_allclose(away(found.goal), np.where(same, away(GRID)[None], np.inf).min(axis=1), atol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.vmap(Dispatch.act))(found.goal), made, atol=1e-4)


def draw(seed, known, price=False):
    """A random program of 9 entries, `known` of them logged under a goal of [-3, 3]^2; shortage and excess in both rows cost."""
    rng = np.random.default_rng(seed)
    A = np.concatenate([rng.integers(-2, 3, (2, 5)), np.eye(2), -np.eye(2)], axis=1).astype(float)
    p = LinearProgram(
        cost=np.concatenate([rng.uniform(0.5, 2.0, 5), rng.uniform(3.0, 5.0, 4)]),
        A=A,
        b=rng.integers(-2, 3, 2).astype(float),
        B=rng.integers(-2, 3, (2, 2)).astype(float),
        action=None,
        goal=rng.uniform(-2.0, 2.0, 2).round(2),
        slack=np.zeros(0),
        price=np.concatenate([rng.uniform(-0.1, 0.1, (5, 2)), np.zeros((4, 2))]) if price else None,
        least=np.full(2, -3.0),
        most=np.full(2, 3.0),
    )
    true = rng.uniform(-3.0, 3.0, 2).round(1)
    return p._replace(action=optimum(p, true)[:known].astype(np.float32).astype(float)), true


def recover(p):
    """The inverse of a program given as arrays."""
    nothing = StateModel(lambda goal, at: 0.0 * goal[None], lambda segment, at: 0.0, lambda segment, at: 1.0)
    problem = Problem(lambda goal: goal, lambda segment, at: p.goal, state=nothing, program=lambda segment, at: p)
    return jax.tree.map(np.asarray, INVERSES["program"](problem, Segment(jnp.zeros(1), jnp.zeros(1), jnp.zeros(1))))


def lowest(p, objective, held=True):
    """The lowest objective(goal, how far goal and action are off) over all cases of which entries are there, one after another.

    objective: (Float[g], Float[g], Float[k]), its slopes. held: the action is the logged one.
    """
    (m, n), g, k = p.A.shape, p.goal.size, p.action.size
    price = np.zeros((n, g)) if p.price is None else p.price
    none = np.zeros
    # Columns: x, goal, prices, distance of goal, distance of action.
    equal = np.hstack([p.A, -p.B, none((m, m + g + k))])
    eye, logged = np.eye(g), np.eye(k, n)
    off = [np.hstack([none((g, n)), s * eye, none((g, m)), -eye, none((g, k))]) for s in (1, -1)]
    off += [np.hstack([s * logged, none((k, g + m + g)), -np.eye(k)]) for s in (1, -1)]
    costs = np.hstack([none((n, n)), -price, p.A.T, none((n, g + k))])
    within, right = np.vstack([*off, costs]), np.concatenate([p.goal, -p.goal, p.action, -p.action, p.cost])
    goal, away, missed = objective
    slope = np.concatenate([none(n), goal, none(m), away, missed])
    best = np.inf
    free = [() if held and j < k else (False, True) for j in range(n)]
    for case in itertools.product(*(f or (p.action[j] > 1e-6,) for j, f in enumerate(free))):
        there = np.array(case)
        bounds = [(0, None if t else 0) for t in there] + list(zip(p.least, p.most, strict=True)) + [(None, None)] * m
        bounds += [(0, None)] * g + [(0, 1e-5 if held else None)] * k
        answer = linprog(
            slope, within, right, np.vstack([equal, costs[there]]), np.append(p.b, p.cost[there]), bounds, method="highs"
        )
        best = min(best, answer.fun) if answer.status == 0 else best
    return best


@pytest.mark.parametrize("price", [False, True], ids=["right-hand side", "costs too"])
def test_random_programs_against_every_case(price):
    seen = []
    for seed in range(8):
        p, true = draw(seed, 4, price)
        found = recover(p)
        k, zero = p.action.size, np.zeros(2)
        assert found.converged and found.status in (UNIQUE, AMBIGUOUS)
        away = np.abs(found.goal - p.goal).sum()
        assert away <= np.abs(true - p.goal).sum() + 1e-5
        assert away == pytest.approx(lowest(p, (zero, np.ones(2), np.zeros(k))), abs=1e-4)
        ends = [sign * lowest(p, (sign * unit, zero, np.zeros(k))) for unit in np.eye(2) for sign in (1, -1)]
        single = np.allclose(ends[::2], ends[1::2], atol=1e-3)
        assert (found.status == UNIQUE) == single
        if single:
            np.testing.assert_allclose(found.goal, true, atol=1e-4)
        seen.append(int(found.status))
    assert len(set(seen)) == 2


def test_the_nearest_action_is_the_nearest_of_every_case():
    """Of actions no goal explains: logged numbers moved, all entries looked at."""
    for seed in range(3):
        p, _ = draw(seed, 3)
        p = p._replace(action=np.round(p.action + np.random.default_rng(seed).uniform(0.3, 1.0, 3), 2))
        found, missed = recover(p), np.ones(3)
        nearest = lowest(p, (np.zeros(2), np.zeros(2), missed), held=False)
        assert found.status == (UNEXPLAINED if nearest > 1e-4 else found.status) and found.converged
        assert np.abs(optimum(p, found.goal.astype(float))[:3] - p.action).sum() == pytest.approx(nearest, abs=1e-4)


def test_a_search_that_is_cut_off_claims_nothing(monkeypatch):
    monkeypatch.setattr(program, "LIMIT", 2)
    found = [recover(draw(seed, 2)[0]) for seed in range(6)]
    unsure = [f for f in found if not f.converged]
    assert unsure and all(f.status != UNIQUE and np.isfinite(f.goal).all() for f in unsure)


# --- Edges


def test_refusals():
    with pytest.raises(UserError, match="'program': expected a low level that is a linear program"):
        INVERSES["program"](lqr.problem(linear.lqr_params()), Segment(jnp.zeros((1, 3)), jnp.zeros((1, 2)), jnp.zeros((1, 3))))
    p, _ = draw(0, 3)
    for wrong, name in ((p._replace(A=p.A[:, :-1]), "A"), (p._replace(B=p.B.T[:1]), "B"), (p._replace(price=p.B), "price")):
        with pytest.raises(UserError, match=f"program {name}: expected shape"):
            recover(wrong)
    with pytest.raises(UserError, match="at most 9 numbers, found 10"):
        recover(p._replace(slack=np.zeros(7)))


def test_logs_are_relabeled(command):
    """Through the command: the goals are what was shipped and what was left, over the stock, and the production's share."""
    assert command("collect supply-chain-1w3s --policy s_policy --episodes 2 --seed 1 --out chain.npz")[0] == 0
    code, out, _ = command("invert chain.npz --inverse program --out goals.npz --json")
    card = json.loads(out)
    assert code == 0 and card["inverse"] == "program" and card["failed"] == 0 and card["transitions"] == 60
    logs, found = data.load("chain.npz", "trajectories"), data.load("goals.npz", "transitions")
    stock, ship = logs.state[:, -1:], logs.action[:, :-1]
    shares = np.concatenate([ship, stock - ship.sum(axis=1, keepdims=True)], axis=1) / np.maximum(stock, 1.0)
    explained = (stock[:, 0] > 0) & (found.status != UNEXPLAINED)
    assert explained.mean() > 0.8
    np.testing.assert_allclose(
        found.action[explained], np.append(shares, logs.action[:, -1:] / 25.0, axis=1)[explained], atol=2e-6
    )
