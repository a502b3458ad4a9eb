"""What the README tells a reader to type works: its bash and python blocks are run, in order, in an empty folder.

A block after the line `<!-- slow -->` runs with `-m slow` only. `make` lines are checked to name targets that exist;
lines that fetch or install the project are what brought the reader here, and are not repeated.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETUP = re.compile(r"(git clone|cd|source|pip install|python3? -m (venv|pip))\b")
MAKE = re.compile(r"(\w+=\S* )*make\b")
FENCE = re.compile(r"(?P<slow><!-- slow -->\s*\n)?^```(?P<language>bash|python)\n(?P<code>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block; `line` is where it starts."""

    line: int
    language: str
    code: str
    slow: bool


def blocks(text: str) -> list[Block]:
    """The bash and python blocks of a Markdown text."""
    return [
        Block(text[: match.start("language")].count("\n") + 1, match["language"], match["code"], bool(match["slow"]))
        for match in FENCE.finditer(text)
    ]


def commands(code: str) -> list[str]:
    """The command lines of a bash block: continued lines joined, comments and blank lines left out."""
    lines = (re.sub(r"(^|\s)#\s.*", "", line).strip() for line in code.replace("\\\n", " ").splitlines())
    return [line for line in lines if line]


def readme_params():
    found = blocks((ROOT / "README.md").read_text())
    return [pytest.param(block, id=f"line{block.line}", marks=[pytest.mark.slow] if block.slow else []) for block in found]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """One folder for all blocks: a later block may use what an earlier one wrote."""
    return tmp_path_factory.mktemp("readme")


def run(command: list[str], **options) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


def test_blocks_are_found():
    text = "a\n```bash\nx y\n```\n\n<!-- slow -->\n```python\nz\n```\n```json\n{}\n```\n"
    assert blocks(text) == [Block(2, "bash", "x y\n", False), Block(7, "python", "z\n", True)]
    assert commands("# note\na \\\n  b\n\nc  # why\n") == ["a    b", "c"]


def test_readme_has_commands():
    typed = [line for block in blocks((ROOT / "README.md").read_text()) for line in commands(block.code)]
    assert "make bench" in typed
    assert "make test" in typed


def type_in(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Does what the block says, in this folder."""
    if block.language == "python":
        run([sys.executable, "-c", block.code], cwd=folder, env=environment)
        return
    script = []
    for line in commands(block.code):
        if MAKE.match(line):
            run(["bash", "-c", f"{line} -n"], cwd=ROOT, env=environment)
        elif not SETUP.match(line):
            script.append(line)
    if script:
        run(["bash", "-euo", "pipefail", "-c", "\n".join(script)], cwd=folder, env=environment)


@pytest.mark.parametrize("block", readme_params())
def test_block_runs(block, folder, environment):
    type_in(block, folder, environment)
