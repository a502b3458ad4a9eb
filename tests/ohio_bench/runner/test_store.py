"""Run files: one reader, one writer, a version in each, and what older ones mean."""

import dataclasses
import json
import shutil
from pathlib import Path

import jsonschema
import pytest
from ohio_bench.experiments import EXPERIMENTS, TABLES
from ohio_bench.report import entries
from ohio_bench.runner import schema, store

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.training.plan import Plan
from tests.ohio_bench import boards

ROOT = Path(__file__).resolve().parents[3]


def plans_in(part):
    """Every plan within a configuration."""
    if isinstance(part, dict):
        if "learner" in part and "config" in part:
            yield part
        for value in part.values():
            yield from plans_in(value)


MADE = boards.scored({"a": 1}, 50.0) | {"command": "ohio-jax sensitivity", "provenance": boards.provenance()}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.json"
    store.write(path, MADE, "score")
    assert json.loads(path.read_text()) == {"version": store.VERSION, **MADE} == store.read(path, "score")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"config": 1', r"expected JSON in UTF-8, found damage \("),
        ('{"config": {}, "config": {}}', "field 'config': expected once, found twice"),
        ('{"a": ' + "1" * 5000 + "}", r"expected JSON in UTF-8, found damage \(Exceeds the limit"),
        ("[" * 100_000, r"expected JSON in UTF-8, found damage \("),
        ("[]", r"field of the file: expected an object, a run file of scores under a model, found \[\]"),
        ("{}", f"field version: expected {store.VERSION}, found 0, of the schema before; python -m ohio_bench"),
        (f'{{"version": {store.VERSION}}}', "field [a-z]+: expected, found none"),
        ('{"version": 99}', f"field version: expected {store.VERSION}, found 99; it is of a later ohio-jax"),
        ('{"a": [1, NaN]}', r"field a\[1\]: expected a finite number, found NaN"),
        ('{"a": {"b": 1e308}}', "field a.b: expected a finite number, found a number too large"),
        ('{"a": -1' + "0" * 400 + "}", "field a: expected a finite number, found a number too large"),
        ('{"a b\\n": 1}', "field of the file: expected text of one line without control characters, found 'a b"),
        ('{"a": "\\u202e"}', "field a: expected text of one line without control characters"),
    ],
)
def test_a_damaged_run_file_is_named(tmp_path, text, message):
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(UserError, match=r"cell\.json: " + message) as error:
        store.read(tmp_path / "cell.json", "score")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def spoiled(cell: dict, path: str, value) -> dict:
    """The run file with one field set, or deleted for None."""
    *parents, last = path.split(".")
    part = cell = json.loads(json.dumps(cell))
    for name in parents:
        part = part[int(name)] if name.isdecimal() else part[name]
    part[last] = value
    if value is None:
        del part[last]
    return cell


CELL, TUNED = boards.cell("Reacher-Expert", "OHIO analytical IQL", 50.0), boards.finetuned("ohio", 50.0, 60.0, 70.0)


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("cell", "version", True, f"field version: expected {store.VERSION}, the form of run file that this is, found True"),
        ("cell", "returns", [[1.0] * 6], "field returns: expected 2 lists, a training seed each, of 6 numbers"),
        ("cell", "returns", [], r"field returns: expected returns of the test episodes.*, found \[\]"),
        ("cell", "returns", [[], []], r"field returns\[0\]: expected a list of numbers, found \[\]"),
        ("cell", "returns", [[1.0] * 6, "x"], r"field returns\[1\]: expected a list of numbers, found 'x'"),
        ("cell", "returns", [[True] * 6] * 2, r"field returns\[0\]\[0\]: expected a number, found True"),
        ("cell", "returns", [[1e30] * 6] * 2, "field returns: expected scores within"),
        ("cell", "metrics.touching", [[1.0] * 6, [1.0] * 5], "field metrics.touching: expected lists of one length"),
        ("cell", "untrained", "Too few.", "field untrained: expected in place of returns, found beside them"),
        ("cell", "config.inverse", None, "field config.inverse: expected, found none"),
        ("cell", "config.plan.updates", 1.5, "field config.plan.updates: expected a number of gradient updates"),
        ("cell", "config.plan.seeds", 3, "field returns: expected 3 lists, a training seed each"),
        ("cell", "data.0.episodes", None, r"field data\[0\].episodes: expected, found none"),
        ("cell", "data.0.sha256", [], r"field data\[0\].sha256: expected the SHA-256 of the transitions"),
        ("submission", "data.0.return_mean", "<b>", r"field data\[0\].return_mean: expected a number or null"),
        ("submission", "data.0.episodes", [], r"field data\[0\].episodes: expected a number of episodes"),
        ("submission", "data.0.task", True, r"field data\[0\].task: expected the name of a task"),
        ("cell", "data.1.data_seed", None, r"field data\[1\].data_seed: expected 1, found none"),
        ("cell", "data.1.data_seed", "1", r"field data\[1\].data_seed: expected which of the data sets of this name"),
        ("cell", "data.1.data_seed", 0, r"field data\[1\].data_seed: expected 1, found 0"),
        ("cell", "data.0.data_seed", 7, r"field data\[0\].data_seed: expected 0, found 7"),
        ("cell", "data", CELL["data"][:1], "field data: expected a card for each of 2 runs, found 1"),
        ("cell", "data", None, "field data: expected a card for each of 2 runs, found 0"),
        ("cell", "data.0.data_set", "lift-v1", r"field data\[0\].data_set: expected 'reacher-expert-v1', found 'lift-v1'"),
        ("cell", "data.1.task", "lift", r"field data\[1\].task: expected 'reacher', found 'lift'"),
        ("cell", "data.1.interface", "hrl", r"field data\[1\].interface: expected 'ohio', found 'hrl'"),
        ("submission", "data.1.data_seed", 0, r"field data\[1\].data_seed: expected 1, found 0"),
        ("cell", "data", {}, "field data: expected a list of cards of the transitions learned from"),
        ("cell", "config.data_set", None, "field config.data_set: expected, found none"),
        ("cell", "config.test_stream", "selection", "field config.test_stream: expected test, the stream"),
        ("cell", "config.test_stream", None, "field config.test_stream: expected, found none"),
        ("cell", "seconds.train", "1", "field seconds.train: expected a number of seconds, found '1'"),
        ("cell", "provenance.hardware.cores", 0, "field provenance.hardware.cores: expected a number of cores"),
        ("cell", "provenance.time", "2026-02-31T00:00:00Z", "field provenance.time: expected a day and an hour that exist"),
        ("finetune", "config.interface", "own", "field config.interface: expected ohio, end_to_end or end_to_end_compat"),
        ("finetune", "config.method.name", "<b>", "field config.method.name: expected the name of a method"),
        ("finetune", "curve.episodes", [[0.0, 1.0]] * 10, "field curve.episodes: expected a round in which every seed"),
        ("finetune", "curve.return", [[1.0, 1.0]] * 9, "field curve: expected as many rounds and seeds"),
        ("finetune", "tests.end.returns", [[1.0]] * 2, "field tests.end.returns: expected 2 lists"),
        ("finetune", "config.offline.seeds", 5, "field tests.start.returns: expected 5 lists"),
        (
            "finetune",
            "curve",
            {name: [of[:1] for of in rows] for name, rows in TUNED["curve"].items()},
            "field curve: expected num",
        ),
        ("finetune", "tests.end", None, "field tests.end: expected, found none"),
    ],
)
def test_what_is_wrong_with_a_run_file_is_named(kind, path, value, message):
    sound = {"cell": CELL, "finetune": TUNED, "submission": boards.submission()}
    for name, of in sound.items():
        schema.check(of, name)
    with pytest.raises(UserError, match=f"^{message}"):
        schema.check(spoiled(sound[kind], path, value), kind)


def test_a_cell_with_enough_transitions_is_not_called_untrained():
    cell = {name: of for name, of in CELL.items() if name not in ("returns", "metrics", "curve")} | {"untrained": "Too few."}
    few = lambda count: [card | {"trained_on": count} for card in CELL["data"]]
    schema.check(cell | {"data": few(3)}, "cell")
    with pytest.raises(UserError, match=r"^field untrained: expected with fewer than 16 transitions in a run, found 16$"):
        schema.check(cell | {"data": few(16)}, "cell")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "provenance.hardware.load",
            [1.0, 2.0, 3.0, 4.0, 5.0, -1.0, 7.0],
            r"hardware\.load\[5\]: expected a number of at least 0",
        ),
        ("found.returns", [[1.0, 2.0], [1.0] * 9, []], r"found\.returns\[2\]: expected a list of numbers, found \[\]"),
        ("found.returns", [[1.0] * 100_001], r"found\.returns\[0\]: expected at most 100000 entries, found 100001"),
        ("found.returns", [[1.0]] * 100_001, r"found\.returns: expected at most 100000 entries, found 100001"),
    ],
)
def test_no_number_of_a_long_list_is_passed_over(path, value, message):
    whole = {"version": store.VERSION, **json.loads(json.dumps(MADE))}
    schema.check(whole, "score")
    with pytest.raises(UserError, match=f"^field .*{message}"):
        schema.check(spoiled(whole, path, value), "score")


def test_nothing_that_could_not_be_read_is_written(tmp_path):
    with pytest.raises(UserError, match=r"field returns\[0\]\[1\]: expected a finite number, found NaN"):
        store.write(tmp_path / "a.json", {**MADE, "returns": [[1.0, float("nan")]]}, "score")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_is_not_read(tmp_path):
    (tmp_path / "cell.json").mkdir()
    with pytest.raises(UserError, match=r"cell\.json: expected a readable file, found a folder"):
        store.read_all(tmp_path, "score")


def test_committed_run_files_have_all_fields_of_their_learners():
    """If this fails a Config has gained a field: say in `runner.migration` what the code did before, and no run is made again."""
    paths = sorted((ROOT / "results" / "runs").rglob("*.json"))
    if not paths:
        pytest.skip("no run files beside the tests")
    for path in paths:
        table = path.relative_to(ROOT / "results" / "runs").parts[0]
        kind = EXPERIMENTS["routing" if table == "submitted" else table].kind
        name = path.relative_to(ROOT / "results" / "runs" / table).with_suffix("").as_posix().partition("/")[2]
        for plan in plans_in(store.read(path, kind(name))["config"]):
            assert set(plan) - {"ahead"} == set(Plan("bc", None).as_json()), path  # which is left out where it is 1
            assert set(plan["config"]) == set(dataclasses.asdict(LEARNERS[plan["learner"]].Config())), path


def test_the_schema_knows_the_version():
    said = json.loads((Path(schema.__file__).parent / "run.schema.json").read_text())
    assert said["$defs"]["table"]["maxItems"] == said["$defs"]["table"]["items"]["maxItems"] == schema.LONGEST
    assert said["$defs"]["version"]["const"] == store.VERSION and said["$ref"] == "#/$defs/submission"
    jsonschema.Draft202012Validator.check_schema(said)
    jsonschema.Draft202012Validator(said).validate(boards.submission())  # as others do


def test_names_of_files():
    assert store.slug("NYC-INF", "E2E (paper)", "bc") == "nyc-inf.e2e-paper.bc"
    lost = [store.slug(name) for name in ("名前 IQL", "手法 IQL", "é IQL", "É IQL", "IQL")]
    assert len(set(lost)) == 5 and all(name.startswith("iql") and name.isascii() for name in lost)
    assert store.short_hash({"a": 1, "b": 2}) == store.short_hash({"b": 2, "a": 1}) != store.short_hash({"a": 1})


@pytest.mark.parametrize(("field", "other", "expected"), [("preset", "paper", "cpu"), ("table", "routing", "reacher")])
def test_a_run_file_in_the_folder_of_another_preset_or_experiment_is_refused(tmp_path, command, field, other, expected):
    """By the leaderboard and by the commands that fill the folder, whichever experiment it is of."""
    boards.fill(tmp_path)
    place = tmp_path / "runs" / "reacher" / "cpu"
    path = place / "reacher-expert.ohio-analytical.bc.json"
    path.write_text(json.dumps({**boards.cell("Reacher-Expert", "OHIO analytical BC", 99.0), field: other}))
    code, out, err = command(f"leaderboard --results {tmp_path}")
    said = f"{path}: field {field}: expected '{expected}', whose folder it lies in, found '{other}'\n"
    assert (code, out, err) == (2, "", f"ohio-jax leaderboard: {said}")
    assert command(f"bench reacher --preset cpu --sentinel --results {tmp_path}") == (2, "", f"ohio-jax bench: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]

    shutil.rmtree(tmp_path / "runs")
    boards.fill_finetuning(tmp_path)
    place = tmp_path / "runs" / "finetune" / "cpu"
    (place / "1w3s-heur.ohio.iql.json").write_text(json.dumps({**boards.finetuned("ohio", 50.0, 60.0, 70.0), field: other}))
    with pytest.raises(UserError, match=f"1w3s-heur.ohio.iql.json: field {field}: expected"):
        EXPERIMENTS["finetune"].report(tmp_path, "cpu")


BC = "reacher-expert.ohio-analytical.bc"


@pytest.mark.parametrize(
    ("place", "name"),
    [("reacher/cpu", BC), ("reacher/cpu", "reacher.policy.expert"), ("submitted/reacher/cpu", "reacher-expert.ours-iql")],
)
def test_a_run_file_is_named_by_its_cell(tmp_path, command, place, name):
    """So that no two of a folder are of one cell."""
    boards.fill(tmp_path)
    store.write(tmp_path / "runs/submitted/reacher/cpu/reacher-expert.ours-iql.json", boards.submission(), "submission")
    assert command(f"leaderboard --results {tmp_path}")[0] == 0
    path = tmp_path / "runs" / place / "a.json"
    shutil.copy(path.with_name(f"{name}.json"), path)
    found = f"{path}: expected a run file of the cell that it is named by, found one of '{name}'"
    assert command(f"leaderboard --results {tmp_path}") == (2, "", f"ohio-jax leaderboard: {found}\n")


@pytest.mark.parametrize(
    ("field", "value"), [("row", "Reacher-Mixed"), ("column", "End-to-end BC"), ("column", "OHIO analytical IQL")]
)
def test_a_run_file_that_says_it_is_of_another_cell_is_refused(tmp_path, field, value):
    boards.fill(tmp_path)
    path = tmp_path / "runs" / "reacher" / "cpu" / f"{BC}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(UserError, match=f"{BC}.json: expected a run file of the cell that it is named by, found one of "):
        entries.load(TABLES["reacher"], "cpu", tmp_path)


def test_scores_of_a_task_have_one_unit(tmp_path):
    """Of one code: references may change with it."""
    boards.fill(tmp_path)
    cell, other = boards.cell("Reacher-Expert", "OHIO analytical BC", 99.0), {"zero": 0.0, "full": 500.0, "how": "by hand"}
    boards.write(tmp_path, cell | {"reference": other, "sources": "0" * 12})
    assert len(entries.load(TABLES["reacher"], "cpu", tmp_path)) == 7
    boards.write(tmp_path, cell | {"reference": other})
    said = "expected 980.6, as in reacher-expert.end-to-end.bc.json, found 500.0"
    with pytest.raises(UserError, match=f"^{tmp_path}/runs/reacher/cpu/.*json: field reference.full: {said}"):
        entries.load(TABLES["reacher"], "cpu", tmp_path)
