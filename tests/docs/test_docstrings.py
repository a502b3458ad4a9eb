"""Docstrings as reStructuredText: fields are items, code is code, formulas stay as they are, and nothing else is markup."""

import importlib.util
from collections import namedtuple
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "docs" / "docstrings.py"


@pytest.fixture(scope="module")
def docstrings():
    spec = importlib.util.spec_from_file_location("docstrings", SOURCE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("A `b` of *c* and |d|_e.", r"A ``b`` of \*c\* and \|d\|\_e."),
        ("One lone ` backtick.", r"One lone \` backtick."),
        ("Prose over\ntwo lines.\n\nAnother.", "Prose over two lines.\n\nAnother."),
        ("Solves:\n\n    u = *K* x\n      + k\n\nThen.", "Solves:\n\n::\n\n    u = *K* x\n      + k\n\nThen."),
        (
            "obs, next_obs: Float[B, n],\n    in metres. goal: `u`.\nact(x) -> u: pure.\nRaises UserError: never.",
            "- **obs, next\\_obs**: Float[B, n], in metres. goal: ``u``.\n\n- **act(x)** -> u: pure.\n\nRaises UserError: never.",
        ),
        ("Status: no field, for it is a sentence.", "Status: no field, for it is a sentence."),
    ],
)
def test_convert(docstrings, docstring, expected):
    assert docstrings.convert(docstring).strip() == expected


def test_lines_are_changed_in_place(docstrings):
    lines = ["x: `y`", ""]
    docstrings.process(None, "function", "f", None, None, lines)
    assert "".join(lines) == "- **x**: ``y``"


def test_fields_of_named_tuples_are_left_out(docstrings):
    Pair = namedtuple("Pair", "first")
    assert docstrings.skip(None, "class", "first", Pair.first, False, None) is True
    assert docstrings.skip(None, "class", "Pair", Pair, False, None) is None
