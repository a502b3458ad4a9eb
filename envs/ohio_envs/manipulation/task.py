"""Lift and Door: an arm under operational-space control whose gains change after the data were collected.

The behavior policy acts under the gains of the setting `logged`, by default the original ones. Learners act under those of the
setting `gains`: OHIO on goals that would have made the logged torques under them, the paper's baseline on the goals that
behavior gave. Needs the extra `mujoco`.
"""

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ohio_envs.manipulation import changed_gains, low_levels, panda
from ohio_envs.manipulation.drawing import draw
from ohio_envs.manipulation.features import FEATURES
from ohio_envs.manipulation.model import engine
from ohio_envs.manipulation.policies import POLICIES, RANGE, draw_lots
from ohio_envs.manipulation.scenes import Arm, Door, Lift, Scene
from ohio_envs.manipulation.simulator import SUBSTEPS, Manipulation, low_level_view
from ohio_envs.settings import Rule, integer, number, number_or, one_of, parse
from ohio_jax.controllers import direct, mixture, osc, recurrent, torques
from ohio_jax.dynamics.chain import frames, pose
from ohio_jax.environment import instances_of
from ohio_jax.low_level import Problem
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.task import ActionInterface, HighLevelPolicy, Reference, Task

HORIZON = 500  # decisions


class Gains(NamedTuple):
    """Gains of the operational-space controller.

    Attributes:
        kp, zeta: stiffness [1 / s^2] and damping ratio of position and of rotation.
    """

    kp: tuple[float, float]
    zeta: tuple[float, float]


GAINS = {
    "original": Gains((150.0, 150.0), (1.0, 1.0)),
    "stiffness": Gains((150.0, 50.0), (1.0, 1.0)),
    "damping": Gains((150.0, 150.0), (3.0, 1.0)),
}
# The largest goals the paper allows under each, m and rad; those of behavior are 0.05 and 0.5.
RANGES = {
    "lift": {"original": (0.05, 0.5), "stiffness": (0.4, 1.6), "damping": (0.4, 1.6)},
    "door": {"original": (0.3, 0.7), "stiffness": (0.5, 1.6), "damping": (0.4, 1.5)},
}
EXPERT = {"lift": 418.8, "door": 429.6}  # mean returns of `expert` on the reference stream
ALL = "all"  # of GAINS, each episode another
# gains, logged: one of GAINS, of learners and of behavior. rotation_kp, position_zeta: single numbers of the learners' [1 / s^2,
# 1]. payload, friction: see `Arm`; controllers do not know of them. horizon: decisions.
OWN = "gains"  # what a setting says that leaves a number to the setting of this name
SETTINGS = {
    "gains": Rule("original", one_of(*GAINS)),
    "logged": Rule("original", one_of(*GAINS, ALL)),
    "rotation_kp": Rule(OWN, number_or(OWN, 1.0, 300.0)),
    "position_zeta": Rule(OWN, number_or(OWN, 0.01, 10.0)),
    "payload": Rule("0", number(0.0, 5.0)),
    "friction": Rule("1", number(0.0, 100.0)),
    "backend": Rule("auto", one_of("auto", "c", "mjx")),
    "horizon": Rule(str(HORIZON), integer(1, 100_000)),
}


def lift(settings: dict[str, Any]) -> Task:
    """`lift`: lift a cube. Raises UserError for a bad setting, or without MuJoCo."""
    values = parse("lift", SETTINGS | {"cube": Rule("0.021", number(0.02, 0.022))}, settings)
    return _task(Lift(values["cube"], _arm(values)), values)


def door(settings: dict[str, Any]) -> Task:
    """`door`: open a door with a latch. Raises UserError for a bad setting, or without MuJoCo."""
    values = parse("door", SETTINGS, settings)
    return _task(Door(_arm(values)), values)


def _arm(values: dict[str, Any]) -> Arm:
    return Arm(values["payload"], values["friction"])


def _task(scene: Scene, values: dict[str, Any]) -> Task:
    if values["backend"] == "auto":
        values["backend"] = "c" if jax.default_backend() == "cpu" else "mjx"
    name, horizon = scene.name, values["horizon"]
    env = Manipulation(engine(values["backend"], scene), scene, horizon * SUBSTEPS)
    behavior = _behavior(name, values["logged"])
    return Task(
        name=name,
        settings=values,
        env=env,
        controller_obs=low_level_view,
        next_controller_obs=low_level_view,
        interfaces=_interfaces(name, RANGES[name][values["gains"]], _gains(values), behavior),
        policies={policy: HighLevelPolicy(goal, behavior) for policy, goal in POLICIES[name].items()},
        instances=instances_of(env),
        reference=Reference(
            zero=0.0,
            full=EXPERT[name] * horizon / HORIZON,
            how=f"0 is no reward at all; 100 is the mean return of the expert agent (`ohio-jax evaluate {name} --policy expert "
            f"--stream reference --episodes 100`), at horizons other than {HORIZON} in proportion",
        ),
        render=functools.partial(draw, env),
        errors=errors,
    )


def errors(
    action: Float[Array, "h 8"], logged: Float[Array, "h 8"], end: Float[Array, "21"], logged_end: Float[Array, "21"]
) -> dict[str, Float[Array, "..."]]:
    """See `Task.errors`: of each torque [N m], and of the gripper's position [m] and rotation [rad]."""
    chain = jax.tree.map(jnp.float32, panda.chain())
    (here, turned), (there, wanted) = (pose(chain, frames(chain, torques.split(state)[0])) for state in (end, logged_end))
    return {
        "torque_nm": (action - logged)[:, :-1],
        "position_m": jnp.linalg.norm(here - there),
        "rotation_rad": jnp.linalg.norm(osc.vector_of(turned @ wanted.T)),
    }


def _gains(values: dict[str, Any]) -> Gains:
    """Those of the setting `gains`, but for the numbers that settings of their own give."""
    kp, zeta = GAINS[values["gains"]]
    given = lambda name, own: own if values[name] == OWN else values[name]
    return Gains((kp[0], given("rotation_kp", kp[1])), (given("position_zeta", zeta[0]), zeta[1]))


def _behavior(name: str, logged: str) -> ActionInterface:
    """What follows the scripts."""
    if logged != ALL:
        return _goals(name, controller(GAINS[logged], RANGE[:6]))
    each = mixture.stack([controller(gains, RANGE[:6]) for gains in GAINS.values()])
    params = mixture.Params(each, osc, _which)
    box = heads.Box(tuple(RANGE.tolist()))
    return _space(name, box, mixture, params, mixture.problem(params))


def _which(state: jax.Array) -> jax.Array:
    """`Int[]`, the gains of GAINS that behavior has in the episode of a state: `Float[21]`."""
    return draw_lots(torques.split(state)[2], len(GAINS))


def _interfaces(name: str, largest: tuple[float, float], gains: Gains, behavior: ActionInterface) -> dict[str, ActionInterface]:
    """What learners act on, under the gains of the settings.

    - ohio: goals within the paper's range.
    - ohio_equal: within the range that behavior had.
    - logged: the goals behavior gave, as its own gains explain them (exact where the inverse says UNIQUE), followed under the
      gains of the setting; the paper's baseline.
    - hrl_joint, hrl_osc: what joints or gripper are to reach, followed by a network that was taught to, whatever the gains.
    - end_to_end: torques.

    Args:
        largest: displacement and rotation the paper allows.
    """
    wide = np.repeat(np.array(largest, np.float32), 3)

    def recovered(output: np.ndarray) -> ActionInterface:
        params = controller(gains, output)
        of_these = functools.partial(changed_gains.fit, params, behavior, SUBSTEPS)
        return replace(_goals(name, params, changed_gains.problem(params, behavior)), fit=of_these)

    torque = heads.Box((*panda.TORQUE.tolist(), 1.0))
    bounds = direct.Params(jnp.array(torque.limits))
    return {
        "ohio": recovered(wide),
        "ohio_equal": recovered(RANGE[:6]),
        "logged": _goals(name, controller(gains, RANGE[:6]), behavior.problem),
        **{interface: _learned(name, interface) for interface in low_levels.INTERFACES},
        "end_to_end": _space(name, torque, direct, bounds, direct.problem(bounds), steps=1),
    }


def controller(gains: Gains, output: Float[np.ndarray, "6"]) -> osc.Params:
    """The arm's controller with these gains, and goals of up to output: `Float[6]`, m and rad, usually of behavior's size."""
    kp, zeta = (np.repeat(np.array(pair, np.float32), 3) for pair in gains)
    arm = jax.tree.map(jnp.float32, panda.chain())
    bound, action_scale = jnp.asarray(panda.TORQUE, jnp.float32), jnp.asarray(RANGE[:6])
    return osc.Params(arm, jnp.asarray(kp), jnp.asarray(zeta), jnp.asarray(output), bound, action_scale)


def _goals(name: str, params: osc.Params, problem: Problem | None = None) -> ActionInterface:
    """The interface of what the controller may be asked for; problem: how goals are recovered, if not by itself."""
    box = heads.Box((*np.asarray(params.output).tolist(), 1.0), tuple(RANGE.tolist()))
    return _space(name, box, osc, params, problem or osc.problem(params))


def _learned(name: str, interface: str) -> ActionInterface:
    """An interface of what a learned low level may be asked for."""
    params = low_levels.params(name, interface)
    box = heads.Box((*np.asarray(params.output).tolist(), 1.0))
    return _space(name, box, recurrent, params, recurrent.problem(params))


def _space(name: str, box: heads.Box, controller, params, problem: Problem, steps: int = SUBSTEPS) -> ActionInterface:
    networks = functools.partial(mlp_networks, box, action_scale=box.action_scale or box.limits)
    return ActionInterface(box, controller, params, problem, networks, steps, features=FEATURES[name])
