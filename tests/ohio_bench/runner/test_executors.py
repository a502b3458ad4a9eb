"""Ray: where a cluster that the command starts listens, and what is said where one cannot be reached."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from ohio_bench.runner import executors

from ohio_jax.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
# The addresses, as Linux writes them, at which the processes of a fresh cluster listen; a process's sockets are its open files.
LISTENING = """
import os, sys
from pathlib import Path
from ohio_bench.runner import executors
executors.executor("ray", 1, 0)
import ray
session = ray._private.worker._global_node.get_session_dir_path()
of_ray = lambda pid: session in (Path("/proc") / pid / "cmdline").read_text() or pid == str(os.getpid())
found = set()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        if of_ray(pid):
            found |= {os.readlink(file) for file in (Path("/proc") / pid / "fd").iterdir()}
    except OSError:
        pass
for table in ("tcp", "tcp6"):
    for line in Path("/proc/net", table).read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in found:
            print(fields[1].partition(":")[0])
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, and the same as an address of IPv6


@pytest.mark.slow
def test_a_cluster_that_is_started_listens_on_this_machine_alone():
    pytest.importorskip("ray")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "benchmarks")))}
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # for sockets, whose names must be short
        env |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": folder}
        done = subprocess.run([sys.executable, "-c", LISTENING], env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    listening = done.stdout.split()
    assert len(listening) > 2 and set(listening) <= LOOPBACK


@pytest.fixture
def started(monkeypatch):
    """What `ray.init` was given, by a Ray that has no cluster to offer; the environment is put back."""
    given, environment = {}, {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    monkeypatch.setattr(executors.os, "environ", environment)

    class RayError(Exception):
        pass

    def init(**options):
        given.update(options)
        raise RayError("token\nis missing")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init, exceptions=SimpleNamespace(RayError=RayError))
    monkeypatch.setitem(sys.modules, "ray", ray)
    return given, environment


def test_what_is_asked_of_ray(started):
    given, environment = started
    with pytest.raises(UserError, match=r"^--executor ray: expected a cluster, found none \(token\)$"):
        executors.executor("ray")
    assert given["include_dashboard"] is False and environment[executors.LOOPBACK] == "0"


def test_a_cluster_elsewhere_keeps_its_own_settings(started, monkeypatch):
    given, environment = started
    environment["RAY_ADDRESS"] = "cluster"
    with pytest.raises(UserError, match="expected a cluster, found none"):
        executors.executor("ray")
    assert "include_dashboard" not in given and executors.LOOPBACK not in environment
