"""The settings of conftest.py hold."""

import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import pytest


def test_two_cpu_devices():
    assert [device.platform for device in jax.devices()] == ["cpu", "cpu"]


def test_ranks_are_not_promoted():
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)


def test_warnings_are_errors():
    with pytest.raises(UserWarning):
        warnings.warn("anything", UserWarning, stacklevel=1)


def test_float64_inside_the_fixture(x64):
    assert jnp.ones(1).dtype == jnp.float64


def test_float32_outside_it():
    assert jnp.ones(1).dtype == jnp.float32


def test_subprocesses_find_the_city_files(city_files):
    code = "import os; print(os.environ['OHIO_DATA'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(city_files) == os.environ["OHIO_DATA"]
