"""README is short, and what it tells a reader to type works: its bash and python blocks are run, in order, in one folder.

A block after the line `<!-- slow -->` runs with `-m slow` only. `make` lines are checked to name targets that exist;
lines that fetch or install the project are what brought the reader here, and are not repeated.
"""

import re
from pathlib import Path

import pytest

from ohio_jax.controllers import CONTROLLERS
from ohio_jax.inverse import INVERSES
from ohio_jax.learners import LEARNERS
from tests.typed import ROOT, Block, blocks, commands, type_in

README = (ROOT / "README.md").read_text()
MAX_BYTES = 10_000
TEXTS = ("README.md", "CONTRIBUTING.md")
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)\)")


def readme_params():
    marks = lambda block: [pytest.mark.slow] if block.slow else []
    return [pytest.param(block, id=f"line{block.line}", marks=marks(block)) for block in blocks(README)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all blocks: a later block may use what an earlier one wrote."""
    return tmp_path_factory.mktemp("readme")


def test_blocks_are_found():
    text = "a\n```bash\nx y\n```\n\n<!-- slow -->\n```python\nz\n```\n```json\n{}\n```\n"
    assert blocks(text) == [Block(2, "bash", "x y\n", False), Block(7, "python", "z\n", True)]
    assert commands("# note\na \\\n  b\n\nc  # why\n") == ["a    b", "c"]


def test_readme_is_short():
    assert len(README.encode()) <= MAX_BYTES


def test_readme_has_commands():
    typed = [line for block in blocks(README) for line in commands(block.code)]
    assert {"make bench", "make test", "make install"} <= set(typed)
    assert any(line.startswith("ohio-jax evaluate") for line in typed)  # the quickstart ends in a score


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    links = LINK.findall((ROOT / name).read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_make_targets_of_contributing_exist(folder, environment):
    for block in blocks((ROOT / "CONTRIBUTING.md").read_text()):
        type_in(block, folder, environment)


def test_counts_of_what_there_is():
    """In words, as the first paragraph has them."""
    words = {12: "twelve", 17: "seventeen", 18: "eighteen", 19: "nineteen", 20: "twenty"}
    for registry, name in ((LEARNERS, "learners"), (INVERSES, "inverses"), (CONTROLLERS, "low-level policies")):
        assert f"{words.get(len(registry), len(registry))} {name}" in " ".join(README.split())


@pytest.mark.parametrize("block", readme_params())
def test_block_runs(block, folder, environment):
    type_in(block, folder, environment)
