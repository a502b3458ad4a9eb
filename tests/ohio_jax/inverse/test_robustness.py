"""Bad segments: flagged, never raised, never felt by the other segments of their batch. Every inverse, under LQR and MPC."""

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ohio_jax.controllers import lqr, mpc
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, FAILED, UNIQUE
from tests.ohio_jax import linear

LANES, BAD = 6, 2  # segments of a batch, and the one that is spoiled
ON_TORQUES = {name for name in INVERSES if name.startswith("gradient")}
OTHERS_ASK = {"program", "rescaled", *ON_TORQUES}  # for what a regulator does not offer
SLOW = ("numerical", "cross_entropy")  # a minute each under MPC; the other three need a low level affine in its goal


def compiled(controller, inverses):
    """One program of some inverses over a batch: (params, segments) -> {inverse: Recovered}."""

    def apply(p, batch):
        problem = controller.problem(p)
        return {name: jax.vmap(functools.partial(INVERSES[name], problem))(batch) for name in inverses}

    return jax.jit(apply)


def segments(controller, p, far=1.0):
    """Float[LANES, ...], what the low level makes of random goals."""
    x, goal = jax.random.normal(jax.random.key(1), (2, LANES, 3))
    return jax.tree.map(np.asarray, linear.play_all(controller, p, x, far * goal))


@pytest.fixture(scope="module")
def under_lqr():
    """(program, parameters, clean segments, what every inverse makes of them)."""
    p, apply = linear.lqr_params(bound=1.0), compiled(lqr, sorted(set(INVERSES) - OTHERS_ASK))
    batch = segments(lqr, p)
    return apply, p, batch, jax.tree.map(np.asarray, apply(p, batch))


def spoil(batch, lane, fields, step, entry, value):
    """A copy of the batch with one number of some fields of a lane overwritten (entry None: all numbers of the step)."""
    batch = jax.tree.map(np.copy, batch)
    for field in fields:
        array = getattr(batch, field)
        array[lane, step, slice(None) if entry is None else entry % array.shape[2]] = value
    return batch


def holds(found, clean, others):
    """No NaN anywhere, nothing unexplained called unique, and the other segments as they were, bit by bit."""
    for name, answer in found.items():
        answer = jax.tree.map(np.asarray, answer)
        for field in ("goal", "deviation", "loss"):
            assert np.isfinite(getattr(answer, field)).all(), (name, field)
        assert not np.isnan(answer.residual).any() and not np.isnan(answer.log_likelihood).any(), name
        assert (answer.residual[answer.status == UNIQUE] < 0.5).all(), name
        assert ((answer.status == FAILED) == np.isinf(answer.residual)).all(), name
        for after, before in zip(answer, clean[name], strict=True):
            np.testing.assert_array_equal(after[others], before[others], err_msg=name)


OTHERS = np.arange(LANES) != BAD
VALUES = st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -1e20, 1e4, 0.0])
FIELDS = st.lists(st.sampled_from(["state", "action", "next_state"]), min_size=1, max_size=3, unique=True)


@settings(max_examples=30)
@given(fields=FIELDS, step=st.integers(0, 4), entry=st.none() | st.integers(0, 2), value=VALUES)
def test_one_bad_number_under_lqr(under_lqr, fields, step, entry, value):
    apply, p, batch, clean = under_lqr
    found = apply(p, spoil(batch, BAD, fields, step, entry, value))
    holds(found, clean, OTHERS)
    for name, answer in found.items():
        if not np.isfinite(value) and (set(fields) - {"action"} or name == "implicit"):
            assert answer.status[BAD] == FAILED and not answer.converged[BAD], name
        elif fields == ["action"] and name != "implicit":
            assert answer.status[BAD] == clean[name].status[BAD], name  # states are all they read
        elif "next_state" in fields and step == 4 and abs(value) >= 1e4 and name != "implicit":
            assert answer.status[BAD] != UNIQUE, name  # nothing within the bounds leads there


@pytest.mark.parametrize(
    "inverses",
    [("least_squares", "implicit"), *(pytest.param((x,), marks=pytest.mark.slow) for x in ("posterior", "observed", *SLOW))],
    ids=lambda inverses: inverses[0],
)
def test_bad_segments_under_mpc(inverses):
    """Not finite, too large, out of reach and standing still, side by side in one batch."""
    p, apply = linear.mpc_params(1.0, horizon=3, steps=3), compiled(mpc, inverses)
    batch = segments(mpc, p)
    clean = jax.tree.map(np.asarray, apply(p, batch))
    bad = spoil(batch, 0, ["state", "action", "next_state"], slice(None), None, np.nan)
    bad = spoil(bad, 1, ["state", "action"], 1, 0, np.inf)
    bad = spoil(bad, 2, ["next_state"], -1, 1, 1e4)
    bad = spoil(bad, 3, ["state", "action", "next_state"], slice(None), None, 0.0)
    found = apply(p, bad)
    holds(found, clean, np.arange(LANES) > 3)
    for name, answer in found.items():
        assert (answer.status[:2] == FAILED).all() and not answer.converged[:2].any(), name
        assert answer.status[2] != UNIQUE or name == "implicit", name


def test_a_batch_of_nothing_usable(under_lqr):
    apply, p, batch, _ = under_lqr
    nothing = jax.tree.map(lambda x: np.full_like(x, np.nan), batch)
    for name, answer in apply(p, nothing).items():
        assert (answer.status == FAILED).all() and np.isfinite(answer.goal).all(), name
        assert (answer.deviation == 0).all() and np.isposinf(answer.residual).all(), name


def test_what_saturates_everywhere_is_flagged(under_lqr):
    """At a bound of nearly nothing every goal ends alike: whatever explains such a segment is not the only one to."""
    apply, p = under_lqr[0], linear.lqr_params(bound=1e-3)
    batch = segments(lqr, p, far=20.0)
    on = (np.abs(batch.action) >= 1e-3).all(axis=(1, 2))
    assert on.mean() >= 0.5
    found = apply(p, batch)
    for name in set(found) - {"analytic"}:  # which knows no bounds: its goal may lead there unclipped, and is then unique
        assert (np.asarray(found[name].status)[on] != UNIQUE).all(), name
    assert (np.asarray(found["implicit"].status)[on] == AMBIGUOUS).all()
