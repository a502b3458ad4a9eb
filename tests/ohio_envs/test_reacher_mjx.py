"""The reacher on MJX: the model is DeepMind Control's, its steps are the closed form's, and the task works on it."""

import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.reacher import extras, mujoco_reacher
from ohio_envs.reacher.simulator import WRIST, Body, Reacher, advance, joints

from ohio_jax.errors import UserError
from ohio_jax.evaluate import collect, evaluate_policy
from ohio_jax.inverse.relabel import relabel

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


def roll(env, instance, actions):
    first = env.start(instance)
    return jax.lax.scan(lambda s, a: (env.step(s, a),) * 2, first, actions)[1]


def test_steps_are_the_closed_form_in_float64(x64):
    """Of random states, and 200 steps on end that drive the wrist into its limit."""
    body = mujoco_reacher.physics()
    x, u = (jnp.asarray(y) for y in states(300))
    ours = jax.jit(jax.vmap(mujoco_reacher.advance, (None, 0, 0)))(body, x, u)
    np.testing.assert_allclose(ours, jax.vmap(advance, (None, 0, 0))(Body(), x, u), rtol=0, atol=1e-9)


def test_episodes_are_the_closed_form_in_float32():
    """200 steps of smooth torques that drive the wrist into its limit; observation, reward and end at each."""
    actions = jnp.asarray(0.3 * np.sin(np.arange(200)[:, None] * [0.05, 0.02] + [1.0, 2.0]), jnp.float32)
    start = jnp.array([0.4, -2.0, 0.1, 0.08])
    envs = mujoco_reacher.MujocoReacher(mujoco_reacher.physics(), 200), Reacher(Body(), 200)
    mjx, closed = (jax.jit(roll)(env, start, actions) for env in envs)
    assert np.abs(closed.obs[:, 1]).max() > WRIST
    np.testing.assert_allclose(mjx.obs, closed.obs, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(mjx.reward, closed.reward)
    np.testing.assert_array_equal(mjx.info["truncation"], closed.info["truncation"])
    assert mjx.info["truncation"].sum() == 1 and mjx.done.sum() == 0


def test_a_step_is_no_slower_than_it_should_be():
    """Some versions of XLA compile MJX's kinematics for CPUs into something thousands of times too slow."""
    body, step = mujoco_reacher.physics(), jax.jit(mujoco_reacher.advance)
    x, u = jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.zeros(2)
    step(body, x, u).block_until_ready()
    times = []
    for _ in range(20):
        before = time.perf_counter()
        step(body, x, u).block_until_ready()
        times.append(time.perf_counter() - before)
    assert min(times) < 0.020


@pytest.fixture(scope="module")
def task():
    return registry.make("reacher-mjx", {"horizon": "20"})


def test_the_task_is_reacher_with_another_simulator(task):
    same = registry.make("reacher", {"horizon": "20"})
    assert task.name == "reacher-mjx" and isinstance(task.env, mujoco_reacher.MujocoReacher) and task.env.backend == "mjx"
    assert task.settings == same.settings and set(task.spaces) == set(same.spaces) and task.policies == same.policies
    np.testing.assert_array_equal(task.instances(3, 4), same.instances(3, 4))
    ours, theirs = (evaluate_policy(task, "expert", 4, 10).returns for task in (task, same))
    np.testing.assert_allclose(ours, theirs, atol=1.0)  # a step at the target's edge may fall on either side


def test_logs_are_explained(task):
    """Goals of logged steps come back from the closed form's dynamics: the simulators are one."""
    logs = collect(task, "expert", 4, 1)
    np.testing.assert_allclose(joints(task.env.start(task.instances(1, 1)[0])), logs.state[0])
    goals = relabel(logs, task, "ohio_true", "least_squares")
    assert len(goals.reward) == 4 * 3
    assert (goals.residual < 0.5).all()  # the tolerance up to which a goal counts as an explanation


def test_packages_are_asked_for_when_needed(monkeypatch):
    with pytest.raises(
        UserError, match=r"mujoco.none: expected `pip install 'ohio-jax\[mujoco\]'`, found no module 'mujoco.none'"
    ):
        extras.imported("mujoco", "mujoco.none")
    script = "import sys, ohio_envs.registry; sys.exit(any(m.split('.')[0] in ('mujoco', 'brax') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_nothing_is_printed_by_the_import():
    script = "from ohio_envs.reacher import extras; extras.imported('mujoco', 'mujoco.mjx')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == ""
