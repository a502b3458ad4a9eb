"""The task contract: an environment, the action spaces a learner may see, and what its scores mean.

A learner never knows whether it is hierarchical: `Space` says which numbers it emits, which low-level policy turns them
into actions, and how a logged action is turned back into such numbers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from ohio_jax.agent import Features, as_given
from ohio_jax.data import Trajectories
from ohio_jax.environment import Environment, HighLevelEnv, State
from ohio_jax.errors import UserError
from ohio_jax.low_level import Controller, Problem
from ohio_jax.networks import Networks
from ohio_jax.networks.heads import ActionSpec

# A scripted low-level policy: (environment, key, state) -> low-level action.
Policy = Callable[[Any, jax.Array, State], jax.Array]


@dataclass(frozen=True)
class Space:
    """An action space of a task.

    spec: what a goal is (box, simplex, product of simplices, ...): density, sampler, mode, projection.
    controller, params: the low-level policy from goal to low-level action.
    problem: what inverses need to recover goals from logged low-level actions.
    networks: `networks(hidden) -> Networks` sized for this task and space, whose observations are features.
    steps: h, low-level steps that share one goal.
    fit(trajectories) -> Problem: for inverses that learn their model from the logs they explain; replaces `problem`.
    features: what learners are shown of an observation, see `ohio_jax.agent`.
    nodes: n, where the features are those of the nodes of a graph, in C order of [n, F / n], which share their moments.
    """

    spec: ActionSpec
    controller: Controller
    params: Any
    problem: Problem
    networks: Callable[[int], Networks]
    steps: int = 1
    fit: Callable[[Trajectories], Problem] | None = None
    features: Features = as_given
    nodes: int = 1


@dataclass(frozen=True)
class Guide:
    """A scripted high-level policy: it gives the goals, and the low level of a space acts.

    policy: (environment, key, state) -> goal, as the space's spec has it; may be asked at every low-level step, and is heeded
        where a goal is due.
    space: what follows the goals. It need not be one that learners see: behaviour may have other gains than they will have.
    """

    policy: Policy
    space: Space


@dataclass(frozen=True)
class Reference:
    """Score 0 and score 100 of a task, with a line and a command that say where they come from."""

    zero: float
    full: float
    how: str


@dataclass(frozen=True)
class Task:
    """Everything the suite knows about a task.

    settings: every parameter of the task with its value, as JSON has it.
    instances(seed, episodes): exogenous randomness of so many episodes, a pytree with leading axis `episodes`.
        Episode e of a seed does not depend on how many follow it.
    view(state): Float or Int[k], what of the environment's `State` controllers and inverses see; logged before a step.
    reached(state): like `view`, read from the `State` after a step: what `view` became through the step's action.
    spaces: action spaces by name; "ohio" is the hierarchical one, "end_to_end" the fair flat one.
    policies: scripted behaviour by name; a policy acts itself, a `Guide` through a low level.
    bound(instances): Float64[episodes], upper bound of the return, of full information or in the mean of any policy (slow,
        outside jit); None if unknown.
    draw(axes, pipeline_state): draws one moment into Matplotlib axes, see `ohio_jax.render`; None if the task has no picture.
    """

    name: str
    settings: dict[str, Any]
    env: Environment
    view: Callable[[State], jax.Array]
    reached: Callable[[State], jax.Array]
    spaces: dict[str, Space]
    policies: Mapping[str, Policy | Guide]
    instances: Callable[[int, int], Any]
    reference: Reference
    bound: Callable[[Any], np.ndarray] | None = None
    draw: Callable[[Any, Any], None] | None = None

    def high_level(self, space: str) -> HighLevelEnv:
        """The environment a learner of this space acts in."""
        return self.under(self.spaces[space])

    def under(self, space: Space) -> HighLevelEnv:
        """The environment as it is for whoever gives the goals of a space, one of the task's or not."""
        goal_size = int(np.prod(space.spec.shape))
        return HighLevelEnv(self.env, space.params, space.controller, goal_size, space.steps, self.view)


def of_logs(name: str, observation_size: int, spaces: dict[str, Space]) -> Task:
    """A task of which there are logs and low levels but no simulator: enough to read logs, recover goals and train.

    Whatever would play an episode raises UserError.
    """

    def instances(seed: int, episodes: int) -> Any:
        raise UserError(f"task {name!r}: expected a simulator to play episodes in, found logs alone")

    env: Any = SimpleNamespace(observation_size=observation_size)
    view = lambda state: state.pipeline_state
    reference = Reference(0.0, 100.0, "logs alone: a score is a return")
    return Task(name, {}, env, view, view, spaces, {}, instances, reference)
