"""The console command `ohio-jax`.

Subcommands print results on standard output; progress and logs go to standard error. A user's mistake ends with one line
and exit code 2. Tasks, tables and speed tests live in the rooms above this package and are found by entry point.
"""

import argparse
import contextlib
import json
import os
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from absl import app, logging
from absl.flags import argparse_flags

from ohio_jax import compilation_cache
from ohio_jax.errors import UserError, unknown


def room(name: str) -> Any:
    """The module registered under `name` in the entry points of group `ohio_jax`, see pyproject.toml."""
    found = list(entry_points(group="ohio_jax", name=name))
    if not found:
        raise UserError(f"entry point ohio_jax.{name}: expected an installed package that offers it, found none")
    return found[0].load()


def settings(pairs: list[str], flag: str = "--set") -> dict[str, str]:
    """`["a=1,b=2", "c=3"]` as a dict. Raises UserError for an item that is no KEY=VALUE, or a key given twice."""
    out: dict[str, str] = {}
    for item in (item for pair in pairs for item in pair.split(",")):
        key, sign, value = item.partition("=")
        if not (key and sign and value):
            raise UserError(f"{flag}: expected KEY=VALUE, found {item!r}")
        if key in out:
            raise UserError(f"{flag}: expected each key once, found {key!r} twice")
        out[key] = value
    return out


def positive(text: str) -> int:
    """argparse type of a count."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, found {number}")
    return number


def natural(text: str) -> int:
    """argparse type of a seed: NumPy's legacy generator takes 0 .. 2^32 - 1."""
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"expected 0 to 4294967295, found {number}")
    return number


def show(args, found: dict[str, Any], text: str) -> None:
    print(json.dumps(found, allow_nan=False) if args.json else text)


def list_command(args) -> None:
    """tasks, policies, datasets, controllers, inverses, learners, tables"""
    from ohio_jax.controllers import CONTROLLERS
    from ohio_jax.inverse import INVERSES
    from ohio_jax.learners import LEARNERS

    tables = room("tables").TABLES
    found = {
        "tasks": sorted(room("tasks").TASKS),
        "policies": room("tasks").policies(),
        "controllers": sorted(CONTROLLERS),
        "inverses": sorted(INVERSES),
        "learners": sorted(LEARNERS),
        "tables": {name: sorted(table.presets) for name, table in tables.items()},
        "speed": sorted(room("speed").SPEED),
    }
    lines = []
    for kind, names in found.items():
        if isinstance(names, dict):
            names = [f"{name} ({', '.join(of)})" for name, of in names.items()]
        lines.append(f"{kind:<12} {', '.join(names)}")
    show(args, found, "\n".join(lines))


def collect_command(args) -> None:
    """log a scripted policy or a trained checkpoint into a dataset"""
    import shutil

    import jax

    from ohio_jax import data
    from ohio_jax.collect import collect, trained_behaviour
    from ohio_jax.training.checkpoint import load_policy

    out = dataset_path(args.out)
    parts = out.with_suffix(".parts")
    task, policy = scripted_policy(args), args.policy
    if task is None:
        task, space, plan, states = load_policy(args.checkpoint, room("tasks").make)
        if args.training_seed >= plan.seeds:
            raise UserError(f"--training-seed: expected less than the run's {plan.seeds} seeds, found {args.training_seed}")
        state = jax.tree.map(lambda x: x[args.training_seed], states)
        policy = trained_behaviour(task, space, plan.learner, state, not args.stochastic)
    trajectories = collect(task, policy, args.episodes, args.seed, parts)
    sha = data.save(out, trajectories)
    shutil.rmtree(parts, ignore_errors=True)
    card = {**trajectories.card, "file": str(out), "sha256": sha}
    show(args, card, f"{out}: {args.episodes} episodes, mean return {card['return_mean']:.1f}")


def invert_command(args) -> None:
    """recover goals: low-level trajectories to high-level transitions"""
    from ohio_jax import data
    from ohio_jax.relabel import relabel

    trajectories = data.load(args.data, "trajectories")
    task = task_of(args.data, trajectories.card, settings(args.set))
    out = dataset_path(args.out)
    transitions = relabel(trajectories, task, args.space, args.inverse, args.weights)
    sha = data.save(out, transitions)
    card = {**transitions.card, "file": str(out), "sha256": sha}
    text = f"{out}: {card['transitions']} transitions, largest residual {card['residual_max']:.3g}"
    show(args, card, f"{text}, {card['unexplained']} unexplained, {card['failed']} failed")


def corrupt_command(args) -> None:
    """spoil a part of a dataset, to see what learners lose to it"""
    import jax

    from ohio_jax import data
    from ohio_jax.data.corruption import FIELDS, Adversary, corrupt
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.checkpoint import load_policy

    if args.kind not in FIELDS:
        raise unknown("corruption", args.kind, FIELDS)
    out, adversary = dataset_path(args.out), None
    if args.adversary:
        _, _, plan, states = load_policy(args.adversary, room("tasks").make)
        adversary = Adversary(LEARNERS[plan.learner], jax.tree.map(lambda x: x[0], states))
    spoilt = corrupt(data.load(args.data, FIELDS[args.kind][0]), args.kind, args.rate, args.scale, args.seed, adversary)
    card = {**spoilt.card, "file": str(out), "sha256": data.save(out, spoilt)}
    show(args, card, f"{out}: {args.kind} of {round(args.rate * len(spoilt.reward))} of {len(spoilt.reward)} rows spoilt")


def train_command(args) -> None:
    """train a learner on transitions"""
    from dataclasses import replace

    from ohio_jax import data
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.offline import train

    transitions = data.load(args.data, "transitions")
    task = task_of(args.data, transitions.card)
    if args.learner not in LEARNERS:
        raise unknown("learner", args.learner, LEARNERS)
    space = transitions.card["space"]
    plan = room("tables").plan(task.name, args.preset, space, args.learner)
    changes = {"seeds": args.seeds, "updates": args.updates, "sampling": args.sampling}
    plan = replace(plan, **{key: value for key, value in changes.items() if value is not None})
    trained = train(plan, task, space, transitions, Path(args.out))
    last = {name: value[-1].tolist() for name, value in trained.curve.items()}
    found = {"out": args.out, "updates": plan.updates, "seeds": plan.seeds, "seconds": trained.seconds, "metrics": last}
    show(args, found, f"{args.out}: {plan.updates} updates of {plan.seeds} seeds of {args.learner}")


def online_command(args) -> None:
    """train a learner in the task itself, on what it does there"""
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.online import OnlinePlan, online
    from ohio_jax.training.plan import Plan

    task = room("tasks").make(args.task, settings(args.set))
    if args.space not in task.spaces:
        raise unknown(f"action space for {task.name}", args.space, task.spaces)
    if args.learner not in LEARNERS:
        raise unknown("learner", args.learner, LEARNERS)
    each, warm_up = args.updates_per_step, -(-args.warm_up // args.envs)
    steps = -(-args.decisions // args.envs) - warm_up
    if steps < 1:
        raise UserError(f"--decisions: expected more than the warm-up's {args.warm_up}, found {args.decisions}")
    config = config_of(LEARNERS[args.learner], args.config)
    plan = Plan(args.learner, config, args.hidden, steps * each, args.batch, min(100, steps) * each, args.seeds)
    plan = OnlinePlan(plan, args.envs, each, warm_up, args.capacity, args.restart)
    trained = online(plan, task, args.space, Path(args.out))
    last = {name: value[-1].tolist() for name, value in trained.curve.items()}
    found = {"out": args.out, "decisions": plan.decisions, "seeds": args.seeds, "seconds": trained.seconds, "metrics": last}
    show(args, found, f"{args.out}: {plan.decisions} decisions of {args.seeds} seeds of {args.learner}")


def pathwise_command(args) -> None:
    """train a policy by gradients through a task's simulator (HDPO)"""
    from ohio_jax.learners import bc
    from ohio_jax.training.hdpo import hdpo
    from ohio_jax.training.plan import Plan

    task = room("tasks").make(args.task, settings(args.set))
    if args.space not in task.spaces:
        raise unknown(f"action space for {task.name}", args.space, task.spaces)
    config = bc.Config(actor_rate=args.rate, decay=float(args.updates))
    plan = Plan("bc", config, args.hidden, args.updates, args.batch, min(50, args.updates), args.seeds)
    trained = hdpo(plan, task, args.space, Path(args.out))
    found = {"out": args.out, "updates": args.updates, "seeds": args.seeds, "seconds": trained.seconds}
    found["return"] = trained.curve["return"][-1].tolist()
    show(args, found, f"{args.out}: {args.updates} updates, mean return {trained.curve['return'][-1].mean():.1f} at the end")


def evaluate_command(args) -> None:
    """play episodes with a scripted policy or a trained checkpoint"""
    import jax
    import numpy as np

    from ohio_jax.evaluate import evaluate_learner, evaluate_policy
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.checkpoint import load_policy

    task = scripted_policy(args)
    if task is None:
        task, space, plan, states = load_policy(args.checkpoint, room("tasks").make)
        learner = LEARNERS[plan.learner]
        played = evaluate_learner(task, space, learner, states, args.episodes, args.seed, not args.stochastic)
        played = jax.tree.map(np.concatenate, jax.tree.map(np.asarray, played))
        head = {"task": task.name, "policy": f"{space} {plan.learner}", "checkpoint": args.checkpoint}
        head["training_seed"] = np.repeat(np.arange(plan.seeds), args.episodes).tolist()
    else:
        played = jax.tree.map(np.asarray, evaluate_policy(task, args.policy, args.episodes, args.seed))
        head = {"task": task.name, "policy": args.policy}
    returns = np.asarray(played.returns, np.float64)
    found = {
        **head,
        "settings": task.settings,
        "seed": args.seed,
        "returns": returns.tolist(),
        **{name: np.asarray(value, np.float64).tolist() for name, value in played.metrics.items()},
    }
    lines = [f"{head['policy']} on {task.name}: {returns.mean():.1f} ± {returns.std():.1f} over {len(returns)} episodes"]
    lines += [f"  {name:<20} {np.mean(value):.1f}" for name, value in played.metrics.items()]
    show(args, found, "\n".join(lines))


def film_command(args) -> None:
    """draw episodes of a scripted policy or a trained checkpoint into a GIF"""
    import jax

    from ohio_jax.learners import LEARNERS
    from ohio_jax.render import render
    from ohio_jax.rollout import Steered, learned, scripted_behaviour
    from ohio_jax.training.checkpoint import load_policy

    task = scripted_policy(args)
    if task is None:
        task, space, plan, states = load_policy(args.checkpoint, room("tasks").make)
        env, act = task.high_level(space), learned(LEARNERS[plan.learner], not args.stochastic)
        params = jax.tree.map(lambda x: x[0], states)
    else:
        _, env, act, params, _ = scripted_behaviour(task, args.policy)
        env = env.high if isinstance(env, Steered) else env  # a frame a decision
    render(task, env, act, params, args.out, args.seed, args.episodes, args.decisions, args.fps, args.every)
    show(args, {"file": args.out, "task": task.name, "episodes": args.episodes}, args.out)


def bench_command(args) -> None:
    """fill a results table: run what is missing, write table, CSV and chart"""
    tables = room("tables")
    rows = [row for row in args.rows.split(",") if row]
    execute = tables.executor(args.executor, args.cell_cpus, args.cell_gpus)
    page = tables.bench(args.table, args.preset, args.seeds, rows, Path(args.results), args.learner, execute)
    if args.json:
        print(json.dumps(page.as_json(), allow_nan=False))
    else:
        page.show(sys.stdout)


def leaderboard_command(args) -> None:
    """rebuild the leaderboard, every table and every page from the run files alone"""
    written = room("leaderboard").rebuild(Path(args.results))
    show(args, {"written": [str(path) for path in written]}, "\n".join(map(str, written)) or "no run files")


def submit_command(args) -> None:
    """let a run file made elsewhere join the leaderboard, once it is found sound"""
    path = room("leaderboard").submit(Path(args.file), Path(args.results))
    show(args, {"file": str(path)}, f"{path}: joins the board with the next `ohio-jax leaderboard`")


def data_command(args) -> None:
    """public scenario files: list, fetch, verify"""
    files = room("tasks").files
    found = {"list": files.list_files, "fetch": files.fetch, "verify": files.verify}[args.action]()
    where = lambda file: str(file.path) if file.path else "not found"
    records = [{"name": file.name, "sha256": file.sha256, "path": file.path and str(file.path)} for file in found]
    show(args, {"files": records}, "\n".join(f"{file.name:<40} {where(file)}" for file in found))


def speed_command(args) -> None:
    """measure speed side by side with references"""
    tests = room("speed").SPEED
    if args.name and args.name not in tests:
        raise unknown("speed test", args.name, tests)
    names = [args.name] if args.name else sorted(tests)
    out = Path(args.results) / "speed"
    found = {name: tests[name](out, args.quick) for name in names}
    show(args, found, "\n".join(str(out / f"{name}.md") for name in names))


def sensitivity_command(args) -> None:
    """what inverses lose to wrong models and noise, and what they cost: run what is missing, write page and plots"""
    found = room("sensitivity").run(Path(args.results), args.preset, tuple(k for k in args.only.split(",") if k))
    show(args, found, "\n".join(found["written"]))


def finetune_command(args) -> None:
    """let policies learned offline go on learning online: run what is missing, write page, CSV and figure"""
    execute = room("tables").executor(args.executor, args.cell_cpus, args.cell_gpus)
    found = room("finetune").run(Path(args.results), args.preset, tuple(d for d in args.domains.split(",") if d), execute)
    show(args, found, "\n".join(found["written"]))


def dataset_path(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".npz":
        raise UserError(f"--out: expected a file name that ends in .npz, found {text!r}")
    return path


def task_of(path: str, card: dict[str, Any], changed: dict[str, str] | None = None):
    """The task a dataset's card names, with its settings but for those that are changed."""
    if card.get("task") not in room("tasks").TASKS:
        raise UserError(f"{path}: field card.task: expected a known task, found {card.get('task')!r}")
    return room("tasks").make(card["task"], card["settings"] | (changed or {}))


def scripted_policy(args) -> Any:
    """The task that --policy plays in; None with --checkpoint, whose run names its own. Raises UserError for half of either."""
    if not args.checkpoint:
        if not args.task:
            raise UserError(f"{args.command}: expected TASK with --policy, found no task")
        return room("tasks").make(args.task, settings(args.set))
    if args.set or args.task:
        raise UserError(f"{args.command}: --checkpoint brings its own task and settings; expected no TASK and no --set")
    return None


def config_of(learner: Any, pairs: list[str]) -> Any:
    """The learner's Config with fields changed by KEY=VALUE. Raises UserError for an unknown field or a value of another type."""
    config = learner.Config()
    changes = {}
    for name, text in settings(pairs, "--config").items():
        if name not in vars(config):
            raise unknown("field of Config", name, vars(config))
        kind = type(getattr(config, name))
        try:
            changes[name] = kind(json.loads(text)) if kind is not str else text
        except (ValueError, TypeError) as error:
            raise UserError(f"--config: field {name}: expected {kind.__name__}, found {text!r}") from error
    return config.replace(**changes)


def parser() -> argparse.ArgumentParser:
    top = argparse_flags.ArgumentParser(prog="ohio-jax", description="Offline hierarchical RL via inverse optimisation.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function, compiles: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        if compiles:
            command.add_argument("--compilation-cache", metavar="DIR", help="where compiled programs are kept, or off")
        return command

    def add_set(command) -> None:
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the task")

    def add_processes(command) -> None:
        several = command.add_argument_group("several processes, each with the same command")
        several.add_argument("--coordinator", metavar="HOST:PORT", help="where the first listens; auto on Slurm and TPU pods")
        several.add_argument("--processes", type=positive, metavar="N", help="how many there are")
        several.add_argument("--process", type=natural, metavar="I", help="which this is, from 0")

    def add_executor(command) -> None:
        command.add_argument("--executor", default="local", help="local: one cell after another; ray: on a Ray cluster")
        command.add_argument("--cell-cpus", type=positive, metavar="N", help="cores of a cell on Ray, 1 by default")
        command.add_argument("--cell-gpus", type=float, metavar="X", help="GPUs of a cell on Ray, 1 where there are any")

    add("list", list_command, compiles=False)

    def add_who(command) -> None:
        command.add_argument("task", nargs="?")
        who = command.add_mutually_exclusive_group(required=True)
        who.add_argument("--policy")
        who.add_argument("--checkpoint", metavar="DIR")
        command.add_argument("--stochastic", action="store_true", help="sample the learned policy instead of its mean")

    command = add("collect", collect_command)
    add_who(command)
    command.add_argument("--training-seed", type=natural, default=0, help="which seed of the checkpoint")
    command.add_argument("--episodes", type=positive, default=510)
    command.add_argument("--seed", type=natural, default=0)
    command.add_argument("--out", required=True, metavar="F.npz")
    add_set(command)

    command = add("invert", invert_command)
    command.add_argument("data", metavar="F.npz")
    command.add_argument("--inverse", default="analytic")
    command.add_argument("--space", default="ohio", help="action space: ohio, ohio_compat, end_to_end, ...")
    command.add_argument("--weights", help="trust in a transition: keep, drop, original, posterior; default: the inverse's own")
    add_set(command)
    command.add_argument("--out", required=True, metavar="G.npz")
    add_processes(command)

    command = add("corrupt", corrupt_command)
    command.add_argument("data", metavar="F.npz")
    command.add_argument("--kind", required=True, help="action (of logs), observation, next_observation, reward or label")
    command.add_argument("--rate", type=float, default=0.3, help="share of the rows")
    command.add_argument("--scale", type=float, default=1.0, help="largest noise, in deviations of what is spoilt")
    command.add_argument("--adversary", metavar="DIR", help="a trained learner whose critics choose the noise")
    command.add_argument("--seed", type=natural, default=0)
    command.add_argument("--out", required=True, metavar="G.npz")

    command = add("train", train_command)
    command.add_argument("data", metavar="G.npz")
    command.add_argument("--learner", required=True)
    command.add_argument("--seeds", type=positive)
    command.add_argument("--updates", type=positive, help="gradient updates, instead of the preset's")
    command.add_argument("--sampling", help="uniform, return (RW), advantage (AW) or top (the best tenth)")
    command.add_argument("--preset", default="quick")
    command.add_argument("--out", required=True, metavar="DIR")
    add_processes(command)

    command = add("online", online_command)
    command.add_argument("task")
    command.add_argument("--space", default="ohio", help="action space: ohio, end_to_end, ...")
    command.add_argument("--learner", default="sac")
    command.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="a hyperparameter of the learner")
    command.add_argument("--decisions", type=positive, default=1_000_000, help="of a seed, in all environments together")
    command.add_argument("--envs", type=positive, default=128, help="environments side by side")
    command.add_argument("--restart", type=natural, default=0, help="decisions after which a running episode is left; 0: never")
    command.add_argument("--updates-per-step", type=positive, default=16, help="after a decision of every environment")
    command.add_argument("--warm-up", type=natural, default=10_000, help="first decisions, with goals spread evenly")
    command.add_argument("--capacity", type=positive, default=1_000_000, help="transitions kept in the buffer")
    command.add_argument("--batch", type=positive, default=256)
    command.add_argument("--hidden", type=positive, default=256, help="width of the networks")
    command.add_argument("--seeds", type=positive, default=1)
    command.add_argument("--out", required=True, metavar="DIR")
    add_set(command)

    command = add("pathwise", pathwise_command)
    command.add_argument("task")
    command.add_argument("--space", default="ohio", help="action space: ohio, end_to_end, ...")
    command.add_argument("--updates", type=positive, default=1000)
    command.add_argument("--batch", type=positive, default=64, help="episodes an update")
    command.add_argument("--rate", type=float, default=3e-3, help="Adam's learning rate, which falls to zero along a cosine")
    command.add_argument("--hidden", type=positive, default=64, help="width of the networks")
    command.add_argument("--seeds", type=positive, default=1)
    command.add_argument("--out", required=True, metavar="DIR")
    add_set(command)

    command = add("evaluate", evaluate_command)
    add_who(command)
    command.add_argument("--episodes", type=positive, default=10)
    command.add_argument("--seed", type=natural, default=10)
    add_set(command)
    add_processes(command)

    command = add("film", film_command)
    add_who(command)
    command.add_argument("--episodes", type=positive, default=3, help="side by side")
    command.add_argument("--decisions", type=positive, default=40, help="how much of an episode is shown")
    command.add_argument("--every", type=positive, default=1, help="decisions from one frame to the next")
    command.add_argument("--fps", type=positive, default=10, help="frames a second")
    command.add_argument("--seed", type=natural, default=10)
    command.add_argument("--out", required=True, metavar="F.gif")
    add_set(command)

    command = add("bench", bench_command)
    command.add_argument("table")
    command.add_argument("--preset", default="quick")
    command.add_argument("--seeds", type=positive, help="training seeds, instead of the preset's")
    command.add_argument("--rows", default="", help="only these rows, comma-separated")
    command.add_argument("--learner", help="only this one, on every method: a learner's name, or module:object of your own")
    command.add_argument("--results", default="results")
    add_executor(command)
    add_processes(command)

    command = add("sensitivity", sensitivity_command)
    command.add_argument("--preset", default="quick")
    command.add_argument("--only", default="", help="recovery, calibration, score or cost, comma-separated")
    command.add_argument("--results", default="results")

    command = add("finetune", finetune_command)
    command.add_argument("--preset", default="quick")
    command.add_argument("--domains", default="", help="only these domains, comma-separated")
    command.add_argument("--results", default="results")
    add_executor(command)

    command = add("leaderboard", leaderboard_command, compiles=False)
    command.add_argument("--results", default="results")

    command = add("submit", submit_command, compiles=False)
    command.add_argument("file", metavar="FILE")
    command.add_argument("--results", default="results")

    command = add("data", data_command, compiles=False)
    command.add_argument("action", choices=("list", "fetch", "verify"))

    command = add("speed", speed_command)
    command.add_argument("name", nargs="?")
    command.add_argument("--quick", action="store_true", help="seconds instead of minutes; noisier")
    command.add_argument("--results", default="results")
    return top


def main(args) -> int:
    try:
        if "compilation_cache" in args:  # of commands that compile
            compilation_cache.enable(args.compilation_cache)
        with together(args):
            args.function(args)
    except UserError as error:
        print(f"ohio-jax {args.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output went away
        sys.stderr.close()
        return 1
    return 0


@contextlib.contextmanager
def together(args):
    """Runs the command as one of several processes if it is told to; the first one prints."""
    several = {f"--{name}": getattr(args, name, None) for name in ("processes", "process")}
    given = [flag for flag, value in several.items() if value is not None]
    if getattr(args, "coordinator", None) is None:
        if given:
            raise UserError(f"{given[0]}: expected with --coordinator HOST:PORT, found alone")
        yield
        return
    from ohio_jax import mesh

    with contextlib.ExitStack() as stack:
        # Gloo, by which CPUs exchange arrays, prints from C++ where only results should be; it gets standard error instead.
        results = os.dup(1)
        stack.callback(os.close, results)
        stack.callback(os.dup2, results, 1)
        os.dup2(2, 1)
        mesh.join(args.coordinator, args.processes, args.process)
        out = stack.enter_context(open(os.dup(results) if mesh.leads() else os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(out))
        yield
        mesh.meet()


def run() -> None:
    """Entry point. One CPU device a core, so that training seeds run side by side; the user's XLA flags are kept."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        cores = min(os.cpu_count() or 1, 8)
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={cores}".strip()
    # Libraries report every checkpoint; only their warnings are the user's business unless --verbosity says otherwise.
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=lambda argv: parser().parse_args(argv[1:]))
