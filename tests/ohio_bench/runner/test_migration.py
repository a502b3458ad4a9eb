"""Run files of the version before: every field under its name of today, with the value that it meant."""

import json

import pytest
from ohio_bench.runner import migration, store

from ohio_jax.errors import UserError

OLD = {
    "table": "manipulation",
    "command": "ohio-jax bench manipulation --preset cpu",
    "column": "OHIO least squares, unexplained dropped IQL",
    "config": {
        "task": "lift",
        "space": "ohio",
        "behaviour": "noisy",
        "made": {"gains": "original"},
        "carried": True,
        "plan": {"learner": "iql", "config": {"actor_rate": 1e-4, "decay": 10.0, "polyak": 0.995, "inverse_temperature": 3.0}},
        "offline": {"learner": "cql", "config": {"conservatism": 5.0, "samples": 4}},
        "online": {"each": 5, "warm_up": 2, "capacity": 9, "restart": 0, "plan": {"learner": "sac", "config": {}}},
    },
    "data": {"behaviour": "noisy", "space": "ohio", "seed": 1},
    "metrics": {"asked_too_much": [[1.0]]},
    "tests": {"start": {"returns": [[1.0]], "asked_too_much": [[2.0]]}},
    "returns": [[1.0]],
}


def test_every_word_has_its_successor():
    found = migration.migrated(OLD)
    config = found["config"]
    assert found["version"] == store.VERSION and found["returns"] == OLD["returns"]
    assert found["column"] == "OHIO least squares, exact segments only IQL"
    assert (config["interface"], config["behavior_policy"], config["zero_shot"]) == ("ohio", "noisy", True)
    assert config["data_settings"] == {"gains": "original"} and config["task"] == "lift"
    learned = {"actor_lr": 1e-4, "actor_lr_decay_steps": 10.0, "tau": 0.005, "beta": 3.0}
    learned |= {"value_update": "new", "bc_warmup": 0, "max_grad_norm": 0.0}  # as the code did before
    assert config["plan"]["config"] == learned
    learned = {"cql_alpha": 5.0, "n_actions": 4, "bc_warmup": 0.0, "importance": True}  # and the last two
    assert config["offline"]["config"] == learned
    online = {name: value for name, value in config["online"].items() if name != "plan"}
    assert online == {"updates_per_step": 5, "learning_starts": 2, "buffer_size": 9, "reset_every": 0}
    assert not any(config[name]["normalize"] for name in ("plan", "offline")) and not config["online"]["plan"]["normalize"]
    assert found["data"] == [{"behavior_policy": "noisy", "interface": "ohio", "seed": 1}]  # of all seeds
    assert found["metrics"] == {"infeasible_requests": [[1.0]]}
    assert found["tests"] == {"start": {"returns": [[1.0]], "infeasible_requests": [[2.0]]}}


def test_a_value_that_was_stepped_first_still_was(tmp_path):
    """Of a file of version 2, which had today's words and its own cell's command already."""
    today = {**migration.migrated(OLD), "command": "ohio-jax bench manipulation --preset cpu --only cell --force"}
    before = json.loads(json.dumps(today)) | {"version": 2}
    del before["config"]["plan"]["config"]["value_update"]
    (tmp_path / "cell.json").write_text(json.dumps(before))
    migration.main(tmp_path)
    assert json.loads((tmp_path / "cell.json").read_text()) == today


def test_todays_are_left_alone():
    found = migration.migrated(OLD)
    assert migration.migrated(found) == found


def test_a_folder_is_written_anew(tmp_path):
    folder = tmp_path / "cpu" / "runs" / "manipulation" / "cpu"  # the preset's name further up as well
    folder.mkdir(parents=True)
    old = folder / "lift-original.ohio-least-squares-unexplained-dropped.iql.json"
    old.write_text(json.dumps(OLD))
    (folder / "other.json").write_text("[1]")
    for _ in range(2):
        migration.main(tmp_path)
        new = folder / "lift-original.ohio-least-squares-exact-segments-only.iql.json"
        assert {path.name for path in folder.iterdir()} == {new.name, "other.json"}
        name = new.with_suffix("").name
        command = f"ohio-jax bench manipulation --preset cpu --only {name} --force"
        assert json.loads(new.read_text()) == {**migration.migrated(OLD), "command": command}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON in UTF-8, found damage"),
        ('{"config": []}', "expected a run file of an earlier version, found damage"),
        (json.dumps({**OLD, "command": 3}), "expected a run file of an earlier version, found damage"),
    ],
)
def test_damage_is_named(tmp_path, text, message):
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(UserError, match=rf"cell\.json: {message}"):
        migration.main(tmp_path)
    assert (tmp_path / "cell.json").read_text() == text


def test_the_program_ends_in_one_line(tmp_path, capsys, monkeypatch):
    """Without such a folder, and where files cannot be written."""
    assert migration.command([str(tmp_path)]) == 0 and capsys.readouterr().err == ""
    assert migration.command([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err == f"{tmp_path / 'none'}: expected a folder of run files, found none\n"
    with pytest.raises(SystemExit) as caught:
        migration.command([])
    assert caught.value.code == 2 and "FOLDER" in capsys.readouterr().err

    def full(path, fields):
        raise OSError(28, "No space left on device")

    (tmp_path / "cell.json").write_text(json.dumps(OLD))
    monkeypatch.setattr(migration, "write_json", full)
    assert migration.command([str(tmp_path)]) == 2
    assert capsys.readouterr().err == "[Errno 28] No space left on device\n"


def test_no_other_file_is_written_over(tmp_path):
    old, new = (tmp_path / f"lift.ohio-least-squares-{name}.iql.json" for name in ("unexplained-dropped", "exact-segments-only"))
    old.write_text(json.dumps(OLD))
    new.write_text("[1]")
    with pytest.raises(UserError, match=rf"{old.name}: expected no other file at its new name, found .*{new.name}"):
        migration.main(tmp_path)
    assert new.read_text() == "[1]" and json.loads(old.read_text()) == OLD
