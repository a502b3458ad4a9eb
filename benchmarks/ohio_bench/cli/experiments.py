"""`bench`, `tune`, `finetune`, `sensitivity`, `speed`, `claims`, `leaderboard` and `submit`: results, and pages made of them."""

import io
import shlex
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ohio_bench.cli.arguments import Add, Number, add_executor, add_processes, names, path_argument, say, show
from ohio_jax.errors import UserError, counted, short, unknown

Found = dict[str, Any]  # of an experiment, what is shown of it


def bench_command(args) -> None:
    """fill a results table, or all: run what is missing, write table, CSV and chart"""
    from ohio_bench.experiments import of_table, table_of
    from ohio_bench.runner.table import with_learner, with_runs
    from ohio_jax.learners import outside

    if args.table == "all":
        return fill_all(args)
    table = declared = table_of(args.table)
    if args.learner is not None:
        table = with_learner(table, args.preset, outside.find(args.learner))
    if args.seeds is not None:
        table = with_runs(table, args.preset, args.seeds)
    experiment = replace(of_table(table), report=of_table(declared).report)  # as all other commands write it
    flags = [
        f" --{name} {shlex.quote(str(value))}" for name in ("learner", "seeds") if (value := getattr(args, name)) is not None
    ]
    if args.sentinel:
        return rerun_sentinel(args, experiment, of_table(with_runs(table, args.preset, 1)))
    fill(args, replace(experiment, command="".join([experiment.command, *flags])))


def rerun_sentinel(args, experiment, first) -> None:
    """Runs a sentinel of a table, and writes its pages again; first: the table with the first run of each cell alone."""
    from ohio_bench.runner import sentinel

    for name in ("force", "stale", "minutes"):
        if getattr(args, name):
            raise UserError(f"--{name}: expected without --sentinel, found with it")
    results = Path(args.results)
    found = sentinel.rerun(experiment, first, args.preset, args.only, results)
    report = experiment.report(results, args.preset).write()
    text = "no cell is stale"
    if found:
        modules = f"{found.modules} changed modules are" if found.modules != 1 else "1 changed module is"
        text = f"{found.cell}: returns as before; {modules} noted as equivalent"
    shown = {"sentinel": found and found.cell, "modules": found.modules if found else 0}
    fresh = report.freshness.as_json() if report.freshness else {}
    show(args, {**shown, "freshness": fresh}, "\n".join([text, *stale(args, report)]))


def stale(args, report) -> list[str]:
    """The line that says how many cells of a report are stale, and what to do about them; none where no cell is."""
    fresh = report.freshness
    if not fresh or not fresh.stale:
        return []
    todo = ["--stale runs them again"] if fresh.stale > fresh.other else []
    if args.command == "bench" and fresh.stale > fresh.unrecorded + fresh.other:
        todo.insert(0, "--sentinel reruns one and keeps those whose code returns the same")
    if fresh.other:
        todo.append("run files of cells that are no longer declared may be deleted")
    return [f"{fresh.text(named=True)[:-1]}; {', '.join(todo)}"]


def tune_command(args) -> None:
    """choose a table's settings: run its trials on the selection episodes, and the best once more with twice the updates"""
    from ohio_bench.experiments import table_of, trials_of
    from ohio_bench.runner.table import with_learner
    from ohio_bench.runner.tune import require
    from ohio_jax.deadline import Deadline
    from ohio_jax.learners import outside

    table, flag = table_of(args.table), ""
    if args.learner is not None:
        table, flag = with_learner(table, args.preset, outside.find(args.learner)), f" --learner {shlex.quote(args.learner)}"
    require(table, args.preset)
    experiment = replace(trials_of(table), report=trials_of(table_of(args.table)).report)  # as all other commands write it
    experiment, deadline = replace(experiment, command=f"{experiment.command}{flag}"), Deadline.after(args.minutes)
    found, text = filled(args, experiment, deadline)
    if found["ran"]:  # which may have made known the best of a group
        args.force = False
        more, again = filled(args, experiment, deadline)
        found, text = {**more, "ran": found["ran"] + more["ran"]}, again if more["ran"] else text
    show(args, found, "\n".join([*filter(None, [text]), *not_started([found])]))


def finetune_command(args) -> None:
    """offline-to-online fine-tuning: run what is missing, write page, CSV and figure"""
    from ohio_bench.experiments import EXPERIMENTS

    fill(args, EXPERIMENTS["finetune"])


def sensitivity_command(args) -> None:
    """what inverses lose to wrong models and noise, and what they cost: run what is missing, write page and plots"""
    from ohio_bench.experiments import EXPERIMENTS

    fill(args, EXPERIMENTS["sensitivity"])


def fill(args, experiment) -> None:
    from ohio_jax.deadline import Deadline

    found, text = filled(args, experiment, Deadline.after(args.minutes))
    show(args, found, "\n".join([*filter(None, [text]), *not_started([found])]))


def fill_all(args) -> None:
    """The paper's experiments one after another in one process, which imports and compiles once, then the leaderboard.

    Raises:
        UserError: for what failed, after all the others.
    """
    from ohio_bench.experiments import ALL, EXPERIMENTS
    from ohio_bench.report import leaderboard
    from ohio_jax.deadline import Deadline

    deadline = Deadline.after(args.minutes)
    alone = {"learner": args.learner, "seeds": args.seeds, "only": args.only, "sentinel": args.sentinel}
    for name, given in alone.items():
        if given not in (None, (), False):
            raise UserError(f"--{name}: expected with one table, found with all")
    for name in ALL:
        EXPERIMENTS[name].preset(args.preset)
    done: list[Found] = []
    failed: dict[str, UserError] = {}
    for name in ALL:
        try:
            found, text = filled(args, EXPERIMENTS[name], deadline)
        except UserError as error:  # which must not cost the hour that is left
            failed[name] = error
        else:
            done.append(found)
            if text and not args.json:
                say(text)
    try:
        any_made = failed or any(of["written"] for of in done)  # not where there was no time for a single cell
        written = [str(path) for path in leaderboard.rebuild(Path(args.results))] if any_made else []
        show(args, {"experiments": done, "written": written}, "\n".join([*written, *not_started(done)]))
    except UserError as error:
        failed = failed or {"leaderboard": error}
    if failed:
        name, error = next(iter(failed.items()))
        raise UserError(f"{name}: {error}" + (f"; {len(failed)} of {len(ALL)} experiments failed" if name in ALL else ""))


def not_started(done: Iterable[Found]) -> list[str]:
    """The line that says what there was no time for; none where there was for all."""
    from ohio_bench.report.text import number

    names = [name for of in done for name in of["not_started"]["cells"]]
    hours = [hours for of in done for hours in of["not_started"]["hours"].values()]
    need = f"would need about {number(sum(hours))} h"
    timed = need if len(hours) == len(names) else f"{len(hours)} of them, which were timed, {need}" if hours else ""
    return [f"not started: {counted(len(names), 'cell')}" + (f"; {timed}" if timed else "")] if names else []


def filled(args, experiment, deadline) -> tuple[Found, str]:
    """Runs what is missing of an experiment; returns what to show of it, as JSON and as text."""
    from ohio_bench.report import markdown
    from ohio_bench.runner.executors import executor
    from ohio_bench.runner.run import run
    from ohio_jax.files import try_output

    results = Path(args.results)
    try_output(results / experiment.place / experiment.name / "cell.json")
    try_output(results / "page.md")
    execute = executor(args.executor, args.cell_cpus, args.cell_gpus)
    ran = run(experiment, args.preset, args.only, results, execute, args.force, args.stale, deadline)
    written, board, text = [str(path) for path in ran.report.paths], ran.report.board, io.StringIO()
    if board and board.shown:
        markdown.show(board.table, board.shown, text, sys.stdout.isatty())
    if not ran.ran and not ran.late:
        text.write("nothing to run; showing stored results (--force runs them again)\n")
    cells = markdown.as_json(board.shown) if board else [str(path) for path in ran.paths]
    hours = {name: seconds / 3600 for name, seconds in ran.late.items() if seconds is not None}
    found = {"experiment": experiment.name, "preset": args.preset, "ran": ran.ran, "written": written, "cells": cells}
    found["freshness"] = ran.report.freshness.as_json() if ran.report.freshness else {}
    shown = [text.getvalue(), *written[:1]] if board and written else [*text.getvalue().splitlines(), *written]
    return (
        {**found, "not_started": {"cells": list(ran.late), "hours": hours}},
        "\n".join([*shown, *stale(args, ran.report)]),
    )


def speed_command(args) -> None:
    """measure speed side by side with references"""
    from ohio_bench.speed import run as speed
    from ohio_jax.deadline import Deadline
    from ohio_jax.files import try_output

    deadline = Deadline.after(args.minutes)
    if args.name not in ("all", *speed.ALL):
        raise unknown("speed test", args.name, ("all", *speed.ALL))
    out = Path(args.results) / "speed"
    try_output(out / "page.md")
    found: dict[str, Any] = {}
    failed: dict[str, UserError] = {}
    for name in speed.tests() if args.name == "all" else [args.name]:
        try:
            found[name] = speed.run(name, out, args.quick, deadline)
        except UserError as error:  # which must not cost the hour that is left
            failed[name] = error
    late = [f"{name} {part}" for name, of in found.items() for part in of["not_measured"]]
    lines = [str(path) for name in found if (path := speed.place(out, name).with_suffix(".md")).exists()]
    if found:
        show(args, found, "\n".join([*lines, *([f"not measured, for lack of time: {', '.join(late)}"] if late else [])]))
    if failed:
        name, error = next(iter(failed.items()))
        count = f"; {len(failed)} of {len(found) + len(failed)} tests failed" if len(failed) > 1 else ""
        raise UserError(f"{name}: {error}{count}" if args.name == "all" else str(error))


def leaderboard_command(args) -> None:
    """rebuild the leaderboard, every table and every page from the run files alone"""
    from ohio_bench.report import leaderboard
    from ohio_jax.files import try_output

    join_all(args.table)
    try_output(Path(args.results) / "index.html")
    written = [str(path) for path in leaderboard.rebuild(Path(args.results))]
    show(args, {"written": written}, "\n".join(written) or "no run files")


def claims_command(args) -> None:
    """judge what is claimed of the tables' methods: holds, fails, undecided or not run, from the run files alone"""
    from ohio_bench.experiments import EXPERIMENTS, join
    from ohio_bench.report import marked
    from ohio_bench.runner.cell import Report

    chosen = [join(name) for name in args.experiment]
    known = {name: of for name, of in EXPERIMENTS.items() if of.claims}
    for name in chosen:
        if name not in known:
            raise unknown("experiment with claims", name, known)
    if args.write and chosen:
        raise UserError("--write: expected with the claims of all experiments, which texts name, found with some")
    results, texts = Path(args.results), Path(args.texts)
    if args.write and not (texts / "README.md").is_file():
        raise UserError(f"--texts: expected a folder with a README.md, found none in {short(args.texts)}")
    found = marked.all_of([of for name, of in known.items() if name in (chosen or known)], results)
    written = Report(marked.files(found, results, texts) if args.write else {}).write().paths
    said = {"claims": marked.as_json(found), "written": list(map(str, written))}
    show(args, said, "\n".join([marked.shown(found), *map(str, written)]))


def submit_command(args) -> None:
    """let a run file made elsewhere join the leaderboard, once it is found sound"""
    from ohio_bench.report import leaderboard

    join_all(args.table)
    path = leaderboard.submit(Path(args.file), Path(args.results))
    show(args, {"file": str(path)}, f"{path}: joins the board with the next `ohio-jax leaderboard`")


def join_all(modules: Iterable[str]) -> None:
    """Tables from elsewhere join the suite's."""
    from ohio_bench.experiments import table_of

    for name in modules:
        table_of(name)


def add_results(command) -> None:
    words = "folder of run files, tables and pages, and of recovered actions and checkpoints"
    command.add_argument("--results", type=path_argument, default="results", help=words)


def add_minutes(command, what: str) -> None:
    command.add_argument("--minutes", type=Number("minutes"), metavar="M", help=what)


def add_to(add: Add) -> None:
    def add_fill(name: str, function, groups: str, cached: bool = True):
        command = add(name, function, cached)
        command.add_argument("--preset", default="quick", help="quick (minutes), cpu (hours), paper (accelerator); others: list")
        command.add_argument("--only", type=names, default=(), help=f"only these {groups} or cells, comma-separated")
        command.add_argument("--force", action="store_true", help="run stored cells again, from recovering actions on")
        command.add_argument("--stale", action="store_true", help="run cells again that were made by other code than today's")
        add_results(command)
        add_minutes(command, "start no cell that its first updates say cannot end within so many minutes")
        add_executor(command, "cell")
        return command

    command = add_fill("bench", bench_command, "rows")
    command.add_argument(
        "table",
        help="routing, reacher, supply-chain, manipulation or gains; all: every experiment of the paper, then the leaderboard; "
        "or module: of your own, whose TABLE it is",
    )
    words = "runs a cell, each with a training seed and a data set of its own, instead of the preset's"
    command.add_argument("--seeds", type=Number("seeds"), help=words)
    command.add_argument("--learner", help="only this one, on every method: its name, or module:object of your own")
    words = "once code has changed: rerun one cell, --only or the quickest stale one; if it returns the same, note that changes"
    command.add_argument("--sentinel", action="store_true", help=f"{words} of its code are equivalent")
    add_processes(command)
    command = add_fill("tune", tune_command, "learners and kinds, as in iql.end-to-end,")
    command.add_argument("table", help="routing, reacher, supply-chain or manipulation; or module: of your own")
    command.add_argument(
        "--learner", help="only this one: its name, or module:object of your own, for which the table has trials"
    )
    add_processes(command)
    add_fill("finetune", finetune_command, "domains")
    add_fill("sensitivity", sensitivity_command, "kinds (recovery, calibration, score, domain, controller, cost)", cached=False)

    own = {"nargs": "*", "metavar": "MODULE:", "default": (), "help": "tables of your own, beside the suite's"}
    command = add("leaderboard", leaderboard_command)
    command.add_argument("table", **own)
    add_results(command)

    command = add("claims", claims_command, cached=False)
    command.add_argument("experiment", nargs="*", help="only the claims of these; or module: of your own")
    command.add_argument("--write", action="store_true", help="write them to results/claims, and between the markers of texts")
    words = "folder of README.md and docs, whose markers are filled"
    command.add_argument("--texts", type=path_argument, metavar="DIR", default=".", help=words)
    add_results(command)

    command = add("submit", submit_command, cached=False)
    command.add_argument("file", type=path_argument, metavar="FILE", help="a run file")
    command.add_argument("table", **own)
    add_results(command)

    command = add("speed", speed_command, cached=False)
    command.add_argument("name", nargs="?", default="all", help="which test; all: every one that this machine can tell of")
    command.add_argument("--quick", action="store_true", help="seconds instead of minutes; noisier")
    add_results(command)
    add_minutes(command, "start no part that its first calls say cannot end within so many minutes")
