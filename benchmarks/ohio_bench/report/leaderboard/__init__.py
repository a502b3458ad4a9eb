"""The leaderboard: every committed table and page from run files alone, one page over all of them, and others' run files."""

from pathlib import Path

from ohio_bench.experiments import EXPERIMENTS
from ohio_bench.report import comparison
from ohio_bench.report.leaderboard import page
from ohio_bench.report.leaderboard.submission import submit
from ohio_bench.runner.cell import RESULTS
from ohio_bench.speed import run as speed
from ohio_jax.files import write_text

__all__ = ["rebuild", "submit"]


def rebuild(results: Path = RESULTS) -> list[Path]:
    """Writes every table, page and figure again from the run files alone; returns the pages, the leaderboard's first.

    Raises:
        UserError: if a run file is damaged; what was written before stays.
    """
    reports = [of.report(results, preset) for of in EXPERIMENTS.values() for preset in of.presets]
    boards = [of.board for of in reports if of.board and of.written]
    written = [path for of in reports if of.board for path in of.written[:1]]
    written += comparison.write([board for board in boards if board.preset != "quick"], results)
    written += [path for of in reports if not of.board for path in of.written[:1]]
    written += speed.rebuild(results / "speed")
    pages = []
    tuned = [found for preset in EXPERIMENTS["finetune"].presets if (found := page.finetuned(results, preset))]
    for quick in (False, True):
        shown = [board for board in boards if (board.preset == "quick") == quick]
        files = [str(path.relative_to(results)) for path in written if path.stem.endswith("-quick") == quick]
        if shown:
            pages.append(page.path(results, quick))
            write_text(pages[-1], page.text(shown, [of for of in tuned if (of["preset"] == "quick") == quick], files))
    return [*pages, *written]
