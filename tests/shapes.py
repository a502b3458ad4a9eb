"""A type checker for jaxtyping's import hook that looks at arrays alone."""

from typing import Any

from beartype import beartype


def checked(function: Any) -> Any:
    """Beartype on those parameters and results of a function whose annotation has a shape."""
    hints = getattr(function, "__annotations__", {})
    function.__annotations__ = {name: hint for name, hint in hints.items() if "jaxtyping." in repr(hint)}
    return beartype(function)
