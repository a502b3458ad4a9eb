"""What is installed: three packages and one command, which works where there is no checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"ohio_jax", "ohio_envs", "ohio_bench"}


def test_the_wheel_is_told_to_hold_three_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = [Path(folder) for folder in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    assert {folder.name for folder in named} == PACKAGES and all((ROOT / folder / "__init__.py").is_file() for folder in named)
    assert project["project"]["scripts"] == {"ohio-jax": "ohio_bench.__main__:run"} and "entry-points" not in project["project"]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_every_step_works_where_only_the_package_is_installed(how, tmp_path):
    """From logs to a leaderboard, in a new environment; other packages are those of this one."""

    def run(*command: str | Path) -> str:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=work, env=env)
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done.stdout

    work, place = tmp_path / "work", tmp_path / "new"
    work.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", place)
    python, command = place / "bin" / "python", place / "bin" / "ohio-jax"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib"))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--ignore-installed"]
    if how == "wheel":
        run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT)
        (wheel,) = tmp_path.glob("*.whl")
        names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
        assert {name for name in names if not name.endswith(".dist-info")} == PACKAGES
        run(*install, wheel)
    else:
        run(*install, "--editable", ROOT)
    found = run(
        python, "-c", "import ohio_jax, ohio_envs, ohio_bench as b; print(*(m.__file__ for m in (ohio_jax, ohio_envs, b)))"
    )
    assert all(Path(file).is_relative_to(packages if how == "wheel" else ROOT) for file in found.split())
    if how == "wheel":
        run(python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('benchmarks') is not None)")

    assert "routing-synthetic" in run(command, "list") and run(python, "-m", "ohio_bench", "--help")
    small = ("--set", "regions=4,horizon=5")
    run(command, "collect", "routing-synthetic", *small, "--policy", "dtv", "--episodes", "6", "--out", "logs.npz")
    run(command, "invert", "logs.npz", "--out", "goals.npz")
    run(command, "train", "goals.npz", "--learner", "bc", "--seeds", "1", "--updates", "5", "--out", "run")
    played = json.loads(run(command, "evaluate", "--checkpoint", "run", "--episodes", "2", "--json"))
    assert len(played["returns"]) == 2
    runs = work / "results" / "runs" / "gains" / "cpu"
    runs.mkdir(parents=True)
    for path in sorted((ROOT / "results" / "runs" / "gains" / "cpu").glob("*.json"))[:2]:
        (runs / path.name).write_bytes(path.read_bytes())
    assert run(command, "leaderboard").splitlines()[0] == "results/index.html"
