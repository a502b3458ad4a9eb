"""The page beside the paper: every published figure is on it, numbers come from run files, reasons fit something."""

from fnmatch import fnmatchcase

import pytest
from ohio_bench.experiments import TABLES
from ohio_bench.report import aggregate as entries
from ohio_bench.report import comparison

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
    write_json(tmp_path / "runs" / "submitted" / "reacher" / "cpu" / "theirs.json", boards.submission("End-to-end IQL"))
    return entries.board(TABLES["reacher"], "cpu", tmp_path)


def test_every_published_figure_is_compared(board):
    found = {of.column: of for of in comparison.compared(board)}
    assert set(found) == {column for table, row, column in PUBLISHED if (table, row) == ("reacher", "Reacher-Expert")}
    assert {column for column, of in found.items() if of.entry} == {"End-to-end BC"}
    of = found["End-to-end BC"]
    # 1.96 deviations of a mean of 30 episodes.
    assert of.interval == pytest.approx((99.3 - 1.96 * 16.0 / 30**0.5, 99.3 + 1.96 * 16.0 / 30**0.5))
    assert not of.overlap and of.reason == "Not known." and of.updates == "100 of 1,000,000"


def test_intervals_that_meet_need_no_reason(tmp_path):
    made = boards.cell("Reacher-Expert", "Observed state (paper) BC", 0.04)
    write_json(tmp_path / "runs" / "reacher" / "cpu" / "0.json", made)
    board = entries.board(TABLES["reacher"], "cpu", tmp_path)
    of = next(of for of in comparison.compared(board) if of.entry)
    assert of.interval == (0.04, 0.04) and of.entry.low <= 0.04 <= of.entry.high and of.overlap
    assert "| 0.04 ± 0.0 | 0.0 ± 0.8 | +0.0 | 0.0 to 0.0 | -0.5 to 0.5 | yes | 100 of 1,000,000 |  |" in comparison.text([board])


def test_page_says_what_was_found(board, tmp_path):
    assert comparison.report([board], tmp_path).write().paths == [tmp_path / "comparison.md"]
    text = (tmp_path / "comparison.md").read_text()
    assert "5 published scores, of which 1 were run. On 0 the intervals overlap; on 0 ours is higher, on 1 lower." in text
    line = next(line for line in text.splitlines() if "End-to-end BC" in line)
    assert " | 99.3 ± 16.0 | 49.8 ± 0.8 | -49.5 | 93.6 to 105.0 | 49.3 to 50.3 | no | 100 of 1,000,000 | " in line
    assert line.endswith(" | a |") and "\n- a: Not known.\n" in text and text.count("| not run |") == 4


def test_nothing_to_compare_makes_no_page(tmp_path):
    assert comparison.report([entries.board(TABLES["supply-chain"], "cpu", tmp_path)], tmp_path).files == {}
    assert list(tmp_path.iterdir()) == []


def test_every_table_with_published_figures_has_its_protocol():
    assert {table for table, _, _ in PUBLISHED} == set(comparison.PUBLISHED)


def test_every_reason_fits_a_published_figure():
    for pattern in comparison.REASONS:
        assert any(all(map(fnmatchcase, figure, pattern)) for figure in PUBLISHED), pattern
