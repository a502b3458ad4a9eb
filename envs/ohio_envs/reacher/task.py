"""The reacher task: its low levels, what they see of the arm, and what a score means."""

import functools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from ohio_envs.reacher.policies import POLICIES
from ohio_envs.reacher.simulator import Body, Reacher, advance, joints
from ohio_envs.settings import Rule, integer, parse
from ohio_jax.controllers import direct, lqr
from ohio_jax.data import Trajectories
from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Model
from ohio_jax.inverse.problem import Problem
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.task import Reference, Space, Task

SETTINGS = {"horizon": Rule("1000", integer(1, 100_000)), "steps": Rule("5", integer(1, 100))}

COST, EFFORT = np.array([10.0, 10.0, 1.0, 1.0], np.float32), np.array([0.1, 0.1], np.float32)
GOALS = (4 * math.pi, 4 * math.pi, 4 * math.pi, 20.0)  # the original's limits of its analytical goals
NOISE = np.array([0.01, 0.01, 0.1, 0.1], np.float32)  # rad, rad, rad/s, rad/s: how far off a reached state counts as explained


def reacher(settings: dict[str, str]) -> Task:
    """`reacher`: DeepMind Control's reacher, hard. Raises UserError for a bad setting."""
    values = parse("reacher", SETTINGS, settings)
    env = Reacher(Body(), values["horizon"])
    reference = Reference(
        zero=0.0,
        full=0.98 * values["horizon"],
        how="0 is never touching the target; 100 is touching it 98 % of the time, as the scripted expert does "
        "(`ohio-jax evaluate reacher --policy expert --episodes 100 --seed 10`)",
    )
    return Task(
        name="reacher",
        settings=values,
        env=env,
        view=joints,
        reached=joints,
        spaces=_spaces(values["steps"]),
        policies=POLICIES,
        instances=functools.partial(_instances, env),
        reference=reference,
    )


@functools.partial(jax.jit, static_argnums=(2,))
def _draw(env: Reacher, seed: jax.Array, episodes: int) -> jax.Array:
    key = jax.random.key(seed)
    return jax.vmap(lambda episode: env.draw(jax.random.fold_in(key, episode)))(jnp.arange(episodes))


def _instances(env: Reacher, seed: int, episodes: int) -> jax.Array:
    """The task's `instances`: Float[E, 4]."""
    return _draw(env, jnp.uint32(seed), episodes)


def _spaces(steps: int) -> dict[str, Space]:
    """The hierarchies, whose inverses learn the arm's dynamics from the logs, and end-to-end torques.

    ohio: gains and closed form know the drift; ohio_compat: the original's, which do not, with the original's model;
    ohio_true: as ohio, with the true dynamics in place of a learned model.
    """
    true = Model(Body(), advance, 2)
    box, torque = heads.Box(GOALS), heads.Box((1.0, 1.0))
    cost, effort = jnp.asarray(COST), jnp.asarray(EFFORT)

    def by_lqr(drift: bool, learn: learned.Config | None) -> Space:
        params = lqr.Params(true, true, cost, effort, cost, jnp.ones(2), jnp.array(GOALS), jnp.asarray(NOISE), steps, drift)
        fit = None if learn is None else functools.partial(_learn, learn, params)
        return Space(box, lqr, params, lqr.problem(params), functools.partial(mlp_networks, box), steps, fit)

    bounds = direct.Params(jnp.ones(2))
    return {
        "ohio": by_lqr(True, learned.Config(angles=(0, 1))),
        "ohio_compat": by_lqr(False, learned.ORIGINAL),
        "ohio_true": by_lqr(True, None),
        "end_to_end": Space(torque, direct, bounds, direct.problem(bounds), functools.partial(mlp_networks, torque)),
    }


def _learn(config: learned.Config, params: lqr.Params, logs: Trajectories) -> Problem:
    """The low level's problem with dynamics learned from the logs."""
    fitted = learned.fit(config, jax.random.key(0), logs.state, logs.action, logs.next_state)
    return lqr.problem(replace(params, model=fitted.model))
