"""Claims that are committed: texts and evidence agree, and declarations name what exists and compare like with like."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from ohio_bench.experiments import EXPERIMENTS, TABLES, manipulation
from ohio_bench.report import marked
from ohio_envs.plans import STEPS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def committed() -> dict[Path, bytes]:
    """What `ohio-jax claims --write` would write."""
    listed = subprocess.run(["git", "ls-files", "results/claims"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode or not listed.stdout:
        pytest.skip("not a git checkout: which results are committed is not known")
    made = marked.files(marked.all_of(EXPERIMENTS.values(), ROOT / "results"), ROOT / "results", ROOT)
    assert {ROOT / line for line in listed.stdout.splitlines()} <= set(made)  # no file is left over
    return made


def test_texts_and_evidence_agree(committed):
    """If this fails: `ohio-jax claims --write`, read what it says now, and commit."""
    assert {ROOT / "README.md", ROOT / "docs" / "claims.md"} <= set(committed)
    assert [str(path) for path, content in committed.items() if path.read_bytes() != content] == []


def test_a_doctored_sentence_is_found(committed):
    found = marked.all_of([EXPERIMENTS["routing"]], ROOT / "results")  # whose claims have numbers
    block = re.search(r"<!-- claims: routing -->.*?<!-- /claims -->", committed[ROOT / "docs" / "claims.md"].decode(), re.S)
    assert block
    text = block[0] + "\n"
    for old, new in ((r" than ", " than twice "), (r"\d+\.\d", "99.9"), (r"\*\*\w+", "**holds for ever")):
        doctored = re.sub(old, new, text, count=1)
        assert doctored != text and marked.rewritten(doctored, found) == text


def test_no_interval_stands_outside_of_markers():
    """Of differences and scores; examples in code are none."""
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = re.sub(r"`[^`\n]*`", "", marked.BLOCK.sub("", path.read_text()))
        assert re.findall(r"\d \([+-]?\d+(?:\.\d+)? to [+-]?\d", text) == [], path.name


def test_declarations_name_what_exists_and_one_inverse():
    for name, table in TABLES.items():
        used = set()
        for of in EXPERIMENTS[name].claims:
            made = table.preset(of.preset)
            columns = {column.name: column for column in made.columns or table.columns}
            assert of.ours in columns and (of.theirs in {*columns, *made.policies} or isinstance(of.theirs, float))
            assert set(of.rows) <= {row.name for row in made.rows}
            assert of.statistic in {"score", *(metric for metric, _, _ in table.metrics)}
            if columns[of.ours].interface.startswith("ohio") and columns[of.ours].inverse != "observed":
                used.add(columns[of.ours].inverse)
        assert len(used) <= 1, name


def test_end_to_end_and_hierarchy_are_compared_at_equal_backups():
    """In low-level steps: a decision of the hierarchy lasts `STEPS` of them. Cloning has no backup."""
    for name, table in TABLES.items():
        steps = lambda column, name=name: column.ahead * (1 if column.interface == "end_to_end" else STEPS.get(name, 1))
        for of in EXPERIMENTS[name].claims:
            columns = {column.name: column for column in table.preset(of.preset).columns or table.columns}
            ours, theirs = columns[of.ours], columns.get(str(of.theirs))
            if theirs and ours.learner != "bc" and (ours.interface == "end_to_end") != (theirs.interface == "end_to_end"):
                assert steps(ours) == steps(theirs) and not {"discount"} & dict(ours.config + theirs.config).keys(), of.name


def test_manipulation_claims_confound_no_range_with_labels():
    """Methods of which gains have changed differ in their labels or in the range of these, not in both."""
    columns = {column.name: column for column in manipulation.COLUMNS}
    wide = {"logged": False, "ohio_equal": False, "ohio": True}
    label = lambda column: "logged" if column.interface == "logged" else column.inverse
    pairs = [(columns[of.ours], columns[of.theirs], of) for of in manipulation.CLAIMS if of.theirs in columns]
    pairs = [(a, b) for a, b, of in pairs if {a.interface, b.interface} <= set(wide) and of.relation != "equal"]
    assert len(pairs) > 4
    for ours, theirs in pairs:
        assert (wide[ours.interface] != wide[theirs.interface]) + (label(ours) != label(theirs)) == 1, (ours.name, theirs.name)


def test_reasons_cite_claims_that_exist():
    words = tomllib.loads((ROOT / "benchmarks" / "ohio_bench" / "report" / "comparison.toml").read_text())
    cited = {name for reason in words["reasons"] for name in re.findall(r"claim `([\w/-]+)`", reason["why"])}
    assert cited and cited <= {f"{name}/{of.name}" for name, experiment in EXPERIMENTS.items() for of in experiment.claims}
