"""Pages made of registries: `tasks/*.md`, a page a family of tasks, and `reference/*.md`, what there is by name.

`python docs/generate.py` writes them; `conf.py` does it for the site.
"""

import ast
import contextlib
import dataclasses
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ohio_bench import cli
from ohio_bench.experiments import EXPERIMENTS
from ohio_envs import datasets, registry

from ohio_jax import inverse
from ohio_jax.controllers import CONTROLLERS
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.task import ActionInterface, Task

# By the beginnings of their tasks' names; manipulation's have none in common.
FAMILIES = {"routing": "Routing", "supply-chain": "Supply chain", "inventory": "Classical inventory", "reacher": "Reacher"}


class Field(NamedTuple):
    """A field of a dataclass; `comment` is what stands behind it, or above."""

    name: str
    default: str
    comment: str


def fields(cls: type) -> list[Field]:
    """The fields of a dataclass whose declaration has a comment, those of its parents first."""
    found: dict[str, str] = {}
    declared = [c for c in cls.__mro__ if "__dataclass_fields__" in vars(c) and not c.__module__.startswith("flax")]
    for each in reversed(declared):
        source = inspect.cleandoc("\n" + inspect.getsource(each))
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
        lines = source.split("\n")
        for node in ast.parse(source).body[0].body:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                first = node.lineno - 1
                while first in comments and lines[first - 1].lstrip().startswith("#"):
                    first -= 1
                above = " ".join(comments[line] for line in range(first + 1, node.lineno))
                if comment := comments.get(node.end_lineno or node.lineno, above):
                    found[node.target.id] = comment
    defaults = {f.name: "" if f.default is dataclasses.MISSING else f"`{f.default!r}`" for f in dataclasses.fields(cls)}
    return [Field(name, defaults.get(name, ""), comment) for name, comment in found.items()]


def table(*rows: Iterable[str]) -> str:
    """A Markdown table; the first row is its header."""
    cells = [[re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (cells[0], ["---"] * len(cells[0]), *cells[1:])]
    return "\n".join(lines) + "\n" if len(cells) > 1 else ""


def summary(thing: Any) -> str:
    """The first sentence of a docstring, in one line."""
    thing = getattr(thing, "func", thing)  # of a partial
    first = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=\.) (?=[A-Z])", first)[0]


class _Asked(dict):
    """Settings that are all left at their defaults, and remembers which were asked for."""

    def get(self, name: str, default: Any = None) -> Any:
        return self.setdefault(name, default)


def settings_of(name: str) -> tuple[Task | None, list[tuple[str, str, str]]]:
    """A task under its defaults (None where files it needs are missing), and (setting, default, allowed values) of each."""
    asked, task = _Asked(), None
    with contextlib.suppress(UserError):
        task = registry.TASKS[name](asked)
    rows = []
    for setting, default in list(asked.items()):
        try:
            registry.TASKS[name]({setting: object()})  # no setting is that
        except UserError as error:
            allowed = re.search(r"expected (.*), found", str(error))
            rows.append((f"`{setting}`", f"`{default}`", allowed[1] if allowed else ""))
    return task, rows


def low_level(interface: ActionInterface) -> str:
    """The names of an interface's controller, and of the one that it wraps."""
    name = lambda controller: f"`{controller.__name__.rpartition('.')[2]}`"
    inner = getattr(interface.params, "controller", None)
    return name(interface.controller) + (f" of {name(inner)}" if inner else "")


def rounded(text: str) -> str:
    """Its numbers to six digits, as a reader wants them."""
    return re.sub(r"\d+\.\d{7,}", lambda number: f"{float(number[0]):.6g}", text)


def task_section(name: str) -> str:
    """What the suite knows about a task."""
    task, rows = settings_of(name)
    parts = [f"## {name}\n", table(("Setting", "Default", "Allowed"), *rows)]
    if task is None:
        return "\n".join([*parts, "This task needs files that were not at hand when the page was made: `ohio-jax data fetch`.\n"])
    rows = [(f"`{each}`", low_level(of), f"`{rounded(str(of.spec))}`", str(of.steps)) for each, of in task.interfaces.items()]
    policies = ", ".join(f"`{policy}`" for policy in (*task.policies, *(["oracle"] if task.bound else [])))
    reference = task.reference
    parts += [
        f"Observations have {task.env.observation_size} entries. Scripted policies: {policies}.\n",
        table(("Action interface", "Low level", "Action of the learner", "Low-level steps"), *rows),
        f"Score 0 is a return of {reference.zero:.6g}, score 100 one of {reference.full:.6g}: {reference.how}.\n",
    ]
    return "\n".join(parts)


def task_pages() -> dict[str, str]:
    """A page a family, by file name."""
    family = lambda name: next((each for each in FAMILIES if name.startswith(each)), "manipulation")
    pages: dict[str, list[str]] = {}
    for name in registry.TASKS:
        pages.setdefault(family(name), []).append(name)
    return {
        each: f"# {FAMILIES.get(each, 'Manipulation')}\n\n" + "\n".join(map(task_section, names)) for each, names in pages.items()
    }


def learners_page() -> str:
    sections = ["# Learners\n\nSet a field with `--config name=value`, or in Python with `Config(name=value)`.\n"]
    for name, learner in LEARNERS.items():
        rows = [(f"`{field.name}`", field.default, field.comment) for field in fields(learner.Config)]
        sections.append(f"## {name}\n\n{summary(learner)}\n\n{table(('Field', 'Default', 'Meaning'), *rows)}")
    return "\n".join(sections)


def commands_page() -> str:
    top = cli.parser()
    commands: Any = next(action.choices for action in top._actions if action.dest == "command")
    sections = ["# Commands\n\nEvery command has `--json`: one JSON object on standard output and nothing else.\n"]
    for name, command in commands.items():
        rows = []
        for action in command._actions:
            if "--json" in action.option_strings or "--help" in " ".join(action.option_strings) or action.help == "==SUPPRESS==":
                continue
            words = " ".join(action.option_strings) or action.metavar or action.dest
            value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
            choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
            rows.append((f"`{words}{value}`", command._get_formatter()._expand_help(action) + choices))
        sections.append(f"## ohio-jax {name}\n\n{summary_of(command.description)}\n\n{table(('Argument', 'Meaning'), *rows)}")
    return "\n".join(sections)


def datasets_page() -> str:
    """Every data set as its recipe declares it, and as its card has it where one is in the cache."""
    text = """Episodes are those to train on and those to validate with, decisions those of the former. Size, return and score are
of the first data seed in the cache of the machine that made this page; `ohio-jax data make NAME` makes what is not there."""
    header = ("Name", "Task", "Settings", "Behavior policy", "Episodes", "Decisions", "Data seed", "MiB", "Mean return", "Score")
    return f"# Data sets\n\n{text}\n\n{table(header, *map(_dataset, datasets.RECIPES))}"


def _dataset(name: str) -> list[str]:
    """The line of a data set."""
    of, task = datasets.recipe(name), None
    with contextlib.suppress(UserError):  # for files or extras that are not at hand
        task = datasets.task_of(name)
    settings = ", ".join(f"`{key}={value}`" for key, value in of.settings.items())
    episodes = f"{of.episodes} + {of.validation_episodes}"
    decisions = f"{of.episodes * task.high_level('ohio').horizon:,}" if task else ""
    declared = [f"`{name}`", f"`{of.task}`", settings, f"`{of.behavior_policy}`", episodes, decisions]
    seed = next(iter(datasets.cached(name)), None)
    card = None if seed is None else datasets.card(name, seed, "train")
    if task is None or card is None:
        return [*declared, *[""] * 4]
    size, mean = datasets.size(name, seed) / 2**20, card["return_mean"]
    return [*declared, f"{seed}", f"{size:.0f}", f"{mean:,.1f}", f"{float(task.score(mean)):.1f}"]


def summary_of(text: str | None) -> str:
    text = " ".join((text or "").split())
    return (text[:1].upper() + text[1:]).rstrip(".") + "."


def reference_pages() -> dict[str, str]:
    """What there is by name: a page a kind, by file name."""
    controllers = [(f"`{name}`", summary(module), f"`{module.__name__}`") for name, module in CONTROLLERS.items()]
    inverses = [(f"`{name}`", summary(of), f"`{getattr(of, 'func', of).__module__}`") for name, of in inverse._INVERSES.items()]
    experiments = [
        (f"`{name}`", f"`ohio-jax {of.command}`", preset, summary(make))
        for name, of in EXPERIMENTS.items()
        for preset, make in of.presets.items()
    ]
    return {
        "commands": commands_page(),
        "datasets": datasets_page(),
        "controllers": "# Low-level policies\n\n" + table(("Name", "What it does", "Module"), *controllers),
        "inverses": "# Inverses\n\n" + table(("Name", "What it does", "Module"), *inverses),
        "learners": learners_page(),
        "experiments": "# Experiments\n\n" + table(("Name", "Command", "Preset", "How much work"), *experiments),
    }


def write(folder: Path) -> list[Path]:
    """Writes all pages under `folder`; returns them."""
    written = []
    for room, pages in (("tasks", task_pages()), ("reference", reference_pages())):
        (folder / room).mkdir(parents=True, exist_ok=True)
        for name, text in pages.items():
            written.append(folder / room / f"{name}.md")
            written[-1].write_text(text)
    return written


if __name__ == "__main__":
    print(*write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent), sep="\n")
