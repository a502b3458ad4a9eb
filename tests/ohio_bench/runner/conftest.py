"""What tests of the runner share."""

import shutil
from pathlib import Path

import pytest
from ohio_bench.runner import source


@pytest.fixture
def suite(tmp_path, monkeypatch) -> Path:
    """A copy of the method, the tasks and the runner, whose files a test may change; it is what `Code` reads."""
    for name in ("ohio_jax", "ohio_envs", "ohio_bench"):
        shutil.copytree(source.SUITE[name], tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        monkeypatch.setitem(source.SUITE, name, tmp_path / name)
    return tmp_path
