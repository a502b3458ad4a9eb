"""What inverses are told of logs made under other gains, and what their labels are worth in the simulator."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs import registry
from ohio_envs.manipulation import changed_gains, panda
from ohio_envs.manipulation.policies import RANGE
from ohio_envs.manipulation.simulator import SUBSTEPS

from ohio_jax import low_level
from ohio_jax.collect import collect
from ohio_jax.controllers import osc, torques
from ohio_jax.errors import UserError
from ohio_jax.labels import label_errors
from ohio_jax.low_level import UNIQUE, Segment
from ohio_jax.relabel import relabel

pytest.importorskip("mujoco")
DECISIONS = 24


@functools.cache
def lift(gains="original", logged="original"):
    return registry.make("lift", gains=gains, logged=logged, horizon=DECISIONS)


@functools.cache
def logs(logged="original"):
    return collect(lift(logged=logged), "noisy-0.3", 2, 3)


@functools.cache
def recovered(gains, interface, inverse):
    return relabel(logs(), lift(gains), interface, inverse)


@functools.cache
def errors(gains, interface, inverse, learned_under=None):
    labels = recovered(gains if learned_under is None else learned_under, interface, inverse)
    return label_errors(lift(gains), interface, logs(), labels, lift())


def segments(of):
    return Segment(*(x.reshape(-1, SUBSTEPS, x.shape[1]) for x in (of.state, of.action, of.next_state)))


@pytest.mark.parametrize("gains", ["stiffness", "damping"])
def test_rescaled_actions_begin_with_the_logged_torques(gains):
    """Where the logged action is known exactly, and the softer spring can give its torque at all, which ends at a right angle.
    Those of the logged action are other ones under the new gains.
    """
    exact = recovered("original", "logged", "least_squares").status == UNIQUE
    exact &= np.linalg.norm(recovered(gains, "ohio", "rescaled").action[:, 3:6], axis=1) < 1.5
    given, params = segments(logs()), lift(gains).interfaces["ohio"].params
    first = jax.jit(jax.vmap(lambda x, goal: osc.act(params, osc.plan(params, osc.init(params), x, goal), x, goal)[0]))
    off = {}
    for name, labels in {
        "rescaled": recovered(gains, "ohio", "rescaled"),
        "logged": recovered("original", "logged", "least_squares"),
    }.items():
        off[name] = np.abs(first(given.state[:, 0], labels.action) - given.action[:, 0])[exact].max(axis=1)
    assert exact.sum() > 10 and np.quantile(off["rescaled"], 0.9) < 0.01 and np.median(off["logged"]) > 1.0


def test_priors_are_as_wide_as_gains_and_speeds_make_them():
    """RANGE kp / kp' + |kd' - kd| v95 / kp', in NumPy; under the logging gains it is the range."""
    chain = panda.chain()
    site = jax.vmap(lambda state: osc.jacobian(chain, osc.frames(chain, state[:7])) @ state[7:14])
    speed = np.quantile(np.abs(site(logs().state[::SUBSTEPS])), 0.95, axis=0)
    np.testing.assert_allclose(changed_gains.speed_quantiles(SUBSTEPS, logs()), speed, rtol=1e-4)
    segment = jax.tree.map(lambda x: x[0], segments(logs()))
    for gains, expected in {
        "original": RANGE[:6],
        "stiffness": RANGE[:6] * ([1] * 3 + [3] * 3) + 2 * (np.sqrt(150) - np.sqrt(50)) / 50 * speed * ([0] * 3 + [1] * 3),
        "damping": RANGE[:6] + 4 * np.sqrt(150) / 150 * speed * ([1] * 3 + [0] * 3),
    }.items():
        for interface in ("ohio", "ohio_equal"):
            fit = lift(gains).interfaces[interface].fit
            assert fit is not None
            problem = fit(logs())
            width = low_level.width(problem, low_level.prepare(problem, segment))
            np.testing.assert_allclose(width, [*expected, 1.0], rtol=1e-4)


def test_episodes_of_other_gains_have_priors_of_their_own():
    """A fleet of the three: what the logged action was is read under the gains of its episode."""
    task = lift("stiffness", "all")
    fit, behavior = task.interfaces["ohio"].fit, task.policies["noisy-0.3"].interface
    assert fit is not None
    problem = fit(logs("all"))
    given = segments(logs("all"))
    width = jax.vmap(lambda segment: problem.width(segment, None))(given)
    own = jax.vmap(lambda state: behavior.params.at(behavior.params.which(state)).kp)(given.state[:, 0])
    speed = changed_gains.speed_quantiles(SUBSTEPS, logs("all"))
    soft = np.asarray(own)[:, 3] == 50
    np.testing.assert_allclose(width[soft][:, 3:6], np.tile(RANGE[3:6], (soft.sum(), 1)), rtol=1e-4)
    less = 2 * (np.sqrt(150) - np.sqrt(50)) / 50 * speed[3:]
    np.testing.assert_allclose(width[~soft][:, 3:6], np.tile(3 * RANGE[3:6] + less, ((~soft).sum(), 1)), rtol=1e-4)


def test_labels_of_unchanged_gains_lead_where_was_led():
    """Also of other interfaces: torques are themselves, and what a recurrent network makes of a goal is only like them."""
    exact, torque, taught = (
        errors("original", *of) for of in (("logged", "least_squares"), ("end_to_end", "analytic"), ("hrl_joint", "analytic"))
    )
    assert exact["torque_nm"] < 0.1 and exact["position_m"] < 1e-5 and exact["rotation_rad"] < 1e-5
    assert exact["segments"] == 2 * DECISIONS and torque["segments"] == 2 * DECISIONS * SUBSTEPS
    assert torque["torque_nm"] == 0.0 and torque["position_m"] < 1e-6
    assert taught["torque_nm"] > 0.1


@pytest.mark.slow
def test_recovered_actions_are_better_labels_than_logged_ones_under_changed_gains():
    """In torques and in where they lead; the closed form, which no search goes through, lies between."""
    for gains in ("stiffness", "damping"):
        logged = errors(gains, "logged", "least_squares", "original")
        closed, best = (errors(gains, "ohio", inverse) for inverse in ("rescaled", "least_squares"))
        for name in ("torque_nm", "position_m", "rotation_rad"):
            assert best[name] < closed[name] < logged[name]


def test_label_errors_are_those_of_a_plain_loop():
    """Torques of the low level in the logged states, and the simulator's next state, one segment after the other."""
    task, home, labels = lift("damping"), lift(), recovered("damping", "ohio", "rescaled")
    found = label_errors(task, "ohio", logs(), labels, home, episodes=1, segments=3)
    given, params, high = segments(logs()), task.interfaces["ohio"].params, task.high_level("ohio")
    state = high.reset_to(jax.tree.map(lambda x: x[0], home.instances(3, 1)))
    step, decide = jax.jit(home.env.step), jax.jit(high.step)
    place = jax.jit(lambda state: osc.pose(params.chain, osc.frames(params.chain, torques.split(state)[0])))
    squares = []
    for k in range(DECISIONS):
        if k in np.linspace(0, DECISIONS - 1, 3).astype(int):
            goal = jnp.asarray(labels.action[k])
            memory = osc.plan(params, osc.init(params), given.state[k, 0], goal)
            made = np.stack([osc.act(params, memory, jnp.asarray(x), goal)[0] for x in given.state[k]])
            end = place(home.controller_obs(decide(state, goal)))
            wanted = place(jnp.asarray(given.next_state[k, -1]))
            turn = osc.vector_of(end[1] @ wanted[1].T)
            squares.append([np.mean((made - given.action[k])[:, :7] ** 2), *(np.sum(x**2) for x in (end[0] - wanted[0], turn))])
        for action in given.action[k]:
            state = state.replace(pipeline_state=step(state, jnp.asarray(action)).pipeline_state)
    expected = np.sqrt(np.mean(squares, axis=0))
    assert found["segments"] == 3
    np.testing.assert_allclose([found[name] for name in ("torque_nm", "position_m", "rotation_rad")], expected, rtol=1e-3)


def test_label_errors_of_a_seeds_later_episodes():
    """As a validation part holds them: they are replayed from instances of their own."""
    part = dataclasses.replace(logs().episodes(1, 2), card={**logs().card, "first_episode": 1})
    found = label_errors(lift(), "logged", part, relabel(part, lift(), "logged", "least_squares"))
    assert found["segments"] == DECISIONS and found["torque_nm"] < 0.1
    first = dataclasses.replace(part, card={**part.card, "first_episode": 0})
    with pytest.raises(UserError, match="expected states that their actions lead to again in the simulator, found none"):
        label_errors(lift(), "logged", first, relabel(first, lift(), "logged", "least_squares"))


def test_what_label_errors_refuses():
    labels = recovered("original", "logged", "least_squares")
    with pytest.raises(UserError, match="unknown action interface for lift 'wish'"):
        label_errors(lift(), "wish", logs(), labels)
    with pytest.raises(UserError, match="transitions: expected those of the logs"):
        label_errors(lift(), "logged", logs("all"), labels)
    with pytest.raises(UserError, match=r"logs: field card\.seed: expected the seed of their instances, found None"):
        label_errors(lift(), "logged", dataclasses.replace(logs(), card={**logs().card, "seed": None}), labels)
    other = dataclasses.replace(logs(), card={**logs().card, "seed": 4})
    with pytest.raises(UserError, match="logs: expected states that their actions lead to again in the simulator, found none"):
        label_errors(lift(), "logged", other, labels)
    silent = dataclasses.replace(lift(), errors=None)
    with pytest.raises(UserError, match="task 'lift': expected one that says how far segments are apart"):
        label_errors(silent, "logged", logs(), labels)
