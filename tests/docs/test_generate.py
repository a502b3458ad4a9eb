"""The pages made of registries name what there is, with defaults, allowed values and comments as the code has them."""

import dataclasses
import importlib.util
import itertools
import re
import sys

import pytest
from ohio_bench import cli
from ohio_envs import datasets, registry

from ohio_jax.controllers import CONTROLLERS
from ohio_jax.inverse import INVERSES
from ohio_jax.learners import LEARNERS
from tests import typed

SOURCE = typed.ROOT / "docs" / "generate.py"


@pytest.fixture(scope="module")
def generate():
    spec = importlib.util.spec_from_file_location("generate", SOURCE)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["generate"]


@pytest.fixture(scope="module")
def pages(generate):
    return generate.reference_pages()


def test_every_name_is_on_its_page(pages):
    rows = lambda names: [name for name in names if f"| `{name}` |" not in pages["controllers"] + pages["inverses"]]
    assert rows((*CONTROLLERS, *INVERSES)) == []
    assert [name for name in LEARNERS if f"\n## {name}\n" not in pages["learners"]] == []
    assert "`ohio-jax bench reacher` | quick |" in pages["experiments"]


def test_learners_have_their_hyperparameters(pages):
    assert "| `expectile` | `0.9` | 0.5 values the behavior" in pages["learners"]


def test_every_flag_is_on_the_page_of_commands(pages):
    commands = next(action.choices for action in cli.parser()._actions if action.dest == "command")
    for name, command in commands.items():
        section = pages["commands"].split(f"## ohio-jax {name}\n")[1].split("\n## ")[0]
        flags = [flag for action in command._actions for flag in action.option_strings if action.help != "==SUPPRESS=="]
        assert [
            flag for flag in flags if flag.startswith("--") and "help" not in flag and flag != "--json" and flag not in section
        ] == []


def test_data_sets_are_on_their_page_as_declared(pages):
    assert [name for name in datasets.RECIPES if f"\n| `{name}` | " not in pages["datasets"]] == []
    line = "| `1w3s-heur-v1` | `supply-chain-1w3s` |  | `s_policy` | 500 + 50 | 15,000 |"
    assert line in pages["datasets"]


def test_data_sets_in_the_cache_are_measured(generate, monkeypatch, tmp_path):
    monkeypatch.setenv("OHIO_DATASETS", str(tmp_path))
    small = datasets.Recipe("routing-synthetic", "dtv", 10, 1, {"regions": 4, "horizon": 5})
    monkeypatch.setitem(datasets.RECIPES, "small-dtv-v1", small)
    found = datasets.load_dataset("small-dtv-v1", data_seed=3)
    returns = found.train.returns
    measured = f"| 3 | 0 | {returns.mean():,.1f} | {found.task.score(returns).mean():.1f} |"
    line = f"| `small-dtv-v1` | `routing-synthetic` | `regions=4`, `horizon=5` | `dtv` | 10 + 1 | 50 | {measured[2:]}"
    assert line in generate.datasets_page().split("\n")


def test_the_table_of_data_sets_is_that_of_the_recipes():
    """Names in braces stand for one each."""
    page = (SOURCE.parent / "datasets.md").read_text().split("## The data sets")[1].split("\n## ")[0]
    told = {}
    for names, tasks, _, episodes, decisions in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", page, re.M):
        words = [part.strip("{}").split(",") for part in re.findall(r"\{.*?\}|[^{}]+", names.strip("`"))]
        for name in map("".join, itertools.product(*words)):
            told[name] = (tasks, episodes, decisions)
    assert sorted(told) == sorted(name for name in datasets.RECIPES if not name.startswith(("tiny-", "cart-")))  # of other tests
    for name, (tasks, episodes, decisions) in told.items():
        of = datasets.recipe(name)
        assert f"`{of.task}`" in tasks and episodes == f"{of.episodes} + {of.validation_episodes}"
        if not name.startswith(("nyc", "shenzhen")):  # whose files may not be at hand
            assert int(decisions) == datasets.task_of(name).high_level("ohio").horizon


def test_settings_have_defaults_and_allowed_values(generate):
    task, rows = generate.settings_of("reacher")
    assert task.name == "reacher"
    assert rows == [("`horizon`", "`1000`", "an integer from 1 to 100000"), ("`steps`", "`5`", "an integer from 1 to 100")]


def test_a_task_is_described(generate):
    text = generate.task_section("reacher")
    assert "| `ohio` | `relative` of `lqr` | `Box(limits=(12.5664, 12.5664, 12.5664, 40.0), action_scale=None)` | 5 |" in text
    assert "Score 0 is a return of 0, score 100 one of 980.9" in text


def test_a_task_without_its_files_is_described_as_far_as_it_goes(generate, monkeypatch, tmp_path):
    monkeypatch.setenv("OHIO_DATA", str(tmp_path))
    text = generate.task_section("routing-nyc")
    assert "| `dynamics` | `conserving` | one of conserving, strict |" in text and "ohio-jax data fetch" in text


@dataclasses.dataclass
class Example:
    beside: int = 1  # it is beside
    # It is above,
    # in two lines.
    above: str = "a"
    without: float = 0.0


def test_fields_have_the_comment_beside_or_above(generate):
    found = generate.fields(Example)
    assert found == [("beside", "`1`", "it is beside"), ("above", "`'a'`", "It is above, in two lines.")]


def test_tables_hold_any_text(generate):
    assert generate.table(("a",), ("x | y\nz",)) == "| a |\n| --- |\n| x \\| y z |\n"
    assert generate.table(("a",)) == ""


def test_pages_are_written_a_family_each(generate, monkeypatch, tmp_path):
    monkeypatch.setattr(generate, "task_section", lambda name: f"## {name}\n")
    written = generate.write(tmp_path)
    text = "".join(path.read_text() for path in written if path.parent.name == "tasks")
    assert [name for name in registry.TASKS if f"## {name}\n" not in text] == []
    assert {path.parent.name for path in written} == {"tasks", "reference"}
