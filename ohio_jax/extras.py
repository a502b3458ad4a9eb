"""Packages that only some tasks, controllers and formats need, imported where one of these is asked for."""

import contextlib
import importlib
import sys
from typing import Any

from ohio_jax.errors import UserError


def imported(extra: str, name: str) -> Any:
    """The module of this name. Raises UserError naming the extra to install if it, or what it needs, is missing."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # MJX prints which of its own parts are missing
            return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name}: expected `pip install 'ohio-jax[{extra}]'`, found no module {error.name!r}") from error
