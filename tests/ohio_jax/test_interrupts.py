"""Signals end work at once, or after what must be finished; one that comes while another is heeded changes nothing."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time

import pytest
from absl import logging
from ohio_bench.cli.main import unraisable

from ohio_jax import interrupts
from ohio_jax.interrupts import Interrupted


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.setattr(interrupts, "_first", None)
    monkeypatch.setattr(interrupts, "_raised", -math.inf)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interrupts.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_raised_at_once(number):
    with pytest.raises(Interrupted), interrupts.immediate():
        send(number)
        pytest.fail("it went on")
    assert interrupts.pending() and interrupts.number() == number


def test_noted_where_nothing_may_be_raised():
    send()
    assert interrupts.pending()
    with pytest.raises(Interrupted), interrupts.immediate():
        pytest.fail("it began")


def test_what_must_be_finished_is():
    done = []
    with pytest.raises(Interrupted), interrupts.immediate():
        with interrupts.deferred():
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
                send(number)
            done.append("all of it")
        done.append("and more")
    assert done == ["all of it"] and interrupts.number() == signal.SIGTERM  # the first counts


def test_nineteen_more_do_not_disturb_the_cleaning_up():
    done = []
    with pytest.raises(Interrupted), interrupts.immediate():
        try:
            send()
        finally:
            for _ in range(19):
                send()
            done.append("clean")
    send()
    assert done == ["clean"]


def test_one_that_something_swallowed_comes_again(monkeypatch):
    monkeypatch.setattr(interrupts, "AGAIN", -1.0)
    with pytest.raises(Interrupted), interrupts.immediate():
        with contextlib.suppress(Interrupted):
            send()
        send()
        pytest.fail("it went on")


def test_one_that_came_in_a_destructor_comes_again(monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", unraisable)

    class Resource:
        def __del__(self):
            send()

    with pytest.raises(Interrupted), interrupts.immediate():
        Resource()
        time.sleep(10)
        pytest.fail("it went on")


@pytest.mark.parametrize(("error", "shown"), [(ValueError("of\nours"), True), (RuntimeError("Event loop is closed"), False)])
def test_what_else_comes_in_a_destructor_is_one_line(monkeypatch, capsys, error, shown):
    """But for what asyncio says of reads that TensorStore gave up."""
    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    monkeypatch.setattr(logging.get_absl_handler().python_handler, "stream", sys.stderr)
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", False)

    class Resource:
        def __del__(self):
            raise error

    Resource()
    said = capsys.readouterr().err
    assert ("of\\nours" in said and said.count("\n") == 1) if shown else not said


def test_one_that_came_during_an_import_waits_for_its_end(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Interrupted), interrupts.immediate():
        import slow_to_import

        time.sleep(10)
        pytest.fail("it went on")
    assert slow_to_import.done


CALL = """
import hashlib, os
from ohio_jax import interrupts
interrupts.LATE = 0.2
interrupts.install()
interrupts.watch(lambda number: os._exit(number))
with interrupts.immediate(), {mode}():
    print("begun", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", {rounds})  # which no signal ends
"""


@pytest.mark.parametrize(
    ("mode", "rounds", "ends"),
    [("interrupts.immediate", 10**9, {signal.SIGTERM}), ("interrupts.deferred", 10**7, {1})],
)
def test_no_library_keeps_a_signal_waiting(mode, rounds, ends):
    """Unless what it does is to be finished."""
    typed = [sys.executable, "-c", CALL.format(mode=mode, rounds=rounds)]
    with subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) in ends


def test_what_the_process_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.install()
    with interrupts.immediate():
        send()
    assert not interrupts.pending()
