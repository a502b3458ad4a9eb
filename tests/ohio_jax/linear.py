"""A linear plant, LQR and MPC of it, and the segments that they make of goals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from ohio_bench.runner.sensitivity.low_levels import follow, plant

from ohio_jax.controllers import lqr, mpc
from ohio_jax.dynamics.model import Model

STEPS = 5


def system(n, m, seed=0):
    random = np.random.default_rng(seed)
    A = np.eye(n) + 0.3 * random.normal(size=(n, n)) / np.sqrt(n)
    return A, random.normal(size=(n, m)), random.normal(size=n)


def lqr_params(bound=1e6, steps=STEPS, drift=True, n=3, m=2):
    model = Model(tuple(jnp.asarray(x, jnp.float32) for x in system(n, m)), plant, m)
    one = jnp.ones(n)
    return lqr.Params(model, model, one, 0.1 * jnp.ones(m), one, bound * jnp.ones(m), 50 * one, 0.01 * one, steps, drift)


def mpc_params(bound, m=2, horizon=5, steps=STEPS):
    p = lqr_params(steps=steps, m=m)
    return mpc.Params(p.dynamics, p.model, p.Q, p.R, p.P, bound * jnp.ones(m), p.limit, p.noise, horizon, steps)


def play(controller, p, x, goal):
    """The segment that the controller itself makes of a goal."""
    return follow(controller, p, p.model.step, p.steps, x, goal)


@functools.partial(jax.jit, static_argnums=0)
def play_all(controller, p, x, goal):
    """Of a batch. Parameters are an argument, so that others compile nothing."""
    return jax.vmap(functools.partial(play, controller, p))(x, goal)
