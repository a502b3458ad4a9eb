"""The reacher task: its low levels, what they see of the arm, and what a score means."""

import functools
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_envs.reacher.features import features, features_and_angles
from ohio_envs.reacher.policies import POLICIES
from ohio_envs.reacher.simulator import LINK, TOUCH, Arm, Body, Reacher, advance, finger, joints
from ohio_envs.settings import Rule, integer, parse
from ohio_jax.controllers import direct, lqr, mpc, relative
from ohio_jax.data import Trajectories
from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Model
from ohio_jax.environment import instances_of
from ohio_jax.low_level import Problem
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.task import ActionInterface, Reference, Task

SETTINGS = {"horizon": Rule("1000", integer(1, 100_000)), "steps": Rule("5", integer(1, 100))}

COST, EFFORT = np.array([10.0, 10.0, 1.0, 1.0], np.float32), np.array([0.1, 0.1], np.float32)
GOALS = (4 * math.pi, 4 * math.pi, 4 * math.pi, 20.0)  # rad and rad/s, the original's limits of its analytical goals
UNIT = (1.0, 1.0, 1.0, 1.0)  # rad and rad/s: the number that limits the original's torques (N m), as a limit of goals
DISPLACEMENTS = (4 * math.pi, 4 * math.pi, 4 * math.pi, 40.0)  # of goals counted from where the arm is
NOISE = np.array([0.01, 0.01, 0.1, 0.1], np.float32)  # rad, rad, rad/s, rad/s: how far off a reached state counts as explained
LEARNED = learned.Config(angles=(0, 1))  # how inverses learn the arm's dynamics
PLANNED = 10  # steps the model-predictive low level looks ahead


def reacher(settings: dict[str, Any]) -> Task:
    """`reacher`: DeepMind Control's reacher, hard. Raises UserError for a bad setting."""
    values = parse("reacher", SETTINGS, settings)
    env = Reacher(Body(), values["horizon"])
    reference = Reference(
        zero=0.0,
        full=0.9809 * values["horizon"],
        how="0 is never touching the target; 100 is touching it 98.09 % of the time, as the agent does that made the expert data "
        "(`ohio-jax evaluate reacher --policy expert --stream reference --episodes 1000`)",
    )
    return Task(
        name="reacher",
        settings=values,
        env=env,
        controller_obs=joints,
        next_controller_obs=joints,
        interfaces=_interfaces(values["steps"]),
        policies=POLICIES,
        instances=instances_of(env),
        reference=reference,
        render=draw,
    )


def _interfaces(steps: int) -> dict[str, ActionInterface]:
    """The hierarchies, whose inverses learn the arm's dynamics from the logs, and end-to-end torques.

    - ohio: a regulator that knows the drift, given displacements.
    - ohio_true: the same, explained with the true dynamics.
    - ohio_mpc: model-predictive control given displacements.
    - ohio_compat: the original's, a regulator without drift given joint states, explained with the original's model.
    - ohio_compat_unit: the same with goals within 1, as the paper's policy on observed states may have had them, whose limit no
      release holds.
    """
    true = Model(Body(), advance, 2)
    torque = heads.Box((1.0, 1.0))
    bounds = direct.Params(jnp.ones(2))
    displaced = lambda low_level, params: relative.Params(params, jnp.array(DISPLACEMENTS), low_level)
    regulator, planner = displaced(lqr, regulation(true, steps)), displaced(mpc, planning(true, steps))
    return {
        "ohio": interface(relative, regulator, steps, DISPLACEMENTS, features, LEARNED),
        "ohio_true": interface(relative, regulator, steps, DISPLACEMENTS, features),
        "ohio_mpc": interface(relative, planner, steps, DISPLACEMENTS, features, LEARNED),
        "ohio_compat": interface(lqr, regulation(true, steps, False), steps, GOALS, features_and_angles, learned.ORIGINAL),
        "ohio_compat_unit": interface(
            lqr, regulation(true, steps, False, UNIT), steps, UNIT, features_and_angles, learned.ORIGINAL
        ),
        "end_to_end": interface(direct, bounds, 1, torque.limits, features),
    }


def regulation(model: Model, steps: int, drift: bool = True, limits: tuple[float, ...] = GOALS) -> lqr.Params:
    """The paper's regulator, with gains of the true dynamics; `model` is what inverses predict with.

    Without drift it is the original's, whose inverses weigh radians and radians a second alike.
    """
    true, cost, limit = Model(Body(), advance, 2), jnp.asarray(COST), jnp.array(limits)
    noise = jnp.asarray(NOISE) if drift else jnp.ones(4)
    return lqr.Params(true, model, cost, jnp.asarray(EFFORT), cost, jnp.ones(2), limit, noise, steps, drift)


def planning(model: Model, steps: int) -> mpc.Params:
    """Linear model-predictive control with the regulator's costs."""
    true, cost, limit = Model(Body(), advance, 2), jnp.asarray(COST), jnp.array(GOALS)
    return mpc.Params(true, model, cost, jnp.asarray(EFFORT), cost, jnp.ones(2), limit, jnp.asarray(NOISE), PLANNED, steps)


def interface(
    controller, params, steps: int, limits: tuple[float, ...], features, learn: learned.Config | None = None
) -> ActionInterface:
    """An action interface; with `learn`, its inverses learn their model from the logs they explain."""
    box = heads.Box(limits)
    fit = None if learn is None else functools.partial(_learn, learn, controller, params)
    networks = functools.partial(mlp_networks, box)
    return ActionInterface(box, controller, params, controller.problem(params), networks, steps, fit, features)


def _learn(config: learned.Config, controller, params, logs: Trajectories) -> Problem:
    """The low level's problem with dynamics learned from the logs."""
    return controller.problem(with_model(params, _model(config, logs)))


@functools.lru_cache(maxsize=64)
def _model(config: learned.Config, logs: Trajectories) -> Any:
    """Learned once for all low levels and inverses that explain the same logs."""
    return learned.fit(config, jax.random.key(0), logs.state, logs.action, logs.next_state).model


def with_model(params, model):
    """The low level's parameters, explained with another model."""
    if isinstance(params, relative.Params):
        return replace(params, params=with_model(params.params, model))
    return replace(params, model=model)


def draw(axes, arm: Arm) -> None:
    """One moment of the arm, seen from above."""
    from matplotlib.patches import Circle

    elbow = LINK * np.array([np.cos(arm.q[0]), np.sin(arm.q[0])])
    tip = np.asarray(finger(jnp.asarray(arm.q)))
    touching = np.linalg.norm(tip - arm.target) <= TOUCH
    axes.add_patch(Circle(tuple(arm.target), TOUCH, color="tab:green" if touching else "tab:red"))
    axes.plot([0.0, elbow[0], tip[0]], [0.0, elbow[1], tip[1]], color="0.2", linewidth=4, marker="o", solid_capstyle="round")
    axes.set(xlim=(-0.26, 0.26), ylim=(-0.26, 0.26), xticks=[], yticks=[], aspect="equal")
