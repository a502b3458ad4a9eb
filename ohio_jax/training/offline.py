"""Offline training: the batch of update k depends on the seed and on k alone, wherever the data lie.

Where they fit, the whole data set lies on the device and batches are drawn there; else it stays on the host, see
`ohio_jax.training.host_batches`.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ohio_jax.agent import feature_size
from ohio_jax.data import Batch, Transitions, sampling
from ohio_jax.data.transitions import ALL
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.errors import unknown
from ohio_jax.learners import LEARNERS
from ohio_jax.task import Task, check_transitions
from ohio_jax.training import host_batches
from ohio_jax.training.checkpoint import Run
from ohio_jax.training.loop import Trained, run_blocks
from ohio_jax.training.plan import Plan, identity_of, initial_agents, rows_of
from ohio_jax.training.sharding import SeedSharding, over_seeds


@functools.cache
def make_block(learner: Any, batch_size: int, updates: int, seeds: SeedSharding) -> jax.stages.Wrapped:
    """Compiled `block(states, keys, first, data, cumulative) -> (states, metrics)` of `updates` updates.

    - states: learner states stacked over S seeds, S a multiple of the number of devices; donated.
    - keys: [S].
    - first: `Int[]`, number of the first update.
    - data: Batch of the whole dataset.
    - cumulative: `Float[M]`.
    """

    def one_seed(state, key, first, data: Batch, cumulative):
        def sample(number):
            return sampling.sample_indices(jax.random.fold_in(key, number), cumulative, batch_size)

        def update(state, rows):
            return learner.update(state, jax.tree.map(lambda x: x[rows], data))

        rows = jax.vmap(sample)(first + jnp.arange(updates))  # of all updates at once, which is faster than one by one
        state, metrics = jax.lax.scan(update, state, rows)
        return state, jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)

    return over_seeds(one_seed, seeds)


def fingerprint(plan: Plan, task: Task, interface: str, transitions: Transitions) -> dict[str, Any]:
    """What makes two runs the same run."""
    about = {"task": task.name, "settings": task.settings, "interface": interface}
    return {**about, **identity_of(transitions), "plan": plan.as_json()}


def train(
    plan: Plan,
    task: Task,
    interface: str,
    transitions: Transitions,
    directory: Path | None = None,
    data_on: str | None = None,
    deadline: Deadline = NEVER,
) -> Trained:
    """Trains `plan.seeds` seeds; with a directory, keeps checkpoints there and resumes from them.

    A run of the directory that differs in nothing but fewer updates goes on to `plan.updates`; a rate that falls over the updates
    then falls over all of them, so that the result is not bit for bit that of a run made in one piece.

    Args:
        data_on: "device" or "host", see `host_batches`; None: by size. Programs differ, and so do results, in the last bits.

    Raises:
        UserError: for an unknown sampling, data that `Transitions.check` or `check_transitions` refuses, a directory
            that holds another run or a checkpoint that cannot be read, and where numbers stop being finite.
        OutOfTime: where it cannot end by the deadline; what was done is kept.
    """
    if plan.sampling not in sampling.PROBABILITIES:
        raise unknown("sampling", plan.sampling, sampling.PROBABILITIES)
    transitions.check("transitions")
    check_transitions(transitions, task, interface)
    features = feature_size(task.env.observation_size, task.interfaces[interface].features)
    on_host = host_batches.place_of(data_on, features, transitions) == "host"
    identity = fingerprint(plan, task, interface, transitions) | ({"data_on": "host"} if on_host else {})
    run = Run(f"train {task.name} {interface} {plan.learner}", plan, identity, directory)
    fresh, keys = initial_agents(plan, task, interface, transitions)
    agents = run.restore(fresh)
    # Hyperparameters are the plan's also where the run was trained for fewer updates before.
    agents = agents._replace(state=agents.state.replace(config=fresh.state.config))
    preprocess = jax.tree.map(lambda x: x[0], agents.preprocess)  # of the same data in all of them
    take, learner = rows_of(plan, agents.state.spec, preprocess, transitions), LEARNERS[plan.learner]
    cumulative = sampling.cumulative(sampling.PROBABILITIES[plan.sampling](transitions, plan.temperature))
    kept = lambda states, finished: agents._replace(state=states)
    if on_host:
        with host_batches.ahead(plan, run.seeds, keys, cumulative, take) as batches:
            block = lambda updates: host_batches.make_block(learner, run.seeds)
            states = run.seeds.spread(agents.state)
            inputs = lambda states, done: (states, batches(done))
            return run_blocks(run, block, states, inputs, kept, deadline=deadline, fewest=plan.block)
    states, keys = run.seeds.spread((agents.state, keys))
    given = run.seeds.share((take(ALL), cumulative))
    block = lambda updates: make_block(learner, plan.batch, updates, run.seeds)
    inputs = lambda states, done: (states, keys, jnp.int32(done), *given)
    return run_blocks(run, block, states, inputs, kept, deadline=deadline)
