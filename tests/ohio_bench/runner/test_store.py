"""Run files: one reader, one writer, a version in each, and what older ones mean."""

import dataclasses
import json
from pathlib import Path

import pytest
from ohio_bench.experiments import EXPERIMENTS
from ohio_bench.report.leaderboard import submission
from ohio_bench.runner import store

from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.training.plan import Plan

ROOT = Path(__file__).resolve().parents[3]


def plans_in(part):
    """Every plan within a configuration."""
    if isinstance(part, dict):
        if "learner" in part and "config" in part:
            yield part
        for value in part.values():
            yield from plans_in(value)


def test_what_is_written_is_read(tmp_path):
    store.write(tmp_path / "a.json", {"config": {"a": 1}, "returns": [1.0]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"version": store.VERSION, "config": {"a": 1}, "returns": [1.0]}
    assert store.read(tmp_path / "a.json", ["returns"]) == json.loads(text)


@pytest.mark.parametrize(
    "content, message",
    [
        ('{"config": 1', r"expected a run file, found damage \(.*delete it to run the cell again"),
        ("[]", r"expected a run file, found damage \(no object but list\)"),
        ('{"config": {}}', r"expected a run file, found damage \(no field 'returns'\)"),
        ('{"config": {}, "returns": [], "version": 99}', "field version: expected 2, found 99; it is of a later ohio-jax"),
        ('{"config": {}, "returns": []}', "field version: expected 2, found 0, of the schema before; python -m ohio_bench"),
    ],
)
def test_a_damaged_run_file_is_named(tmp_path, content, message):
    (tmp_path / "cell.json").write_text(content)
    with pytest.raises(UserError, match=r"cell\.json: " + message):
        store.read(tmp_path / "cell.json", ["config", "returns"])


def test_committed_run_files_have_all_fields_of_their_learners():
    """If this fails a Config has gained a field: say in `runner.migration` what the code did before, and no run is made again."""
    paths = sorted((ROOT / "results" / "runs").rglob("*.json"))
    if not paths:
        pytest.skip("no run files beside the tests")
    for path in paths:
        table = path.relative_to(ROOT / "results" / "runs").parts[0]
        fields = EXPERIMENTS["routing" if table == "submitted" else table].fields
        for plan in plans_in(store.read(path, fields)["config"]):
            assert set(plan) == set(Plan("bc", None).as_json()), path
            assert set(plan["config"]) == set(dataclasses.asdict(LEARNERS[plan["learner"]].Config())), path


def test_the_schema_knows_the_version():
    schema = json.loads((Path(submission.__file__).parent / "run.schema.json").read_text())
    assert schema["properties"]["version"]["const"] == store.VERSION


def test_names_of_files():
    assert store.slug("NYC-INF", "E2E (paper)", "bc") == "nyc-inf.e2e-paper.bc"
    assert store.short_hash({"a": 1, "b": 2}) == store.short_hash({"b": 2, "a": 1}) != store.short_hash({"a": 1})
