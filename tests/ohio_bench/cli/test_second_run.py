"""What one run of a command compiled the next one finds, with the same scores."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

# The command, and how many programs it kept and found; of JAX's own count, which leaves out what compiles fast.
SCRIPT = """
import collections, json, sys
import jax
from ohio_bench import cli
count = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: count.update([event]))
code = cli.main(cli.parser().parse_args(sys.argv[1:]))
kept, found = (count[f"/jax/compilation_cache/cache_{what}"] for what in ("misses", "hits"))
print(json.dumps({"code": code, "kept": kept, "found": found}))
"""


def bench(folder: Path, line: str) -> tuple[float, dict, dict]:
    """CPU seconds, counts and the returns of each cell of a command into a fresh folder; programs lie beside it."""
    folder.mkdir()
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before, programs = used(), str(folder.parent / "programs")
    command = [sys.executable, "-c", SCRIPT, *line.split(), "--json", "--results", "results", "--compilation-cache", programs]
    env = {name: value for name, value in os.environ.items() if name != "OHIO_DATA"}  # the same rows wherever this runs
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=580, env=env)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])
    assert counts.pop("code") == 0, done.stderr
    returns = {path.stem: json.loads(path.read_text())["returns"] for path in (folder / "results").rglob("*.json")}
    assert returns
    return used() - before, counts, returns


def test_a_second_run_compiles_nothing(tmp_path):
    line = "bench routing --preset quick --only synthetic-inf.ohio.bc --seeds 1"
    _, first, made = bench(tmp_path / "first", line)
    _, second, again = bench(tmp_path / "second", line)
    assert again == made
    assert first["kept"] >= 5 and second["found"] >= 0.8 * first["kept"] and second["kept"] <= 0.2 * first["kept"]


@pytest.mark.slow
@pytest.mark.parametrize("table", ["routing", "supply-chain"])
def test_a_second_run_takes_less_than_half(table, tmp_path):
    first, _, made = bench(tmp_path / "first", f"bench {table} --preset quick")
    second, _, again = bench(tmp_path / "second", f"bench {table} --preset quick")
    assert again == made and second < 0.5 * first, (first, second)
