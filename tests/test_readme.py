"""What the README tells a reader to type works: its bash and python blocks are run, in order, in an empty folder.

A block after the line `<!-- slow -->` runs with `-m slow` only. `make` lines are checked to name targets that exist;
lines that fetch or install the project are what brought the reader here, and are not repeated.
"""

from pathlib import Path

import pytest

from tests.typed import ROOT, Block, blocks, commands, type_in


def readme_params():
    found = blocks((ROOT / "README.md").read_text())
    return [pytest.param(block, id=f"line{block.line}", marks=[pytest.mark.slow] if block.slow else []) for block in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all blocks: a later block may use what an earlier one wrote."""
    return tmp_path_factory.mktemp("readme")


def test_blocks_are_found():
    text = "a\n```bash\nx y\n```\n\n<!-- slow -->\n```python\nz\n```\n```json\n{}\n```\n"
    assert blocks(text) == [Block(2, "bash", "x y\n", False), Block(7, "python", "z\n", True)]
    assert commands("# note\na \\\n  b\n\nc  # why\n") == ["a    b", "c"]


def test_readme_has_commands():
    typed = [line for block in blocks((ROOT / "README.md").read_text()) for line in commands(block.code)]
    assert "make bench" in typed
    assert "make test" in typed


@pytest.mark.parametrize("block", readme_params())
def test_block_runs(block, folder, environment):
    type_in(block, folder, environment)
