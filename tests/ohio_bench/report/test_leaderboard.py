"""The leaderboard: committed files are what the run files make; the page is valid and inert; submissions are checked."""

import csv
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ohio_bench.experiments import TABLES
from ohio_bench.report import aggregate, latex, leaderboard
from ohio_bench.report.leaderboard import page
from ohio_bench.report.text import plain
from ohio_bench.runner import schema, store

from ohio_jax.errors import UserError
from tests.ohio_bench import boards
from tests.ohio_bench.pages import errors

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """A small board with fine-tuning and one submission whose name is a script, rebuilt."""
    folder = tmp_path_factory.mktemp("board") / "results"
    boards.fill(folder)
    boards.fill_finetuning(folder)
    source = folder.parent / "evil.json"
    source.write_text(json.dumps(boards.submission(boards.EVIL)))
    leaderboard.submit(source, folder)
    leaderboard.rebuild(folder)
    return folder


def data_of(text: str) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_committed_files_are_what_the_run_files_make(tmp_path):
    """Byte for byte, and no committed table, page or figure is left over. If this fails: `make leaderboard`, and commit."""
    listed = subprocess.run(["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout: which results are committed is not known")
    committed = {Path(line).relative_to("results") for line in listed.stdout.splitlines()}
    sources = {path for path in committed if path.parts[0] == "runs" or path.suffix == ".json"}
    for path in sources:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "results" / path, tmp_path / path)
    # As its reader runs it: which policy looks best can hang on the last bit, which tests' own compiler flags change.
    command = [sys.executable, "-m", "ohio_bench", "leaderboard", "--results", str(tmp_path)]
    as_reader = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    subprocess.run(command, cwd=tmp_path.parent, env=as_reader, check=True, capture_output=True)
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert made == committed - {Path(f"{task}.gif") for task in ("reacher", "lift", "door")}  # not made of run files
    assert [
        str(path) for path in made - sources if (tmp_path / path).read_bytes() != (ROOT / "results" / path).read_bytes()
    ] == []


def test_markdown_marks_the_best_only_where_comparisons_say_so(results):
    text = (results / "reacher-cpu.md").read_text()
    assert "**99.0 ± 0.8**† | 50.0 ± 0.8† |" in text  # data sets side by side: the best of one, a tie on the other
    assert text.count("**") == 2
    assert f"*(paper 99.3 ± 16.0; {49.8 - 99.3:+.1f})*" in text
    assert "| 12 | A processor, 2 cores |" in text
    assert "†: fewer than 5 runs." in text and "‡:" not in text
    assert "by their number of runs: " in text and "41 % of 5, 65 % of 10 (simulated)" in text


def test_csv_has_what_the_table_shows(results):
    rows = {(row["row"], row["column"]): row for row in csv.DictReader(io.StringIO((results / "reacher-cpu.csv").read_text()))}
    row = rows["Reacher-Expert", "End-to-end BC"]
    assert float(row["difference"]) == pytest.approx(49.8 - 99.3, abs=1e-3)
    assert (row["first_rank"], row["train"], row["hardware"], row["author"]) == ("3", "12.5", "A processor, 2 cores", "")
    assert (row["runs"], row["collapsed"], row["same_row"]) == ("50.3000 49.3000", "0", "")
    assert rows["Reacher-Expert", boards.EVIL]["author"] == "Somebody"
    assert rows["Reacher", "expert"]["first_rank"] == ""


def test_latex_is_balanced_and_escaped(results):
    text = (results / "reacher-cpu.tex").read_text()
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"\boldmath$99.0 \pm 0.8$$^\dagger$" in text and r"\toprule" in text and r"\bottomrule" in text
    for block in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end", text, re.S):
        spans = [
            sum(int(n) for n in re.findall(r"\\multicolumn\{(\d)", line)) for line in block[1].splitlines() if "multicol" in line
        ]
        assert spans == [len(block[0]) - 1]
        assert {line.count("&") for line in block[1].splitlines() if "pm" in line} == {len(block[0]) - 1}
    assert latex.plain("[1] *") == "{[}1] {*}"
    assert latex.plain(r"50% of_x {a}\b $y~^#&<|>") == (
        r"50\% of\_x \{a\}\textbackslash{}b \$y\textasciitilde{}\textasciicircum{}\#\&\textless{}\textbar{}\textgreater{}"
    )
    assert "<script>" not in text


def test_aggregates(results):
    board = aggregate.board(TABLES["reacher"], "cpu", results)
    found = {of.column.name: of for of in board.aggregates}
    assert next(iter(found)) == "OHIO analytical BC"
    assert boards.EVIL not in found  # it lacks a dataset
    of = found["OHIO analytical BC"]
    assert of.value["mean"] == pytest.approx(74.5) and of.value["gap"] == pytest.approx(25.5)
    assert of.low["mean"] <= of.value["mean"] <= of.high["mean"]
    assert of.better[0] == pytest.approx((1.0 + 0.75) / 2)  # all runs on one dataset, three of four pairs on the other
    assert found["End-to-end BC"].better is None
    chances = aggregate.improvement(board.aggregates)
    assert chances + chances.T == pytest.approx(1.0)
    by = {(of.row, of.interface): of for of in board.choices}
    assert by["Reacher-Expert", "ohio"].arms == 6 and by["Reacher-Mixed", "end_to_end"].arms == 2
    assert by["Reacher-Expert", "ohio"].value[-1] == pytest.approx(99.5, abs=0.1)


def test_nothing_is_rebuilt_of_nothing(tmp_path, command):
    (tmp_path / "runs").mkdir()
    assert leaderboard.rebuild(tmp_path) == [] and list(tmp_path.iterdir()) == [tmp_path / "runs"]
    code, out, err = command("leaderboard --results nowhere")
    assert (code, out, err.count("\n")) == (2, "", 1) and "nowhere: expected a folder of results" in err


def test_a_damaged_run_file_leaves_every_page(results, tmp_path):
    """Named in one line, wherever it lies; nothing is written, though other tables could be."""
    shutil.copytree(results, tmp_path, dirs_exist_ok=True)
    cell = boards.finetuned("ohio", 0.0, 0.0, 0.0)
    cell["tests"]["end"]["returns"][1] = [1.0]
    path = tmp_path / "runs" / "finetune" / "cpu" / "ohio.json"
    path.write_text(json.dumps(cell))
    for page_of in tmp_path.glob("*.*"):
        page_of.write_text("as it was")
    with pytest.raises(UserError, match=f"^{path}: field tests.end.returns: expected lists of one length") as error:
        leaderboard.rebuild(tmp_path)
    assert "\n" not in str(error.value)
    assert {page_of.read_text() for page_of in tmp_path.glob("*.*")} == {"as it was"}


# --- The page -------------------------------------------------------------------------------------------------------


class Outline(HTMLParser):
    """Ids, references to them, and addresses of what a browser would load."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.references, self.loads = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("for", "aria-labelledby", "aria-describedby"):
                self.references.append(value)
            elif name == "src" or (name == "href" and tag != "a"):
                self.loads.append(value)


def test_page_is_valid_html(results):
    text = (results / "index.html").read_text()
    assert errors(text) == []
    assert errors(text.replace("</section>", "", 1)) != []  # the validator sees what it should
    outline = Outline(text)
    assert len(outline.ids) == len(set(outline.ids)) and set(outline.references) <= set(outline.ids)
    assert outline.loads == ["data:,"]  # no network


def test_page_holds_every_cell_with_what_makes_it_again(results):
    found = data_of((results / "index.html").read_text())
    cells = {(cell["row"], cell["method"]): cell for cell in found["cells"]}
    assert len(cells) == len(found["cells"]) == 8 and len({cell["id"] for cell in found["cells"]}) == 8
    cell = cells["Reacher-Expert", "OHIO analytical BC"]
    assert cell["command"].splitlines() == [  # as its run file says
        "ohio-jax bench reacher --preset cpu --only reacher-expert.ohio-analytical-bc --force",
        "ohio-jax collect reacher --out logs.npz",
        "ohio-jax evaluate --checkpoint run",
    ]
    assert cell["best"] and cell["rank"] == [1, 1] and cell["low"] == "LQR" and cell["marks"] == "†"
    assert cell["runs"] == [98.5, 99.5] and cell["collapsed"] == [False, False] and cell["same"] is None
    assert [runs for runs, _ in found["collapse"]] == [2, 5, 10] and found["collapse"][1:] == [[5, 41], [10, 65]]
    assert cell["curve"]["actor_loss"] == [[2.5, 1.25, 0.375], [2.0, 1.0, 0.25], [3.0, 1.5, 0.5]]
    assert cell["hardware"] == "A processor, 2 cores" and cell["provenance"]["versions"] == {"jax": "0.10.2"}
    assert cells["Reacher", "expert (scripted)"]["rank"] is None
    assert [of["row"] for of in found["sets"]] == ["Reacher-Expert", "Reacher-Mixed"]
    assert found["sets"][0]["command"] == "ohio-jax data make reacher-expert-v1"
    collect = "--policy mixed --episodes 300 --seed 1000 --set horizon=1000,steps=10 --out reacher-mixed.npz"
    assert found["sets"][1]["command"] == f"ohio-jax collect reacher {collect}"  # of a run file without a name
    # Before the submission alone: a set's card never comes from it.
    assert cells["Reacher-Expert", boards.EVIL]["author"] == "Somebody"


def test_fine_tuning_is_on_the_page(results):
    (found,) = data_of((results / "index.html").read_text())["finetuned"]
    assert [found["key"], *(name for _, name in found["files"])] == [
        "finetune-cpu",
        *(f"finetune-cpu{of}" for of in (".png", ".md", ".csv")),
    ]
    assert all((results / name).exists() for _, name in found["files"])
    ours, theirs = found["runs"]
    assert (ours["method"], theirs["method"], ours["behavior_policy"], ours["updates"]) == (
        "OHIO IQL",
        "E2E (fair) IQL",
        40.0,
        100,
    )
    half = 12.7062 * 0.5  # of two runs that lie a point apart
    assert ours["during"][0] == 60.0
    assert [*ours["before"], *ours["after"]] == pytest.approx([50, 50 - half, 50 + half, 70, 70 - half, 70 + half], abs=1e-3)
    assert ours["violations"] == {"infeasible requests an episode": 15.0}  # 0.5 a decision


def test_claims_about_what_is_shown_are_on_the_page(results):
    found = data_of((results / "index.html").read_text())["claims"]
    assert {of["title"] for of in found} == {"Reacher", "Finetune"}
    (observed,) = (of["text"] for of in found if "observed states, for which" in of["text"])
    assert "; undecided: no run file" in observed and observed.endswith("Reacher-Medium Observed state IQL and 2 more.")


def test_no_text_of_a_run_file_becomes_markup(results):
    text = (results / "index.html").read_text()
    assert "<script>document.title" not in text and "</script></script>" not in text and "<b>" not in text
    assert text.count("<script") == text.count("</script>") == 2
    assert "Content-Security-Policy" in text and "script-src 'sha256-" in text and "unsafe" not in text
    for script in (ROOT / "benchmarks" / "ohio_bench" / "report" / "leaderboard").glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", script.read_text())
    markdown = (results / "reacher-cpu.md").read_text()
    assert "<" not in markdown.replace("\\<", "") and r"x\|y" in markdown
    assert plain("[a](b) `c` *d* <e> $f$ ~g~") == r"\[a\](b) \`c\` \*d\* \<e\> \$f\$ \~g\~"


def test_quick_runs_have_a_page_of_their_own(tmp_path):
    boards.fill(tmp_path)
    (tmp_path / "runs" / "reacher" / "cpu").rename(tmp_path / "runs" / "reacher" / "quick")
    written = leaderboard.rebuild(tmp_path)
    assert written == [tmp_path / "index-quick.html", tmp_path / "reacher-quick.md"]
    assert '<a href="reacher-quick.md">' in written[0].read_text()


def test_tidy_numbers_are_json():
    assert page.tidy({"a": [1.23456789, math.nan], "b": (3, math.inf)}) == {"a": [1.23457, None], "b": [3, None]}


# --- Submissions ----------------------------------------------------------------------------------------------------


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
        ("config.data_set", "reacher-medium-v1", "field config.data_set: expected 'reacher-expert-v1', as on the board"),
        ("data", [{}] * 3, "field data: expected a card for each of 2 runs, or one for all, found 3"),
        ("config.data_settings", {"steps": 3}, "field config.data_settings: expected None, as on the board, found {'steps': 3}"),
        ("config.data_episodes", 1, "field config.data_episodes: expected None, as on the board, found 1"),
        ("config.policy", "expert", "field config.policy: expected no scripted policy"),
        ("reference.full", 1.0, "field reference.full: expected 980.6, as on the board, found 1.0"),
        ("provenance.hardware.platform", "abacus", "field provenance.hardware.platform: expected cpu, gpu or tpu"),
        ("provenance.time", "yesterday", "field provenance.time: expected a time in UTC"),
    ],
)
def test_what_is_wrong_is_named(board, path, value, expected):
    assert refused(board, changed(path, value)).startswith(expected)


def test_damaged_files_are_refused(board):
    assert refused(board, b"{").startswith("expected JSON in UTF-8, found damage")
    assert refused(board, b"\xff\xfe").startswith("expected JSON in UTF-8, found damage")
    assert refused(board, b"[" * 100_000).startswith("expected JSON in UTF-8, found damage")
    assert refused(board, b"[]").startswith("field of the file: expected")
    assert refused(board, b'{"row": "a", "row": "b"}') == "field 'row': expected once, found twice"
    assert refused(board, b" " * (17 * 2**20)).startswith("expected at most")
    deep = boards.submission()
    for _ in range(20):
        deep["config"]["plan"] = {"learner": "iql", "more": deep["config"]["plan"]}
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
    (board / "runs" / "reacher" / "cpu" / "oracle.json").write_text(json.dumps(oracle))
    better = boards.submission()
    better["returns"][1][0] = 951.0
    assert refused(board, better) == "field returns[1][0]: expected at most 950, the upper bound, found 951"
    path = board.parent / "run.json"
    path.write_text(json.dumps(boards.submission()))
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
    methods = [cell["method"] for cell in data_of((board / "index.html").read_text())["cells"]]
    assert {"名前 IQL", "手法 IQL"} <= set(methods)
    assert r"100 % \$x\$ \& \<b\>" in (board / "reacher-cpu.md").read_text()
    assert r"100 \% \$x\$ \& \textless{}b\textgreater{}" in (board / "reacher-cpu.tex").read_text()
