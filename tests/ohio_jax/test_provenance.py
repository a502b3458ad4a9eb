"""A run file says where it comes from, and says it truthfully."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import jax
import pytest

import ohio_jax
from ohio_jax import provenance


def git(folder, *command: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", folder, *identity, *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository with one commit of one module; git's own settings of this machine play no part."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "ohio_jax").mkdir()
    (tmp_path / "ohio_jax" / "module.py").write_text("x = 1\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_collect_is_complete_json():
    found = json.loads(json.dumps(provenance.collect(), allow_nan=False))
    assert set(found) == {"time", "revision", "dirty", "versions", "hardware"}
    assert datetime.now(UTC) - datetime.fromisoformat(found["time"]) < timedelta(minutes=1)
    assert found["time"].endswith("+00:00")


def test_versions():
    found = provenance.versions()
    assert set(found) == {"python", "ohio_jax", "jax", "jaxlib", "flax", "optax", "numpy"}
    assert found["jax"] == jax.__version__
    assert found["ohio_jax"] == ohio_jax.__version__


def test_hardware():
    found = provenance.hardware()
    assert found["cpu"]
    assert found["cores"] >= 1
    assert 0.1 < found["memory"] < 1e5
    assert len(found["load"]) == 3
    assert (found["platform"], found["devices"]) == ("cpu", 2)
    assert found["device"] == jax.devices()[0].device_kind


def test_clean_and_dirty_checkout(checkout):
    revision = git(checkout, "rev-parse", "HEAD")
    package = checkout / "ohio_jax"
    assert provenance.git_state(package) == (revision, False)
    (checkout / "results.json").write_text("{}")
    assert provenance.git_state(package) == (revision, False)
    (package / "module.py").write_text("x = 2\n")
    assert provenance.git_state(package) == (revision, True)


def test_a_new_module_is_dirty(checkout):
    (checkout / "ohio_jax" / "other.py").write_text("")
    assert provenance.git_state(checkout / "ohio_jax")[1] is True


def test_a_git_hook_does_not_mislead(checkout, monkeypatch):
    revision = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    assert provenance.git_state(checkout / "ohio_jax") == (revision, False)


def test_a_package_that_only_lies_in_a_checkout_is_not_of_it(checkout):
    installed = checkout / ".venv" / "ohio_jax"
    installed.mkdir(parents=True)
    (installed / "module.py").write_text("x = 1\n")
    assert provenance.git_state(installed) == (None, None)


def test_outside_git_and_without_git(tmp_path, monkeypatch):
    assert provenance.git_state(tmp_path) == (None, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git_state() == (None, None)
