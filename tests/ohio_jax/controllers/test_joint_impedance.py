"""Joint impedance control: its torques, slopes, and goals recovered from them in closed form and by search."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from ohio_bench.runner.sensitivity import free_panda as arm
from ohio_envs.manipulation import panda

from ohio_jax.controllers import joint_impedance
from ohio_jax.dynamics.chain import bias, frames, mass_matrix
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import FAILED, UNEXPLAINED, UNIQUE

OUTPUT = np.full(7, 0.05)
N = 128


def params(kp=300.0, bound=panda.TORQUE):
    return joint_impedance.Params(panda.chain(), np.full(7, kp), np.ones(7), OUTPUT, bound)


def test_torques_are_the_formula(x64):
    """Where it starts and a step later; the slope is the mass matrix times the stiffness, 0 where clipped."""
    p = params(50.0, np.full(7, 12.0))
    first, later = arm.states(2, 1.0).astype(float)
    goal = np.array([0.04, -0.04, 0.03, -0.02, 0.01, 0.03, -0.02, -1.0])

    @jax.jit
    def look(first, later, goal):
        def action(goal):
            memory = joint_impedance.plan(p, joint_impedance.init(p), first, goal)
            return joint_impedance.act(p, memory, later, goal)[0]

        at = frames(p.chain, later[:7])
        return action(goal), jax.jacfwd(action)(goal), mass_matrix(p.chain, at), bias(p.chain, at, later[7:14])

    action, slope, M, b = look(first, later, goal)
    wish = M @ (50.0 * (first[:7] + goal[:7] - later[:7]) - 2.0 * np.sqrt(50.0) * later[7:14]) + b
    np.testing.assert_allclose(action, [*np.clip(wish, -12, 12), -1.0], rtol=1e-12)
    clipped = np.abs(wish) >= 12
    assert clipped.any() and not clipped.all()
    np.testing.assert_allclose(slope[:7, :7], np.where(clipped[:, None], 0.0, 50.0 * M), rtol=1e-12)


@functools.partial(jax.jit, static_argnames="inverse")
def invert(inverse, p, segments):
    problem = joint_impedance.problem(p)
    return jax.lax.map(lambda segment: INVERSES[inverse](problem, segment), segments, batch_size=8)


def logs(scale):
    goal = arm.goals(N, OUTPUT, scale)
    return arm.play(joint_impedance, params(), arm.states(N), goal), goal


def test_goals_come_back_in_closed_form_and_by_search():
    segments, goal = logs(1.0)
    held = arm.saturated(segments)
    assert 0.02 < held.mean() < 0.5
    seen = ~held.all(axis=1).any(axis=1)  # the matrix couples joints: what one misses others show, as a rule
    closed, search = (invert(inverse, params(), segments) for inverse in ("analytic", "least_squares"))
    unbound = ~held.any(axis=(1, 2))
    for found in (closed, search):
        error = np.abs(found.goal - goal).max(axis=1)
        assert np.median(error[unbound]) < 1e-5 and (found.status[unbound] == UNIQUE).all()
        assert np.median(error[seen]) < 1e-4
    assert (search.residual < joint_impedance.problem(params()).tolerance).mean() > 0.95


def test_other_gains_are_unexplained_and_bad_segments_fail_alone():
    segments, goal = logs(0.3)
    softer = invert("least_squares", params(150.0), segments)
    free = ~arm.saturated(segments).any(axis=(1, 2))
    assert (softer.status[free] == UNEXPLAINED).mean() > 0.5
    ratio = np.linalg.norm(softer.goal[:, :7], axis=1) / np.linalg.norm(goal[:, :7], axis=1)
    assert 1.3 < np.median(ratio[free]) < 3.0
    poisoned = invert("least_squares", params(150.0), jax.tree.map(lambda x: x.at[3].set(jnp.inf), segments))
    assert poisoned.status[3] == FAILED and np.isfinite(poisoned.goal).all()
    keep = np.arange(N) != 3
    np.testing.assert_array_equal(poisoned.goal[keep], softer.goal[keep])
