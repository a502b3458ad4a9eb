"""A one-dimensional world whose every number can be checked by hand: x moves by the action, the reward is minus |x|."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from ohio_jax.environment import State
from ohio_jax.low_level import UNIQUE, ActionModel, Problem
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.task import ActionInterface, Reference, Task


class Place(NamedTuple):
    """Where one is, and since how many steps."""

    x: jax.Array
    time: jax.Array


@struct.dataclass
class Line:
    """x' = x + action from a start drawn from {0, .., 3}; ends truly at |x| >= wall, else by the time limit."""

    wall: float = 100.0
    horizon: int = struct.field(pytree_node=False, default=6)

    observation_size = 1
    action_size = 1

    def sample_instance(self, key):
        return jax.random.randint(key, (), 0, 4).astype(jnp.float32)

    def reset_to(self, instance):
        zero = jnp.float32(0)
        return State(Place(instance, zero), instance[None], zero, zero, {"moved": zero}, {"truncation": zero})

    def reset(self, key):
        return self.reset_to(self.sample_instance(key))

    def step(self, state, action):
        x, time = state.pipeline_state.x + action.reshape(()), state.pipeline_state.time + 1
        done = (jnp.abs(x) >= self.wall).astype(jnp.float32)
        truncation = (time >= self.horizon).astype(jnp.float32) * (1 - done)
        return state.replace(
            pipeline_state=Place(x, time),
            obs=x[None],
            reward=-jnp.abs(x),
            done=done,
            metrics={**state.metrics, "moved": jnp.abs(action.reshape(()))},
            info={**state.info, "truncation": truncation},
        )


def place(state):
    """Float[1], what the low level sees."""
    return state.pipeline_state.x[None]


class Halfway:
    """A low level that goes half of the way to the goal and counts its calls."""

    @staticmethod
    def init(params):
        return jnp.float32(0)

    @staticmethod
    def plan(params, memory, state, goal):
        return memory

    @staticmethod
    def act(params, memory, state, goal):
        return params * (goal - state), memory + 1


def halfway_problem(params) -> Problem:
    """The exact inverse of `Halfway`: one step from x by action leads halfway to x + action / params, and so on."""
    goal_of = lambda segment, at: (segment.state[0] + segment.action[0] / params).reshape(1)
    return Problem(
        project=lambda goal: goal,
        start=lambda segment, at: segment.state[0],
        action=ActionModel(lambda goal, at: params * (goal[None] - at.state), lambda segment, at: 1.0),
        closed_form=lambda segment, at: (goal_of(segment, at), UNIQUE),
    )


HALF = 0.5
PROBLEM = halfway_problem(HALF)


def half_to_zero(env, key, state):
    """Scripted: goes half of the way to zero."""
    return -HALF * state.pipeline_state.x[None]


def wander(env, key, state):
    """Scripted: a random step, small enough that the goal stays in the box."""
    return jax.random.uniform(key, (1,), minval=-0.3, maxval=0.3)


def line_task(horizon: int = 6) -> Task:
    """A complete task on the line; the goal is a point in [-1, 1]."""
    interface = ActionInterface(
        Box((1.0,)), Halfway, jnp.float32(HALF), PROBLEM, lambda hidden: mlp_networks(Box((1.0,)), hidden)
    )
    draw = lambda seed, episodes: (
        0.25 * jax.vmap(lambda key: Line().sample_instance(key))(jax.random.split(jax.random.key(seed), episodes))
    )
    return Task(
        name="line",
        settings={"horizon": horizon},
        env=Line(horizon=horizon),
        controller_obs=place,
        next_controller_obs=place,
        interfaces={"ohio": interface},
        policies={"half": half_to_zero, "wander": wander},
        instances=draw,
        reference=Reference(-10.0, 0.0, "by hand"),
    )
