"""A low level of one's own: cruise control with an integral. Logged throttles become the speeds that were asked for."""

from collections import namedtuple

import jax
import jax.numpy as jnp

from ohio_jax.low_level import UNIQUE, ActionModel, Problem, Segment
from ohio_jax.relabel import invert_all

# Float[1] each: throttle a m/s of error and of the sum of errors; largest throttle; largest speed; deviation of a throttle.
Params = namedtuple("Params", ("kp", "ki", "bound", "limit", "noise"))


def init(params: Params) -> jax.Array:
    return jnp.zeros(1)  # the memory: the sum of errors


def plan(params: Params, memory: jax.Array, state: jax.Array, goal: jax.Array) -> jax.Array:
    return jnp.zeros(1)  # a new goal starts it anew


def act(params: Params, memory: jax.Array, state: jax.Array, goal: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = memory + goal - state
    return jnp.clip(params.kp * (goal - state) + params.ki * total, -params.bound, params.bound), total


def problem(params: Params) -> Problem:
    """The throttle as it would be before its bounds, in the logged speeds."""

    def unclipped(goal: jax.Array, segment: Segment) -> jax.Array:
        error = goal[None] - segment.state
        return params.kp[None] * error + params.ki[None] * jnp.cumsum(error, axis=0)

    return Problem(
        project=lambda goal: jnp.clip(goal, -params.limit, params.limit),
        start=lambda segment, _: segment.state[-1],
        action=ActionModel(unclipped, lambda segment, _: params.noise, lambda unclipped, _: (-params.bound, params.bound)),
    )


if __name__ == "__main__":
    low = Params(*(jnp.full(1, x) for x in (0.5, 0.1, 1.0, 10.0, 0.01)))

    def drive(goal):  # a car on a road, from a halt, and what it logs
        def step(carry, _):
            speed, memory = carry
            throttle, memory = act(low, memory, speed, goal)
            after = 0.9 * speed + 2.0 * throttle
            return (after, memory), (speed, throttle, after)

        halt = jnp.zeros(1)
        return Segment(*jax.lax.scan(step, (halt, plan(low, init(low), halt, goal)), None, 4)[1])

    asked = jax.random.uniform(jax.random.key(0), (64, 1), minval=-10.0, maxval=10.0)
    found = invert_all("least_squares", problem(low), jax.vmap(drive)(asked))
    error = jnp.abs(found.goal - asked)[found.status == UNIQUE]
    print(f"{len(error)} of {len(asked)} speeds are the only ones that explain their throttles; error {error.max():.1e} m/s")
    assert 20 < len(error) < 64 and error.max() < 1e-3
