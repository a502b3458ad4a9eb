"""Offline training: the whole data set lies on the device, and the batch of update k depends on the seed and on k alone."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ohio_jax.data import Batch, Transitions, sampling
from ohio_jax.errors import unknown
from ohio_jax.learners import LEARNERS
from ohio_jax.task import Task, check_transitions
from ohio_jax.training.checkpoint import Run
from ohio_jax.training.loop import Trained, run_blocks
from ohio_jax.training.plan import Plan, batch_of, initial_agents
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
    return {**about, "data_sha256": transitions.digest, "plan": plan.as_json()}


def train(plan: Plan, task: Task, interface: str, transitions: Transitions, directory: Path | None = None) -> Trained:
    """Trains `plan.seeds` seeds; with a directory, keeps checkpoints there and resumes from them.

    A run of the directory that differs in nothing but fewer updates goes on to `plan.updates`; a rate that falls over the updates
    then falls over all of them, so that the result is not bit for bit that of a run made in one piece.

    Raises:
        UserError: for an unknown sampling, data of other sizes than the task's, a directory that holds another run or
            a checkpoint that cannot be read, and where numbers stop being finite.
    """
    if plan.sampling not in sampling.PROBABILITIES:
        raise unknown("sampling", plan.sampling, sampling.PROBABILITIES)
    check_transitions(transitions, task, interface)
    run = Run(f"train {task.name} {interface} {plan.learner}", plan, fingerprint(plan, task, interface, transitions), directory)
    fresh, keys = initial_agents(plan, task, interface, transitions)
    agents = run.restore(fresh)
    # Hyperparameters are the plan's also where the run was trained for fewer updates before.
    agents = agents._replace(state=agents.state.replace(config=fresh.state.config))
    spec, preprocess = agents.state.spec, jax.tree.map(lambda x: x[0], agents.preprocess)  # of the same data in all of them
    states, keys = run.seeds.spread((agents.state, keys))
    probabilities = sampling.PROBABILITIES[plan.sampling](transitions, plan.temperature)
    given = run.seeds.share((batch_of(plan, spec, preprocess, transitions), sampling.cumulative(probabilities)))
    return run_blocks(
        run,
        lambda updates: make_block(LEARNERS[plan.learner], plan.batch, updates, run.seeds),
        states,
        lambda states, done: (states, keys, jnp.int32(done), *given),
        lambda states, finished: agents._replace(state=states),
    )
