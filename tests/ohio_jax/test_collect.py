"""Logs of the toy world: they are what was played, whichever call made them, and lie in memory once."""

import dataclasses
import tracemalloc

import jax.numpy as jnp
import numpy as np

from ohio_jax.collect import CHUNK, collect
from ohio_jax.evaluate import evaluate_policy
from tests.ohio_jax import toy


def test_collected_returns_are_the_evaluated_ones():
    task = toy.line_task()
    episodes = CHUNK + 3
    logged = collect(task, "wander", episodes, 5)
    played = evaluate_policy(task, "wander", episodes, 5)
    np.testing.assert_allclose(logged.returns, played.returns, rtol=1e-5)
    assert logged.card["episodes"] == episodes and logged.card["behavior_policy"] == "wander"
    assert logged.truncated.sum() == episodes and not logged.terminated.any()
    # Each row of the log is the step the simulator would make.
    np.testing.assert_allclose(logged.state + logged.action, logged.next_state, atol=1e-6)
    np.testing.assert_allclose(logged.obs[logged.obs_index + 1], logged.next_state, atol=1e-6)


def test_collect_goes_on_from_its_parts(tmp_path):
    task, episodes = toy.line_task(), 2 * CHUNK + 5
    whole = collect(task, "wander", episodes, 5, tmp_path / "a")
    parts = sorted((tmp_path / "a").iterdir())
    assert len(parts) == 3
    parts[1].unlink()
    before = parts[0].stat().st_mtime_ns
    again = collect(task, "wander", episodes, 5, tmp_path / "a")
    assert parts[0].stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.obs, whole.obs)
    # Parts of another run are not taken for this one's.
    other = collect(task, "wander", episodes, 6, tmp_path / "a")
    assert not np.array_equal(other.obs, whole.obs)


def test_the_logs_lie_in_memory_once():
    """At most as large a part more of them as one field is, while its chunks are joined."""
    wide = lambda state: jnp.tile(toy.place(state), 1024)
    task, episodes = dataclasses.replace(toy.line_task(), controller_obs=wide, next_controller_obs=wide), 4 * CHUNK
    tracemalloc.start()
    try:
        logged = collect(task, "half", episodes, 5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(array.nbytes for array in logged.arrays.values())
    assert logged.state.shape == (6 * episodes, 1024)
    assert peak < size + 1.25 * logged.state.nbytes
