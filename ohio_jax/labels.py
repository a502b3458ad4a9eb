"""Errors of recovered high-level actions as labels: in the low-level actions they cause, and in the states they reach."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.data import Trajectories, Transitions
from ohio_jax.environment import HighLevelEnv
from ohio_jax.errors import UserError, short, unknown
from ohio_jax.low_level import Segment
from ohio_jax.relabel import segments_of
from ohio_jax.task import Task

EPISODES, SEGMENTS = 4, 1024  # of the logs, by default
SAME = 1e-4  # tolerance for equal states, absolute and relative
LANES = 128  # segments side by side


def label_errors(
    task: Task,
    interface: str,
    trajectories: Trajectories,
    transitions: Transitions,
    home: Task | None = None,
    episodes: int = EPISODES,
    segments: int = SEGMENTS,
) -> dict[str, float]:
    """Root mean square errors of recovered high-level actions, under the low level of `task`.

    In each segment the interface's low level acts on the recovered action twice: in the logged states, and in the task's
    simulator from the state in which the segment began. The simulator's state holds more than logs do, so the logged low-level
    actions are replayed from the episode's instance. Segments before which the replay differs from the logs, as it may on another
    kind of machine, are left out.

    Args:
        trajectories: the logs, of a seed's episodes from the first on, or from the card's `first_episode`.
        transitions: what an inverse made of them; of any weight above 0.
        home: the task with the settings under which the logs were made; None: `task`.
        episodes: the first so many are replayed.
        segments: so many of these episodes' segments are taken, evenly spaced.

    Returns:
        The errors that `Task.errors` names, and `segments`, their number.

    Raises:
        UserError: for an unknown interface, a task without errors, transitions of other logs, and logs that no replay reproduces.
    """
    if interface not in task.interfaces:
        raise unknown(f"action interface for {task.name}", interface, task.interfaces)
    if task.errors is None:
        raise UserError(f"task {task.name!r}: expected one that says how far segments are apart (Task.errors), found another")
    if transitions.card.get("source_sha256") != trajectories.digest:
        found = f"those of {short(transitions.card.get('source_sha256'))}"
        raise UserError(f"transitions: expected those of the logs {short(trajectories.digest)}, found {found}")
    chosen, home = task.interfaces[interface], task if home is None else home
    logs = trajectories.episodes(0, min(episodes, len(trajectories.offset) - 1))
    first, length = segments_of(logs.offset, chosen.steps)
    rows = first[:, None] + np.minimum(np.arange(chosen.steps), length[:, None] - 1)
    states, same = _replayed(home, logs)
    usable = same[first] & (length == chosen.steps) & (transitions.weight[: len(first)] > 0)
    if not usable.any():
        raise UserError("logs: expected states that their actions lead to again in the simulator, found none of positive weight")
    some = np.flatnonzero(usable)
    some = some[np.linspace(0, len(some) - 1, min(segments, len(some))).astype(int)]
    given = Segment(*(np.asarray(x[rows[some]]) for x in (logs.state, logs.action, logs.next_state)))
    began = jax.tree.map(lambda x: x[first[some]], states)
    goals = np.asarray(transitions.action[some])
    apart = _errors(task.high_level(interface), task.errors, task.next_controller_obs, began, given, goals)
    rms = lambda x: float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))
    return {"segments": len(some), **{name: rms(x) for name, x in apart.items()}}


def _replayed(home: Task, logs: Trajectories) -> tuple[Any, np.ndarray]:
    """(the simulator's `State` before each logged step, leading axis N; `Bool[N]`, whether it is the logged one)."""
    seed, lengths = logs.card.get("seed"), np.diff(logs.offset)
    if not isinstance(seed, int):
        raise UserError(f"logs: field card.seed: expected the seed of their instances, found {short(seed)}")
    at = np.arange(lengths.max())
    rows = logs.offset[:-1, None] + np.minimum(at, lengths[:, None] - 1)
    actions = np.asarray(logs.action[rows.reshape(-1)]).reshape(*rows.shape, *logs.action.shape[1:])
    first = logs.card.get("first_episode", 0)  # of the seed's
    instances = jax.tree.map(lambda x: x[first:], home.instances(seed, first + len(lengths)))
    states, seen = _replay(home.env, home.controller_obs, instances, actions)
    taken = at < lengths[:, None]
    states, seen = jax.tree.map(lambda x: x[taken], (states, seen))
    logged = np.asarray(logs.state)
    same = np.abs(np.asarray(seen) - logged) <= SAME * (1.0 + np.abs(logged))
    return states, np.logical_and.reduce(same.reshape(len(logged), -1), axis=1)


@functools.partial(jax.jit, static_argnames="view")
def _replay(env: Any, view: Any, instances: Any, actions: Any) -> tuple[Any, Any]:
    def step(state, action):
        return env.step(state, action), (state, view(state))

    episode = lambda instance, actions: jax.lax.scan(step, env.reset_to(instance), actions)[1]
    return jax.vmap(episode)(instances, actions)


@functools.partial(jax.jit, static_argnames=("errors", "reached"))
def _errors(env: HighLevelEnv, errors: Any, reached: Any, states: Any, segments: Segment, goals: Any) -> dict[str, Any]:
    controller, params = env.controller, env.params

    def one(given):
        state, segment, goal = given
        memory = controller.plan(params, controller.init(params), segment.state[0], goal)
        swap = lambda pair: pair[::-1]
        _, action = jax.lax.scan(lambda memory, x: swap(controller.act(params, memory, x, goal)), memory, segment.state)
        own = {"controller": controller.init(params), "elapsed": jnp.int32(0)}
        end = env.step(state.replace(info={**state.info, **own}), goal)
        return errors(action, segment.action, reached(end), segment.next_state[-1])

    return jax.lax.map(one, (states, segments, goals), batch_size=LANES)
