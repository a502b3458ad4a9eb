"""The Panda without contacts, moved by a controller's torques: logs whose goals are known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs.manipulation import panda

from ohio_jax.controllers import osc, torques
from ohio_jax.dynamics.chain import bias, frames, mass_matrix
from ohio_jax.low_level import ON, Segment
from ohio_jax.solvers.small import solve_definite

STEPS, INTERVAL = 5, 0.002
OUTPUT = np.array([0.05] * 3 + [0.5] * 3)  # the range of displacements of the hand
SAME = (150.0 * np.ones(6), np.ones(6))  # gains, stiffness and damping
STIFFNESS = (np.array([150.0] * 3 + [50.0] * 3), np.ones(6))


def osc_params(gains=SAME, output=OUTPUT, bound=panda.TORQUE, **options):
    kp, zeta = gains
    return osc.Params(panda.chain(), kp, zeta, output, bound, **options)


def states(n, still=0.1, seed=0):
    """Float32[n, 21], near the nominal pose, at joint velocities of this deviation."""
    random = np.random.default_rng(seed)
    q = panda.NOMINAL + 0.3 * random.normal(size=(n, 7))
    first = q + 0.1 * random.normal(size=(n, 7))
    return np.concatenate([q, still * random.normal(size=(n, 7)), first], axis=1).astype(np.float32)


def goals(n, output, scale=1.0, seed=1):
    """Float32[n, g], uniform in this share of the range, and a command to close."""
    random = np.random.default_rng(seed)
    asked = scale * output * random.uniform(-1, 1, (n, len(output)))
    return np.concatenate([asked, np.ones((n, 1))], axis=1).astype(np.float32)


@functools.partial(jax.jit, static_argnames="controller")
def play(controller, params, x, goal):
    """Segments, leading axis n, of the goals in these states."""

    def one(begin):
        x, goal = begin
        memory = controller.plan(params, controller.init(params), x, goal)

        def step(x, _):
            u, _ = controller.act(params, memory, x, goal)
            q, v, first = torques.split(x)
            at = frames(params.chain, q)
            v = v + INTERVAL * solve_definite(mass_matrix(params.chain, at), u[:7] - bias(params.chain, at, v))[0]
            after = jnp.concatenate([q + INTERVAL * v, v, first])
            return after, (x, u, after)

        return Segment(*jax.lax.scan(step, x, None, STEPS)[1])

    return jax.lax.map(one, (x, goal), batch_size=8)


def saturated(segments):
    """Bool[n, h, 7], torques on their bounds."""
    return np.abs(segments.action[..., :7]) >= ON * panda.TORQUE
