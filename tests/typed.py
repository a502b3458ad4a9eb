"""What a reader types from a Markdown text: its bash and python blocks, and a shell that does what they say."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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


def run(command: list[str], **options) -> None:
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


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
