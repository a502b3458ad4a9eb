"""Sensitivity benchmark: errors are of what shows, covariances are those of the noise, and a run goes on where it stopped."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.experiments import sensitivity
from ohio_bench.experiments.sensitivity import EXPERIMENT
from ohio_bench.report import sensitivity as page
from ohio_bench.runner import store
from ohio_bench.runner.run import run
from ohio_bench.runner.sensitivity import arm, cost, recovery

from ohio_jax import low_level
from ohio_jax.controllers import lqr, relative
from ohio_jax.errors import UserError
from ohio_jax.low_level import Segment


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Results of the quick recovery and cost cells."""
    results = tmp_path_factory.mktemp("results")
    return results, run(EXPERIMENT, "quick", ("recovery", "cost"), results)


def folder(results):
    return store.folder("sensitivity", "quick", results)


def cell(results, name):
    return json.loads((folder(results) / f"{name}.json").read_text())


def test_errors_are_of_directions_that_show():
    """Two of three entries show, the third does not; an error of one spread there counts in the raw error alone."""
    spread = np.array([1.0, 10.0, 2.0])
    J = np.broadcast_to(np.array([[5.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.4]]), (2, 3, 3))
    known = arm.Known(Segment(None, None, None), np.zeros((2, 3)), spread)
    every, seen = recovery.errors(np.array([[0.0, 0.0, 2.0], [0.3, 4.0, 0.0]]), known, J)
    np.testing.assert_allclose(every, [np.sqrt(1 / 3), np.sqrt((0.3**2 + 0.4**2) / 3)])
    np.testing.assert_allclose(seen, [0.0, np.sqrt((0.3**2 + 0.4**2) / 2)], atol=1e-12)
    assert np.isnan(recovery.errors(np.ones((2, 3)), known, 1e-3 * J)[1]).all()  # nothing shows


def test_bars_of_maximum_likelihood_are_fishers():
    J = np.array([[[2.0, 0.0], [1.0, 0.5]]])
    deviation = recovery.bars(J)
    np.testing.assert_allclose(deviation[0] ** 2, np.diagonal(np.linalg.inv(J[0].T @ J[0])))


def chain():
    """The chain's low level, given displacements, and one of its segments."""
    params, given, goal, _ = cost.of_chain(4, 1)
    return relative.Params(params, params.limit, lqr), jax.tree.map(lambda x: x[0], given), goal[0]


def test_noise_is_propagated_in_closed_loop():
    """On a linear plant the covariance is G G', G the derivative of the reached state by the torques' noise."""
    low, segment, goal = chain()
    p = low.params

    def reached(noise):
        def step(carry, noise):
            x, memory = carry
            u, memory = lqr.act(p, memory, x, goal)
            return (p.dynamics.step(x, u + noise), memory), None

        start = segment.state[0]
        return jax.lax.scan(step, (start, lqr.plan(p, lqr.init(p), start, goal)), noise)[0][0]

    G = jax.jit(jax.jacfwd(reached))(jnp.zeros((p.steps, 2))).reshape(4, -1)
    np.testing.assert_allclose(jax.jit(arm.propagated)(low, segment), G @ G.T, rtol=1e-4, atol=1e-6)


def test_known_goals_under_noise_leave_white_residuals():
    """At the goal asked for the residual is noise alone: with the whole covariance its entries are standard normal."""
    deviation, amount = 0.1, 512
    draw = jax.random.normal(jax.random.key(0), (2, amount, 4))
    state, goal = np.asarray(draw * jnp.array([[[1.0, 1.0, 0.5, 0.5]], [[0.3, 0.3, 0.3, 0.3]]]))
    low, keys = arm.regulator(5), jax.random.split(jax.random.key(1), amount)

    @jax.jit
    def residual(low, state, goal, key):
        def one(state, goal, key):
            segment = arm.play(low, jnp.float32(deviation), state, goal, key)
            problem = arm.correlated(low, jnp.float32(deviation))
            return low_level.residual(problem, goal, low_level.prepare(problem, segment))

        return jax.vmap(one)(state, goal, key)

    found = np.asarray(residual(low, state, goal, keys))
    np.testing.assert_allclose(np.cov(found.T), np.eye(4), atol=0.2)
    assert np.abs(found.mean(axis=0)).max() < 0.2


def test_noisy_arm_logs_the_torque_it_applied():
    env = arm.Noisy(arm.task(5, 0.0).env.env, jnp.float32(0.5))
    instance = jnp.array([0.5, 1.0, 0.1, 0.1])
    asked = jnp.array([0.9, 0.0])

    @jax.jit
    def play(env, instance):
        first = env.reset_to(instance)
        return jax.lax.scan(lambda s, _: (lambda after: (after, after))(env.step(s, asked)), first, None, 64)[1]

    noisy, again, calm = play(env, instance), play(env, instance), play(env.replace(deviation=jnp.float32(0.0)), instance)
    torque = np.asarray(noisy.info["action"])
    np.testing.assert_array_equal(torque, again.info["action"])
    np.testing.assert_array_equal(calm.info["action"], np.broadcast_to(asked, (64, 2)))
    assert np.abs(torque).max() <= 1.0 and 0.35 < torque[:, 1].std() < 0.6
    x = np.concatenate([instance[:2], np.zeros(2)])
    after = arm.TRUE.step(jnp.asarray(x, jnp.float32), jnp.asarray(torque[0]))
    np.testing.assert_allclose(noisy.pipeline_state.q[0], after[:2], atol=1e-6)


def test_quick_run_finds_what_it_knows(quick):
    results, found = quick
    assert found.ran == len(found.paths) == 5
    error = lambda name: cell(results, f"recovery/{name}.h5.noise0")["found"]["inverses"]["analytic"]["error_that_shows"][1]
    assert error("true") < 1e-3 < 0.01 < error("mass+50") < 1.0
    assert error("data-100") > 1e-3
    for size in ("dimension.4", "regions.10"):
        of = cell(results, f"cost/cpu.{size}")["found"]["analytic"]
        assert of["error"] < 1e-3 and of["rate"]["best"] > 0 and of["temporary"] > 0 and of["given"] > 0


def test_page_is_made_of_run_files(quick):
    results, found = quick
    text = (results / "sensitivity-quick.md").read_text()
    for word in ("Quick run: a smoke test", "## Q1", "## Q2", "## Q5", "masses +50 %", "learned, 100 %"):
        assert word in text
    assert "## Q4" not in text  # no such cells
    pictures = [results / f"sensitivity-quick-{q}.png" for q in ("q1", "q2", "q5")]
    assert found.report.paths == [results / "sensitivity-quick.md", *pictures]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


@pytest.mark.parametrize("kind, pictures", [("cost", ["q5"]), ("recovery", ["q1", "q2"])])
def test_a_page_of_one_kind_alone(quick, tmp_path, kind, pictures):
    shutil.copytree(folder(quick[0]) / kind, folder(tmp_path) / kind)
    names = ["sensitivity-quick.md", *(f"sensitivity-quick-{q}.png" for q in pictures)]
    assert [path.name for path in page.report(tmp_path, "quick").write().paths] == names


def test_cells_that_exist_are_not_run_again(quick, tmp_path):
    results, _ = quick
    shutil.copytree(results, tmp_path / "again")
    path = folder(tmp_path / "again") / "cost" / "cpu.dimension.4.json"
    kept = json.loads(path.read_text())
    again = functools.partial(run, EXPERIMENT, "quick", ("recovery", "cost"), tmp_path / "again")
    assert again().ran == 0
    path.write_text(json.dumps({**kept, "config": {**kept["config"], "windows": 99}}))
    assert again().ran == 1
    assert json.loads(path.read_text())["config"] == kept["config"]
    path.write_text("{")
    with pytest.raises(UserError, match=f"{path.name}: expected JSON in UTF-8, found damage"):
        again()


def test_a_cell_is_judged_alike_when_it_is_written_and_when_it_is_read(quick, tmp_path):
    """By the form of its own kind: what the page could not show is not written, and found before the page is made."""
    wrong = dataclasses.replace(EXPERIMENT, cells=spoiled_cells)
    with pytest.raises(UserError, match=r"^cell cost/cpu\.dimension\.4: field found: expected an object .*; 2 of 2 cells failed"):
        run(wrong, "quick", ("cost",), tmp_path)
    assert not folder(tmp_path).exists()
    shutil.copytree(quick[0], tmp_path / "again")
    path = folder(tmp_path / "again") / "cost" / "cpu.dimension.4.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "found": {}}))
    with pytest.raises(UserError, match=r"field found: expected an object .*; --force with --only cost/cpu\.dimension\.4 makes"):
        run(EXPERIMENT, "quick", ("cost",), tmp_path / "again")


def spoiled_cells(b, kinds):
    return [cell._replace(work=lambda work: {"found": {}}) for cell in sensitivity.cells(b, kinds)]


def test_cells_have_names_of_their_own():
    for preset, budget in sensitivity.BUDGETS.items():
        listed = list(sensitivity.cells(budget, sensitivity.CELLS))
        assert len({name for name, *_ in listed}) == len(listed) > 8
        assert {name.split("/")[0] for name, *_ in listed} == set(page.KINDS), preset
        json.dumps([cell.config for cell in listed], allow_nan=False)


def test_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="preset of sensitivity 'huge'"):
        run(EXPERIMENT, "huge", results=tmp_path)
    with pytest.raises(UserError, match="kind of cell of sensitivity 'scores'"):
        run(EXPERIMENT, "quick", ("scores",), tmp_path)


@pytest.mark.slow
def test_quick_run_scores_and_calibrates(tmp_path):
    """Whole-covariance bars of the true model hold what they say; scores are there for every model."""
    run(EXPERIMENT, "quick", ("calibration", "score"), tmp_path)
    (name,) = sensitivity.BUDGETS["quick"].estimates
    of = cell(tmp_path, "calibration/true.h5.noise0.1")["found"]["estimates"][name]
    assert 0.9 < of["coverage"] < 0.99 and 0.5 < of["variance"] < 1.5
    for model in ("true", "mass+50", "data-100"):
        found = cell(tmp_path, f"score/{model}.h5.noise0.analytic")["found"]
        assert np.shape(found["returns"]) == (2, 2) and np.isfinite(found["score"])
