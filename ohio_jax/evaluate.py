"""Returns of policies, scripted or trained, on the instances of a seed."""

from typing import Any

import jax
import numpy as np

from ohio_jax.agent import Agent
from ohio_jax.rollout import Episodes, episode_keys, learned, rollouts, scripted_policy
from ohio_jax.task import Task


def evaluate_policy(task: Task, policy: str, episodes: int, seed: int) -> Episodes:
    """Returns of a scripted policy on the instances of a seed; "oracle" is the full-information bound.

    Raises:
        UserError: for an unknown policy.
    """
    instances = task.instances(seed, episodes)
    if policy == "oracle" and task.bound is not None:
        return Episodes(task.bound(instances), {})
    who = scripted_policy(task, policy, ["oracle"] if task.bound is not None else [])
    return rollouts(who.env, who.act, who.params, instances, episode_keys(seed, episodes))


def evaluate_learner(
    task: Task, interface: str, learner: Any, states: Agent, episodes: int, seed: int, deterministic: bool = True
) -> Episodes:
    """Returns of trained policies, `Float[S, E]`; `states` are agents stacked over S seeds, on the host."""
    env, instances, keys = task.high_level(interface), task.instances(seed, episodes), episode_keys(seed, episodes)
    act = learned(learner, deterministic)
    seeds = jax.tree.leaves(states)[0].shape[0]
    # One seed at a time: on a CPU vmapping seeds gains nothing and costs memory.
    one = lambda seed: rollouts(env, act, states.of_seed(seed), instances, keys)
    each = [one(seed) for seed in range(seeds)]
    return jax.tree.map(lambda *x: np.stack(x), *each)
