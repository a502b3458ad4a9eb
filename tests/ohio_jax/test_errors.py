"""Messages stay one line, whatever they quote; numbers stay within their bounds."""

import pytest

from ohio_jax import limits
from ohio_jax.errors import LONGEST_LINE, LONGEST_VALUE, UserError, one_line, short, unknown


def test_a_line_is_one_line():
    assert one_line("a.npz: field x:\n  expected 1,\tfound 2") == "a.npz: field x: expected 1, found 2"
    assert one_line("red \x1b[31m, \u202ereversed") == r"red \x1b[31m, \u202ereversed"  # nothing that steers a terminal
    long = one_line("a.npz: expected 1, found " + "9" * 1_000_000 + "; give another")
    assert len(long) < LONGEST_LINE + 10 and long.startswith("a.npz: expected 1") and long.endswith("; give another")


def test_a_value_is_short():
    assert short("dtv") == "'dtv'" and short(None) == "None"
    assert short("a\nb") == r"'a\nb'"
    assert len(short(list(range(100_000)))) < LONGEST_VALUE + 10
    assert len(str(unknown("task", "x" * 10_000, ["reacher"]))) < 200


@pytest.mark.parametrize("value", [0, 8_193, 10**18, 10**400, -1, True, 64.0, "64", None, float("nan")])
def test_what_is_no_width(value):
    with pytest.raises(UserError, match=r"^plan: field hidden: expected an integer from 1 to 8192, found "):
        limits.check("plan: field hidden", value, limits.BUDGETS["hidden"])


@pytest.mark.parametrize("value", [-0.1, 1.1, 10**400, float("nan"), float("inf"), False, "0.5", None])
def test_what_is_no_share(value):
    with pytest.raises(UserError, match=r"^rate: expected a number from 0 to 1, found "):
        limits.check("rate", value, limits.BUDGETS["rate"])


@pytest.mark.parametrize("value", [0, 0.0, 0.5, 1])
def test_bounds_belong_to_what_they_bound(value):
    limits.check("rate", value, limits.BUDGETS["rate"])
