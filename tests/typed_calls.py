"""Calls of public functions under jaxtyping's import hook: arrays have the types and shapes that signatures announce.

A program of its own, `python -m tests.typed_calls`, since what is checked must not have been imported before.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError, install_import_hook

from tests import shapes

with install_import_hook(["ohio_jax", "ohio_envs"], f"{shapes.__name__}.checked"):
    from ohio_envs import registry

    from ohio_jax.collect import collect
    from ohio_jax.data import sampling
    from ohio_jax.evaluate import evaluate_policy
    from ohio_jax.networks import heads
    from ohio_jax.relabel import relabel
    from ohio_jax.solvers import qp, riccati, small, transport


def solvers() -> None:
    n, m, H = 3, 2, 4
    eye, B = jnp.eye(n), jnp.ones((n, m))
    gains = riccati.gains(eye, B, jnp.zeros(n), eye, jnp.eye(m), eye, H)
    assert gains.K.shape == (H, m, n)
    stacked = (jnp.stack([eye] * H), jnp.stack([B] * H), jnp.zeros((H, n)))
    program = qp.BoxLQ(*stacked, eye, jnp.eye(m), eye, -jnp.ones(m), jnp.ones(m))
    assert qp.solve(program, jnp.ones(n), jnp.zeros(n)).u.shape == (H, m)
    y, _ = small.least_squares(jnp.ones((5, n)) + jnp.arange(15.0).reshape(5, n) ** 2, jnp.ones(5))
    assert y.shape == (n,)
    cost = jnp.asarray(transport.perturb(np.array([[0, 3], [2, 0]])))
    assert int(transport.solve(cost, jnp.array([2, 1]), jnp.array([1, 1])).status) == 0
    with pytest.raises(TypeCheckError):
        riccati.gains(eye, B, jnp.zeros(n + 1), eye, jnp.eye(m), eye, H)  # else nothing is checked


def actions() -> None:
    key = jax.random.key(0)
    for spec in (heads.Simplex(3), heads.Simplices(2, 3), heads.Box((1.0, 2.0)), heads.Counts(3, 1.0, 5.0)):
        raw = jnp.ones((4, *spec.raw_shape))
        action, log_prob = spec.sample(raw, key)
        assert log_prob.shape == (4,) and spec.project(spec.mode(raw)).shape == action.shape
        assert spec.at(spec.coordinates(action)).shape == action.shape and spec.random(key, (4,))[1].shape == (4,)
        assert spec.bc_dist(action, action).shape == (4,) and spec.log_prob(raw, spec.project(action)).shape == (4,)


def tasks() -> None:
    for name, policy, settings in (
        ("reacher", "pd", {"horizon": 20}),
        ("routing-synthetic", "dtv", {"regions": 4, "horizon": 4}),
        ("supply-chain-1w3s", "s_policy", {"horizon": 4}),
    ):
        task = registry.make(name, **settings)
        logs = collect(task, policy, 2, 0)
        assert logs.returns.shape == (2,) and logs.obs_index.shape == logs.episode.shape
        interface, inverse = ("ohio_true", "analytic") if name == "reacher" else ("ohio", "analytic")
        data = relabel(logs, task, interface, inverse)
        sampling.sample_indices(jax.random.key(0), jnp.asarray(sampling.cumulative(sampling.uniform(data, 1.0))), 3)
        assert data.mc_returns(0.9).shape == data.reward.shape == data.next_actions().shape[:1]
        assert np.all(np.isfinite(task.score(evaluate_policy(task, policy, 2, 0).returns)))


if __name__ == "__main__":
    solvers()
    actions()
    tasks()
    print("checked")
