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
from ohio_bench.report import sensitivity_cells
from ohio_bench.runner import store
from ohio_bench.runner.run import run
from ohio_bench.runner.sensitivity import answers, arm, cost, domains, low_levels, recovery

from ohio_jax import low_level
from ohio_jax.controllers import lqr, relative
from ohio_jax.dynamics.model import Model
from ohio_jax.errors import UserError
from ohio_jax.scores import t_interval

KINDS = ("recovery", "domain", "controller", "cost")


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Results of the quick cells that train nothing."""
    results = tmp_path_factory.mktemp("results")
    return results, run(EXPERIMENT, "quick", KINDS, results)


def folder(results):
    return store.folder("sensitivity", "quick", results)


def cell(results, name):
    return json.loads((folder(results) / f"{name}.json").read_text())


def test_errors_are_of_directions_that_show():
    """Two of three entries show, the third does not; an error of one spread there counts in the raw error alone."""
    spread = np.array([1.0, 10.0, 2.0])
    J = np.broadcast_to(np.array([[5.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.4]]), (2, 3, 3))
    every, seen = answers.errors(np.array([[0.0, 0.0, 2.0], [0.3, 4.0, 0.0]]), J, spread)
    np.testing.assert_allclose(every, [np.sqrt(1 / 3), np.sqrt((0.3**2 + 0.4**2) / 3)])
    np.testing.assert_allclose(seen, [0.0, np.sqrt((0.3**2 + 0.4**2) / 2)], atol=1e-12)
    assert np.isnan(answers.errors(np.ones((2, 3)), 1e-3 * J, spread)[1]).all()  # nothing shows


# --- Wrong models: what the error is in one dimension ------------------------------------------------------------------


def cart(effect):
    """x' = x + effect u, and one step of LQR in it; gains are of effect 1."""
    of = lambda effect: Model((jnp.eye(1), jnp.full((1, 1), effect), jnp.zeros(1)), low_levels.plant, 1)
    one = jnp.ones(1)
    return lqr.Params(of(1.0), of(effect), one, 0.1 * one, one, 1e6 * one, 1e3 * one, 0.01 * one, 1)


@pytest.mark.parametrize("effect", [1.0, 0.5, 1.25])
def test_an_effect_wrong_by_a_factor_divides_the_displacement(effect):
    """K (x - g) of the logs is effect K (x - g') of the model: g' - x = (g - x) / effect, for every inverse that predicts."""
    x, goal = jax.random.normal(jax.random.key(0), (2, 32, 1))
    true = cart(1.0)
    segments = jax.jit(jax.vmap(functools.partial(low_levels.follow, lqr, true, true.model.step, 1)))(x, goal)
    case = low_levels.Case(lqr, true, segments, np.asarray(goal))
    expected = np.abs(np.asarray(goal - x)) * abs(1.0 / effect - 1.0) / case.spread
    found = answers.judged({"analytic": 32, "least_squares": 32, "implicit": 32}, case, cart(effect))
    assert found["directions_that_show"] == 1.0
    for name in ("analytic", "least_squares"):
        of = found["inverses"][name]
        np.testing.assert_allclose(of["error_that_shows"], np.quantile(expected, answers.QUANTILES), atol=2e-5)
        # What the recovered goal does in truth: the feedback times its error, in deviations of the noise.
        gain = abs(np.asarray(lqr.prepare(true, jax.tree.map(lambda y: y[0], segments)).gains.K).item())
        np.testing.assert_allclose(
            of["true_residual"][1], np.median(expected) * case.spread[0] * gain / 0.01, rtol=1e-3, atol=2e-3
        )
    assert found["inverses"]["implicit"]["error"][2] < 1e-4  # compares actions, and so knows no effect


def test_noise_on_a_and_b():
    """Entry by entry, of A - 1 and B; without noise it is the model; the gear scales B alone."""
    exact, x, u = arm.TRUE, jnp.array([0.3, -0.4, 0.5, 1.0]), jnp.array([0.2, -0.6])
    A, B, c = exact.linear(x)
    noisy = arm.off(exact, 0.1, 4, 2, seed=3)
    wrong_A, wrong_B, same = noisy.linear(x)
    np.testing.assert_array_equal(same, c)
    np.testing.assert_allclose(wrong_A - A, noisy.a * (A - np.eye(4)), atol=1e-6)
    np.testing.assert_allclose(wrong_B, B * (1 + noisy.b), rtol=1e-6)
    assert 0.02 < np.std(noisy.a) < 0.2 and not np.array_equal(noisy.a, arm.off(exact, 0.1, 4, 2, seed=4).a)
    np.testing.assert_allclose(arm.off(exact, 0.0, 4, 2).step(x, u), exact.step(x, u), atol=1e-6)
    geared = arm.believed(arm.Belief("gear", 1.5), 2, 1, 0.0)
    np.testing.assert_allclose(geared.linear(x)[1], 1.5 * B, rtol=1e-5)
    np.testing.assert_allclose(geared.linear(x)[0], A, atol=1e-6)
    damped = arm.believed(arm.Belief("damping", 2.0), 2, 1, 0.0)
    assert np.abs(np.asarray(damped.linear(x)[0] - A))[2:, 2:].max() > 0.05


def told(domain, quantity, factor, **amounts):
    given = {"segments": 64, "few": 4, "episodes": 2, "runs": 1} | amounts
    return domains.misspecified(domain, quantity, factor, **given)["runs"][0]


def test_a_largest_production_that_is_twice_as_large_halves_what_is_recovered():
    exact, wrong = (told("supply chain", "largest production", factor)["inverses"]["analytic"] for factor in (1.0, 2.0))
    assert exact["error_that_shows"][2] < 1e-6 and exact["change"] == 0.0
    case = domains.known("supply chain", 64, 2, 0)
    assert wrong["change"] == pytest.approx(case.goals[:, -1].max() / 2, rel=1e-6)
    units = np.abs(
        np.round(0.5 * case.goals[:, -1] * float(case.params.limit)) - case.segments.action[:, 0, -1]
    )  # what is done of half the share
    assert wrong["true_residual"][1] == pytest.approx(np.median(units), abs=1.0)


def test_lead_times_enter_levels_and_no_shares():
    """Levels are shares of the largest, which cover a demand that grows with lead times; shares of a stock know of none."""
    stocks = told("supply chain", "lead times", 4.0)
    assert all(of["change"] == 0.0 for of in stocks["inverses"].values()) and stocks["model_error"] == 3.0
    case = domains.known("serial chain", 64, 2, 0)
    wrong, _ = domains.lead_times_of_levels(case.params, 2.0, np.random.default_rng(0))
    assert (wrong.largest > case.params.largest).all()
    exact, twice = (told("serial chain", "lead times", factor)["inverses"]["analytic"] for factor in (1.0, 2.0))
    assert exact["error_that_shows"][1] < 1e-6
    level = case.goals * np.asarray(case.params.largest)
    ordered = case.segments.action[:, 0] > 0
    expected = np.abs(level / np.asarray(wrong.largest) - case.goals)[ordered].max()
    assert twice["change"] >= expected - 1e-5


def test_travel_times_are_costs_of_the_program_alone():
    wrong, unit = (told("routing", quantity, 2.0)["inverses"] for quantity in ("travel times", "unit of travel times"))
    assert wrong["program"]["change"] > 0.0 and wrong["program"]["unexplained"] > 0
    assert {name: of["change"] for name, of in wrong.items() if name != "program"} == dict.fromkeys(set(wrong) - {"program"}, 0.0)
    assert all(of["change"] == 0.0 for of in unit.values())
    assert unit["program"]["error"] == unit["analytic"]["error"] == [0.0, 0.0, 0.0]


def test_inverses_are_asked_what_a_controller_offers():
    """Of goals that are actions all that need no more than these, and not those that ask for a program or a state."""
    found = domains.of_controller("direct", (), 16, 16, 2)["runs"]
    assert len(found) == 2 and found[0]["inverses"].keys() == found[1]["inverses"].keys()
    assert {"analytic", "least_squares", "implicit"} < set(found[0]["inverses"])
    assert not {"program", "observed", "rescaled", "gradient_logged"} & set(found[0]["inverses"])
    for of in found:
        exact = of["inverses"]["analytic"]
        assert exact["error_that_shows"][1] == 0.0 and exact["rate"] > 0
        assert exact["unique"] + exact["ambiguous"] == exact["segments"] == 16


# --- Noise ------------------------------------------------------------------------------------------------------------


def test_bars_of_maximum_likelihood_are_fishers():
    J = np.array([[[2.0, 0.0], [1.0, 0.5]]])
    deviation = recovery.bars(J)
    np.testing.assert_allclose(deviation[0] ** 2, np.diagonal(np.linalg.inv(J[0].T @ J[0])))


def chain():
    """The chain's low level, given displacements, and one of its segments."""
    of = cost.of_chain(4, 1, 0)
    return relative.Params(of.params, of.params.limit, lqr), jax.tree.map(lambda x: x[0], of.segments), of.goals[0]


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
    env = arm.Shaken(arm.task(5, 0.0).env.env, jnp.float32(0.5))
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
    assert found.ran == len(found.paths) == 10
    for k in (0, 1):
        of = lambda name, k=k: cell(results, f"recovery/{name}.h5.noise0")["found"]["runs"][k]
        error = lambda name, of=of: of(name)["inverses"]["analytic"]["error_that_shows"][1]
        assert error("true") < 1e-3 < 0.01 < error("masses+50") < 1.0
        assert error("data-100") > 1e-3 and of("true")["model_error"] == 0.0
    goals = [arm.known(5, 0.0, 64, 2, data_seed).goals for data_seed in (0, 1)]
    assert not np.isin(goals[0], goals[1]).any()  # each run has a data set of its own
    for size in ("dimension.4", "regions.10", "stores.3"):
        of = cell(results, f"cost/cpu.{size}")["found"]["analytic"]
        assert len(of["rates"]) == len(of["errors"]) == 2 and min(of["rates"]) > 0 and of["temporary"] > 0 and of["given"] > 0
        assert max(of["errors"]) < (0.5 if "stores" in size else 1e-3)


def test_page_is_made_of_run_files(quick):
    results, found = quick
    text = (results / "sensitivity-quick.md").read_text()
    for word in ("What this page cannot show", "Quick run: a smoke test", "## Q1", "## Q2", "## Q5", "## C1", "masses +50 %"):
        assert word in text
    for word in (
        "learned, 100 %",
        " ± ",
        "### Routing: travel times wrong by a factor",
        "| 2, program |",
        "cpu: stores of the warehouse",
    ):
        assert word in text
    assert "## Q4" not in text  # no such cells
    pictures = [results / f"sensitivity-quick-{q}.png" for q in ("q1", "q2", "q5", "c1")]
    assert found.report.paths == [results / "sensitivity-quick.md", *pictures]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in pictures)


def test_page_shows_the_t_interval_of_runs():
    values = [1.0, 2.0, 4.0, 3.0, 5.0]
    low, high = t_interval(values)
    assert sensitivity_cells.shown(values, ".3f") == f"3.000 ± {(high - low) / 2:.3f}"
    assert sensitivity_cells.shown([2.0], ".1f") == "2.0" and sensitivity_cells.shown([None, None]) == ""


@pytest.mark.parametrize(
    "kind, pictures", [("cost", ["q5"]), ("recovery", ["q1", "q2"]), ("domain", ["q2"]), ("controller", ["c1"])]
)
def test_a_page_of_one_kind_alone(quick, tmp_path, kind, pictures):
    shutil.copytree(folder(quick[0]) / kind, folder(tmp_path) / kind)
    shutil.copytree(quick[0] / "sources", tmp_path / "sources")
    names = ["sensitivity-quick.md", *(f"sensitivity-quick-{q}.png" for q in pictures)]
    found = EXPERIMENT.report(tmp_path, "quick").write()
    assert [path.name for path in found.paths] == names and found.freshness.stale == 0


def test_cells_of_another_declaration_are_stale_and_copies_are_refused(quick, tmp_path):
    shutil.copytree(folder(quick[0]) / "cost", folder(tmp_path) / "cost")
    shutil.copytree(quick[0] / "sources", tmp_path / "sources")
    path = folder(tmp_path) / "cost" / "cpu.dimension.4.json"
    kept = json.loads(path.read_text())
    there = {**kept["provenance"], "hardware": {**kept["provenance"]["hardware"], "platform": "gpu"}}
    for provenance, stale in ((there, 0), (kept["provenance"], 1)):  # measured elsewhere, or here and called so
        path.write_text(json.dumps({**kept, "config": {**kept["config"], "platform": "gpu"}, "provenance": provenance}))
        assert EXPERIMENT.report(tmp_path, "quick").freshness.stale == stale
    path.write_text(json.dumps({**kept, "config": {**kept["config"], "seconds": 99}}))
    found = EXPERIMENT.report(tmp_path, "quick").freshness
    assert (found.stale, found.other) == (1, 1)
    shutil.copy(path, path.with_name("copy.json"))
    with pytest.raises(UserError, match=r"cpu\.dimension\.4\.json: expected another configuration than that of copy\.json"):
        page.load(tmp_path, "quick")


def test_cells_that_exist_are_not_run_again(quick, tmp_path):
    results, _ = quick
    shutil.copytree(results, tmp_path / "again")
    path = folder(tmp_path / "again") / "cost" / "cpu.dimension.4.json"
    kept = json.loads(path.read_text())
    again = functools.partial(run, EXPERIMENT, "quick", KINDS, tmp_path / "again")
    assert again().ran == 0
    path.write_text(json.dumps({**kept, "config": {**kept["config"], "seconds": 99}}))
    assert again().ran == 1
    assert json.loads(path.read_text())["config"] == kept["config"]
    path.write_text("{")
    with pytest.raises(UserError, match=f"{path.name}: expected JSON in UTF-8, found damage"):
        again()


def test_a_cell_is_judged_alike_when_it_is_written_and_when_it_is_read(quick, tmp_path):
    """By the form of its own kind: what the page could not show is not written, and found before the page is made."""
    wrong = dataclasses.replace(EXPERIMENT, cells=spoiled_cells)
    with pytest.raises(UserError, match=r"^cell cost/cpu\.dimension\.4: field found: expected an object .*; 3 of 3 cells failed"):
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
    for of in cell(tmp_path, "calibration/true.h5.noise0.1")["found"]["runs"]:
        assert 0.85 < of[name]["coverage"] <= 1.0 and 0.3 < of[name]["variance"] < 2.0
    for model in ("true", "data-100"):
        found = cell(tmp_path, f"score/{model}.h5.noise0.analytic")["found"]
        assert np.shape(found["returns"]) == (2, 2) and np.isfinite(found["scores"]).all()
