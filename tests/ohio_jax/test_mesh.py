"""Several processes work as one: their numbers are one process's, bit by bit; one that dies takes the others along."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ohio_jax import data, mesh
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from tests.ohio_jax import one_of_several, toy
from tests.ohio_jax.processes import free_port, together
from tests.ohio_jax.runs import kill_after

SOON = 200  # seconds in which the others notice that one died


def two(folder: Path, *more: str) -> list[subprocess.CompletedProcess]:
    address = f"127.0.0.1:{free_port()}"
    base = [sys.executable, "-m", "tests.ohio_jax.one_of_several", address, "2"]
    return together([[*base, str(process), str(folder), *more] for process in range(2)], folder, SOON)


@pytest.fixture
def folder(tmp_path):
    data.save(tmp_path / "logs.npz", collect(toy.line_task(), "wander", 40, 1))
    return tmp_path


def assert_one(folder: Path) -> None:
    """What both processes found is what one finds, bit by bit."""
    alone = one_of_several.work(folder / "logs.npz", folder / "alone")
    for process in range(2):
        with np.load(folder / f"found-{process}.npz") as found:
            assert set(found.files) == set(alone)
            for name, value in alone.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_two_processes_are_one(folder, monkeypatch):
    """Two devices in one process, or one in each of two, which go on from a checkpoint that the one left: the same bits."""
    kill_after(monkeypatch, 40, lambda: one_of_several.work(folder / "logs.npz", folder / "run"))
    for done in two(folder):
        assert done.returncode == 0, done.stderr
    assert_one(folder)


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_one_that_dies_takes_the_other_along(folder, dies):
    """And nothing is lost: the same command goes on from the checkpoint."""
    found = two(folder, str(dies))
    assert found[dies].returncode == -signal.SIGKILL and found[1 - dies].returncode != 0
    assert not list(folder.glob("found-*")) and [path.name for path in (folder / "run" / "checkpoint").iterdir()] == ["20"]
    for done in two(folder):
        assert done.returncode == 0, done.stderr
    assert_one(folder)


def test_the_first_process_listens_where_it_is_told_and_nowhere_else():
    port = free_port()
    code = "import sys; from ohio_jax import mesh; mesh.join(sys.argv[1], 2, 0)"
    with subprocess.Popen([sys.executable, "-c", code, f"127.0.0.1:{port}"]) as first:
        try:
            mesh._reach("127.0.0.1", port, 60)
            with pytest.raises(ConnectionRefusedError):  # another address of this machine
                socket.create_connection(("127.0.0.2", port), timeout=10)
        finally:
            first.kill()


def test_nobody_at_the_address_and_a_port_that_is_taken():
    port = free_port()
    with pytest.raises(UserError, match=f"expected the first process at 127.0.0.1:{port}, found none"):
        mesh.join(f"127.0.0.1:{port}", 2, 1, seconds=0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"expected a free port of this machine, found 127.0.0.1:{port}"):
            mesh.join(f"127.0.0.1:{port}", 2, 0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("somewhere", 2, 0), "expected HOST:PORT or auto, found 'somewhere'"),
        (("somewhere:here", 2, 0), "expected HOST:PORT or auto"),
        (("somewhere:99999", 2, 0), "expected HOST:PORT or auto"),
        (("192.0.2.1:29400", 2, 0), "expected a free port of this machine, found 192.0.2.1:29400"),  # nobody's
        (("somewhere:1", None, 0), "--processes: expected with --coordinator somewhere:1, found none"),
        (("somewhere:1", 2), "--process: expected with --coordinator"),
        (("somewhere:1", 2, 2), "--process: expected 0 to 1, found 2"),
        (("auto", 2), "--processes: expected none with --coordinator auto, found 2"),
        (("auto",), "expected all processes at auto"),  # no cluster that JAX knows
    ],
)
def test_half_of_what_is_needed(given, words):
    with pytest.raises(UserError, match=re.escape(words)):
        mesh.join(*given)


def test_work_lies_on_no_more_devices_than_it_needs():
    assert len(mesh.devices()) == len(mesh.devices(3)) == 2 and len(mesh.devices(1)) == 1
    assert mesh.is_main_process() and not mesh.joined() and mesh.broadcast_bool(True) and not mesh.broadcast_bool(False)
