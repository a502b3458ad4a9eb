"""Submissions to the leaderboard: a sound one joins, and what is wrong with another is said in one line."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from ohio_bench.experiments import EXPERIMENTS, TABLES
from ohio_bench.report import aggregate, entries, leaderboard
from ohio_bench.runner import schema, store

from ohio_jax.errors import UserError
from tests.ohio_bench import boards

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def board(tmp_path) -> Path:
    boards.fill(tmp_path / "results")
    return tmp_path / "results"


def refused(board: Path, content) -> str:
    """The one line that says why; nothing is written."""
    path = board.parent / "run.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    before = sorted(board.rglob("*"))
    with pytest.raises(UserError) as error:
        leaderboard.submit(path, board)
    assert sorted(board.rglob("*")) == before
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


def changed(path: str, value) -> dict:
    """A sound submission with one field set, or deleted for None."""
    cell = boards.submission()
    *parents, last = path.split(".")
    part = cell
    for name in parents:
        part = part[name]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return cell


def test_a_sound_file_joins(board, command, monkeypatch):
    path = board.parent / "run.json"
    path.write_text(json.dumps(boards.submission()))
    code, out, err = command(f"submit {path} --results {board}")
    written = board / "runs" / "submitted" / "reacher" / "cpu" / "reacher-expert.ours-iql.json"
    assert (code, err) == (0, "") and str(written) in out
    assert json.loads(written.read_text()) == boards.submission()
    found = aggregate.board(TABLES["reacher"], "cpu", board)
    assert "Ours IQL" in {entry.column for entry in found.entries}
    before = {path: path.stat().st_mtime_ns for path in board.rglob("*.json")}
    (board / "runs" / ".submitted.lock").touch()  # of a command that was killed
    assert command(f"submit {path} --results {board}") == (0, out, "")  # once more changes nothing
    assert not (board / "runs" / ".submitted.lock").exists()
    assert {path: path.stat().st_mtime_ns for path in board.rglob("*.json")} == before
    message = refused(board, boards.submission(author="Somebody else"))
    assert message == "field column: expected a method that is not on the board, found 'Ours IQL' on 'Reacher-Expert'"


def test_the_command_says_what_is_wrong_in_one_line(board, command):
    path = board.parent / "run.json"
    path.write_text(json.dumps(changed("returns", [[1.0, float("nan")]])))
    code, out, err = command(f"submit {path} --results {board}")
    assert (code, out) == (2, "")
    assert err == f"ohio-jax submit: {path}: field returns[0][1]: expected a finite number, found NaN\n"
    code, _, err = command(f"submit missing.json --results {board}")
    assert code == 2 and err.count("\n") == 1 and "missing.json: expected a readable file" in err


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("author", None, "field author: expected, found none"),
        ("config.plan.learner", None, "field config.plan.learner: expected, found none"),
        ("config.plan.updates", None, "field config.plan.updates: expected, found none"),
        ("scores", [1.0], "field scores: expected one of version, table, preset"),
        ("row", 3, "field row: expected the name of a dataset of the table (a text of one line"),
        ("returns", [["a"]], "field returns[0][0]: expected a number, found 'a'"),
        ("returns", [[True]], "field returns[0][0]: expected a number, found True"),
        ("returns", [[10**400] * 6] * 2, "field returns[0][0]: expected a finite number, found a number too large"),
        ("returns", [[1.0] * 6, [1.0] * 5], "field returns: expected lists of one length, found 5 and more numbers"),
        ("returns", [[1.0] * 5] * 2, "field returns: expected 2 lists, a training seed each, of 6 numbers, a test episode each"),
        ("metrics.touching", [[1.0] * 6], "field metrics.touching: expected 2 lists, a training seed each, of 6 numbers"),
        ("curve.actor_loss", [[1.0], [1.0, 2.0]], "field curve.actor_loss: expected lists of one length"),
        ("seconds.train", -1.0, "field seconds.train: expected a number of seconds, found -1.0"),
        ("column", "=cmd() IQL", "field column: expected"),
        ("column", "two\nlines IQL", "field column: expected"),
        ("column", "Ours BC", "field column: expected the learner 'IQL' as its last word"),
        ("column", "OHIO analytical IQL", "field column: expected a method that is not on the board"),
        ("author", "\ud800", "field author: expected text of one line"),
        ("author", "left\u202etfel", "field author: expected text of one line"),
        ("command", "true\nfalse", "field command: expected text of one line"),
        ("config.settings.a\x1b[0m", 1, "field config.settings: expected text of one line"),
        ("column", "\uff1dcmd() IQL", "field column: expected"),
        ("column", "|cmd IQL", "field column: expected"),
        ("column", "%x IQL", "field column: expected"),
        ("returns", [[2000.0] * 6] * 2, "field returns: expected at most 1000 an episode, found 2000"),
        ("metrics.touching", [[2000.0] * 6] * 2, "field metrics.touching: expected at most 1000 an episode, found 2000"),
        ("returns", [[-1e30] * 6] * 2, "field returns: expected scores within 1e+09, found a return of -1e+30"),
        ("config.test_episodes", 10**30, "field config.test_episodes: expected a number of episodes (a whole number)"),
        ("reference.full", 0.0, "field reference.full: expected another number than reference.zero"),
        ("provenance.time", "2026-02-31T12:00:00+00:00", "field provenance.time: expected a day and an hour that exist"),
        ("provenance.time", "9999-01-01T12:00:00+00:00", "field provenance.time: expected a time that has passed"),
        ("provenance.versions.jax", "<b>", "field provenance.versions.jax: expected a version"),
        ("source", "javascript:alert(1)", "field source: expected an https address of the code"),
        ("table", "chess", "unknown table 'chess'"),
        ("preset", "quick", "unknown preset of reacher with a board 'quick'"),
        ("row", "Reacher-Medium", "unknown dataset of reacher in preset cpu 'Reacher-Medium'"),
        ("config.test_stream", "selection", "field config.test_stream: expected test, the stream"),
        (
            "config.data_set",
            "reacher-medium-v1",
            "field data[0].data_set: expected 'reacher-medium-v1', found 'reacher-expert-v1'",
        ),
        ("data", [{}] * 3, "field data: expected a card for each of 2 runs, found 3"),
        ("data", [{"trained_on": "x"}] * 2, "field data[0].trained_on: expected a number of transitions"),
        ("data", [{}] * 2, "field data[0].task: expected 'reacher', found none"),
        ("config.data_settings", {"steps": 3}, "field config.data_settings: expected None, as on the board, found {'steps': 3}"),
        ("config.data_episodes", 1, "field data[0].episodes: expected 1, found 300"),
        ("config.data_episodes", 300, "field config.data_episodes: expected None, as on the board, found 300"),
        ("config.policy", "expert", "field config.policy: expected no scripted policy"),
        ("reference.full", 1.0, "field reference.full: expected 980.6, as on the board, found 1.0"),
        ("provenance.hardware.platform", "abacus", "field provenance.hardware.platform: expected cpu, gpu or tpu"),
        ("provenance.time", "yesterday", "field provenance.time: expected a time in UTC"),
    ],
)
def test_what_is_wrong_is_named(board, path, value, expected):
    assert refused(board, changed(path, value)).startswith(expected)


def test_another_data_set_is_refused(board):
    cell = boards.submission()
    cell["config"]["data_set"] = "reacher-medium-v1"
    for card in cell["data"]:
        card["data_set"] = "reacher-medium-v1"
    assert refused(board, cell).startswith("field config.data_set: expected 'reacher-expert-v1', as on the board")


def test_only_what_learned_from_the_boards_logs_is_ranked(board):
    """Under one name, another processor makes other logs; which they are, their digest says."""
    logs = ["0" * 64, "1" * 64]
    with_logs = lambda cell, digests: (
        cell | {"data": [card | {"source_sha256": digest} for card, digest in zip(cell["data"], digests, strict=True)]}
    )
    for path in (board / "runs").rglob("reacher-expert.*.json"):
        path.write_text(json.dumps(with_logs(json.loads(path.read_text()), logs)))
    rank = {}
    for column, cell in (
        ("Same IQL", with_logs(boards.submission("Same IQL"), logs)),
        ("Other IQL", with_logs(boards.submission("Other IQL"), logs[::-1])),
        ("Unnamed IQL", boards.submission("Unnamed IQL")),
    ):
        path = board.parent / "run.json"
        path.write_text(json.dumps(cell))
        leaderboard.submit(path, board)
        found = entries.entries(TABLES["reacher"], "cpu", entries.load(TABLES["reacher"], "cpu", board))
        rank[column] = next(of.rank for of in found if of.column == column)
    path = next((board / "runs" / "submitted").rglob("*same-iql.json"))
    cell = json.loads(path.read_text())  # of references that the board has no longer
    path.write_text(json.dumps({**cell, "reference": {**cell["reference"], "full": 100.0}}))
    found = entries.entries(TABLES["reacher"], "cpu", entries.load(TABLES["reacher"], "cpu", board))
    assert next(of.rank for of in found if of.column == "Same IQL") == (0, 0)
    assert rank["Same IQL"] != (0, 0) and rank["Other IQL"] == rank["Unnamed IQL"] == (0, 0)


def test_submissions_to_a_table_from_elsewhere(board, command):
    """Which is named by the caller: no run file decides what is imported."""
    text = "import dataclasses\nfrom ohio_bench.experiments import reacher\n"
    Path("own_board.py").write_text(f"{text}TABLE = dataclasses.replace(reacher.TABLE, name='own')\n")
    shutil.move(board / "runs" / "reacher", board / "runs" / "own")
    for path in (board / "runs").rglob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "table": "own"}))
    path = board.parent / "run.json"
    for table in ("own", "own_board:"):
        path.write_text(json.dumps(boards.submission() | {"table": table}))
        assert command(f"submit {path} --results {board}")[2].startswith(f"ohio-jax submit: {path}: unknown table '{table}'")
    path.write_text(json.dumps(boards.submission() | {"table": "own"}))
    try:
        assert command(f"submit {path} own_board: --results {board}")[0] == 0
        code, out, _ = command(f"leaderboard own_board: --results {board}")
        assert code == 0 and f"{board}/own-cpu.md" in out and "Ours IQL" in (board / "own-cpu.md").read_text()
    finally:
        TABLES.pop("own", None)
        EXPERIMENTS.pop("own", None)
        sys.modules.pop("own_board", None)


def test_our_own_run_files_have_no_author(board):
    path = board / "runs" / "reacher" / "cpu" / "reacher-expert.ohio-analytical.iql.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "author": "Somebody"}))
    with pytest.raises(UserError, match=r"iql\.json: field author: expected of what was submitted alone, found 'Somebody'"):
        entries.load(TABLES["reacher"], "cpu", board)


def test_damaged_files_are_refused(board):
    assert refused(board, b"{").startswith("expected JSON in UTF-8, found damage")
    assert refused(board, b"\xff\xfe").startswith("expected JSON in UTF-8, found damage")
    assert refused(board, b"[" * 100_000).startswith("expected JSON in UTF-8, found damage")
    assert refused(board, b"[]").startswith("field of the file: expected")
    assert refused(board, b'{"row": "a", "row": "b"}') == "field 'row': expected once, found twice"
    assert refused(board, b" " * (17 * 2**20)).startswith("expected at most")
    deep = boards.submission()
    for _ in range(20):
        deep["config"]["plan"] = {"learner": "iql", "updates": 1, "more": deep["config"]["plan"]}
    assert "levels of nesting" in refused(board, deep)


def test_the_boards_own_run_files_keep_to_the_schema():
    """But for the author, which only a submission has."""
    paths = sorted(path for name in TABLES for path in (ROOT / "results" / "runs" / name / "cpu").glob("*.ohio*.json"))
    if not paths:
        pytest.skip("no run files beside the tests")
    for path in paths[:: max(1, len(paths) // 5)]:
        cell = json.loads(path.read_text())
        assert schema.check({**cell, "author": "us"}, "submission") is None


def test_what_is_no_file_is_not_read(board):
    os.mkfifo(board.parent / "pipe")
    for path, kind in ((Path("/dev/zero"), "a device"), (board, "a folder"), (board.parent / "pipe", "a pipe")):
        with pytest.raises(UserError, match=f"^{path}: expected a readable file, found {kind}$"):
            leaderboard.submit(path, board)


def test_nobody_earns_more_than_the_upper_bound(board):
    """The board's own oracle on the same episodes bounds each of them."""
    oracle = boards.scripted("oracle", 96.0)
    oracle["config"] |= {"settings": boards.submission()["config"]["settings"], "policy": "oracle"}
    oracle["returns"] = [[950.0] * boards.EPISODES]
    boards.write(board, oracle)
    better = boards.submission()
    better["returns"][1][0] = 951.0
    assert refused(board, better) == "field returns[1][0]: expected at most 950, the upper bound, found 951"
    path = board.parent / "run.json"
    path.write_text(json.dumps(boards.submission()))
    assert leaderboard.submit(path, board).exists()


def test_the_engine_of_physics_makes_no_other_run(board):
    """As for the runner: a board of MuJoCo's own engine takes what its MJX made on an accelerator, and nothing else."""
    for path in (board / "runs").rglob("*.json"):
        cell = json.loads(path.read_text())
        path.write_text(
            json.dumps(cell | {"config": cell["config"] | {"settings": {"backend": "c", "horizon": 1000, "steps": 5}}})
        )
    message = refused(board, changed("config.settings", {"backend": "mjx", "horizon": 1000, "steps": 4}))
    assert message.startswith("field config.settings: expected ")
    path = board.parent / "run.json"
    path.write_text(json.dumps(changed("config.settings", {"backend": "mjx", "horizon": 1000, "steps": 5})))
    assert leaderboard.submit(path, board).exists()


def test_methods_in_other_letters_are_apart(board):
    """Their letters are no part of a file's name; two methods are two files, and either's page and chart can be made."""
    path = board.parent / "run.json"
    for column in ("名前 IQL", "手法 IQL", "100 % $x$ & <b> IQL"):
        path.write_text(json.dumps(boards.submission(column, metrics={})))
        leaderboard.submit(path, board)
    names = {path.name for path in store.submitted(board).rglob("*.json")}
    assert len(names) == 3 and names >= {f"{store.slug('Reacher-Expert', '名前 IQL')}.json", "reacher-expert.100-x-b-iql.json"}
    leaderboard.rebuild(board)
    methods = [cell["method"] for cell in boards.data_of((board / "index.html").read_text())["cells"]]
    assert {"名前 IQL", "手法 IQL"} <= set(methods)
    assert r"100 % \$x\$ \& \<b\>" in (board / "reacher-cpu.md").read_text()
    assert r"100 \% \$x\$ \& \textless{}b\textgreater{}" in (board / "reacher-cpu.tex").read_text()
