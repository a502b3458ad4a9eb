"""The reacher on MJX: the model is DeepMind Control's, its steps are the closed form's, and the task works on it."""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.reacher import mujoco_reacher, policies
from ohio_envs.reacher.simulator import WRIST, Body, Reacher, advance, joints
from ohio_envs.reacher.task import NOISE

from ohio_jax import extras
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.relabel import relabel
from ohio_jax.rollout import BehaviorPolicy

mujoco = pytest.importorskip("mujoco")
pytest.importorskip("mujoco.mjx")


@pytest.fixture(autouse=True)
def mjx_broadcasts():
    """MJX relies on what our own code must not."""
    with jax.numpy_rank_promotion("allow"):
        yield


def test_the_model_is_theirs():
    suite = pytest.importorskip("dm_control.suite")
    ours, theirs = mujoco_reacher.model(), suite.load("reacher", "hard").physics.model.ptr
    names = (
        "nq nv nu nbody body_mass body_inertia body_ipos body_iquat body_pos body_quat body_parentid body_invweight0 "
        "dof_damping dof_armature dof_frictionloss dof_invweight0 dof_M0 jnt_type jnt_axis jnt_pos jnt_range jnt_limited "
        "jnt_solref jnt_solimp jnt_margin actuator_gear actuator_ctrlrange actuator_ctrllimited actuator_trnid "
        "actuator_gainprm actuator_biasprm"
    )
    for name in names.split():
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)
    for name in dir(theirs.opt):
        if not name.startswith("_") and not callable(getattr(theirs.opt, name)):
            np.testing.assert_array_equal(getattr(ours.opt, name), getattr(theirs.opt, name), err_msg=name)
    assert ours.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CONTACT


def states(count):
    """States all over, a third of them beyond the wrist's limit; torques up to twice the bound."""
    random = np.random.default_rng(0)
    q = random.uniform(-4, 4, (count, 2))
    q[::3, 1] = np.sign(q[::3, 1]) * (WRIST + 10.0 ** random.uniform(-6, -0.3, count // 3))
    return np.hstack([q, 8 * random.normal(size=(count, 2))]), random.uniform(-2, 2, (count, 2))


def test_steps_are_the_closed_form_in_float64(x64):
    """Of random states, and 200 steps on end that drive the wrist into its limit."""
    body = mujoco_reacher.physics()
    x, u = (jnp.asarray(y) for y in states(300))
    ours = jax.jit(jax.vmap(mujoco_reacher.advance, (None, 0, 0)))(body, x, u)
    np.testing.assert_allclose(ours, jax.vmap(advance, (None, 0, 0))(Body(), x, u), rtol=0, atol=1e-9)


EPISODES, STEPS = 4, 200


@pytest.fixture(scope="module")
def task():
    return registry.make("reacher-mjx", {"horizon": str(STEPS)})


def pushed_or_pd(pushed, env, key, state):
    """Smooth torques that drive the wrist into its limit, or the policy `pd`: one program, for compiling MJX takes long."""
    push = 0.3 * jnp.sin(state.pipeline_state.time * jnp.array([0.05, 0.02]) + jnp.array([1.0, 2.0]))
    return jnp.where(pushed, push, policies.pd(env, key, state))


@pytest.fixture(scope="module")
def logs(task):
    """{(simulator, pushed): episodes of the same instances}, and processor seconds of a step of MJX once compiled."""
    with jax.numpy_rank_promotion("allow"):
        envs = {"closed": Reacher(Body(), STEPS), "mjx": task.env}
        found = {}
        for name, env in envs.items():
            for pushed in (True, False):
                before = time.process_time()
                found[name, pushed] = collect(task, BehaviorPolicy("any", env, pushed_or_pd, np.bool_(pushed), {}), EPISODES, 1)
        return found, (time.process_time() - before) / STEPS


def test_episodes_are_the_closed_form_in_float32(logs):
    """200 steps that drive the wrist into its limit; observation, reward and end at each."""
    mjx, closed = (logs[0][name, True] for name in ("mjx", "closed"))
    assert np.abs(closed.obs[:, 1]).max() > WRIST
    np.testing.assert_allclose(mjx.obs, closed.obs, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(mjx.truncated, closed.truncated)
    assert (mjx.reward != closed.reward).sum() <= 1  # a step at the target's edge may fall on either side
    assert mjx.truncated.sum() == EPISODES and not mjx.terminated.any()


def test_a_step_is_no_slower_than_it_should_be(logs):
    """Some versions of XLA compile MJX's kinematics for CPUs into something thousands of times too slow."""
    assert logs[1] < 0.050


def test_the_task_is_reacher_with_another_simulator(task, logs):
    same = registry.make("reacher", {"horizon": str(STEPS)})
    assert task.name == "reacher-mjx" and isinstance(task.env, mujoco_reacher.MujocoReacher) and task.env.backend == "mjx"
    assert task.settings == same.settings and set(task.interfaces) == set(same.interfaces) and task.policies == same.policies
    np.testing.assert_array_equal(task.instances(3, 4), same.instances(3, 4))
    ours, theirs = (logs[0][name, False].returns for name in ("mjx", "closed"))
    np.testing.assert_allclose(ours, theirs, atol=1.0)
    np.testing.assert_allclose(joints(task.env.reset_to(task.instances(1, 1)[0])), logs[0]["mjx", False].state[0])


def test_logged_steps_are_the_closed_forms(logs):
    """One by one, in units of what counts as explained."""
    mjx = logs[0]["mjx", False]
    step = jax.vmap(advance, (None, 0, 0))(Body(), jnp.asarray(mjx.state), jnp.asarray(mjx.action))
    assert np.max(np.abs(step - mjx.next_state) / NOISE) < 2e-3


@pytest.mark.slow
def test_logs_are_explained_as_well_as_the_closed_forms(task, logs):
    """The same goals' residuals, those included that the search does not bring to zero on the way to the target."""
    mjx, closed = (logs[0][name, False] for name in ("mjx", "closed"))
    ours, theirs = (relabel(log, task, "ohio_true", "least_squares").residual for log in (mjx, closed))
    assert len(ours) == EPISODES * (STEPS // 5 - 1)
    assert np.median(ours) < 1e-3
    np.testing.assert_allclose(np.sort(ours), np.sort(theirs), atol=1e-2)


def test_packages_are_asked_for_when_needed(monkeypatch):
    with pytest.raises(
        UserError, match=r"mujoco.none: expected `pip install 'ohio-jax\[mujoco\]'`, found no module 'mujoco.none'"
    ):
        extras.imported("mujoco", "mujoco.none")
    script = "import sys, ohio_envs.registry; sys.exit(any(m.split('.')[0] in ('mujoco', 'brax') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_nothing_is_printed_by_the_import():
    script = "from ohio_jax import extras; extras.imported('mujoco', 'mujoco.mjx')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
