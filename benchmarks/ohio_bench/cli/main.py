"""The parser, and what happens around a command: user errors, compiled programs on disk, several processes as one."""

import argparse
import contextlib
import os
import sys

from absl import app, logging
from absl.flags import argparse_flags

from ohio_bench.cli import catalog, datasets, experiments, playing, training
from ohio_jax import __version__, compilation_cache
from ohio_jax.errors import UserError

GROUPS = (catalog, datasets, training, playing, experiments)  # each with add_to(add), which adds its commands


class Help(argparse.HelpFormatter):
    """Says the default of each flag that has one."""

    def _get_help_string(self, action):
        said = action.help or ""
        has_one = action.option_strings and isinstance(action.default, str | int | float) and action.default is not False
        shown = has_one and action.default != argparse.SUPPRESS and "default" not in said
        return f"{said} (default: %(default)s)" if shown else said


def parser() -> argparse.ArgumentParser:
    top = argparse_flags.ArgumentParser(
        prog="ohio-jax", description="Offline hierarchical RL via inverse optimization.", allow_abbrev=False
    )
    top.add_argument("--version", action="version", version=f"ohio-jax {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function, cached: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=function.__doc__, description=function.__doc__, allow_abbrev=False, formatter_class=Help
        )
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        if cached:
            command.add_argument("--compilation-cache", metavar="DIR", help="where compiled programs are kept, or off")
        return command

    for group in GROUPS:
        group.add_to(add)
    return top


def main(args) -> int:
    try:
        if "compilation_cache" in args:  # not of commands that compile nothing, or measure how long that takes
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
        out = stack.enter_context(open(os.dup(results) if mesh.is_main_process() else os.devnull, "w"))
        stack.enter_context(contextlib.redirect_stdout(out))
        yield
        mesh.barrier()


def run() -> None:
    """Entry point. One CPU device a core, so that training seeds run side by side; the user's XLA flags are kept."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        cores = min(os.cpu_count() or 1, 8)
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={cores}".strip()
    # Libraries report every checkpoint; only their warnings are the user's business unless --verbosity says otherwise.
    logging.set_verbosity(logging.WARNING)
    app.run(main, flags_parser=lambda argv: parser().parse_args(argv[1:]))
