"""What one run of a command compiled the next one finds, with the same scores."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ohio_jax import compilation_cache

# The command, and how many programs it kept and found, of those that took so many seconds to compile.
SCRIPT = """
import collections, json, sys
import jax
from ohio_bench import cli
from ohio_jax import compilation_cache
compilation_cache.MIN_COMPILE_SECONDS = float(sys.argv.pop(1))
count = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: count.update([event]))
code = cli.main(cli.parser().parse_args(sys.argv[1:]))
kept, found = (count[f"/jax/compilation_cache/cache_{what}"] for what in ("misses", "hits"))
print(json.dumps({"code": code, "kept": kept, "found": found}))
"""


def command(folder: Path, line: str, seconds: float = compilation_cache.MIN_COMPILE_SECONDS) -> tuple[float, dict, str]:
    """CPU seconds, counts and output of a command in a fresh folder, compiled as users do; programs lie beside the folder."""
    folder.mkdir()
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before, programs = used(), str(folder.parent / "programs")
    env = {name: value for name, value in os.environ.items() if name not in ("OHIO_DATA", "XLA_FLAGS")}
    typed = [sys.executable, "-c", SCRIPT, str(seconds), *line.split(), "--json", "--compilation-cache", programs]
    done = subprocess.run(typed, cwd=folder, capture_output=True, text=True, timeout=580, env=env)
    assert done.returncode == 0, done.stderr
    *output, counts = done.stdout.splitlines()
    counts = json.loads(counts)
    assert counts.pop("code") == 0, done.stderr
    return used() - before, counts, "\n".join(output)


def test_a_second_run_compiles_nothing(tmp_path):
    line = "evaluate routing-synthetic --policy inf --episodes 4"
    _, first, made = command(tmp_path / "first", line, 0.0)
    _, second, again = command(tmp_path / "second", line, 0.0)
    assert again == made
    assert first["kept"] > 0 and second == {"kept": 0, "found": first["kept"] + first["found"]}


@pytest.mark.slow
@pytest.mark.parametrize("table", ["routing", "supply-chain"])
def test_a_second_run_takes_less_than_half(table, tmp_path):
    cells = lambda name: {
        p.stem: json.loads(p.read_text())["returns"] for p in (tmp_path / name / "results" / "runs").rglob("*.json")
    }
    first, _, _ = command(tmp_path / "first", f"bench {table} --preset quick --results results")
    second, _, _ = command(tmp_path / "second", f"bench {table} --preset quick --results results")
    assert cells("first") == cells("second") != {} and second < 0.5 * first, (first, second)
