"""`bench`, `finetune`, `sensitivity`, `speed`, `leaderboard` and `submit`: results and the pages made of them."""

import io
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from ohio_bench.cli.arguments import Add, Number, add_executor, add_processes, names, path_argument, say, show
from ohio_jax.errors import UserError, unknown


def bench_command(args) -> None:
    """fill a results table, or all: run what is missing, write table, CSV and chart"""
    from ohio_bench.experiments import of_table, table_of
    from ohio_bench.runner.table import with_learner, with_seeds
    from ohio_jax.learners import outside

    if args.table == "all":
        return fill_all(args)
    table = table_of(args.table)
    if args.learner is not None:
        table = with_learner(table, args.preset, outside.find(args.learner))
    if args.seeds is not None:
        table = with_seeds(table, args.preset, args.seeds)
    experiment = of_table(table)
    flags = [
        f" --{name} {shlex.quote(str(value))}" for name in ("learner", "seeds") if (value := getattr(args, name)) is not None
    ]
    show(args, *filled(args, replace(experiment, command="".join([experiment.command, *flags]))))


def finetune_command(args) -> None:
    """offline-to-online fine-tuning: run what is missing, write page, CSV and figure"""
    from ohio_bench.experiments import EXPERIMENTS

    show(args, *filled(args, EXPERIMENTS["finetune"]))


def sensitivity_command(args) -> None:
    """what inverses lose to wrong models and noise, and what they cost: run what is missing, write page and plots"""
    from ohio_bench.experiments import EXPERIMENTS

    show(args, *filled(args, EXPERIMENTS["sensitivity"]))


def fill_all(args) -> None:
    """The paper's experiments one after another in one process, which imports and compiles once, then the leaderboard.

    Raises:
        UserError: for what failed, after all the others.
    """
    from ohio_bench.experiments import ALL, EXPERIMENTS
    from ohio_bench.report import leaderboard

    for name, given in (("learner", args.learner), ("seeds", args.seeds), ("only", args.only)):
        if given not in (None, ()):
            raise UserError(f"--{name}: expected with one table, found with all")
    for name in ALL:
        EXPERIMENTS[name].preset(args.preset)
    done: list[dict[str, Any]] = []
    failed: dict[str, UserError] = {}
    for name in ALL:
        try:
            found, text = filled(args, EXPERIMENTS[name])
        except UserError as error:
            failed[name] = error
        else:
            done.append(found)
            if not args.json:
                say(text)
    try:
        written = [str(path) for path in leaderboard.rebuild(Path(args.results))]
        show(args, {"experiments": done, "written": written}, "\n".join(written))
    except UserError as error:
        failed = failed or {"leaderboard": error}
    if failed:
        name, error = next(iter(failed.items()))
        raise UserError(f"{name}: {error}" + (f"; {len(failed)} of {len(ALL)} experiments failed" if name in ALL else ""))


def filled(args, experiment) -> tuple[dict[str, Any], str]:
    """Runs what is missing of an experiment; returns what to show of it, as JSON and as text."""
    from ohio_bench.report import markdown
    from ohio_bench.runner.executors import executor
    from ohio_bench.runner.run import run
    from ohio_jax.files import try_output

    results = Path(args.results)
    try_output(results / "runs" / experiment.name / "cell.json")
    try_output(results / "page.md")
    execute = executor(args.executor, args.cell_cpus, args.cell_gpus)
    ran = run(experiment, args.preset, args.only, results, execute, args.force)
    written, board, text = [str(path) for path in ran.report.paths], ran.report.board, io.StringIO()
    if board:
        markdown.show(board.table, board.entries, text, sys.stdout.isatty())
    if not ran.ran:
        text.write("nothing to run; showing stored results (--force runs them again)\n")
    cells = markdown.as_json(board.entries) if board else [str(path) for path in ran.paths]
    return (
        {"experiment": experiment.name, "preset": args.preset, "ran": ran.ran, "written": written, "cells": cells},
        "\n".join([text.getvalue(), *written[:1]] if board else [*text.getvalue().splitlines(), *written]),
    )


def speed_command(args) -> None:
    """measure speed side by side with references"""
    from ohio_bench.speed.pages import PAGES
    from ohio_bench.speed.run import run
    from ohio_jax.files import try_output

    if args.name is not None and args.name not in PAGES:
        raise unknown("speed test", args.name, PAGES)
    chosen = sorted(PAGES) if args.name is None else [args.name]
    out = Path(args.results) / "speed"
    try_output(out / "page.md")
    found = {name: run(name, out, args.quick) for name in chosen}
    show(args, found, "\n".join(str(out / f"{name}.md") for name in chosen))


def leaderboard_command(args) -> None:
    """rebuild the leaderboard, every table and every page from the run files alone"""
    from ohio_bench.report import leaderboard

    written = [str(path) for path in leaderboard.rebuild(Path(args.results))]
    show(args, {"written": written}, "\n".join(written) or "no run files")


def submit_command(args) -> None:
    """let a run file made elsewhere join the leaderboard, once it is found sound"""
    from ohio_bench.report import leaderboard

    path = leaderboard.submit(Path(args.file), Path(args.results))
    show(args, {"file": str(path)}, f"{path}: joins the board with the next `ohio-jax leaderboard`")


def add_to(add: Add) -> None:
    def add_fill(name: str, function, groups: str, cached: bool = True):
        command = add(name, function, cached)
        command.add_argument("--preset", default="quick", help="how much: quick (minutes), cpu (hours), paper (an accelerator)")
        command.add_argument("--only", type=names, default=(), help=f"only these {groups} or cells, comma-separated")
        command.add_argument("--force", action="store_true", help="run stored cells again, from the logs on")
        command.add_argument("--results", type=path_argument, default="results", help="folder of run files, tables and pages")
        add_executor(command, "cell")
        return command

    command = add_fill("bench", bench_command, "rows")
    command.add_argument(
        "table",
        help="routing, reacher, supply-chain, manipulation or gains; all: every experiment of the paper, then the leaderboard",
    )
    command.add_argument("--seeds", type=Number("seeds"), help="training seeds, instead of the preset's")
    command.add_argument("--learner", help="only this one, on every method: its name, or module:object of your own")
    add_processes(command)
    add_fill("finetune", finetune_command, "domains")
    add_fill("sensitivity", sensitivity_command, "kinds (recovery, calibration, score, cost)", cached=False)

    command = add("leaderboard", leaderboard_command)
    command.add_argument("--results", type=path_argument, default="results", help="folder of run files, tables and pages")

    command = add("submit", submit_command, cached=False)
    command.add_argument("file", metavar="FILE", help="a run file")
    command.add_argument("--results", type=path_argument, default="results", help="folder of run files, tables and pages")

    command = add("speed", speed_command, cached=False)
    command.add_argument("name", nargs="?", help="which test; all of them unless given")
    command.add_argument("--quick", action="store_true", help="seconds instead of minutes; noisier")
    command.add_argument("--results", type=path_argument, default="results", help="folder of run files, tables and pages")
