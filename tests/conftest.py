"""Settings every test runs under: two CPU devices and no others, and no implicit broadcasting between ranks."""

import gc
import os
import shutil
import signal
import sys
from pathlib import Path

from ohio_jax import compilation_cache  # loads no JAX
from tests.xla import FLAGS

# Before JAX is imported. The reader's own flags come last and win.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=2 {FLAGS} {os.environ.get('XLA_FLAGS', '')}"

# Programs compiled once are found again: by files that come later, by the commands that tests start, by the next run. Kept are
# even the smallest, of which tests compile more than ten thousand; with a limit on the folder JAX would look at each when it
# adds one (see `pytest_sessionstart`).
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    Path(__file__).resolve().parents[1] / ".pytest_cache" / "programs" / compilation_cache.processor()
)
os.environ["JAX_COMPILATION_CACHE_MAX_SIZE"] = "-1"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import hypothesis
import jax
import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS, MAX_PROGRAMS = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), 2**31  # bytes
CITY_FILES = ("scenario_nyc_brooklyn.json", "scenario_shenzhen_downtown_west.json")

jax.config.update("jax_traceback_in_locations_limit", 0)  # where each operation was written takes a twelfth of the time
jax.config.update("jax_numpy_rank_promotion", "raise")
gc.set_threshold(50_000, 20, 20)  # tracing makes many objects and little garbage

# A shell that runs the tests in the background has them, and the commands they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the first example compiles. The same examples each time: a failure seen once is seen again.
hypothesis.settings.register_profile("ohio", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ohio")

# The two city files may lie beside the checkout. Set for the whole session, so that subprocesses find them as well.
_beside = ROOT.parent / "shared" / "data"
if not os.environ.get("OHIO_DATA") and _beside.is_dir():
    os.environ["OHIO_DATA"] = str(_beside)


@pytest.fixture(scope="session", autouse=True)
def data_sets(tmp_path_factory):
    """Named data sets that tests make are none of the reader's."""
    os.environ["OHIO_DATASETS"] = str(tmp_path_factory.mktemp("datasets"))


def pytest_sessionstart(session):
    """Before the workers start, the folder of programs is emptied where it has grown too large."""
    if not hasattr(session.config, "workerinput") and sum(path.stat().st_size for path in PROGRAMS.glob("*")) > MAX_PROGRAMS:
        shutil.rmtree(PROGRAMS)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forgets compiled programs after each file: each holds memory maps, of which a process may have some 65,000."""
    yield
    from ohio_jax.training import (  # a run of files that train nothing must not pay for it
        hdpo,
        host_batches,
        loop,
        offline,
        online,
    )

    loop._compiled.clear()
    loop._paces.clear()
    for trainer in (offline, host_batches, online, hdpo):
        trainer.make_block.cache_clear()
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """That of a reader: the installed command on the path, and none of the variables a surrounding `make test` sets."""
    scripts = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return kept | {"PATH": scripts + os.pathsep + os.environ["PATH"]}


@pytest.fixture
def x64():
    """float64 inside the test, float32 again after it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def city_files() -> Path:
    """The folder of the two city files; the test is skipped where they are not at hand."""
    folder = os.environ.get("OHIO_DATA")
    if not folder:
        pytest.skip("city files not at hand: OHIO_DATA is not set and no data folder lies beside the checkout")
    missing = [name for name in CITY_FILES if not (Path(folder) / name).is_file()]
    if missing:
        pytest.skip(f"city files not at hand: {folder} has no {missing[0]}")
    return Path(folder)


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Runs a command line in an empty folder; returns (exit code, standard output, standard error)."""
    from ohio_bench import cli  # not before JAX has its settings

    monkeypatch.chdir(tmp_path)

    def run(line: str):
        code = cli.main(cli.parser().parse_args(line.split()))
        out = capsys.readouterr()
        return code, out.out, out.err

    return run
