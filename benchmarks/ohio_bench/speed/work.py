"""What several speed tests time: segments that are inverted, episodes that are played, MuJoCo's own steps."""

import importlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_bench.speed.timing import rates
from ohio_jax.data import Trajectories
from ohio_jax.low_level import Problem, Segment
from ohio_jax.relabel import invert_all, segments_of


def segments(logs: Trajectories, steps: int, amount: int) -> Segment:
    """The first `amount` whole segments of the logs, again from the start where there are fewer."""
    starts, lengths = segments_of(logs.offset, steps)
    rows = np.resize(starts[lengths == steps], amount)[:, None] + np.arange(steps)
    return Segment(*(jnp.asarray(array[rows]) for array in (logs.state, logs.action, logs.next_state)))


class Inversions(NamedTuple):
    """Inverses by name: how many segments each gets, a call that inverts them, and segments a second.

    Attributes:
        common: how many segments all of them saw.
    """

    amounts: dict[str, int]
    calls: dict[str, Callable[[], Any]]
    rates: dict[str, dict[str, float]]
    common: int


def inversions(problem: Problem, logs: Trajectories, steps: int, budget: Any, slow: Sequence[str]) -> Inversions:
    """The budget's `inverses` on `many` segments each, `few` of slow ones, all arrays on the device."""
    amounts = {name: budget.few if name in slow else budget.many for name in budget.inverses}
    given = {amount: segments(logs, steps, amount) for amount in set(amounts.values())}
    calls = {name: partial(invert_all, name, problem, given[amount]) for name, amount in amounts.items()}
    return Inversions(amounts, calls, rates(calls, amounts, budget), min(amounts.values()))


def play(env, each, act=lambda env, state, action: action):
    """(returns `Float[E]`, sum of all features `Float[E]`) of episodes; without the sum XLA would leave the features out.

    Args:
        each: (instances, actions of every step, or None).
        act: (env, state, action) -> what is done.
    """

    def episode(instance, actions):
        def step(state, action):
            after = env.step(state, act(env, state, action))
            return after, (after.reward, jnp.sum(after.obs))

        first = env.reset_to(instance)
        _, (rewards, features) = jax.lax.scan(step, first, actions, env.horizon if actions is None else None)
        return first.reward + jnp.sum(rewards), jnp.sum(features)

    return jax.vmap(episode)(*each)


def rollouts(model, data, episodes: int, controls: np.ndarray) -> tuple[Callable[[], Any], int]:
    """A call of MuJoCo's own batched rollout, physics alone, and how many episodes it plays: so many on each core.

    Args:
        model, data: MuJoCo's; all begin in the state of the data.
        controls: `Float[T, nu]`, of every episode.
    """
    mujoco: Any = importlib.import_module("mujoco")
    rollout: Any = importlib.import_module("mujoco.rollout")
    cores = os.cpu_count() or 1
    datas = [mujoco.MjData(model) for _ in range(cores)]
    full = mujoco.mjtState.mjSTATE_FULLPHYSICS
    start = np.zeros((episodes * cores, mujoco.mj_stateSize(model, full)))
    mujoco.mj_getState(model, data, start[0], full)
    start[:] = start[0]
    each = np.broadcast_to(controls, (len(start), *controls.shape)).copy()
    return lambda: rollout.rollout(model, datas, start, each), len(start)
