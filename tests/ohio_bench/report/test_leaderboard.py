"""The leaderboard: committed files are what the run files make; the page is valid and inert."""

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
    assert "41 % of cells of 5 runs, 65 % of cells of 10 runs (simulated)" in text


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
    path = tmp_path / "runs" / "finetune" / "cpu" / "1w3s-heur.ohio.iql.json"
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
    found = boards.data_of((results / "index.html").read_text())
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
    (found,) = boards.data_of((results / "index.html").read_text())["finetuned"]
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
    half = 12.7062 * 0.5  # of two runs that lie a point apart, as before; after, half a point
    assert ours["during"][0] == 60.0
    assert ours["before"] == pytest.approx([50, 50 - half, 50 + half], abs=1e-3)
    assert ours["after"] == pytest.approx([70, 70 - half / 2, 70 + half / 2], abs=1e-3)
    assert ours["violations"] == {"infeasible requests an episode": 15.0}  # 0.5 a decision


def test_claims_about_what_is_shown_are_on_the_page(results):
    found = boards.data_of((results / "index.html").read_text())["claims"]
    assert {of["title"] for of in found} == {"Reacher", "Fine-tuning"}
    (limited,) = (of["text"] for of in found if "within 1 BC compared" in of["text"])  # the only one of the reacher's preset cpu
    assert "; not run: no run file" in limited
    assert limited.endswith("Reacher-Expert Observed state (paper) BC.")


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
    boards.fill(tmp_path, "quick")
    written = leaderboard.rebuild(tmp_path)
    assert written == [tmp_path / "index-quick.html", tmp_path / "reacher-quick.md"]
    assert '<a href="reacher-quick.md">' in written[0].read_text()


def test_tidy_numbers_are_json():
    assert page.tidy({"a": [1.23456789, math.nan], "b": (3, math.inf)}) == {"a": [1.23457, None], "b": [3, None]}
