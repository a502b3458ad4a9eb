"""Compiled programs kept on disk, so that the second run of a command starts at once.

JAX's persistent compilation cache does the work; decided here is where it lies, how large it may grow, and which entries may be
taken. Entries are machine code: a folder serves one version of JAX on one kind of processor, and its user alone. Programs that
call back to the host (MuJoCo's C simulator, CVXPY's layers) are not cached by JAX.
"""

import contextlib
import hashlib
import os
import platform
import shutil
import time
import warnings
from importlib.metadata import version
from pathlib import Path

from absl import logging

from ohio_jax import reading
from ohio_jax.errors import UserError

VARIABLE = "OHIO_COMPILATION_CACHE"
MAX_BYTES = 2**29  # of a folder; beyond, JAX deletes the entries that were not used for longest
MIN_COMPILE_SECONDS = 0.2  # what compiles faster is not kept: JAX looks at every entry when it adds one
UNUSED_DAYS = 90  # after which the folder of another version or processor is deleted
LOCK_SECONDS = 10.0


def enable(where: str | None = None) -> Path | None:
    """Lets JAX keep compiled programs on disk; returns the folder, None for none. Before the first program is compiled.

    Args:
        where: a folder, or "off"; commands that this process starts follow it. Without it `$OHIO_COMPILATION_CACHE`, likewise;
            else JAX's own `$JAX_COMPILATION_CACHE_DIR`, under JAX's own rules; else `ohio_jax/programs` in the user's cache.

    Raises:
        UserError: where a folder that was asked for cannot be written to. The user's cache may be missing.
    """
    import jax

    # What cannot be read, or kept on a disk that is full, is compiled anew.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache", UserWarning)
    if where := where or os.environ.get(VARIABLE):
        where = os.environ[VARIABLE] = where if where == "off" else str(Path(os.path.expanduser(where)).absolute())
    if where == "off":
        jax.config.update("jax_enable_compilation_cache", False)
        return None
    if not where and (own := os.environ.get("JAX_COMPILATION_CACHE_DIR")):
        reading.check_path(own)
        return Path(own)
    root = Path(where) if where else _users_cache()
    folder = root / f"jax-{version('jax')}-{processor()}"
    try:
        reading.check_path(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tidy(folder)
        _delete_unused(root)
    except (OSError, UserError) as error:
        if where:
            raise UserError(f"compilation cache: expected a folder to write to, found {folder}: {error}") from error
        logging.info("no compilation cache: %s: %s", folder, error)
        return None
    jax.config.update("jax_enable_compilation_cache", True)  # once "off" has said no
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", MIN_COMPILE_SECONDS)
    return folder


def processor(described: str | None = None) -> str:
    """Short digest of what compiled programs depend on: the processor's model and instructions, and how many cores XLA uses.

    Args:
        described: what Linux says of it in /proc/cpuinfo, by default this machine's.
    """
    if described is None:
        with contextlib.suppress(OSError):
            described = Path("/proc/cpuinfo").read_text(errors="replace")
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    lines = {line for line in (described or "").splitlines() if line.startswith(wanted)}
    cores = os.environ.get("NPROC") or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    known = [platform.system(), platform.machine(), platform.processor(), str(cores), *sorted(lines)]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:12]


def tidy(folder: Path) -> None:
    """Deletes what a killed process left half-written: JAX writes an entry first, then the time of its last use.

    Without this JAX would neither read such an entry nor write it anew, and stop deleting old ones.

    Raises:
        OSError: where the folder cannot be written to. Where other processes keep it locked nothing is done.
    """
    import filelock

    with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / ".lockfile", timeout=LOCK_SECONDS):  # JAX's own lock
        os.utime(folder / ".lockfile")
        names = {path.name for path in folder.iterdir()}
        for name in names:
            key, _, kind = name.rpartition("-")
            mate = {"cache": f"{key}-atime", "atime": f"{key}-cache"}.get(kind)
            if mate is not None and mate not in names:
                (folder / name).unlink()


def _delete_unused(root: Path) -> None:
    """Deletes the folders of other versions and processors that no command has used for long."""
    for lock in root.glob("jax-*/.lockfile"):
        with contextlib.suppress(OSError):  # another process was faster
            if time.time() - lock.stat().st_mtime > UNUSED_DAYS * 86_400:
                shutil.rmtree(lock.parent)


def _users_cache() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("ohio_jax") / "programs"
