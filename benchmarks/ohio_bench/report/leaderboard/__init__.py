"""The leaderboard: every committed table and page from run files alone, one page over all of them, and others' run files."""

from pathlib import Path

from ohio_bench.experiments import EXPERIMENTS, TABLES, trials_of
from ohio_bench.report import comparison, marked
from ohio_bench.report.leaderboard import page
from ohio_bench.report.leaderboard.submission import submit
from ohio_bench.runner.cell import RESULTS, Report
from ohio_bench.speed import run as speed
from ohio_jax.errors import UserError

__all__ = ["rebuild", "submit"]


def rebuild(results: Path = RESULTS) -> list[Path]:
    """Writes every table, page and figure again from the run files alone; returns the pages, the leaderboard's first.

    Raises:
        UserError: if there are no results, or a run file is damaged; what was written before stays.
    """
    if not any((results / name).is_dir() for name in ("runs", "speed")):
        raise UserError(f"{results}: expected a folder of results, with run files in its folder runs, found none")
    every = [*EXPERIMENTS.values(), *map(trials_of, TABLES.values())]
    by = {(of.place, of.name, preset): of.report(results, preset) for of in every for preset in of.presets}
    reports = list(by.values())
    boards = [of.board for of in reports if of.board and of.files]
    compared = comparison.report([board for board in boards if board.preset != "quick"], results)
    timed = speed.report(results / "speed")
    made = [*(of for of in reports if of.board), compared, *(of for of in reports if not of.board), timed]
    listed = [path for of in made for path in of.paths if path.suffix == ".md"]
    pages: dict[Path, bytes] = {}
    tuned = {preset: of.freshness.text() for (_, name, preset), of in by.items() if name == "finetune" and of.files}
    fine_tuned = [page.finetuned(results, preset, stale) for preset, stale in tuned.items()]
    claims = marked.all_of(EXPERIMENTS.values(), results) if boards else {}
    for quick in (False, True):
        shown = [board for board in boards if (board.preset == "quick") == quick]
        files = [str(path.relative_to(results)) for path in listed if path.stem.endswith("-quick") == quick]
        if shown:
            text = page.text(shown, [of for of in fine_tuned if (of["preset"] == "quick") == quick], files, claims)
            pages[page.path(results, quick)] = text.encode()
    for of in (*made, Report(pages)):
        of.write()
    return [*pages, *listed]
