"""The batched transport solver: feasible, integral and as cheap as SciPy HiGHS on every instance, for any shape."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax.errors import UserError
from ohio_jax.solvers import transport
from ohio_jax.solvers.transport import INFEASIBLE, ITERATION_LIMIT, OPTIMAL, perturb, solve
from tests.reference.transport_highs import optimum

solve_many = jax.jit(jax.vmap(solve, in_axes=(None, 0, 0)))
solve_one = jax.jit(solve)


def times(n, seed, high=12):
    """Asymmetric integer travel times 1..high with a free diagonal; random, so the triangle inequality fails often."""
    tau = np.random.default_rng(seed).integers(1, high + 1, (n, n))
    np.fill_diagonal(tau, 0)
    return tau


def instances(rows, columns, batch, seed, fleet=(250, 1400)):
    """Supplies and demands of idle fleets of all sizes; some ask for every vehicle, some for a few."""
    rng = np.random.default_rng(seed)
    vehicles = np.linspace(*fleet, batch).astype(int) * rows // 14
    share = lambda n: rng.dirichlet(np.full(n, rng.choice([0.2, 1.0, 5.0])))
    supply = np.stack([rng.multinomial(v, share(rows)) for v in vehicles])
    wanted = vehicles * rng.choice([1.0, 0.9, 0.3], batch)
    demand = np.stack([rng.multinomial(int(v), share(columns)) for v in wanted])
    return supply.astype(np.int32), demand.astype(np.int32)


def check(tau, cost, supply, demand, answer, highs=None):
    """Primal feasibility, the duality certificate, and (for the first `highs` instances) HiGHS's cost, all on `tau`."""
    flow, slack = np.asarray(answer.flow, np.int64), np.asarray(answer.slack, np.int64)
    assert np.all(answer.status == OPTIMAL)
    assert flow.min(initial=0) >= 0 and slack.min(initial=0) >= 0
    np.testing.assert_array_equal(flow.sum(2) + slack, supply)
    np.testing.assert_array_equal(flow.sum(1), demand)
    assert np.all(answer.gap == 0)
    np.testing.assert_array_equal((cost * flow).sum((1, 2)).astype(np.int32), answer.cost)
    for b in range(len(supply))[:highs]:
        assert (tau * flow[b]).sum() == pytest.approx(optimum(tau, supply[b], demand[b]), abs=1e-6)


@pytest.mark.parametrize(
    ("n", "batch", "highs"),
    [
        (14, 1024, 300),
        (17, 1024, 200),
        (33, 64, 20),
        (64, 32, 6),
        pytest.param(128, 8, 2, marks=pytest.mark.slow),
        pytest.param(256, 4, 2, marks=pytest.mark.slow),
    ],
)
def test_as_cheap_as_highs(n, batch, highs):
    tau, cost = times(n, n), perturb(times(n, n))
    supply, demand = instances(n, n, batch, seed=n)
    pick = np.random.default_rng(n).permutation(batch)
    supply, demand = supply[pick], demand[pick]
    check(tau, cost, supply, demand, solve_many(cost, supply, demand), highs)


@pytest.mark.slow
@pytest.mark.parametrize("n", [14, 17])
def test_as_cheap_as_highs_on_thousands(n):
    for seed in range(4):
        tau = times(n, seed)
        supply, demand = instances(n, n, 1000, seed=100 + seed)
        check(tau, perturb(tau), supply, demand, solve_many(perturb(tau), supply, demand), None)


@pytest.mark.parametrize(("rows", "columns"), [(15, 14), (3, 40), (40, 3), (32, 32)])
def test_rectangular(rows, columns):
    tau = np.random.default_rng(rows).integers(0, 13, (rows, columns))
    supply, demand = instances(rows, columns, 64, seed=columns, fleet=(140, 1400))
    check(tau, perturb(tau), supply, demand, solve_many(perturb(tau), supply, demand), 20)


def test_source_without_cost_serves_what_is_missing():
    """More requests than vehicles: a row that stands for none takes the rest, the vehicles the cheapest."""
    n, tau = 14, times(14, 3)
    supply, demand = instances(n, n, 200, seed=4)
    demand, supply = supply, demand
    missing = np.maximum(demand.sum(1) - supply.sum(1), 0)[:, None]
    free = np.zeros((1, n), np.int64)
    cost = np.concatenate([perturb(tau), free]).astype(np.int32)
    full = np.concatenate([supply, missing], axis=1).astype(np.int32)
    check(np.concatenate([tau, free]), cost, full, demand, solve_many(cost, full, demand), 100)


ADVERSARIAL = {
    "no vehicles": (times(6, 0), np.zeros(6), np.zeros(6)),
    "no demand": (times(6, 1), np.arange(6), np.zeros(6)),
    "all demand in one region": (times(6, 2), np.full(6, 10), np.eye(6)[3] * 60),
    "all vehicles in one region": (times(6, 3), np.eye(6)[0] * 60, np.full(6, 10)),
    "all from one region to another": (times(6, 4), np.eye(6)[0] * 60, np.eye(6)[5] * 60),
    "equal costs": (1 - np.eye(6, dtype=int), np.arange(6) * 3, np.arange(6)[::-1] * 3),
    "all costs zero": (np.zeros((6, 6), int), np.arange(6) * 3, np.arange(6)[::-1] * 3),
    "equal costs, no free diagonal": (np.full((6, 6), 7), np.arange(6) * 3, np.arange(6)[::-1] * 3),
    "dear diagonal": (13 * np.eye(6, dtype=int) + 1, np.full(6, 8), np.arange(6)),
    "one region": (np.zeros((1, 1), int), np.array([5]), np.array([3])),
    "two regions": (np.array([[0, 4], [9, 0]]), np.array([5, 1]), np.array([1, 5])),
    # Going round is much cheaper than straight on, but a vehicle moves once.
    "detours": (
        np.where(np.eye(6, k=1, dtype=bool), 1, 100) * (1 - np.eye(6, dtype=int)),
        np.eye(6)[0] * 9,
        np.eye(6)[4] * 9,
    ),
    "one vehicle": (times(6, 5), np.eye(6)[2], np.eye(6)[5]),
    "large fleet": (
        times(6, 6),
        np.array([0, 10**6, 0, 0, 0, 0]),
        np.array([0, 0, 4 * 10**5, 3 * 10**5, 2 * 10**5, 1]),
    ),
}


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("perturbed", [True, False])
def test_adversarial(case, perturbed):
    tau, supply, demand = ADVERSARIAL[case]
    supply, demand = supply.astype(np.int32), demand.astype(np.int32)
    cost = perturb(tau) if perturbed else tau.astype(np.int32)
    answer = solve_one(cost, supply, demand)
    batched = jax.tree.map(lambda x: np.asarray(x)[None], answer)
    check(tau, cost, supply[None], demand[None], batched, 1)


@settings(max_examples=60)
@given(data=st.data())
def test_degenerate_small_problems(data):
    """Few distinct costs and amounts: ties everywhere, where a simplex method could cycle."""
    draw = lambda shape, high: np.array(
        data.draw(st.lists(st.integers(0, high), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    ).reshape(shape)
    tau, supply, demand = draw((5, 4), 2), draw((5,), 3).astype(np.int32), draw((4,), 3).astype(np.int32)
    best = optimum(tau, supply, demand)
    answer = solve_one(tau.astype(np.int32), supply, demand)
    if best is None:
        assert answer.status == INFEASIBLE
    else:
        check(tau, tau, supply[None], demand[None], jax.tree.map(lambda x: np.asarray(x)[None], answer), 1)


def test_infeasible_is_a_status():
    cost = perturb(times(4, 0))
    supply = np.array([[3, 0, 0, 0], [3, 0, 0, 0], [3, -1, 0, 0], [3, 0, 0, 0]], np.int32)
    demand = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [3, -1, 0, 0]], np.int32)
    answer = solve_many(cost, supply, demand)
    np.testing.assert_array_equal(answer.status, [INFEASIBLE, OPTIMAL, INFEASIBLE, INFEASIBLE])
    assert not np.any(answer.flow[jnp.array([0, 2, 3])])
    np.testing.assert_array_equal(answer.slack[0], supply[0])
    assert answer.flow[1].sum() == 3


def test_iteration_limit_is_a_status(monkeypatch):
    """Lanes that need fewer pivots than the limit are not disturbed by one that needs more."""
    cost, rng = perturb(times(14, 0)), np.random.default_rng(0)
    supply, demand = rng.multinomial(1000, rng.dirichlet(np.ones(14), (2, 512))).astype(np.int32)
    full = solve_many(cost, supply, demand)
    monkeypatch.setattr(transport, "PIVOTS_PER_ARC", 1)
    few = jax.jit(jax.vmap(lambda *args: solve(*args), in_axes=(None, 0, 0)))(cost, supply, demand)
    stopped = np.asarray(full.iterations > 28)
    assert 0 < stopped.sum() < 512
    np.testing.assert_array_equal(few.status, np.where(stopped, ITERATION_LIMIT, OPTIMAL))
    assert few.iterations.max() == 28
    np.testing.assert_array_equal(few.flow[~stopped], full.flow[~stopped])


@pytest.mark.parametrize("n", [14, 33])
def test_jit_vmap_and_loop_agree(n):
    cost = perturb(times(n, 1))
    supply, demand = instances(n, n, 6, seed=1)
    together = solve_many(cost, supply, demand)
    for b in range(6):
        chex.assert_trees_all_equal(solve_one(cost, supply[b], demand[b]), jax.tree.map(lambda x, b=b: x[b], together))
    nested = jax.jit(jax.vmap(jax.vmap(solve, (None, 0, 0)), (None, 0, 0)))
    fold = lambda x: x.reshape(2, 3, *x.shape[1:])
    chex.assert_trees_all_equal(nested(cost, fold(supply), fold(demand)), jax.tree.map(fold, together))
    costs = np.stack([cost] * 6)
    chex.assert_trees_all_equal(jax.jit(jax.vmap(solve))(costs, supply, demand), together)


def test_runs_without_jit():
    cost = perturb(times(4, 1))
    supply, demand = instances(4, 4, 1, seed=1, fleet=(60, 60))
    with jax.disable_jit():
        chex.assert_trees_all_equal(solve(cost, supply[0], demand[0]), solve_one(cost, supply[0], demand[0]))


def test_same_answer_in_x64_mode(x64):
    cost = perturb(times(14, 2))
    supply, demand = instances(14, 14, 4, seed=2)
    answer = jax.jit(jax.vmap(solve, (None, 0, 0)))(cost, supply, demand)
    assert {leaf.dtype for leaf in answer} == {jnp.dtype("int32")}
    check(times(14, 2), cost, supply, demand, answer, 4)


def test_traced_once_a_shape():
    counted = jax.jit(jax.vmap(chex.assert_max_traces(solve, n=1), in_axes=(None, 0, 0)))
    cost = perturb(times(5, 0))
    for seed in range(3):
        counted(cost, *instances(5, 5, 7, seed))


def test_tie_break_makes_the_optimum_unique():
    """With the regions renamed, ties are met in another order; the perturbed optimum is the same flow."""
    n, rng = 14, np.random.default_rng(0)
    cost = perturb(times(n, 0, high=3))
    supply, demand = instances(n, n, 100, seed=0)
    name = rng.permutation(n)
    renamed = solve_many(cost[np.ix_(name, name)], supply[:, name], demand[:, name])
    back = np.argsort(name)
    np.testing.assert_array_equal(np.asarray(renamed.flow)[:, back][:, :, back], solve_many(cost, supply, demand).flow)


def test_perturb_is_fixed_and_keeps_order():
    tau = times(14, 0)
    cost = perturb(tau)
    np.testing.assert_array_equal(cost, perturb(tau))
    assert cost.dtype == np.int32 and not np.array_equal(cost, perturb(tau, seed=1))
    np.testing.assert_array_equal(np.diag(cost), 0)
    step = 15 * 4095 + 1
    assert np.all((cost - step * tau >= 0) & (cost - step * tau < 4096))


@pytest.mark.parametrize(
    ("shape", "highest"), [((14, 14), 12), ((64, 64), 12), ((256, 256), 12), ((1000, 1000), 30), ((3, 200), 10**5)]
)
def test_perturb_fits_potentials(shape, highest):
    tau = np.full(shape, highest)
    cost = perturb(tau).astype(np.int64)
    m = min(shape) + 1
    assert m * cost.max() < 2**28
    spread = (cost - cost.min()).max()
    assert spread > 0  # some tie-break is left
    one_dearer = perturb(np.where(np.arange(shape[1]) == 0, highest, highest - 1)[None, :].repeat(shape[0], 0)).astype(np.int64)
    assert one_dearer[:, 0].min() - one_dearer[:, 1:].max() > 0


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        (np.full((100, 100), 10**6), "leave no room"),
        (np.array([[0, -1], [1, 0]]), "no negative entry, found -1"),
        (np.array([[0.0, 1.5], [1.0, 0.0]]), "expected integers, found float64"),
        (np.arange(3), "found shape [3]"),
        (np.zeros((0, 0), int), "found shape [0, 0]"),
    ],
)
def test_perturb_rejects(cost, message):
    with pytest.raises(UserError) as error:
        perturb(cost)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("cost", "supply", "message"),
    [
        (np.zeros((2, 3), np.int32), np.zeros(3, np.int32), "found shapes [[2, 3], [3], [3]]"),
        (np.zeros((2, 3), np.float32), np.zeros(2, np.int32), "transport cost: expected integers, found float32"),
    ],
)
def test_solve_rejects_what_does_not_fit(cost, supply, message):
    with pytest.raises(UserError) as error:
        solve(cost, supply, np.zeros(3, np.int32))
    assert message in str(error.value)
