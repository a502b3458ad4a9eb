"""Speed tests: timing is sound, and a quick run produces every field, checks exactness and writes its page.

How fast anything is, is not asserted: a shared machine is too noisy for that.
"""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from ohio_bench.speed import beside, learners, manipulation, mpc, reacher, reference_scan, routing, run, scaling, updates
from ohio_bench.speed import reference_routing as reference

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS, Spec
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.solvers import transport
from ohio_jax.training.plan import initial_states


def quick_run(name: str, results):
    """What `ohio-jax speed NAME --quick` printed, from nothing in a fresh process, and where it wrote."""
    command = [sys.executable, "-m", "ohio_bench", "speed", name, "--quick", "--json", "--results", str(results)]
    alone = {key: value for key, value in os.environ.items() if key != "ROBOSUITE_PYTHON"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=alone)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)[name], results / "speed"


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return quick_run("routing", tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def quick_reacher(tmp_path_factory):
    return quick_run("reacher", tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def quick_manipulation(tmp_path_factory):
    pytest.importorskip("mujoco")
    return quick_run("manipulation", tmp_path_factory.mktemp("results"))


def finite(tree) -> bool:
    if isinstance(tree, dict):
        return all(map(finite, tree.values()))
    return not isinstance(tree, float) or np.isfinite(tree)


def test_quick_run_writes_what_it_found(quick):
    found, out = quick
    assert found["quick"] is True and finite(found)
    assert json.loads((out / "routing.json").read_text()) == found
    page = (out / "routing.md").read_text()
    assert "Quick run: a smoke test" in page
    assert {"time", "revision", "versions", "hardware"} <= set(found["provenance"])
    assert len(found["load_before"]) == len(found["load_after"]) == 3


def test_every_flow_of_every_batch_is_exact(quick):
    found, _ = quick
    assert found["transport"] and found["growth"]["regions"]
    for part in found["transport"].values():
        assert set(part["exact"].values()) == {part["instances"]} == {routing.QUICK.instances}
        assert set(part["exact"]) == {"batch_1", "batch_64"}
        assert set(part["solves_per_second"]) == {"batch_1", "batch_64", "highs_warm", "highs_cold", "scipy_linprog"}
        assert set(part["ratio_to_highs"]) == set(part["ratio_to_scipy"]) == set(part["exact"])
    for row in found["growth"]["regions"].values():
        assert row["exact"] == row["instances"] > 0
    assert set(found["growth"]["exponent"]) == {"ours", "highs"}


def test_simulators_earn_the_same(quick):
    found, _ = quick
    for part in found["simulator"].values():
        assert part["largest_difference_of_return"] < 0.05  # float32 sums of some 50,000 $
        assert all(rate["best"] > 0 for rate in part["steps_per_second"].values())
        assert set(part["ratio"]) == {"batch_1", "batch_64"}


def test_updates_of_every_learner(quick):
    part = quick[0]["updates"]
    assert tuple(part["learners"]) == routing.QUICK.learners and routing.FULL.learners == tuple(LEARNERS)
    for learner in part["learners"].values():
        assert set(learner["seeds"]) == {str(count) for count in routing.QUICK.seeds}
        for rate in learner["seeds"].values():
            assert rate["seed_updates_per_second"]["best"] > 0
            assert rate["gflops"] == pytest.approx(rate["seed_updates_per_second"]["best"] * learner["gflop_per_update"])
    work = {name: learner["gflop_per_update"] for name, learner in part["learners"].items()}
    assert 0 < work["bc"] < work["iql"] < work["cql"]
    # By hand: products of the actor's three layers on every node, forward, and backward for weights and inputs.
    rows, hidden, features = routing.BATCH * 14, routing.QUICK.hidden, 13
    products = 2 * rows * (features * hidden + hidden * hidden + hidden) * 3 / 1e9
    assert products / 2 < work["bc"] < 2 * products


def test_learners_beside_a_plain_scan_and_torch_or_a_word_why_not(tmp_path, monkeypatch):
    """In an accelerator's layout: one seed and several vmapped ones, on a CPU by its switch."""
    monkeypatch.setenv("OHIO_LAYOUT", "accelerator")
    monkeypatch.setattr(learners, "QUICK", learners.QUICK._replace(seeds=(1, 3), chunk=learners.WIDE.chunk))
    assert learners.WIDE.seeds == (1, 100)
    found = run.run("learners", tmp_path, quick=True)
    assert json.loads((tmp_path / "learners.json").read_text()) == found
    work = {name: of["gflop_per_update"] for name, of in found["updates"]["learners"].items()}
    assert work["iql"] < work["cql, one draw"] < work["cql"] / 1.5
    assert {"iql, plain scan", "cql, plain scan"} <= set(found["updates"]["peers"])
    for losses in found["agreement"].values():
        for pair in losses.values():
            assert pair["plain scan"] == pytest.approx(pair["ours"], rel=0.05)
    for name, pair in found["agreement"]["iql"].items():
        assert pair["plain scan"] == pytest.approx(pair["ours"], rel=1e-4), name
    page = (tmp_path / "learners.md").read_text()
    assert "| iql | 1 |" in page and "| cql | 3 |" in page and "x plain scan" in page and "| iql, plain scan |" in page
    assert not found["missing"] or "Not measured: no module torch: pip install 'ohio-jax[torch]'." in page


def test_the_plain_scan_learns_the_same():
    action = Box((1.0,) * learners.ACTION)
    spec = Spec(learners.OBSERVATION, action, mlp_networks(action, 16))
    plan = learners.contenders(learners.QUICK)["iql"]
    batch = updates.whole(plan, spec, learners.synthetic(64))
    state = jax.tree.map(lambda x: x[0], initial_states(plan, spec)[0])
    peer, rows = reference_scan.make_iql(state, plan.config), reference_scan.rows_of(batch)
    ours, theirs, carry = jax.jit(LEARNERS["iql"].update), jax.jit(peer.update), peer.start
    for _ in range(3):
        state, metrics = ours(state, jax.tree.map(jnp.asarray, batch))
        carry, losses = theirs(carry, jax.random.key(0), rows)
        for name, loss in losses.items():
            assert float(loss) == pytest.approx(float(metrics[name]), rel=1e-4)
    (networks, _, target) = carry
    for mine, other in (
        (state.actor.params, networks["actor"]),
        (state.critic.params, networks["critic"]),
        (state.target, target),
    ):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), mine, other)
    # CQL draws its own actions; that its losses fall together with ours on the same rows says that it descends the same.
    plan = learners.contenders(learners.QUICK)["cql"]
    state = jax.tree.map(lambda x: x[0], initial_states(plan, spec)[0])
    peer = reference_scan.make_cql(state, plan.config)
    run_ours, run_theirs, carry = jax.jit(LEARNERS["cql"].update), jax.jit(peer.update), peer.start
    given = jax.tree.map(jnp.asarray, batch)
    for number in range(100):
        state, metrics = run_ours(state, given)
        carry, losses = run_theirs(carry, jax.random.key(number), rows)
    assert float(losses["critic_loss"]) == pytest.approx(float(metrics["critic_loss"]), rel=0.05)
    assert float(losses["actor_loss"]) == pytest.approx(float(metrics["actor_loss"]), rel=0.1)


def test_torch_learns_the_same():
    pytest.importorskip("torch")
    from ohio_bench.speed import reference_learners

    action = Box((1.0,) * learners.ACTION)
    spec = Spec(learners.OBSERVATION, action, mlp_networks(action, 16))
    transitions = learners.synthetic(64)
    plan = learners.contenders(learners.QUICK)["iql"]
    state = jax.tree.map(lambda x: x[0], initial_states(plan, spec)[0])
    peer, batch = reference_learners.make_iql(state, plan.config), updates.whole(plan, spec, transitions)
    update = jax.jit(LEARNERS["iql"].update)
    for _ in range(3):
        state, metrics = update(state, jax.tree.map(jnp.asarray, batch))
        losses = peer.update(reference_learners.rows_of(batch))
        for name, loss in losses.items():
            assert float(loss.detach()) == pytest.approx(float(metrics[name]), rel=1e-4)
    kernel = state.actor.params["params"]["Perceptron_0"]["Linear_1"]["kernel"]
    np.testing.assert_allclose(peer.networks["actor"].network[2].weight.detach().numpy().T, kernel, atol=1e-5)


def test_wrong_flows_are_seen():
    found = routing.Problems(
        times=np.array([[0, 2], [1, 0]]), supply=np.array([[3, 1], [0, 4]]), demand=np.array([[2, 2], [1, 3]])
    )
    optima = routing.optimal_times(found)
    assert optima.tolist() == [2, 1]
    solutions = routing.batched(found, 2)()
    assert routing.exact(found, solutions, optima) == 2
    (right,) = solutions
    assert routing.exact(found, [right._replace(flow=right.flow + 1)], optima) == 0
    assert routing.exact(found, [right._replace(flow=right.flow.astype(jnp.float32))], optima) == 0
    assert routing.exact(found, [right._replace(status=jnp.array([0, transport.ITERATION_LIMIT]))], optima) == 1
    # Feasible, but a detour: the vehicle that should stay is swapped with another.
    detour = right._replace(flow=jnp.array([[[1, 2], [1, 0]], right.flow[1].tolist()]))
    assert routing.exact(found, [detour], optima) == 1


def test_every_rate_has_a_name(quick, quick_reacher):
    for found, _ in (quick, quick_reacher):
        listed = list(beside.rates(found))
        assert len(listed) == len({name for name, _ in listed}) > 9 and all(rate > 0 for _, rate in listed)
    names = {name for name, _ in beside.rates(quick[0])}
    assert "transport, n=14, batch 64" in names and "updates, iql, seeds 1" in names
    assert any(name.startswith("mpc, n=2, m=1, H=3, qpax, float64, batch 2") for name, _ in beside.rates(quick_reacher[0]))


def test_without_highspy_the_test_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "highspy", None)
    with pytest.raises(UserError, match="pip install highspy"):
        run.run("routing", None, True)


def test_importing_needs_no_solver():
    script = (
        "import sys; from ohio_bench.speed import pages, run; [run.module(name) for name in pages.PAGES]; "
        "assert 'highspy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_problems_are_what_the_low_level_meets():
    (case,) = routing.cases(1)
    found = routing.problems(case, 45)
    assert found.supply.shape == found.demand.shape == (45, len(case.city.idle))
    np.testing.assert_array_equal(found.supply.sum(axis=1), found.demand.sum(axis=1))
    assert (found.supply >= 0).all() and (found.demand >= 0).all() and not found.times.diagonal().any()
    assert (found.supply != found.demand).any(axis=1).mean() > 0.9
    np.testing.assert_array_equal(found.times, reference.rebalancing_cost(case.city.reb_time)[:-1])


def test_reacher_writes_what_it_found(quick_reacher):
    found, out = quick_reacher
    assert found["quick"] is True and finite(found)
    assert json.loads((out / "reacher.json").read_text()) == found
    assert "Quick run: a smoke test" in (out / "reacher.md").read_text()
    assert (out / "reacher.png").read_bytes().startswith(b"\x89PNG")
    assert {"time", "revision", "versions", "hardware"} <= set(found["provenance"])


def test_reacher_inverses(quick_reacher):
    found, out = quick_reacher
    part = found["inverses"]["ohio_compat"]
    assert set(part["segments_per_second"]) == set(part["quality"]) == set(reacher.QUICK.inverses)
    page = (out / "reacher.md").read_text()
    assert (
        "x numerical" in page
        and "x qpax" in page
        and page.count("times the original") == ("numpy" in found["growth"]["steps"]["2"])
    )
    quality = part["quality"]
    assert quality["least_squares"]["residual_median"] <= quality["numerical"]["residual_median"]
    assert found["relabel"]["segments"] == 200 * reacher.QUICK.relabel
    assert set(found["growth"]["steps"]) == {str(steps) for steps in reacher.QUICK.lengths}


def test_manipulation_writes_what_it_found(quick_manipulation):
    found, out = quick_manipulation
    assert found["quick"] is True and finite(found)
    assert json.loads((out / "manipulation.json").read_text()) == found
    page = (out / "manipulation.md").read_text()
    assert "Quick run: a smoke test" in page and "ROBOSUITE_PYTHON names no Python" in page
    (part,) = found["inverses"].values()
    assert set(part["transitions_per_second"]) == set(part["mismatch"]) == set(manipulation.QUICK.inverses)
    assert part["mismatch"]["least_squares"]["median"] < 1e-2 < part["mismatch"]["gradient"]["median"]
    assert found["relabel"]["transitions"] == 2 * 2 * manipulation.QUICK.horizon and found["relabel"]["seconds"] > 0
    for part in found["simulator"].values():
        assert set(part["steps_per_second"]) == {"batch_1", "batch_8", "mujoco_rollout"} and part["backend"] == "c"
        assert "missing" in part["robosuite"] and not part["ratio"] and set(part["ratio_to_mujoco"]) == {"batch_1", "batch_8"}
    assert "x gradient" in page and "x mujoco rollout" in page and "times the original" not in page


def test_scaling_computes_the_same_on_any_number_of_devices(tmp_path):
    found = run.run("scaling", tmp_path, quick=True)
    assert found["quick"] is True and finite(found)
    assert json.loads((tmp_path / "scaling.json").read_text()) == json.loads(json.dumps(found))
    assert set(found["devices"]) == {"1", "2"}
    for kinds in found["devices"].values():
        assert set(kinds) == {"train", "invert", "evaluate"}
        for kind in kinds.values():
            assert kind["rate"]["best"] > 0 and kind["largest_difference"] < 1e-5
    assert {kind["times_one_device"] for kind in found["devices"]["1"].values()} == {1.0}
    page = (tmp_path / "scaling.md").read_text()
    assert "Quick run: a smoke test" in page and "2 seeds of BC" in page
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_difference_between_devices_is_seen(tmp_path):
    one = {"train.loss": np.array([1.0, -4.0]), "invert.goal": np.array([0.0])}
    other = {"train.loss": np.array([1.0, -4.1]), "invert.goal": np.array([0.0])}
    assert scaling.difference(other, one, "train") == pytest.approx(0.1 / 4) and scaling.difference(other, one, "invert") == 0
    with pytest.raises(UserError, match="speed scaling: 2 devices: "):  # no datasets lie there
        scaling.process(2, tmp_path, scaling.QUICK)


def test_a_python_without_robosuite_is_told(monkeypatch):
    monkeypatch.setenv("ROBOSUITE_PYTHON", sys.executable)
    told = manipulation.robosuite("lift", 0.1)["missing"]
    assert told.startswith(sys.executable) and "robosuite" in told


def test_numpy_inverse_and_simulators_are_the_same_work(quick_reacher):
    pytest.importorskip("dm_control")
    found, _ = quick_reacher
    assert found["inverses"]["ohio_compat"]["numpy"]["median_difference_of_goal"] < 1e-3
    assert set(found["simulator"]["ratio"]) == {"batch_1", "batch_16", "mujoco_rollout"}


def test_every_mpc_solver_finds_the_optimum(quick_reacher):
    found, _ = quick_reacher
    for rows in found["mpc"]["shapes"].values():
        for row in rows:
            if "violation" in row:
                assert row["violation"] < {"ohio_jax": 1e-5, "qpax": 1e-3, "cvxpylayers": 1e-2}[row["solver"]]


def test_violations_are_seen():
    of = mpc.case(2, 1, 3, 4)
    best = np.stack(
        [
            scipy.optimize.lsq_linear(of.S, -of.D @ np.append(x, z), (-0.6, 0.6), tol=1e-14).x
            for x, z in zip(of.x, of.goal, strict=True)
        ]
    )
    assert mpc.violation(of, best) < 1e-6 < 1e-3 < mpc.violation(of, best + 0.01)


def test_without_dm_control_its_rows_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "dm_control.suite", None)
    with pytest.raises(UserError, match="pip install dm_control"):
        reacher.reference.dm_control()
