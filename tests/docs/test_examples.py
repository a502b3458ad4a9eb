"""What the documentation shows works: its examples run, its blocks are of them, and what its pages name is there."""

import importlib
import re
import subprocess
import sys

import pytest

from tests import typed

DOCS = typed.ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
GENERATED = ("results", "tasks", "reference", "_build")
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.relative_to(DOCS).parts[0] not in GENERATED)
STARTED = [f"python docs/examples/{path.name}" for path in EXAMPLES]
NAMED = re.compile(r"`((?:ohio_jax|ohio_envs|ohio_bench)(?:\.\w+)+)`")  # modules and what is in them
FILES = re.compile(r"`((?:docs|envs|ohio_jax|benchmarks|results)/[\w./-]+)`")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, environment, tmp_path):
    """As a reader starts it, without the flags that tests compile under."""
    if path.stem == "minari_data":
        pytest.importorskip("minari")
    as_reader = {name: value for name, value in environment.items() if name != "XLA_FLAGS"}
    command = [sys.executable, str(path)]  # it asserts what must come out
    done = subprocess.run(command, cwd=tmp_path, env=as_reader, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_short_and_checks_itself(path):
    text = path.read_text()
    assert len(text.splitlines()) < 70
    assert "    assert " in text


def test_every_example_is_on_a_page():
    shown = re.findall(r"\{literalinclude\} examples/(\w+)\.py", "".join(page.read_text() for page in PAGES))
    assert sorted(shown) == [path.stem for path in EXAMPLES]


def page_params():
    """The blocks of all pages, those that only start an example left out."""
    each = [(page, block) for page in PAGES for block in typed.blocks(page.read_text())]
    more = [(page, block) for page, block in each if block.code.strip() not in STARTED]
    marks = lambda block: [pytest.mark.slow] if block.slow else []
    return [pytest.param(block, id=f"{page.stem}{block.line}", marks=marks(block)) for page, block in more]


def test_every_example_is_started_on_its_page():
    for page in PAGES:
        text = page.read_text()
        shown = re.findall(r"\{literalinclude\} examples/(\w+\.py)", text)
        started = [block.code.strip() for block in typed.blocks(text) if block.code.strip() in STARTED]
        assert started == [f"python docs/examples/{name}" for name in shown]


@pytest.mark.parametrize("block", page_params())
def test_block_of_a_page_runs(block, tmp_path, environment):
    """As in the README: bash and python blocks are run, `make` lines dry."""
    typed.type_in(block, tmp_path, environment)


def test_what_pages_name_is_there():
    text = "".join(page.read_text() for page in PAGES)
    names, files = set(NAMED.findall(text)), set(FILES.findall(text))
    assert "ohio_jax.relabel.relabel" in names and "ohio_jax/controllers" in files
    assert [name for name in sorted(names) if not found(name)] == []
    assert [name for name in sorted(files) if not (typed.ROOT / name).exists()] == []


def found(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        module, _, thing = name.rpartition(".")
        return hasattr(importlib.import_module(module), thing)
    return True


def test_names_that_are_missing_are_seen():
    assert found("ohio_jax.data") and found("ohio_jax.data.from_arrays") and not found("ohio_jax.data.nothing")


@pytest.mark.slow
def test_site_builds_without_a_warning(tmp_path):
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package)
    site = tmp_path / "site"
    build = ["-m", "sphinx", "-q", "-W", "-b", "html", "-d", str(tmp_path / "trees"), str(DOCS), str(site)]
    typed.run([sys.executable, *build])
    for page in PAGES:
        assert (site / page.relative_to(DOCS)).with_suffix(".html").exists()
    method = (site / "method.html").read_text()
    assert "<math" in method and 'src="_images/likelihood.png"' in method
    assert not re.findall(r'(?:src|href)="(?:https?:)?//[^"]*\.(?:js|css|woff2?)', method)  # no network
    page = site / "api" / "modules" / "ohio_jax" / "ohio_jax.data.trajectories.html"
    assert "Float[N + E, observation_size]" in page.read_text()
    assert "expectile" in (site / "reference" / "learners.html").read_text()
