"""The method in small: forces that a regulator gave a sliding mass, and the high-level actions (goals) recovered from them."""

import jax
import jax.numpy as jnp

from ohio_jax.controllers import lqr
from ohio_jax.dynamics.model import Model
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, Segment

DT = 0.1  # s a step


def slide(constants, x, u):
    """A mass of 1 kg on ice: x is its position [m] and velocity [m/s], u the force on it [N]."""
    return jnp.stack([x[0] + DT * x[1], x[1] + DT * u[0]])


def regulator(steps: int) -> lqr.Params:
    """An LQR low level whose goals, a position and a velocity, last so many steps."""
    model = Model(None, slide, actions=1)
    Q, R, P, noise = jnp.array([1.0, 0.1]), jnp.array([1e-3]), jnp.array([1.0, 0.1]), jnp.array([0.01, 0.01])
    return lqr.Params(model, model, Q, R, P, jnp.array([50.0]), jnp.array([2.0, 2.0]), noise, steps)


def log(params: lqr.Params, goals: jax.Array) -> Segment:
    """What is on record once a high level asked for these goals one after another: states and forces, no goals."""

    def segment(x, goal):
        def step(carry, _):
            x, memory = carry
            u, memory = lqr.act(params, memory, x, goal)
            return (slide(None, x, u), memory), (x, u, slide(None, x, u))

        memory = lqr.plan(params, lqr.init(params), x, goal)
        (x, _), seen = jax.lax.scan(step, (x, memory), None, params.steps)
        return x, Segment(*seen)

    return jax.lax.scan(segment, jnp.zeros(2), goals)[1]


def recover(params: lqr.Params, segments: Segment):
    """The goal of each segment, by one compiled call."""
    return jax.jit(jax.vmap(lambda segment: INVERSES["analytic"](lqr.problem(params), segment)))(segments)


if __name__ == "__main__":
    asked = jax.random.uniform(jax.random.key(0), (8, 2), minval=-1.0, maxval=1.0)
    found = recover(regulator(5), log(regulator(5), asked))
    for goal, guess in zip(asked, found.goal, strict=True):
        print("asked for", goal, "recovered", guess)
    assert jnp.max(jnp.abs(found.goal - asked)) < 1e-3 and jnp.all(found.status == UNIQUE)

    short = recover(regulator(1), log(regulator(1), asked))  # one force cannot tell two numbers
    assert jnp.all(short.status == AMBIGUOUS)
    print("after one step instead of five:", int(jnp.sum(short.status == AMBIGUOUS)), "of 8 are ambiguous")
