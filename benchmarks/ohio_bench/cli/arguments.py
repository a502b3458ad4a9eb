"""What commands share: the types of their arguments, the groups of flags, and how a result is shown."""

import argparse
import contextlib
import json
import os
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ohio_jax import interrupts, limits
from ohio_jax.errors import UserError, short, unknown

Add = Callable[..., argparse.ArgumentParser]  # (name, function, cached=True) -> the parser of a new command


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


def names(text: str) -> tuple[str, ...]:
    """argparse type of a comma-separated list."""
    found = tuple(name for name in text.split(",") if name)
    if not found:
        raise argparse.ArgumentTypeError(f"expected names, comma-separated, found {text!r}")
    return found


class Number:
    """argparse type of a number within its bounds in `ohio_jax.limits`, which the help says."""

    def __init__(self, name: str):
        self.bounds = limits.BUDGETS[name]

    def __call__(self, text: str) -> Any:
        value = None
        with contextlib.suppress(ValueError):
            value = type(self.bounds[0])(text)
        if not limits.within(value, self.bounds):
            raise argparse.ArgumentTypeError(f"expected {limits.expected(self.bounds)}, found {short(text)}")
        return value


def path_argument(text: str) -> str:
    """argparse type of the path of a file or folder; a leading `~` is a home folder, as in a shell, which skips `--out=~/x`."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, found none")
    return os.path.expanduser(text)


def show(args, found: dict[str, Any], text: str) -> None:
    say(json.dumps(found, allow_nan=False) if args.json else text)


def say(text: str) -> None:
    """Prints a result at once, also where the terminal lacks some of its letters."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.replace("±", "+/-").encode(encoding, "backslashreplace").decode(encoding)
    try:
        with interrupts.immediate():  # raises one that came while modules were imported, and was not raised there
            print(text, flush=True)
    except OSError as error:
        error.filename = "standard output"
        raise


def output(text: str, suffix: str, *inputs: str | None, folder: bool = False) -> Path:
    """Where a result goes. Raises UserError for another kind of name, one of the inputs, and what cannot be written.

    Args:
        folder: whether a name without an ending is a folder's.
    """
    from ohio_jax.files import try_output

    path = Path(text)
    as_folder = folder and not path.suffix and path.name not in ("", "..")
    if path.suffix != suffix and not as_folder:
        expected = f"a file name that ends in {suffix}{', or a folder name without an ending' if folder else ''}"
        raise UserError(f"--out: expected {expected}, found {short(text)}")
    try_output(path, as_folder)
    for given in inputs:
        if given is not None and path.exists() and Path(given).exists() and path.samefile(given):
            raise UserError(f"--out: expected another file than the input {given}, found {text}")
    return path


def task_of(path: str, card: dict[str, Any], changed: dict[str, str] | None = None):
    """The task a data set's card names, with its settings but for those that are changed."""
    from ohio_envs import registry

    name, before = card.get("task"), card.get("settings", {})
    if not isinstance(name, str) or name not in registry.TASKS:
        raise UserError(f"{path}: field card.task: expected a known task, found {short(name)}")
    if not isinstance(before, dict):
        raise UserError(f"{path}: field card.settings: expected an object, found {short(before)}")
    return registry.make(name, before | (changed or {}))


def task_with_interface(args) -> Any:
    """The task of a command that learns in it. Raises UserError where it has no such action interface."""
    from ohio_envs import registry

    task = registry.make(args.task, settings(args.set))
    if args.interface not in task.interfaces:
        raise unknown(f"action interface for {task.name}", args.interface, task.interfaces)
    return task


def scripted_policy(args) -> Any:
    """The task that --policy plays in; None with --checkpoint, whose run names its own. Raises UserError for half of either."""
    from ohio_envs import registry

    if args.checkpoint is None:
        if not args.task:
            raise UserError("expected TASK with --policy, found no task")
        for name in ("training_seed", "sample_actions"):
            if getattr(args, name, None) not in (None, False):
                raise UserError(f"--{name.replace('_', '-')}: expected with --checkpoint, found with --policy")
        return registry.make(args.task, settings(args.set))
    if args.task is not None:
        raise UserError(f"--checkpoint brings its own task; expected no TASK, found {args.task!r}")
    return None


def trained(args) -> Any:
    """The run of --checkpoint as `load_policy` gives it, in its task with the settings that --set changes."""
    from ohio_envs import registry

    from ohio_jax.training.checkpoint import load_policy

    changed = settings(args.set)
    return load_policy(args.checkpoint, lambda name, before: registry.make(name, {**before, **changed}))


def config_of(config: Any, pairs: list[str]) -> Any:
    """A learner's Config with fields changed by KEY=VALUE. Raises UserError for an unknown field or a value of another type."""
    changes = {}
    for name, text in settings(pairs, "--config").items():
        if name not in vars(config):
            raise unknown("field of Config", name, vars(config))
        changes[name] = _value(name, text, typing.get_type_hints(type(config))[name])
    return config.replace(**changes)


def _value(name: str, text: str, kind: Any) -> Any:
    if typing.get_origin(kind) is Literal:
        if text not in typing.get_args(kind):
            raise unknown(f"value of --config {name}", text, typing.get_args(kind))
        return text
    value: Any = None
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(text)
    of_kind = type(value) is kind or (kind is float and type(value) is int)
    if not of_kind or (kind is float and not limits.within(value, limits.REAL)):
        raise UserError(f"--config: field {name}: expected {kind.__name__}, found {short(text)}")
    return kind(value)


def add_set(command) -> None:
    command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the task")


def add_config(command) -> None:
    command.add_argument("--config", action="append", default=[], metavar="KEY=VALUE", help="a hyperparameter of the learner")


def add_task(command, hidden: int) -> argparse.ArgumentParser:
    """What commands that learn in a task itself have in common."""
    command.add_argument("task", help="a name that `ohio-jax list` shows")
    command.add_argument("--interface", default="ohio", help="action interface: ohio, end_to_end, ...")
    command.add_argument("--hidden", type=Number("hidden"), default=hidden, help="width of the networks")
    command.add_argument("--seeds", type=Number("seeds"), default=1, help="how many independent runs")
    command.add_argument("--first-seed", type=Number("first_seed"), default=0, help="the first one's seed")
    command.add_argument(
        "--out", type=path_argument, required=True, metavar="DIR", help="checkpoints; the same command goes on from them"
    )
    add_set(command)
    return command


def add_who(command) -> None:
    command.add_argument("task", nargs="?", help="with --policy; a checkpoint brings its own")
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--policy", help="a scripted policy")
    who.add_argument("--checkpoint", type=path_argument, metavar="DIR", help="what train, online or hdpo wrote")
    command.add_argument("--sample-actions", action="store_true", help="sample the learned policy instead of its mean")


def add_episodes_of(command) -> None:
    """Which episodes are played, see `seed_of`."""
    which = command.add_mutually_exclusive_group()
    which.add_argument("--stream", choices=("selection", "reference", "test"), help="whose episodes are played, test by default")
    which.add_argument("--seed", type=Number("seed"), help="those of a seed instead, and of the policy's own randomness")


def seed_of(args) -> tuple[str | None, int]:
    """(the stream, the seed of its episodes) that --stream or --seed say; None as stream of a seed that was given itself."""
    from ohio_jax.streams import STREAMS

    if args.seed is not None:
        return None, args.seed
    stream = args.stream or "test"
    return stream, STREAMS[stream]().seed


def add_executor(command, cell: str) -> None:
    """The flags of work that may be spread over a Ray cluster; cell: what a task of it does."""
    command.add_argument("--executor", default="local", help=f"local: one {cell} after another; ray: on a Ray cluster")
    command.add_argument("--cell-cpus", type=Number("cell_cpus"), metavar="N", help=f"cores of a {cell} on Ray, 1 by default")
    command.add_argument(
        "--cell-gpus", type=Number("cell_gpus"), metavar="X", help=f"GPUs of a {cell} on Ray, 1 where there are any"
    )


def add_processes(command) -> None:
    several = command.add_argument_group("several processes, each with the same command")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where the first listens; auto on Slurm and TPU pods")
    several.add_argument("--processes", type=Number("processes"), metavar="N", help="how many there are")
    several.add_argument("--process", type=Number("process"), metavar="I", help="which this is, from 0")
