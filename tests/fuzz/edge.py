"""A command line typed in a folder, and whether it ends as it should whatever it was given."""

import contextlib
import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from ohio_bench import cli
from ohio_envs import files

LONGEST = 600  # letters of a line that says what is wrong
CITY = "scenario_nyc_brooklyn.json"


@dataclass(frozen=True)
class Case:
    """A command line and the files it finds.

    Attributes:
        sound: whether its input may be sound. If not, it must be refused.
        answer: what it must print where it is not refused; None: anything.
        published: whether a city's file counts as the published one, whatever is in it.
    """

    words: Sequence[str]
    files: dict[str, bytes] = field(default_factory=dict)
    sound: bool = True
    answer: str | None = None
    published: bool = True

    def _repr_pretty_(self, printer, cycle) -> None:
        """What Hypothesis prints of it: without the content of its files."""
        printer.text(f"{' '.join(map(ascii, self.words))} in a folder of {sorted(self.files)}")


def content(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder by its name there; a folder holds None."""
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def typed(words: Sequence[str]) -> tuple[Any, str, list[str]]:
    """Exit code, standard output, and the lines of standard error but for argparse's usage; other exceptions are faults."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.dict(os.environ):
        try:
            code = cli.main(cli.parser().parse_args(words))
        except SystemExit as ended:
            code = ended.code
    lines = err.getvalue().splitlines()
    if lines and lines[0].startswith("usage: "):
        lines = lines[next(i for i, line in enumerate(lines) if ": error: " in line) :]
    return code, out.getvalue(), lines


def judge(folder: Path, case: Case) -> None:
    """Types the case in an empty folder. Fails unless it is done, or refused in one line with nothing new or changed."""
    for name, raw in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
    pinned = {CITY: hashlib.sha256(case.files[CITY]).hexdigest()} if case.published and CITY in case.files else {}
    before = content(folder)
    with contextlib.chdir(folder), mock.patch.dict(files.SHA256, pinned), mock.patch.dict(os.environ, OHIO_DATA=str(folder)):
        code, out, lines = typed(case.words)
    if code == 0:
        assert case.sound, f"accepted, see {folder}: {out}"
        assert case.answer in (None, out), f"not what the sound input makes it say, see {folder}: {out}"
        return
    assert code == 2 and out == "", f"exit code {code}: {out}"
    assert len(lines) == 1 and len(lines[0]) <= LONGEST and lines[0].isprintable(), f"no clear line: {lines}"
    after = content(folder)
    assert {name for name in before.keys() | after.keys() if before.get(name, 0) != after.get(name, 0)} == set(), lines
