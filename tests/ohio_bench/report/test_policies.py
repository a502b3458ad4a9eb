"""One policy is one unit: printed once, ranked once, tried once; runs that cannot be compared are not ranked."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ohio_bench.experiments import TABLES
from ohio_bench.report import aggregate, entries, markdown, policies
from ohio_bench.report.entries import Entry

from tests.ohio_bench import boards

REACHER, MANIPULATION = TABLES["reacher"], TABLES["manipulation"]


def made(row: str, column: str, *runs: float, digest: str | None = None, **config: Any) -> dict[str, Any]:
    """A run file of these runs' scores, learned from transitions of this digest."""
    cell = boards.cell(row, column, 0.0)
    cell["config"] |= config
    cell["config"]["plan"]["seeds"] = len(runs)
    cell["data"] = [cell["data"][0] | ({} if digest is None else {"sha256": digest})]
    returns = [[9.806 * run] * boards.EPISODES for run in runs]
    return {**cell, "returns": returns, "metrics": {"touching": returns}}


def listed(*cells: dict[str, Any]) -> dict[tuple[str, str], Entry]:
    return {(entry.row, entry.column): entry for entry in entries.entries(REACHER, "cpu", list(cells))}


def submission_of(cell: dict[str, Any]) -> dict[str, Any]:
    return {**cell, "author": "Somebody", "source": "https://example.org/code"}


FIVE = (70.0, 71.0, 73.0, 69.0, 72.0)
ROWS = ("Reacher-Expert", "Reacher-Mixed")
BC, IQL = "OHIO analytical BC", "OHIO analytical IQL"


def test_cards_are_read_from_either_form():
    assert policies.cards({}) == [] and policies.cards({"data": {"a": 1}}) == [{"a": 1}]
    assert policies.cards({"data": [{"a": 1}, {"a": 2}]}) == [{"a": 1}, {"a": 2}]


def test_what_makes_a_policy_the_same():
    cell = made(ROWS[0], BC, *FIVE, digest="a")
    same = [cell, made(ROWS[1], BC, *FIVE, digest="a"), made(ROWS[0], BC, *FIVE, digest="a", interface="other")]
    assert policies.first_of(same) == [0, 0, 0]
    other_plan = made(ROWS[0], BC, *FIVE, digest="a")
    other_plan["config"]["plan"]["updates"] = 99
    apart = [
        made(ROWS[0], BC, *FIVE, digest="b"),
        made(ROWS[0], BC, *FIVE[::-1], digest="a"),
        other_plan,
        made(ROWS[0], BC, *FIVE),  # of which nobody knows
        made(ROWS[0], BC, *FIVE),
        boards.scripted("expert", 50.0),
    ]
    assert policies.first_of([cell, *apart]) == list(range(7))
    assert policies.policy_of(same[0]) == policies.policy_of(same[1]) != policies.policy_of(same[2])


def test_a_policy_is_printed_once_and_ranked_once():
    worse = tuple(run - 30.0 + noise for run, noise in zip(FIVE, (0.1, -0.2, 0.3, 0.0, -0.1), strict=True))
    found = listed(
        made(ROWS[1], BC, *FIVE, digest="a"),
        made(ROWS[0], "OHIO least squares BC", *FIVE, digest="a"),
        made(ROWS[0], BC, *FIVE, digest="a"),
        made(ROWS[0], "End-to-end BC", *worse, digest="b"),
    )
    first = found[ROWS[0], BC]  # as the table declares them, whatever their files are called
    assert first.same is None and found[ROWS[1], BC].same == (ROWS[0], BC)
    twin = found[ROWS[0], "OHIO least squares BC"]
    assert (twin.same, twin.same_text, found[ROWS[1], BC].same_text) == ((ROWS[0], BC), "OHIO analytical", ROWS[0])
    # Two contenders, not three: both cells of the one policy are the best of the row.
    assert first.rank == twin.rank == (1, 1) and first.best and found[ROWS[0], "End-to-end BC"].rank == (2, 2)


def test_what_several_cells_share_is_on_the_page():
    cells = [made(row, column, *FIVE, digest="a") for row in ROWS for column in (BC, "OHIO least squares BC")]
    cells.append(made(ROWS[1], IQL, *FIVE, digest="a"))
    cells[-1]["config"]["plan"]["learner"] = "iql"
    board = aggregate.Board(REACHER, "cpu", entries.entries(REACHER, "cpu", cells), [], [])
    text = markdown._markdown(board)
    assert "| OHIO analytical | 71.0 ± 1.4 | = Reacher-Expert |" in text.replace("†", "")
    assert "| OHIO least squares | = OHIO analytical | = OHIO analytical on Reacher-Expert |" in text
    assert "- Reacher-Expert, Reacher-Mixed: OHIO analytical BC; OHIO least squares BC\n" in text
    assert "*= X*: the same policy as in the cell of X" in text
    rows = [line for line in text.splitlines() if line.startswith("| Reacher-Mixed | OHIO least squares BC")]
    assert len(rows) == 1 and "71.0" not in rows[0]


def test_aggregates_weigh_data_sets_alike_and_count_a_policy_once():
    cells = [made(row.name, BC, *FIVE, digest="a") for row in REACHER.preset("horizon").rows]
    found = entries.entries(REACHER, "horizon", cells)
    (of,) = aggregate.aggregates(REACHER, found)
    assert (of.policies, of.table.shape) == (1, (5, 3)) and of.value["mean"] == pytest.approx(71.0)
    # As wide as the interval of the one policy alone, though three cells hold it.
    assert (of.low["mean"], of.high["mean"]) == pytest.approx((found[0].low, found[0].high))
    apart = entries.entries(
        REACHER, "horizon", [made(row.name, BC, *FIVE, digest=row.name) for row in REACHER.preset("horizon").rows]
    )
    assert aggregate.aggregates(REACHER, apart)[0].policies == 3


def test_a_policy_that_two_methods_hold_is_tried_once():
    cells = [made(ROWS[0], column, *FIVE, digest="a") for column in (BC, "OHIO least squares BC")]
    (choice,) = aggregate.choices(REACHER, entries.entries(REACHER, "cpu", cells))
    assert choice.arms == 5


@pytest.mark.parametrize("changed", [{"test_seed": 11}, {"data_set": "reacher-v2"}, {"test_stream": "selection"}], ids=str)
def test_runs_on_other_episodes_or_data_are_not_compared(changed):
    found = listed(made(ROWS[0], BC, *FIVE), made(ROWS[0], "End-to-end BC", *(run - 50.0 for run in FIVE), **changed))
    assert {entry.rank for entry in found.values()} == {(0, 0)} and not any(entry.best for entry in found.values())


def test_other_logs_of_the_same_name_are_other_data():
    """As another kind of processor makes them: neither ranked together nor compared by a claim."""
    cells = [made(ROWS[0], BC, *FIVE), made(ROWS[0], "End-to-end BC", *FIVE[::-1])]
    for digest, rank in (("a", (1, 2)), ("b", (0, 0))):
        for cell, logs in zip(cells, ("a", digest), strict=True):
            cell["data"] = [card | {"source_sha256": logs} for card in cell["data"]]
        assert {entry.rank for entry in listed(*cells).values()} == {rank}
    theirs = submission_of(cells[1])
    assert {entry.rank for entry in listed(cells[0], theirs).values()} == {(0, 0)}
    for cell, platform in zip((cells[0], theirs), ("cpu x86_64", "gpu"), strict=True):
        cell["data"] = [card | {"platform": platform} for card in cell["data"]]
    assert {entry.rank for entry in listed(cells[0], theirs).values()} == {(1, 2)}  # others have other processors


def test_what_is_submitted_on_other_seeds_ranks_nowhere_and_moves_nobody():
    ours = [made(ROWS[0], BC, *FIVE), made(ROWS[0], "End-to-end BC", *(0.5 * run for run in FIVE))]
    theirs = made(ROWS[0], "Ours IQL", *(run + 20.0 for run in FIVE)) | {"author": "Somebody"}
    theirs["config"]["plan"]["first_seed"] = 100
    alone = made(ROWS[0], "Theirs IQL", 99.0) | {"author": "Somebody"}
    ranks = {column: entry.rank for (_, column), entry in listed(*ours, theirs, alone).items()}
    assert ranks == {BC: (1, 1), "End-to-end BC": (2, 2), "Ours IQL": (0, 0), "Theirs IQL": (0, 0)}


def test_one_run_has_neither_interval_nor_rank():
    (entry,) = listed(made(ROWS[0], BC, 70.0)).values()
    assert (entry.interval_text, entry.rank_text, entry.marks) == ("", "", "†") and np.isinf(entry.low)
    assert markdown.as_json([entry])[0]["low"] is None


def test_marks_say_what_is_to_be_known_of_runs():
    marks = lambda *runs: next(iter(listed(made(ROWS[0], BC, *runs)).values())).marks
    assert [marks(*FIVE), marks(*FIVE[:4]), marks(*FIVE[:4], 5.0), marks(70.0, 71.0, 5.0)] == ["", "†", "‡", "†‡"]


def test_success_stands_beside_the_score():
    cell = made("Lift-Original", "OHIO least squares IQL", *FIVE) | {"table": "manipulation"}
    cell["metrics"] = {"success": [[0.0, 1.0, 1.0, 1.0, 0.0, 1.0]] * 5}
    board = aggregate.Board(MANIPULATION, "cpu", entries.entries(MANIPULATION, "cpu", [cell]), [], [])
    text = markdown._markdown(board)
    assert "| OHIO least squares | 71.0 ± 1.4; 67 % |" in text and "After the semicolon: episodes with success." in text
    assert "| rank | score | success, % | return |" in text and "| 71.0 ± 1.4 | 67 | 696 |" in text
    assert board.entries[0].success == pytest.approx(66.667, abs=1e-3)


def test_committed_cells_that_are_the_same():
    """Lift and Door: 29 groups, as the audit of the tables counted."""
    place = Path(__file__).resolve().parents[3] / "results" / "runs" / "manipulation" / "cpu"
    if not place.is_dir():
        pytest.skip("no run files beside the tests")
    cells = [json.loads(path.read_text()) for path in sorted(place.glob("*.json"))]
    first = policies.first_of(cells)
    assert len({i for k, i in enumerate(first) if i != k}) == 29
