"""What to train and for how long, and what a learner is given for it."""

import functools
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.data import Batch, Transitions
from ohio_jax.learners import LEARNERS, Spec
from ohio_jax.task import Space, Task


@dataclass(frozen=True)
class Plan:
    """What to train and for how long.

    learner: name in LEARNERS; config: its Config.
    hidden: width of the networks.
    updates: gradient updates; batch: transitions an update; block: updates a compiled call.
    seeds: so many independent runs, with keys 0 .. seeds-1.
    sampling: "uniform", or trajectory-weighted: "return" (RW) or "advantage" (AW), with temperature; or "top", of so large a
        share of the episodes as temperature says.
    """

    learner: str
    config: Any
    hidden: int = 256
    updates: int = 100_000
    batch: int = 100
    block: int = 1_000
    seeds: int = 1
    sampling: str = "uniform"
    temperature: float = 0.1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def spec_of(task: Task, space: Space, hidden: int) -> Spec:
    return Spec(task.env.observation_size, space.spec, space.networks(hidden))


def initial_states(plan: Plan, spec: Spec):
    """Learner states of all seeds, stacked, and the keys of their batches."""
    learner = LEARNERS[plan.learner]
    roots = [jax.random.key(seed) for seed in range(plan.seeds)]
    # One by one: a seed's start then has the same bits however many stand beside it.
    each = [_initial_state(learner, jax.random.fold_in(root, 0), spec, plan.config) for root in roots]
    states = jax.tree.map(lambda *x: jnp.stack(x), *each)
    return states, jnp.stack([jax.random.fold_in(root, 1) for root in roots])


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _initial_state(learner, key: jax.Array, spec: Spec, config: Any):
    return learner.init(key, spec, config)


def batch_of(plan: Plan, spec: Spec, transitions: Transitions) -> Batch:
    """The whole dataset as the plan's learner wants it: goals where densities are finite, and what else it asks for."""
    batch = transitions.batch(getattr(plan.config, "discount", 1.0))
    project = lambda goal: np.asarray(spec.action.project(jnp.asarray(goal, jnp.float32)))
    wants = lambda what: getattr(LEARNERS[plan.learner], what, False)
    outcome = transitions.outcomes(plan.config.discount) if wants("OUTCOMES") else None
    next_goal = project(transitions.next_goals()) if wants("NEXT_GOALS") else None
    return batch._replace(goal=project(batch.goal), outcome=outcome, next_goal=next_goal)
