"""Ctrl-C and SIGTERM: raised where work may stop at once, and kept where something must be finished first.

A program installs the handlers, once; where none did, Python's own hold and nothing here has an effect. Python runs a handler
between two instructions of the main thread: a library's call, such as a compilation or a simulation of many episodes, may keep it
waiting for minutes, for which there is `watch`.
"""

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

LATE = 5.0  # seconds for which a library's call may keep a signal waiting
RESEND = 0.05  # seconds after which a signal that could not be raised comes again
AGAIN = 1.0  # seconds after which one more signal is raised, in case what caught the first has swallowed it

_first: int | None = None  # number of the first signal
_heard = _raised = -math.inf  # when one came last, and when one was raised
_immediate = False


class Interrupted(KeyboardInterrupt):
    """The user, or whoever runs the machine, wants this process to end."""


def install() -> None:
    """Takes over both signals, but for one that this process is to ignore, as `nohup` and shells in the background have it."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, _arrived)


def uninstall() -> None:
    """Once all is done: a signal that comes while the interpreter is taken down is too late to change how the process ends."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is _arrived:
            signal.signal(signum, signal.SIG_IGN)


def watch(leave: Callable[[int], None]) -> None:
    """Starts a thread that calls `leave(number)`, which is to end the process, where a signal that would have been raised has not
    come to the main thread for `LATE` seconds.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)  # which is written to when a signal comes, whatever runs

    def wait() -> None:
        while number := os.read(told, 1)[0]:
            if number in (signal.SIGINT, signal.SIGTERM):
                told_at = time.monotonic()
                time.sleep(LATE)
                if _immediate and _heard < told_at - RESEND / 2:  # else it came, and is being heeded
                    leave(number)

    threading.Thread(target=wait, daemon=True).start()


def _arrived(signum: int, frame: FrameType | None) -> None:
    global _first, _heard, _raised
    _first, _heard = signum if _first is None else _first, time.monotonic()
    if _immediate and time.monotonic() - _raised > AGAIN:
        if _importing(frame):  # a module in C that is broken off while it starts crashes the process
            resend_signal()
            return
        _raised = time.monotonic()
        raise Interrupted


def _importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None


def resend_signal() -> None:
    """Has the signal come once more, shortly: it came, or was raised, where nothing can be."""
    global _raised
    _raised = -math.inf
    timer = threading.Timer(RESEND, os.kill, (os.getpid(), number()))
    timer.daemon = True
    timer.start()


def pending() -> bool:
    """Whether a signal came."""
    return _first is not None


def number() -> int:
    """Of the first signal; Ctrl-C's where none was noted."""
    return signal.SIGINT if _first is None else _first


@contextlib.contextmanager
def immediate() -> Iterator[None]:
    """Inside, signals raise Interrupted; outside they are only noted."""
    with _mode(True):
        if pending():
            raise Interrupted
        yield


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Inside, signals are only noted; where they would have been raised, the end of this raises them."""
    with _mode(False) as before:
        yield
    if before and pending():
        raise Interrupted


@contextlib.contextmanager
def _mode(raising: bool) -> Iterator[bool]:
    global _immediate
    before, _immediate = _immediate, raising
    try:
        yield before
    finally:
        _immediate = before
