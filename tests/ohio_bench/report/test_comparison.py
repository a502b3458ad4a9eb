"""The page beside the paper: every published figure is on it, numbers come from run files, reasons fit something."""

from fnmatch import fnmatchcase

import pytest
from ohio_bench.experiments import TABLES
from ohio_bench.report import aggregate, comparison, entries

from ohio_jax.files import write_json
from tests.ohio_bench import boards

PUBLISHED = [
    (table.name, row.name, column.name)
    for table in TABLES.values()
    for preset in table.presets
    for row in table.preset(preset).rows
    for column in table.columns
    if (column.family, column.learner) in row.paper
]


@pytest.fixture
def board(tmp_path):
    boards.fill(tmp_path)
    theirs = tmp_path / "runs/submitted/reacher/cpu/reacher-expert.end-to-end-iql.json"
    write_json(theirs, boards.submission("End-to-end IQL"))
    return aggregate.board(TABLES["reacher"], "cpu", tmp_path)


def test_every_published_figure_is_compared(board):
    found = {of.column: of for of in comparison.compared(board)}
    assert set(found) == {column for table, row, column in PUBLISHED if (table, row) == ("reacher", "Reacher-Expert")}
    assert {column for column, of in found.items() if of.entry} == {"End-to-end BC"}
    of = found["End-to-end BC"]
    # Student's quantile of a mean of 30 episodes.
    assert of.interval == pytest.approx((99.3 - 2.04523 * 16.0 / 30**0.5, 99.3 + 2.04523 * 16.0 / 30**0.5), abs=1e-4)
    assert of.ours == "no" and of.reason == "Not known." and of.updates == "100 of 1,000,000"


def test_intervals_that_meet_need_no_reason(tmp_path):
    made = boards.cell("Reacher-Expert", "Observed state (paper) BC", 0.04)
    made["returns"] = [[value / 10 for value in run] for run in made["returns"]]
    boards.write(tmp_path, made)
    board = aggregate.board(TABLES["reacher"], "cpu", tmp_path)
    of = next(of for of in comparison.compared(board) if of.entry)
    assert of.interval == (0.04, 0.04) and of.entry.low <= 0.04 <= of.entry.high and of.ours == "yes"
    line = "| 0.04 ± 0.0 | 0.0 ± 0.1† | -0.0 | 0.0 to 0.0 | -0.6 to 0.6 | yes | 100 of 1,000,000 |  |"
    assert line in comparison.text([board])


def nyc(*scores: float) -> aggregate.Board:
    """A routing table of one cell, for which the paper has 97.6 ± 2.3, of runs with these scores."""
    made = boards.cell("NYC-INF", "OHIO BC", 0.0)
    made |= {"table": "routing", "reference": {"zero": 0.0, "full": 58_000.0, "how": "by hand"}, "metrics": {}}
    made["returns"] = [[580.0 * score] * boards.EPISODES for score in scores]
    table = TABLES["routing"]
    return aggregate.Board(table, "cpu", entries.entries(table, "cpu", [made]), [], [])


@pytest.mark.parametrize(
    ("runs", "verdicts"),
    [
        ((97.5, 97.6, 97.7), "yes"),
        ((95.9, 96.0, 96.1), "yes / no / no"),  # the paper's begins at 95.95
        ((99.8, 99.9, 100.0), "no / yes / yes"),
        ((80.0, 97.0, 99.0), "undecided"),
        ((97.6,), "undecided"),
        ((10.0, 11.0, 12.0), "no"),
    ],
)
def test_the_verdict_is_given_over_what_is_not_known(runs, verdicts):
    board = nyc(*runs)
    of = next(of for of in comparison.compared(board) if of.entry)
    assert of.references == (58_000, 58_500, 59_000) and of.verdicts == verdicts
    text = comparison.text([board])
    counts = verdicts.split(" / ") if "/" in verdicts else [verdicts] * 3
    names = ("58,000", "58,500", "59,000")
    said = [f"by {full} {int(of == 'yes')} and {int(of == 'undecided')}" for full, of in zip(names, counts, strict=True)]
    assert f"Met and undecided are, of 24: {', '.join(said)}." in text


def test_page_says_what_was_found(board, tmp_path):
    assert comparison.report([board], tmp_path).write().paths == [tmp_path / "comparison.md"]
    text = (tmp_path / "comparison.md").read_text()
    assert "5 published scores, of which 1 were run: 0 are met, 0 undecided; on 0 ours is higher, on 1 lower." in text
    line = next(line for line in text.splitlines() if "End-to-end BC" in line)
    assert " | 99.3 ± 16.0 | 49.8 ± 0.8† | -49.5 | 93.3 to 105.3 | 43.4 to 56.2 | no | 100 of 1,000,000 | " in line
    assert line.endswith(" | a |") and "\n- a: Not known.\n" in text and text.count("| not run |") == 4


def test_nothing_to_compare_makes_no_page(tmp_path):
    assert comparison.report([aggregate.board(TABLES["supply-chain"], "cpu", tmp_path)], tmp_path).files == {}
    assert list(tmp_path.iterdir()) == []


def test_every_table_with_published_figures_has_its_protocol():
    assert {table for table, _, _ in PUBLISHED} == set(comparison.PUBLISHED)


def test_every_reason_fits_a_published_figure():
    for pattern in comparison.REASONS:
        assert any(all(map(fnmatchcase, figure, pattern)) for figure in PUBLISHED), pattern
