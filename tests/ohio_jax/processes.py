"""What tests of several processes share: commands that run at the same time, and a port at which they meet."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def together(commands: list[list[str]], folder: Path, seconds: float) -> list[subprocess.CompletedProcess]:
    """Runs the commands at the same time, a device each; those that last longer are killed, which fails."""
    flags = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ["XLA_FLAGS"]).strip()
    environment = {
        **os.environ,
        "XLA_FLAGS": flags,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "envs", ROOT / "benchmarks"))),
    }
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=folder, env=environment, **pipes) for command in commands]
    try:
        end = time.monotonic() + seconds
        found = [process.communicate(timeout=end - time.monotonic()) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    return [subprocess.CompletedProcess(p.args, p.returncode, *said) for p, said in zip(started, found, strict=True)]
