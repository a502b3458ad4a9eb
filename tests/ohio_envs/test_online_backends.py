"""Online training in every simulator there is: the closed form, MuJoCo called on the host, MJX, Brax."""

import jax
import numpy as np
import pytest
from ohio_envs import registry

from ohio_jax.learners import LEARNERS
from ohio_jax.training.online import OnlinePlan, online
from ohio_jax.training.plan import Plan

SMALL = OnlinePlan(
    Plan("sac", LEARNERS["sac"].Config(), hidden=8, updates=2, batch=4, block=2, seeds=2),
    envs=2,
    updates_per_step=1,
    learning_starts=1,
    buffer_size=8,
)


@pytest.mark.filterwarnings("ignore:Accessing `:DeprecationWarning")  # Brax reads MJX by its old names
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("reacher", {"horizon": 4}),
        ("lift", {"backend": "c", "horizon": 4}),
        pytest.param("lift", {"backend": "mjx", "horizon": 4}, marks=pytest.mark.slow),
        pytest.param("door", {"backend": "c", "horizon": 4}, marks=pytest.mark.slow),
        pytest.param("door", {"backend": "mjx", "horizon": 4}, marks=pytest.mark.slow),
        pytest.param("reacher-mjx", {"horizon": 4}, marks=pytest.mark.slow),
        pytest.param("reacher-brax", {"backend": "mjx", "horizon": 4}, marks=pytest.mark.slow),
        pytest.param("reacher-brax", {"backend": "generalized", "horizon": 4}, marks=pytest.mark.slow),
    ],
)
def test_a_learner_gathers_its_own_data(name, settings):
    """Two seeds, each on a device of its own, beside an environment that both share."""
    with jax.numpy_rank_promotion("allow"):  # MJX and Brax promote
        trained = online(SMALL, registry.make(name, settings), "end_to_end")
    assert trained.curve["reward"].shape == (1, 2) and np.isfinite(trained.curve["reward"]).all()
    assert np.isfinite(trained.curve["q"]).all()
