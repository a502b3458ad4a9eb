"""Lift and Door: the models are robosuite's in numbers, and steps, observations, rewards and ends are as documented."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.manipulation import model, panda
from ohio_envs.manipulation.scenes import Door, Lift
from ohio_envs.manipulation.simulator import ARM, SUBSTEPS, Instance, Manipulation, control, low_level_view
from ohio_envs.physics import Bodies

from ohio_jax.errors import UserError

mujoco = pytest.importorskip("mujoco")

SCENES = {"lift": Lift(), "door": Door()}
NOMINAL = Instance(jnp.asarray(panda.NOMINAL, jnp.float32), jnp.array([0.02, -0.01, 0.831, 1.0, 0.0, 0.0, 0.0]))
SHUT = NOMINAL._replace(place=jnp.array([-0.12, -0.35, 1.1, np.sqrt(0.5), 0.0, 0.0, -np.sqrt(0.5)]))
INSTANCES = {"lift": NOMINAL, "door": SHUT}
HOLD = jnp.zeros(ARM + 1)


def env_of(name: str, decisions: int = 500) -> Manipulation:
    return Manipulation(model.engine("c", SCENES[name]), SCENES[name], decisions * SUBSTEPS)


@jax.jit
def start(env, instance):
    return env.reset_to(instance)


@jax.jit
def step(env, state, action):
    return env.step(state, action)


def at(state, **changes):
    return state.replace(pipeline_state=state.pipeline_state._replace(**changes))


@pytest.mark.parametrize("name", SCENES)
def test_the_arm_is_the_controllers(name):
    """Masses, inertias, joints and motors of the XML are those that `panda` gives the controllers."""
    body = model.model(SCENES[name])
    assert (body.nq, body.nv, body.nu) == {"lift": (16, 15, 9), "door": (11, 11, 9)}[name]
    parts = {f"link{i + 1}": link for i, link in enumerate(panda.LINKS)}
    parts |= {"right_hand": panda.HAND, "right_gripper": panda.GRIPPER, "finger1": panda.FINGER, "finger2": panda.FINGER}
    parts |= {"tip1": panda.TIPS[0], "tip2": panda.TIPS[1]}
    for part, ours in parts.items():
        theirs = body.body(part)
        np.testing.assert_allclose(theirs.pos, ours.place, err_msg=part)
        np.testing.assert_allclose(theirs.ipos, ours.com, err_msg=part)
        np.testing.assert_allclose(theirs.quat, np.array(ours.turn) / np.linalg.norm(ours.turn), atol=1e-6, err_msg=part)
        np.testing.assert_allclose((theirs.mass[0], *theirs.inertia), (ours.mass, *ours.inertia), err_msg=part)
    np.testing.assert_allclose(body.dof_armature[:ARM], panda.ARMATURE)
    np.testing.assert_allclose(body.dof_damping[:ARM], panda.DAMPING)
    np.testing.assert_allclose(body.dof_frictionloss[:ARM], panda.FRICTION)
    np.testing.assert_allclose(body.jnt_range[:ARM], np.stack([panda.LOWER, panda.UPPER], axis=1))
    np.testing.assert_allclose(body.actuator_ctrlrange[:ARM, 1], panda.TORQUE)
    np.testing.assert_allclose(body.body("link0").pos, panda.BASE)


def test_published_vector():
    """Specification, robotics, 2.3: pose, mass matrix and bias of the Lift model in one state."""
    body = model.model(Lift())
    data = mujoco.MjData(body)
    data.qpos[:9] = *panda.NOMINAL, *panda.FINGERS
    data.qvel[:ARM] = 0.1, -0.2, 0.3, -0.1, 0.2, -0.3, 0.1
    mujoco.mj_forward(body, data)
    M = np.zeros((body.nv, body.nv))
    mujoco.mj_fullM(body, data, M)
    bias = [-0.021656206, -24.640616097, -0.034956777, 12.350328638, -0.034876299, 2.420849845, -0.016321336]
    inertia = [7.322317317, 4.921786277, 3.344730677, 2.86617127, 1.510221605, 1.221962486, 0.914389726]
    np.testing.assert_allclose(data.site("grip_site").xpos, [-0.102768294, 0.0, 1.011043872], atol=1e-6)
    np.testing.assert_allclose(np.diag(M)[:ARM], inertia, atol=1e-6)
    np.testing.assert_allclose(data.qfrc_bias[:ARM], bias, atol=1e-5)


@pytest.mark.parametrize("name", SCENES)
def test_observations_lag_by_a_step(name):
    """Joints are those after the step, what is seen in the world is what was there before it, at reset there is no lag."""
    env = env_of(name)
    body, data = env.physics.threads.model, mujoco.MjData(env.physics.threads.model)
    state = start(env, INSTANCES[name])

    def fresh(now):
        """The observation with nothing older than the state."""
        q, v = np.asarray(now.bodies.q, np.float64), np.asarray(now.bodies.v)
        data.qpos[:] = q
        if len(now.place):
            data.mocap_pos[0], data.mocap_quat[0] = now.place[:3], now.place[3:]
        mujoco.mj_forward(body, data)
        place, turn = data.site("grip_site").xpos, np.roll(data.body("right_hand").xquat, -1)
        arm = [np.cos(q[:7]), np.sin(q[:7]), v[:7], place, turn, q[7:9], v[7:9]]
        if name == "lift":
            cube = data.body("cube").xpos
            scene = [cube, np.roll(data.body("cube").xquat, -1), place - cube]
        else:
            door, handle = data.body("door").xpos, data.site("handle").xpos
            scene = [door, handle, door - place, handle - place, q[-2:]]
        return np.concatenate([*arm, *scene])

    assert env.observation_size == state.obs.size == {"lift": 42, "door": 46}[name]
    np.testing.assert_allclose(state.obs, fresh(state.pipeline_state), atol=1e-6)
    action = jnp.array([20.0, -60.0, 10.0, 30.0, -5.0, 3.0, 2.0, 1.0])
    for _ in range(20):
        before, state = state, step(env, state, action)
    seen = np.r_[21:28, 32 : state.obs.size - (name == "door") * 2]  # of the world
    now = fresh(state.pipeline_state)
    np.testing.assert_allclose(state.obs[seen], fresh(before.pipeline_state)[seen], atol=1e-6)
    own = np.setdiff1d(np.arange(state.obs.size), seen)
    np.testing.assert_allclose(state.obs[own], now[own], atol=1e-6)
    assert np.abs(state.obs[21:24] - now[21:24]).max() > 1e-5


def test_one_step_is_mujocos():
    """From a state in motion and in contact, against MuJoCo's own step; and the same twice, alone or in a batch."""
    env = env_of("lift")
    body, data = env.physics.threads.model, mujoco.MjData(env.physics.threads.model)
    state = start(env, NOMINAL)
    for _ in range(40):  # the cube falls onto the table
        state = step(env, state, HOLD.at[0].set(30.0))
    now = state.pipeline_state
    data.qpos[:], data.qvel[:], data.qacc_warmstart[:] = (np.asarray(x, np.float64) for x in now.bodies)
    data.ctrl[:] = control(HOLD[:ARM], now.grip)
    mujoco.mj_step(body, data)
    after = step(env, state, HOLD).pipeline_state
    np.testing.assert_allclose(after.bodies.q, data.qpos, atol=1e-7)
    np.testing.assert_allclose(after.bodies.v, data.qvel, atol=1e-5)
    many = jax.tree.map(lambda x: jnp.broadcast_to(x[None], (19, *x.shape)), state)
    each = jax.jit(jax.vmap(env.step, (0, None)))(many, HOLD).pipeline_state
    for row in (0, 18):
        jax.tree.map(lambda x, y, row=row: np.testing.assert_array_equal(x[row], y), each, after)


def test_the_gripper_closes_in_a_hundred_steps():
    env = env_of("lift")
    state = start(env, NOMINAL)
    for done in range(1, 121):
        state = step(env, state, HOLD.at[ARM].set(0.2))  # its sign alone counts
        np.testing.assert_allclose(state.pipeline_state.grip, min(0.01 * done, 1.0), atol=1e-5)
    told = control(HOLD[:ARM], state.pipeline_state.grip)
    np.testing.assert_allclose(told[ARM:], [0.0, 0.0], atol=1e-7)
    assert np.abs(state.pipeline_state.bodies.q[7:9]).max() < 0.01  # m, of 0.021 at reset
    np.testing.assert_allclose(control(jnp.full(ARM, 1e3), jnp.float32(-1.0)), [*panda.TORQUE, 0.04, -0.04], rtol=1e-6)
    assert float(step(env, state, HOLD).pipeline_state.grip) == 1.0  # told nothing, it stays


def test_rewards_by_hand():
    """Specification, robotics, 2.2."""
    bodies = Bodies(*(jnp.zeros(16),) * 3)
    seen = {"cube": jnp.array([0.0, 0.0, 0.83]), "gripper": jnp.array([0.0, 0.0, 0.93])}
    touch = lambda one, two: {"touch1": jnp.array([one]), "touch2": jnp.array([two])}
    judge = Lift().judge
    near = (1 - np.tanh(1.0)) / 2.25
    np.testing.assert_allclose(judge(bodies, seen | touch(1.0, 0.0)), (near, False), rtol=1e-5)
    np.testing.assert_allclose(judge(bodies, seen | touch(1.0, 2.0)), (near + 0.25 / 2.25, False), rtol=1e-5)
    np.testing.assert_allclose(judge(bodies, seen | touch(0.0, 0.0) | {"cube": jnp.array([0.0, 0.0, 0.841])}), (1.0, True))

    opened = lambda hinge, handle: bodies._replace(q=jnp.zeros(11).at[-2:].set(jnp.array([hinge, handle])))
    seen = {"handle": jnp.array([0.0, 0.0, 1.0]), "gripper": jnp.array([0.0, 0.1, 1.0])}
    near = 0.25 * (1 - np.tanh(1.0))
    judge = Door().judge
    np.testing.assert_allclose(judge(opened(0.29, -np.pi / 4), seen), (near + 0.125, False), rtol=1e-5)
    np.testing.assert_allclose(judge(opened(0.0, 1.6), seen), (near + 0.25, False), rtol=1e-5)
    np.testing.assert_allclose(judge(opened(0.31, 0.0), seen), (1.0, True))


def test_rewards_come_with_decisions_and_time_ends_episodes():
    env = env_of("lift", decisions=3)
    state = start(env, NOMINAL)
    rewards, ends = [], []
    for _ in range(3 * SUBSTEPS):
        state = step(env, state, HOLD)
        rewards.append(float(state.reward))
        ends.append(float(state.info["truncation"]))
    assert [reward > 0 for reward in rewards] == [False, False, False, False, True] * 3
    assert ends == [0.0] * 14 + [1.0] and float(state.done) == 0.0
    lifted = at(state, bodies=state.pipeline_state.bodies._replace(q=state.pipeline_state.bodies.q.at[11].set(0.9)))
    solved = []
    for _ in range(2 * SUBSTEPS):
        lifted = step(env, lifted, HOLD)
        solved.append((float(lifted.reward), float(lifted.metrics["success"])))
    assert solved == [(0.0, 0.0)] * 4 + [(1.0, 1.0)] + [(0.0, 0.0)] * 4 + [(1.0, 0.0)]  # counted once


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("fault", ["velocity", "action"])
def test_unstable_physics_ends_the_episode(name, fault, tmp_path, monkeypatch):
    """With a status and the last finite state, for good, and without a log file of MuJoCo's."""
    monkeypatch.chdir(tmp_path)
    env = env_of(name)
    state = start(env, INSTANCES[name])
    bodies, action = state.pipeline_state.bodies, HOLD
    if fault == "velocity":
        state = at(state, bodies=bodies._replace(v=jnp.full_like(bodies.v, 1e9)))
    else:
        action = HOLD.at[3].set(jnp.nan)
    after = step(env, state, action)
    assert float(after.done) == 1.0 and float(after.metrics["unstable"]) == 1.0 and float(after.reward) == 0.0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    np.testing.assert_array_equal(after.pipeline_state.bodies.q, bodies.q)
    well = step(env, at(after, bodies=bodies), HOLD)
    assert float(well.done) == 1.0 and float(well.metrics["unstable"]) == 0.0
    assert not list(tmp_path.iterdir())


def test_instances_are_spread_as_published():
    for scene in SCENES.values():
        env = Manipulation(model.engine("c", scene), scene)
        drawn = jax.jit(jax.vmap(env.sample_instance))(jax.random.split(jax.random.key(0), 2000))
        off = np.asarray(drawn.joints) - panda.NOMINAL
        np.testing.assert_allclose(off.std(axis=0), 0.02, rtol=0.08)
        np.testing.assert_allclose(off.mean(axis=0), 0.0, atol=0.002)
        place, turn = np.asarray(drawn.place[:, :3]), 2 * np.arctan2(drawn.place[:, 6], drawn.place[:, 3])
        low, high = {"lift": ([-0.03, -0.03, 0.831], [0.03, 0.03, 0.831]), "door": ([-0.13, -0.36, 1.1], [-0.11, -0.34, 1.1])}[
            scene.name
        ]
        np.testing.assert_allclose(place.min(axis=0), low, atol=1e-3)
        np.testing.assert_allclose(place.max(axis=0), high, atol=1e-3)
        turns = {"lift": (0.0, 2 * np.pi), "door": (-np.pi / 2 - 0.25, -np.pi / 2)}[scene.name]
        np.testing.assert_allclose((turn.min(), turn.max()), turns, atol=0.02)


def test_controllers_see_joints_and_where_they_began():
    env = env_of("door")
    state = step(env, start(env, SHUT), HOLD.at[1].set(40.0))
    now = state.pipeline_state
    np.testing.assert_array_equal(low_level_view(state), np.concatenate([now.bodies.q[:7], now.bodies.v[:7], SHUT.joints]))


def test_a_latched_door_stays_shut():
    """Pulled at the hinge it opens by its play alone, until the handle is turned by as much as robosuite's, 1 to 1.1 rad."""
    body = model.model(Door())
    data = mujoco.MjData(body)

    def pulled(handle):
        mujoco.mj_resetData(body, data)
        data.qpos[: ARM + 2] = *panda.NOMINAL, *panda.FINGERS
        data.mocap_pos[0], data.mocap_quat[0] = SHUT.place[:3], SHUT.place[3:]
        data.qpos[-1] = handle
        for _ in range(1000):
            data.qfrc_applied[-2:] = 4.0, handle  # the second holds the handle against its spring
            data.ctrl[:ARM] = data.qfrc_bias[:ARM]
            mujoco.mj_step(body, data)
        return data.qpos[-2]

    np.testing.assert_allclose(pulled(0.0), 0.0150, atol=1e-3)  # robosuite's play
    assert pulled(0.5) < 0.05 and pulled(0.9) < 0.1 < 0.4 < pulled(1.15)


def test_without_mujoco_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"mujoco: expected `pip install 'ohio-jax\[mujoco\]'`, found no module 'mujoco'"):
        model.engine("c", Lift(0.0205))


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_mjx_agrees(name):
    """A short swing of the arm with the cube at rest on its table, the door on its hinge; MJX as README says for a CPU."""
    pytest.importorskip("mujoco.mjx")
    action = jnp.array([10.0, -30.0, 5.0, 15.0, -2.0, 2.0, 1.0, 1.0])
    last = {}
    with jax.numpy_rank_promotion("allow"):
        for backend in ("c", "mjx"):
            env = Manipulation(model.engine(backend, SCENES[name]), SCENES[name])
            run = jax.jit(
                lambda env, instance: jax.lax.scan(lambda s, _: (env.step(s, action), s.obs), env.reset_to(instance), None, 50)
            ).lower(env, INSTANCES[name])
            # Before JAX 0.11 XLA fuses the kinematics of some trees of bodies into something a hundred times slower.
            run = run.compile({"xla_disable_hlo_passes": "fusion"} if jax.default_backend() == "cpu" else None)
            last[backend] = jax.device_get(run(env, INSTANCES[name]))
            began = time.perf_counter()
            run(env, INSTANCES[name])[0].obs.block_until_ready()
            assert backend == "c" or (time.perf_counter() - began) / 50 < 0.020
    (ours, path), (theirs, other) = last["c"], last["mjx"]
    np.testing.assert_allclose(other[:, :35], path[:, :35], atol=2e-4)
    np.testing.assert_allclose(other, path, atol=2e-3)
    np.testing.assert_allclose(theirs.reward, ours.reward, atol=1e-3)


RECORD = Path(__file__).resolve().parents[2] / "reference" / "robosuite_episode.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENES)
def test_replays_robosuite(name, tmp_path):
    """Torques of an episode of robosuite 1.4.1, replayed open loop for 50 decisions. Needs another Python that has it."""
    python = os.environ.get("ROBOSUITE_PYTHON")
    if not python:
        pytest.skip("ROBOSUITE_PYTHON: expected a Python with robosuite 1.4.1, numpy 1.26 and mujoco 3.3, found none")
    done = subprocess.run([python, RECORD, name, tmp_path / "episode.npz"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    episode = np.load(tmp_path / "episode.npz")
    scene = Lift(float(episode["size"].mean())) if name == "lift" else Door()
    env = Manipulation(model.engine("c", scene), scene)
    state = start(env, Instance(jnp.asarray(episode["q"][0, :7], jnp.float32), jnp.asarray(episode["place"], jnp.float32)))
    np.testing.assert_allclose(state.obs, episode["obs"][0], atol=1e-6)
    for k, (torques, command) in enumerate(zip(episode["torques"], episode["command"], strict=True)):
        state = step(env, state, jnp.append(jnp.asarray(torques, jnp.float32), command))
        now = state.pipeline_state.bodies
        np.testing.assert_allclose(now.q[:9], episode["q"][k + 1, :9], atol=1e-5)
        np.testing.assert_allclose(now.v[:9], episode["v"][k + 1, :9], atol=1e-4)
        if k % SUBSTEPS == SUBSTEPS - 1:
            # The cube falls onto the table, and is not as cubic there as ours.
            np.testing.assert_allclose(state.obs, episode["obs"][k // SUBSTEPS + 1], atol=4e-3 if name == "lift" else 1e-5)
            np.testing.assert_allclose(state.reward, episode["reward"][k // SUBSTEPS], atol=1e-3 if name == "lift" else 1e-6)
