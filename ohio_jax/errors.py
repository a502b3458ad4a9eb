"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """A mistake at an edge (file, flag, array): one line naming the place, what was found and what was expected.

    The command prints it without a traceback and exits with code 2.
    """


def unknown(kind: str, name: str, known) -> UserError:
    """The error for a name that is in no registry, e.g. `unknown("task", "nyc", TASKS)`."""
    return UserError(f"unknown {kind} {name!r}: expected one of {', '.join(sorted(known))}")
