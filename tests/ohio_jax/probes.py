"""Five probe problems with an optimum in closed form, as offline batches: the smallest proof that a learner learns.

Each isolates one thing a learner must get right, so a failure names its cause.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.data import Batch
from ohio_jax.learners import Spec
from ohio_jax.networks.heads import Box, Simplex
from ohio_jax.networks.mlp import mlp_networks

SIZE = 128
WIDTH = 64  # of the networks: where a critic is largest is off by a kink of it, and narrower ones have few


class Probe(NamedTuple):
    """batch: the data; best(obs) -> the optimal goal, None where all are; value(obs, discount) -> its return."""

    spec: Spec
    batch: Batch
    best: Callable[[np.ndarray], np.ndarray] | None
    value: Callable[[np.ndarray, float], np.ndarray]


ACTIONS = {"box": Box((1.0, 1.0)), "simplex": Simplex(3)}
TARGETS = {"box": np.array([[0.5, -0.3], [-0.4, 0.2]]), "simplex": np.array([[0.6, 0.3, 0.1], [0.15, 0.25, 0.6]])}


def _probe(action: str, obs, reward, next_obs, discount, goal, best, value) -> Probe:
    spec = ACTIONS[action]
    columns = (obs[:, None], goal, reward, next_obs[:, None], discount, np.ones(SIZE))
    batch = Batch(*(jnp.asarray(column, jnp.float32) for column in columns))
    batch = batch._replace(next_action=batch.action)
    return Probe(Spec(1, spec, mlp_networks(spec, WIDTH)), batch, best, value)


def _parts(action: str):
    rng = np.random.default_rng(0)
    obs = rng.choice([-1.0, 1.0], SIZE)
    spec = ACTIONS[action]
    goal = np.asarray(spec.project(spec.random(jax.random.key(0), (SIZE,))[0]))
    return obs, goal, np.zeros(SIZE)


def constant_reward(action: str) -> Probe:
    """One step, reward 1 whatever one sees or does: the critic must find it at all."""
    obs, goal, ends = _parts(action)
    return _probe(action, obs, np.ones(SIZE), obs, ends, goal, None, lambda obs, discount: np.ones(len(obs)))


def reward_of_observation(action: str) -> Probe:
    """One step, the reward is the observation: it must reach the critic."""
    obs, goal, ends = _parts(action)
    return _probe(action, obs, obs, obs, ends, goal, None, lambda obs, discount: obs[:, 0])


def delayed_reward(action: str) -> Probe:
    """From -1 to +1 without reward, then reward 1 and the end: it tests discount and ends."""
    obs, goal, _ = _parts(action)
    last = obs > 0
    value = lambda obs, discount: np.where(obs[:, 0] > 0, 1.0, discount)
    return _probe(action, obs, last * 1.0, np.ones(SIZE), np.where(last, 0.0, 1.0), goal, None, value)


def reward_of_action(action: str) -> Probe:
    """One step, the reward falls with the squared distance to one goal: the actor must follow the critic."""
    obs, goal, ends = _parts(action)
    target = TARGETS[action][0]
    reward = -4.0 * np.sum((goal - target[None]) ** 2, axis=-1)
    best = lambda obs: np.broadcast_to(target, (len(obs), len(target)))
    return _probe(action, obs, reward, obs, ends, goal, best, lambda obs, discount: np.zeros(len(obs)))


def reward_of_both(action: str) -> Probe:
    """The same with a goal that depends on the observation: the actor must read it."""
    obs, goal, ends = _parts(action)
    best = lambda obs: TARGETS[action][(obs[:, 0] > 0).astype(int)]
    reward = -4.0 * np.sum((goal - best(obs[:, None])) ** 2, axis=-1)
    return _probe(action, obs, reward, obs, ends, goal, best, lambda obs, discount: np.zeros(len(obs)))


VALUES = {"constant": constant_reward, "observation": reward_of_observation, "delayed": delayed_reward}
POLICIES = {"action": reward_of_action, "both": reward_of_both}
