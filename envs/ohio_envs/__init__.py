"""The tasks of the suite: `registry.make` builds one by name, `load_dataset` logs of one by the name of the data set."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ohio_envs.datasets import load_dataset

__all__ = ["load_dataset"]


def __getattr__(name: str) -> Any:
    """`load_dataset` when it is asked for: loading a part of this package must not load all tasks."""
    if name != "load_dataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ohio_envs.datasets import load_dataset

    return load_dataset
