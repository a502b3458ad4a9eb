"""Fine-tuning from declaration to page on a short supply chain; what a hierarchy cannot violate; errors."""

import csv
import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from ohio_bench.experiments import finetune
from ohio_bench.experiments.finetune import EXPERIMENT
from ohio_bench.report import finetune as page
from ohio_bench.runner import store
from ohio_bench.runner.run import run
from ohio_envs import datasets

from ohio_jax.errors import UserError

ROUNDS = 3
datasets.RECIPES["tiny-online-v1"] = datasets.Recipe("supply-chain-1w3s", "s_policy", 4, 2, {"horizon": 5})


def tiny() -> tuple[finetune.Budget, ...]:
    """One way of going on, under the hierarchy and end to end, and its faulty twin."""
    whole = next(b for b in finetune.cpu() if b.domain.data_set == "1w3s-heur-v1")
    small = dataclasses.replace(
        whole,
        domain=dataclasses.replace(whole.domain, data_set="tiny-online-v1", horizon=5, learning_starts=5),
        hidden=8,
        offline=dict.fromkeys(whole.offline, 4),
        decisions=ROUNDS * 2 * 5,
        envs=2,
        updates_per_step=1,
        runs=2,
        test_episodes=3,
    )
    return (dataclasses.replace(small, interfaces=("ohio", "end_to_end_compat"), methods=finetune.METHODS[:1]),)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setitem(EXPERIMENT.presets, "tiny", tiny)
        yield folder, run(EXPERIMENT, "tiny", results=folder / "results")


def cells(folder):
    place = store.folder("finetune", "tiny", folder / "results")
    return {path.stem: json.loads(path.read_text()) for path in place.glob("*.json")}


def test_every_cell_says_how_it_was_made(filled):
    folder, found = filled
    assert len(found.paths) == found.ran == len(cells(folder)) == 3  # with the original's faulty loop
    for name, cell in cells(folder).items():
        assert cell["command"] == f"ohio-jax finetune --preset tiny --only {name} --force"
        assert {"time", "revision", "versions", "hardware"} <= set(cell["provenance"])
        assert np.shape(cell["curve"]["return"]) == (ROUNDS, 2)
        assert (np.array(cell["curve"]["episodes"]) == 2).all()  # a round: every environment's episode
        for when in ("start", "end"):
            assert np.shape(cell["tests"][when]["returns"]) == (2, 3)


def test_a_hierarchy_asks_for_nothing_that_is_not_there(filled):
    """Whatever its policy has learned; the original's end-to-end interface does, with a policy that has hardly learned."""
    found = cells(filled[0])
    asked = {name: np.array(cell["curve"]["infeasible_requests"]) for name, cell in found.items()}
    for name, amounts in asked.items():
        if found[name]["config"]["interface"] == "ohio":
            assert (amounts == 0).all()
        else:
            assert (amounts > 0).all()


def test_methods_differ_in_what_they_keep():
    """As the original mixes: half, then a quarter, then nothing offline, by decisions of all environments together."""
    (b,) = (b for b in finetune.cpu() if b.domain.data_set == "1w3s-heur-v1")
    online = {method.name: finetune.plans(b, "ohio", method)[1] for method in (*finetune.METHODS, finetune.STALE)}
    for name, plan in online.items():
        assert plan.stale == (name == finetune.STALE.name)
        assert plan.plan.learner == ("iql" if "IQL" in name else "sac")
        if name == "WSRL":
            assert plan.mixing == () and plan.critics_first == 0 and plan.learning_starts > 0
        else:
            assert plan.mixing == ((0, 0.5), (2_000 // b.envs, 0.25), (3_000 // b.envs, 0.0))
            assert plan.critics_first == 500 // b.envs


def test_all_methods_of_a_domain_get_the_same():
    """Decisions and gradient updates, before and while learning online; the paper's decisions on the supply chain."""
    found = {}
    for b in finetune.cpu():
        for interface in b.interfaces:
            for method in b.methods:
                offline_plan, online_plan = finetune.plans(b, interface, method)
                found.setdefault((b.domain.name, "online"), set()).add((online_plan.plan.updates, online_plan.decisions))
                found.setdefault((b.domain.name, method.offline), set()).add(offline_plan.updates)
    assert {name for name, _ in found} == {b.domain.name for b in finetune.cpu()}
    assert all(len(amounts) == 1 for amounts in found.values())
    ((updates, decisions),) = found["1W3S-HEUR", "online"]
    assert updates == 10_020 and 100_000 <= decisions <= 101_000


def test_nothing_is_normalized_where_the_originals_interface_is_meant():
    (b,) = (b for b in finetune.cpu() if b.domain.data_set == "1w3s-heur-v1")
    for interface in ("ohio", *finetune.FLAT):
        offline_plan, online_plan = finetune.plans(b, interface, finetune.STALE)
        assert offline_plan.normalize == online_plan.plan.normalize == (interface != "end_to_end_compat")


@pytest.mark.slow
@pytest.mark.parametrize("method", [method for method in finetune.METHODS if method.online == "sac"], ids=lambda m: m.name)
def test_going_on_with_soft_actor_critic(tmp_path, monkeypatch, method):
    (b,) = tiny()
    b = dataclasses.replace(b, interfaces=("ohio",), methods=(method,))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(EXPERIMENT.presets, "tiny", lambda: (b,))
    assert run(EXPERIMENT, "tiny", results=tmp_path / "results").ran == 1
    (cell,) = cells(tmp_path).values()
    assert np.isfinite(cell["curve"]["return"]).all() and (np.array(cell["curve"]["infeasible_requests"]) == 0).all()


def test_finished_cells_are_not_run_again(filled):
    folder, found = filled
    assert run(EXPERIMENT, "tiny", results=folder / "results") == found._replace(ran=0)


def test_page_csv_and_figure(filled):
    folder, found = filled
    files = [folder / "results" / f"finetune-tiny.{kind}" for kind in ("md", "csv", "png")]
    assert found.report.paths == files
    text = files[0].read_text()
    assert "## 1W3S-HEUR" in text and "| OHIO | IQL |" in text and f"| E2E (paper) | {finetune.STALE.name} |" in text
    gain = [line.split(" | ")[7] for line in text.splitlines() if line.startswith("| OHIO | IQL |")]
    test = cells(folder)["1w3s-heur.ohio.iql"]["tests"]
    reference = cells(folder)["1w3s-heur.ohio.iql"]["reference"]
    earned = np.mean(test["end"]["returns"]) - np.mean(test["start"]["returns"])
    assert gain[0].startswith(f"{100 * earned / (reference['full'] - reference['zero']):.1f} (")
    rows = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert len(rows) == 3 * ROUNDS * 2
    assert [int(row["decisions"]) for row in rows[: ROUNDS * 2 : 2]] == [10 + 10 * k for k in range(1, ROUNDS + 1)]
    assert files[2].read_bytes().startswith(b"\x89PNG")
    before = [path.read_bytes() for path in files]
    EXPERIMENT.report(folder / "results", "tiny").write()
    assert [path.read_bytes() for path in files] == before


@pytest.mark.parametrize(
    ("changes", "stale"),
    [({}, 0), ({"hidden": 16}, 3), ({"test_episodes": 4}, 3), ({"interfaces": ("ohio",)}, 2), ({"methods": ()}, 2)],
)
def test_another_declaration_makes_cells_stale(filled, monkeypatch, changes, stale):
    results = filled[0] / "results"
    monkeypatch.setitem(EXPERIMENT.presets, "tiny", lambda: tuple(dataclasses.replace(b, **changes) for b in tiny()))
    found = EXPERIMENT.report(results, "tiny")
    assert found.freshness.other == found.freshness.stale == stale
    assert ("of another configuration than is declared" in found.files[results / "finetune-tiny.md"].decode()) == bool(stale)
    assert sum(of.stale for of in EXPERIMENT.measured(results, "tiny").values()) == stale


def test_every_cell_is_as_its_preset_declares_it():
    """In the city whether or not its file is at hand, of which a page knows nothing."""
    made, declared = finetune.cpu(), finetune.declares("cpu")
    found = list(finetune.cells(made, [b.domain.name for b in made]))
    assert found and all(declared({"config": store.plain(cell.config)}) for cell in found)
    (city,) = (b for b in made if b.domain.name in finetune.CITIES)
    for name in finetune.CITIES:
        b = dataclasses.replace(city, domain=finetune.in_city(name))
        settings = datasets.recipe(b.domain.data_set).settings
        config = store.plain(finetune.config_of(b, "ohio", b.methods[0], settings))
        assert declared({"config": config}) and not declared({"config": {**config, "horizon": 1}})


def test_run_files_say_which_cell_they_are_of_and_share_references(filled, tmp_path):
    place = store.folder("finetune", "tiny", tmp_path)
    shutil.copytree(store.folder("finetune", "tiny", filled[0] / "results"), place)
    path = place / "1w3s-heur.ohio.iql.json"
    shutil.copy(path, place / "copy.json")
    with pytest.raises(UserError, match=r"copy\.json: expected a run file of the cell that it is named by, found one of "):
        page.load(tmp_path, "tiny")
    (place / "copy.json").unlink()
    cell = json.loads(path.read_text())
    path.write_text(json.dumps({**cell, "reference": {**cell["reference"], "full": 1.0}}))
    with pytest.raises(UserError, match=r"1w3s-heur\.ohio\.iql\.json: field reference\.full: expected .*, as in 1w3s-heur\.end"):
        page.load(tmp_path, "tiny")


def test_smoothing_is_a_mean_of_the_last_part():
    values = np.arange(100.0)[:, None]
    width = round(100 * page.SMOOTH)
    np.testing.assert_allclose(page.smooth(values)[-1], np.arange(100 - width, 100).mean())
    np.testing.assert_allclose(page.smooth(values)[0], 0.0)


def test_a_damaged_run_file_is_named(tmp_path):
    path = tmp_path / "cell.json"
    path.write_text('{"config": {}}')
    with pytest.raises(UserError, match=rf"cell\.json: field version: expected {store.VERSION}, found 0"):
        store.read(path, page.KIND)


@pytest.mark.parametrize(
    "line, message",
    [
        ("finetune --preset large", "unknown preset of finetune 'large'"),
        ("finetune --only mars", "unknown domain of finetune 'mars'"),
    ],
)
def test_mistakes_end_in_one_line(command, line, message):
    code, out, err = command(line)
    assert code == 2 and out == "" and message in err and len(err.splitlines()) == 1
