"""The leaderboard: every committed table and page from run files alone, one page over all of them, and others' run files."""

from pathlib import Path

from benchmarks import comparison, finetune, finetune_page, render, sensitivity, speed
from benchmarks.leaderboard import page
from benchmarks.leaderboard.submission import submit
from benchmarks.sensitivity import page as sensitivity_page
from benchmarks.table import RESULTS
from benchmarks.tables import TABLES
from ohio_jax.files import write_text

__all__ = ["rebuild", "submit"]


def rebuild(results: Path = RESULTS) -> list[Path]:
    """Writes every table, page and figure again from the run files alone; returns the pages, the leaderboard's first.

    Raises UserError if a run file is damaged; what was written before stays.
    """
    written, boards = [], []
    for table in TABLES.values():
        for preset in table.presets:
            board = render.write(table, preset, results)
            if board.entries:
                boards.append(board)
                written.append(results / f"{table.name}-{preset}.md")
    written += comparison.write([board for board in boards if board.preset != "quick"], results)
    for preset in finetune.PRESETS:
        written += finetune_page.write(results, preset)[:1]
    for preset in sensitivity.BUDGETS:
        written += sensitivity_page.write(results, preset)[:1]
    written += speed.rebuild(results / "speed")
    pages = []
    for quick in (False, True):
        shown = [board for board in boards if (board.preset == "quick") == quick]
        files = [str(path.relative_to(results)) for path in written if path.stem.endswith("-quick") == quick]
        if shown:
            pages.append(page.path(results, quick))
            write_text(pages[-1], page.text(shown, files))
    return [*pages, *written]
