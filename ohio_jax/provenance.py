"""Where a result comes from: versions, code revision, hardware and time. Written into every run file."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import ohio_jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
CODE = (":/ohio_jax", ":/envs", ":/benchmarks", ":/pyproject.toml", ":/constraints.txt")


def collect() -> dict[str, Any]:
    """Everything below as one dictionary, ready for JSON.

    - time: UTC, ISO 8601.
    - revision: git commit of the checkout this package lies in, None outside one.
    - dirty: whether the code differs from that revision (results do not count), None outside a checkout.
    """
    revision, dirty = git_state()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, "revision": revision, "dirty": dirty, "versions": versions(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """Version of Python, of this package and of what its numbers depend on."""
    found = {"python": platform.python_version(), "ohio_jax": ohio_jax.__version__}
    return found | {name: metadata.version(name) for name in PACKAGES}


def hardware() -> dict[str, Any]:
    """The machine and how busy it is.

    - cpu: model.
    - cores: logical ones this process may use.
    - memory: GiB.
    - load: average number of running processes over 1, 5 and 15 minutes.
    - platform, device, devices: JAX's backend, kind and number of devices.
    """
    devices = jax.devices()
    return {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load": [round(value, 2) for value in os.getloadavg()],
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
    }


def cpu_model() -> str:
    """The processor's own name where Linux tells it, else the architecture."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(errors="replace") if information.exists() else ""
    found = re.search(r"^model name\s*:[ \t]*(.*\S)", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def git_state(folder: Path | None = None) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout that tracks this package, (None, None) if git tracks it nowhere.

    Args:
        folder: another one than this package's. Being tracked is asked for because a package installed into a virtual environment
            inside somebody's checkout lies within it and yet has nothing to do with its commits.
    """
    folder = Path(__file__).parent if folder is None else folder
    if not _git(folder, "ls-files", "."):
        return None, None
    revision = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not revision:
        return None, None
    return revision, bool(_git(folder, "status", "--porcelain", "--", *CODE))


def _git(folder: Path, *command: str) -> str | None:
    """Output of a git command, None if there is no git or it fails."""
    # Inside a git hook these variables point at another repository than the folder's.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True, env=env, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
