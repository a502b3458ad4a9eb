"""The parser, and what happens around a command: errors, interruptions, compiled programs on disk, several processes as one."""

import argparse
import contextlib
import functools
import os
import sys
from typing import NoReturn

from absl import app, logging
from absl.flags import argparse_flags

from ohio_bench.cli import catalog, data, datasets, experiments, playing, training
from ohio_bench.cli.arguments import Number, path_argument
from ohio_jax import __version__, compilation_cache, interrupts, limits
from ohio_jax.errors import UserError, one_line, out_of_memory

GROUPS = (catalog, data, datasets, training, playing, experiments)  # each with add_to(add), which adds its commands
REBUILT = ("speed", "claims", "leaderboard")  # write several files, each of them whole; others one, at their end
CLOSED = "Event loop is closed"  # asyncio's, of TensorStore's other reads of a file that one of them found damaged
RESUMED = (
    "data",
    "collect",
    "invert",
    "train",
    "online",
    "hdpo",
    "bench",
    "tune",
    "finetune",
    "sensitivity",
)  # what they finished is kept
TRUE = ("1", "true", "t", "yes", "y", "on")  # as JAX reads its variables


class Parser(argparse_flags.ArgumentParser):
    """Says of a mistake in one line what it is, below the usage."""

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


class Help(argparse.HelpFormatter):
    """Says the default of each flag that has one, and what its numbers may be."""

    def _get_help_string(self, action):
        said, notes = action.help or "", []
        has_one = action.option_strings and isinstance(action.default, str | int | float) and action.default is not False
        if has_one and action.default != argparse.SUPPRESS and "default" not in said:
            notes.append("default: %(default)s")
        if isinstance(action.type, Number):
            notes.append(limits.expected(action.type.bounds))
        return f"{said} ({'; '.join(notes)})" if notes else said


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="ohio-jax", description="Offline hierarchical RL via inverse optimization.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=f"ohio-jax {__version__}")
    top.set_defaults(function=None)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def add(name: str, function, cached: bool = True) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name, help=function.__doc__, description=function.__doc__, allow_abbrev=False, formatter_class=Help
        )
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
        if cached:
            command.add_argument(
                "--compilation-cache", type=path_argument, metavar="DIR", help="where compiled programs are kept, or off"
            )
        return command

    for group in GROUPS:
        group.add_to(add)
    return top


def main(args) -> int:
    """Runs a command; returns its exit code: 0, 2 for what the user can mend, 130 and 143 for Ctrl-C and SIGTERM."""
    if args.function is None:
        parser().print_help(sys.stderr)
        return 2
    try:
        with interrupts.immediate():
            carry_out(args)
    except (Exception, KeyboardInterrupt) as error:
        # Once a signal came, whatever it became on its way through libraries is an interruption.
        if isinstance(error, KeyboardInterrupt) or interrupts.pending():
            code, said = 128 + interrupts.number(), interrupted(args)
        elif isinstance(error, BrokenPipeError):  # the reader of our output went away
            sys.stderr.close()
            return 1
        elif (said := mendable(error)) is not None:
            code = 2
        else:
            raise
        print(f"ohio-jax {args.command}: {one_line(said)}", file=sys.stderr, flush=True)
        return code
    return 0


def carry_out(args) -> None:
    if os.environ.get("JAX_ENABLE_X64", "").lower() in TRUE:
        raise UserError("JAX_ENABLE_X64: expected it unset, found it set: networks and simulators compute in float32")
    if "compilation_cache" in args:  # not of commands that compile nothing, or measure how long that takes
        compilation_cache.enable(args.compilation_cache)
    with together(args):
        args.function(args)


def interrupted(args) -> str:
    if getattr(args, "force", False):
        return "interrupted; the same command starts anew; without --force it keeps what is finished"
    if args.command in RESUMED:
        return "interrupted; the same command goes on"
    return "interrupted; the same command starts anew" if args.command in REBUILT else "interrupted"


def mendable(error: Exception) -> str | None:
    """What to tell the user of what is theirs to mend; None of what is a fault of this program, which needs its traceback."""
    said = str(error)
    if isinstance(error, UserError):
        return said
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else said or type(error).__name__
    if out_of_memory(error):
        return f"out of memory: {said}; docs/troubleshooting.md says what takes less"
    if (wanted := os.environ.get("JAX_PLATFORMS")) and not devices():
        return f"JAX_PLATFORMS: expected devices that this machine has and JAX is installed for, found {wanted}"
    return None


def devices() -> bool:
    """Whether JAX finds any; where it finds none it raises whatever it met first."""
    import jax

    try:
        return bool(jax.devices())
    except Exception:
        return False


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
    """What the command does. One CPU device a core, so that training seeds run side by side; the user's XLA flags are kept."""
    sys.unraisablehook = unraisable
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_force_host_platform_device_count" not in flags:
        cores = min(os.cpu_count() or 1, 8)
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={cores}".strip()
    # Libraries report every checkpoint; only their warnings are the user's business unless --verbosity says otherwise.
    logging.set_verbosity(logging.WARNING)
    app.run(_ended, flags_parser=lambda argv: parser().parse_args(argv[1:]))


def unraisable(found) -> None:
    """What is raised in a destructor or a library's callback ends nothing: it is logged, and an interruption comes again."""
    if isinstance(found.exc_value, interrupts.Interrupted):
        interrupts.resend_signal()
    else:
        level = logging.DEBUG if CLOSED in str(found.exc_value) else logging.WARNING
        logging.log(level, "%s", one_line(f"{found.err_msg or 'Exception ignored'}: {found.exc_value!r}"))


def leave(args, number: int) -> None:
    """Ends the process from another thread than the main one, which is in a library's call that nobody waits for any more."""
    end_of_bar = "\n" if sys.stderr.isatty() else ""
    print(f"{end_of_bar}ohio-jax {args.command}: {interrupted(args)}", file=sys.stderr, flush=True)
    os._exit(128 + number)


def _ended(args) -> int:
    interrupts.watch(functools.partial(leave, args))
    code = main(args)
    if code > 128:  # at once: programs that other threads still run crash an interpreter that is being taken down
        sys.stdout.flush()
        os._exit(code)
    interrupts.uninstall()
    return code
