"""Edits of a copy of the suite, whose code a test may change."""

from pathlib import Path


def edit(path: Path, old: str, new: str) -> None:
    """Replaces a text that occurs once."""
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
