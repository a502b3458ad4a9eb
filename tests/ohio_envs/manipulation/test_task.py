"""Lift and Door as tasks: behavior under the original gains, interfaces under those of the setting, scripts that succeed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.manipulation import features, panda, policies
from ohio_envs.manipulation.simulator import SUBSTEPS

from ohio_jax.collect import collect
from ohio_jax.controllers import mixture, osc
from ohio_jax.errors import UserError
from ohio_jax.evaluate import evaluate_policy
from ohio_jax.low_level import FAILED, UNIQUE
from ohio_jax.relabel import relabel

pytest.importorskip("mujoco")


@pytest.mark.parametrize("name", ["lift", "door"])
@pytest.mark.parametrize(
    ("gains", "kp", "zeta", "lift", "door"),
    [
        ("original", [150] * 6, [1] * 6, (0.05, 0.5), (0.3, 0.7)),
        ("stiffness", [150] * 3 + [50] * 3, [1] * 6, (0.4, 1.6), (0.5, 1.6)),
        ("damping", [150] * 6, [3] * 3 + [1] * 3, (0.4, 1.6), (0.4, 1.5)),
    ],
)
def test_spaces_follow_the_gains(name, gains, kp, zeta, lift, door):
    """Specification, robotics, 2.3, variants. The behavior policy keeps the original gains whatever learners get."""
    task = registry.make(name, {"gains": gains})
    ranges = {"ohio": lift if name == "lift" else door, "ohio_equal": (0.05, 0.5), "logged": (0.05, 0.5)}
    assert set(task.interfaces) == {*ranges, "hrl_joint", "hrl_osc", "end_to_end"}
    for interface, (far, wide) in ranges.items():
        chosen = task.interfaces[interface]
        np.testing.assert_allclose(chosen.spec.limits, [far] * 3 + [wide] * 3 + [1.0], rtol=1e-6)
        np.testing.assert_array_equal(chosen.params.kp, kp)
        np.testing.assert_array_equal(chosen.params.zeta, zeta)
        assert chosen.controller is osc and chosen.steps == SUBSTEPS
    for guide in task.policies.values():
        np.testing.assert_array_equal(guide.interface.params.kp, [150] * 6)
        np.testing.assert_array_equal(guide.interface.params.zeta, [1] * 6)
    assert task.interfaces["end_to_end"].steps == 1 and task.env.action_size == len(task.interfaces["end_to_end"].spec.limits)
    own = {
        "gains": gains,
        "logged": "original",
        "rotation_kp": "gains",
        "position_zeta": "gains",
        "payload": 0.0,
        "friction": 1.0,
    }
    assert task.settings == own | {"backend": "c", "horizon": 500} | ({"cube": 0.021} if name == "lift" else {})
    assert list(task.policies) == registry.policies()["manipulation"]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lift", {"gains": "soft"}, "lift: setting gains: expected one of original, stiffness, damping, found 'soft'"),
        ("lift", {"cube": "0.03"}, "lift: setting cube: expected a number from 0.02 to 0.022, found '0.03'"),
        ("door", {"backend": "gpu"}, "door: setting backend: expected one of auto, c, mjx, found 'gpu'"),
        ("door", {"cube": "0.02"}, "unknown setting of door 'cube'"),
        ("lift", {"rotation_kp": "0"}, "lift: setting rotation_kp: expected gains, or a number from 1 to 300, found '0'"),
        ("door", {"payload": "heavy"}, "door: setting payload: expected a number from 0 to 5, found 'heavy'"),
    ],
)
def test_bad_settings(name, settings, message):
    with pytest.raises(UserError, match=message):
        registry.make(name, settings)


def test_an_accelerator_plays_on_mjx(monkeypatch):
    """Where JAX has one, and on a CPU by the setting; a decision has the same shapes. `test_mjx_agrees` compares numbers."""
    pytest.importorskip("mujoco.mjx")

    def decided(task):
        env = task.high_level("ohio")
        instance = jax.tree.map(lambda x: x[0], task.instances(0, 1))
        with jax.numpy_rank_promotion("allow"):
            return jax.eval_shape(lambda env: env.step(env.reset_to(instance), jnp.zeros(env.action_size)), env)

    native, mjx = (registry.make("door", {"backend": backend}) for backend in ("auto", "mjx"))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [task.settings["backend"] for task in (native, mjx, registry.make("door"))] == ["c", "mjx", "mjx"]
    seen, same = decided(native), decided(mjx)
    assert (seen.obs, seen.reward, seen.done) == (same.obs, same.reward, same.done)


def test_single_gains_replace_those_of_their_setting():
    task = registry.make("door", {"gains": "stiffness", "position_zeta": "2.5"})
    assert (task.interfaces["ohio"].params.zeta == jnp.array([2.5] * 3 + [1.0] * 3)).all()
    assert (task.interfaces["ohio"].params.kp == jnp.array([150.0] * 3 + [50.0] * 3)).all()
    np.testing.assert_allclose(task.interfaces["ohio"].spec.limits, [0.5] * 3 + [1.6] * 3 + [1.0], rtol=1e-6)
    task = registry.make("door", {"gains": "stiffness", "rotation_kp": "25"})
    assert (task.interfaces["logged"].params.kp == jnp.array([150.0] * 3 + [25.0] * 3)).all()
    assert (task.policies["script"].interface.params.kp == 150.0).all()


def test_behavior_under_several_gains():
    """Each episode has its own of the three, and `logged` is explained by it."""
    task = registry.make("door", {"logged": "all"})
    interface = task.policies["script"].interface
    assert interface.controller is mixture and (task.interfaces["logged"].params.kp == 150.0).all()
    seen = task.instances(0, 64).joints
    state = jnp.concatenate([seen, jnp.zeros_like(seen), seen], axis=1)
    which = np.asarray(jax.vmap(interface.params.which)(state))
    assert set(which) == {0, 1, 2}
    for index, kp, zeta in ((0, 150, 1), (1, 50, 1), (2, 150, 3)):
        at = interface.params.at(index)
        assert (at.kp == jnp.array([150.0] * 3 + [kp] * 3)).all() and (at.zeta == jnp.array([zeta] * 3 + [1.0] * 3)).all()


def test_an_arm_that_its_controllers_do_not_know():
    """A payload weighs where the fingers meet, and friction is the arm's joints', not the fingers'."""
    mujoco = pytest.importorskip("mujoco")
    body = lambda settings: registry.make("lift", settings).env.physics.threads.model
    plain, heavy, stiff = body({}), body({"payload": "2"}), body({"friction": "10"})
    assert heavy.body_mass.sum() - plain.body_mass.sum() == pytest.approx(2.0)
    np.testing.assert_allclose(stiff.dof_damping[:7], 10.0 * plain.dof_damping[:7])
    np.testing.assert_allclose(stiff.dof_frictionloss[:7], 10.0 * plain.dof_frictionloss[:7])
    np.testing.assert_array_equal(stiff.dof_damping[7:9], plain.dof_damping[7:9])
    bias = []
    for model in (plain, heavy):
        at = mujoco.MjData(model)
        at.qpos[:7] = panda.NOMINAL
        mujoco.mj_forward(model, at)
        bias.append(at.qfrc_bias[:7].copy())
    jacobian = np.zeros((3, heavy.nv))
    mujoco.mj_jacSite(heavy, at, jacobian, None, heavy.site("grip_site").id)
    np.testing.assert_allclose(bias[1] - bias[0], 2.0 * 9.81 * jacobian[2, :7], atol=1e-9)


def test_features_are_near_one_and_fourfold():
    """A cube turned by a quarter is the same cube, one turned by an eighth is not; any leading axes."""
    obs = jnp.zeros(42).at[jnp.array([24, 25, 26, 27])].set(jnp.array([0.92, 0.38, 0.05, 0.03]))
    turned = lambda angle: obs.at[37].set(np.sin(angle / 2)).at[38].set(np.cos(angle / 2))
    seen = [features.lift(turned(angle))[-2:] for angle in (0.3, 0.3 + np.pi / 2, 0.3 + np.pi / 4)]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-5)
    np.testing.assert_allclose(seen[0], -seen[2], atol=1e-5)
    for name, size in (("lift", 42), ("door", 46)):
        obs = jax.random.normal(jax.random.key(0), (2, 3, size))
        each = features.FEATURES[name](obs)
        assert each.shape == (2, 3, {"lift": 44, "door": 46}[name])
        np.testing.assert_allclose(each[1, 2], features.FEATURES[name](obs[1, 2]), rtol=1e-6)


def test_the_script_lifts_and_is_logged():
    """Two episodes until after the cube is lifted; torques are those of the goals, and the same run again is the same."""
    task = registry.make("lift", {"horizon": "150"})
    logs = collect(task, "script", 2, 10)
    rewards = logs.reward.reshape(2, -1, SUBSTEPS)
    assert (rewards[:, :, :-1] == 0).all() and (rewards[:, -10:, -1] == 1.0).all()
    assert logs.card["behavior_policy"] == "script" and logs.truncated.sum() == 2 and not logs.terminated.any()
    obs = logs.obs[logs.obs_index]
    np.testing.assert_allclose(np.cos(logs.state[:, :7]), obs[:, :7], atol=1e-6)
    np.testing.assert_array_equal(logs.state[:, 14:], np.repeat(task.instances(10, 2).joints, 150 * SUBSTEPS, axis=0))
    np.testing.assert_array_equal(logs.next_state[:-1][~logs.truncated[:-1]], logs.state[1:][~logs.truncated[:-1]])
    # The command of the gripper is held for a decision, the torques are not.
    held = logs.action.reshape(2, -1, SUBSTEPS, 8)
    assert (held[..., 7] == held[:, :, :1, 7]).all() and (np.ptp(held[..., :7], axis=2) > 0).any()
    assert (np.abs(logs.action[:, :7]) <= np.array([80] * 5 + [12] * 2) * 1.000001).all()


def test_pictures():
    from matplotlib.figure import Figure

    for name in ("lift", "door"):
        task = registry.make(name)
        assert task.render is not None
        now = jax.tree.map(
            np.asarray, jax.jit(task.env.reset_to)(jax.tree.map(lambda x: x[0], task.instances(0, 1))).pipeline_state
        )
        axes = Figure().subplots()
        task.render(axes, now)
        arm = axes.lines[0].get_xydata()
        assert len(arm) == 9
        np.testing.assert_allclose(arm[0], [-0.56, 0.912 if name == "lift" else 0.0])
        # The last link and the gripper are 0.1065 + 0.097 m apart.
        assert np.linalg.norm(arm[-1] - arm[-2]) <= 0.2036


@pytest.mark.slow
def test_many_episodes_on_all_devices_end():
    """So many that MuJoCo's arguments, were they to come at once, would wait for threads that wait for them."""
    played = evaluate_policy(registry.make("lift", {"horizon": "5"}), "none", 1200, 0)
    assert played.returns.shape == (1200,) and np.isfinite(played.returns).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "policy", "solved", "low", "high"),
    [
        ("lift", "script", (20, 20), 400, 425),
        ("lift", "noisy-0.3", (19, 20), 350, 410),
        ("lift", "noisy-0.7", (7, 17), 130, 260),
        ("lift", "noisy-1.0", (1, 10), 80, 190),
        ("lift", "none", (0, 0), 2, 12),
        ("door", "script", (20, 20), 235, 275),
        ("door", "noisy-0.3", (19, 20), 205, 255),
        ("door", "noisy-0.7", (13, 20), 115, 190),
        ("door", "noisy-1.0", (1, 12), 65, 120),
        ("door", "none", (0, 0), 0.5, 4),
    ],
)
def test_scripts_succeed_as_often_as_published(name, policy, solved, low, high):
    """Specification, simulation, 4: successes of 20 and returns, as ranges."""
    played = evaluate_policy(registry.make(name), policy, 20, 10)
    assert solved[0] <= played.metrics["success"].sum() <= solved[1]
    assert low <= played.returns.mean() <= high
    assert played.metrics["unstable"].sum() == 0


@pytest.fixture(scope="module")
def recovered():
    """Goals of one short episode of the cube, recovered under the gains that gave them."""
    task = registry.make("lift", {"horizon": "100"})
    return relabel(collect(task, "noisy-0.3", 1, 3), task, "logged", "least_squares")


@pytest.mark.slow
def test_goals_are_recovered_under_the_gains_that_gave_them(recovered):
    goals = recovered
    unique = goals.status == UNIQUE
    assert unique.mean() > 0.5 and not (goals.status == FAILED).any()
    assert np.quantile(goals.residual[unique], 0.5) < 1e-3
    assert (np.abs(goals.action) <= policies.RANGE * 1.0001).all()


@pytest.mark.slow
def test_nearly_all_of_them_to_the_end(recovered):
    assert np.quantile(recovered.residual[recovered.status == UNIQUE], 0.9) < 1e-2
