"""Compiled programs on disk: found again, never another machine's, within their size, and no trouble when damaged."""

import json
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from ohio_jax import compilation_cache
from ohio_jax.errors import UserError

OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_compilation_cache_max_size",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def enable(monkeypatch, tmp_path):
    """`enable(where)`, keeping even what compiles fast, as if JAX had just been imported; undone after the test."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    for name in (compilation_cache.VARIABLE, "JAX_COMPILATION_CACHE_DIR"):
        monkeypatch.setenv(name, "")  # so that what `enable` sets is undone as well
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compilation_cache, "MIN_COMPILE_SECONDS", 0.0)

    def anew(where=None):
        for name, value in before.items():
            jax.config.update(name, value)
        jax.config.update("jax_compilation_cache_dir", None)
        reset_cache()
        return compilation_cache.enable(where and str(where))

    yield anew
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def compiled():
    """`compiled(n)` compiles and runs the n-th program as a new process would: its value, and "hit", "miss" or None."""
    seen = []
    names = {"/jax/compilation_cache/cache_hits": "hit", "/jax/compilation_cache/cache_misses": "miss"}
    listen = lambda event, **_: seen.append(names[event]) if event in names else None
    jax.monitoring.register_event_listener(listen)

    def run(n: int):
        x = jnp.ones(3)
        program = jax.jit(lambda x: jnp.sin(x) * n).lower(x)
        seen.clear()
        value = float(program.compile()(x)[0])
        return value, seen[0] if seen else None

    yield run
    jax.monitoring.unregister_event_listener(listen)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-cache"))


def test_a_program_is_compiled_once(enable, compiled, tmp_path):
    folder = enable()
    assert folder.parent == tmp_path / "cache" / "ohio_jax" / "programs" and jax.__version__ in folder.name
    assert folder.stat().st_mode & 0o077 == 0, "entries are run as they are: nobody else may write them"
    value, first = compiled(2)
    assert enable() == folder
    assert (first, compiled(2), compiled(3)[1]) == ("miss", (value, "hit"), "miss")


def test_where_it_lies(enable, compiled, monkeypatch, tmp_path):
    assert enable(tmp_path / "flag").parent == tmp_path / "flag"
    assert os.environ[compilation_cache.VARIABLE] == str(tmp_path / "flag"), "for commands that this one starts"
    monkeypatch.setenv(compilation_cache.VARIABLE, str(tmp_path / "variable"))
    assert enable().parent == tmp_path / "variable"
    assert enable("off") is None and compiled(2)[1] is None
    monkeypatch.delenv(compilation_cache.VARIABLE)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "own"))
    size = jax.config.jax_compilation_cache_max_size
    assert enable() == tmp_path / "own" and jax.config.jax_compilation_cache_max_size == size
    assert not (tmp_path / "own").exists() and not (tmp_path / "cache").exists()


def test_programs_of_another_processor_are_not_taken(enable, compiled, monkeypatch):
    describe = lambda flags: compilation_cache.processor(f"processor : 0\nmodel name : Some\nflags : {flags}\nbogomips : 4200\n")
    assert describe("fpu avx2") != describe("fpu avx2 avx512f")
    assert describe("fpu") == compilation_cache.processor("processor : 1\nmodel name : Some\nflags : fpu\nbogomips : 9\n")
    here = enable()
    compiled(2)
    monkeypatch.setenv("NPROC", "17")  # XLA's threads, which programs are made for
    there = enable()
    assert there != here and compiled(2)[1] == "miss"


def test_it_stays_within_its_size(enable, compiled, monkeypatch):
    folder = enable()
    compiled(1)
    size = entries(folder)[0].stat().st_size
    monkeypatch.setattr(compilation_cache, "MAX_BYTES", int(3.5 * size))
    enable()
    for n in range(2, 7):
        compiled(n)
    assert 2 <= len(entries(folder)) <= 3 and compiled(6)[1] == "hit" and compiled(1)[1] == "miss"


def test_what_is_not_used_for_long_goes(enable):
    folder = enable()
    for name, days in (("jax-0.1-old", 1000), ("jax-0.1-new", 1)):
        lock = folder.parent / name / ".lockfile"
        lock.parent.mkdir()
        lock.touch()
        os.utime(lock, times=(time.time() - 86_400 * days,) * 2)
    enable()
    assert {path.name for path in folder.parent.iterdir()} == {folder.name, "jax-0.1-new"}


def test_a_folder_whose_name_is_no_text(enable, compiled, monkeypatch, tmp_path):
    """JAX takes no other: refused where it was asked for, and no cache where it is the user's own."""
    name = str(tmp_path / os.fsdecode(b"\xff"))
    with pytest.raises(UserError, match="expected a path in UTF-8, found other bytes in it"):
        enable(name)
    monkeypatch.delenv(compilation_cache.VARIABLE)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", name)
    with pytest.raises(UserError, match="expected a path in UTF-8, found other bytes in it"):
        enable()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", name)
    assert enable() is None and compiled(2)[1] is None and os.listdir(tmp_path) == []


def test_a_program_that_cannot_be_kept_is_no_word_to_the_user(enable):
    """As on a disk that is full: it is compiled anew the next time."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enable()
        for word in ("reading", "writing"):
            warnings.warn(f"Error {word} persistent compilation cache entry for 'f': OSError: [Errno 28]", stacklevel=1)
        with pytest.raises(UserWarning):
            warnings.warn("another", stacklevel=1)


@pytest.mark.filterwarnings("ignore:Error reading persistent compilation cache")
@pytest.mark.parametrize("damage", [b"", b"\x00", "half"])
def test_a_damaged_entry_is_no_error(damage, enable, compiled):
    folder = enable()
    value, _ = compiled(2)
    (entry,) = entries(folder)
    entry.write_bytes(entry.read_bytes()[: entry.stat().st_size // 2] if damage == "half" else damage)
    enable()
    assert compiled(2)[0] == value


def test_an_entry_half_written_is_written_anew(enable, compiled):
    """A process killed between an entry and the time of its use leaves what JAX would trip over for ever."""
    folder = enable()
    compiled(2)
    (entry,) = entries(folder)
    entry.write_bytes(b"half")
    entry.with_name(entry.name.replace("-cache", "-atime")).unlink()
    (folder / "jit_gone-0123-atime").write_bytes(bytes(8))
    enable()
    assert compiled(2)[1] == "miss"
    enable()
    assert compiled(2)[1] == "hit" and len(list(folder.iterdir())) == 3  # with the lock


def test_a_folder_that_cannot_be_written(enable, compiled, command, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="compilation cache: expected a folder to write to"):
        enable(tmp_path / "file")
    monkeypatch.delenv(compilation_cache.VARIABLE)
    code, out, err = command("evaluate routing-synthetic --policy none --episodes 1 --compilation-cache file/in")
    assert code == 2 and not out and err.count("\n") == 1 and str(tmp_path / "file" / "in") in err
    monkeypatch.delenv(compilation_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert enable() is None and compiled(2)[1] is None


SCRIPT = """
import json, sys
from ohio_jax import compilation_cache
compilation_cache.MIN_COMPILE_SECONDS = 0.0
compilation_cache.enable(sys.argv[1])
import jax, jax.numpy as jnp
print(json.dumps([float(jax.jit(lambda x: x * n)(jnp.float32(2.0))) for n in range(40)]))
"""


def test_processes_side_by_side(tmp_path):
    """They write the same entries at the same time; none complains, and nothing is left but entries and the lock."""
    start = lambda: subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for process in [start(), start(), start()]:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0 and not err, err
        assert json.loads(out) == [2.0 * n for n in range(40)]
    (folder,) = tmp_path.iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {name.removesuffix("-cache") for name in names if name.endswith("-cache")} == {
        name.removesuffix("-atime") for name in names if name.endswith("-atime")
    }
