"""The task contract: an environment, the action interfaces a learner may see, and what its scores mean.

A learner never knows whether it is hierarchical: `ActionInterface` says which numbers it emits, which low-level policy turns them
into actions, and how a logged action is turned back into such numbers.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax import low_level, scores
from ohio_jax.agent import Features, as_given
from ohio_jax.data import Trajectories, Transitions
from ohio_jax.data import arrays as forms
from ohio_jax.environment import Environment, HighLevelEnv, State
from ohio_jax.errors import UserError, brief, short, unknown
from ohio_jax.low_level import Controller, Problem, Segment
from ohio_jax.networks import Networks
from ohio_jax.networks.heads import ActionSpec

FAR, HUGE = 1e3, 1e30  # times the largest action of an interface, or 1; a number beyond all that have a bound

# A scripted low-level policy: (environment, key, state) -> low-level action.
Policy = Callable[[Any, jax.Array, State], jax.Array]


@dataclass(frozen=True)
class ActionInterface:
    """An action interface of a task.

    Attributes:
        spec: what a goal is (box, simplex, product of simplices, ...): density, sampler, mode, projection.
        controller, params: the low-level policy from goal to low-level action.
        problem: what inverses need to recover goals from logged low-level actions.
        networks: `networks(hidden) -> Networks` sized for this task and interface, whose observations are features.
        steps: h, low-level steps that share one goal.
        fit: `fit(trajectories) -> Problem`, for inverses that learn their model from the logs they explain; replaces `problem`.
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
class HighLevelPolicy:
    """A scripted high-level policy: it gives the goals, and the low level of an interface acts.

    Attributes:
        policy: (environment, key, state) -> goal, as the interface's spec has it; may be asked at every low-level step, and is
            heeded where a goal is due.
        interface: what follows the goals. It need not be one that learners see: behavior may have other gains than they will
            have.
    """

    policy: Policy
    interface: ActionInterface


@dataclass(frozen=True)
class Reference:
    """Score 0 and score 100 of a task, with a line and a command that say where they come from."""

    zero: float
    full: float
    how: str


@dataclass(frozen=True)
class Task:
    """Everything the suite knows about a task.

    Attributes:
        settings: every parameter of the task with its value, as JSON has it.
        instances: `instances(seed, episodes)`, exogenous randomness of so many episodes, a pytree with leading axis `episodes`.
            Episode e of a seed does not depend on how many follow it.
        controller_obs: `controller_obs(state)`, Float or `Int[k]`, what of the environment's `State` controllers and inverses
            see; logged before a step.
        next_controller_obs: `next_controller_obs(state)`, like `controller_obs`, read from the `State` after a step: what
            `controller_obs` became through the step's action.
        interfaces: action interfaces by name; "ohio" is the hierarchical one, "end_to_end" the fair flat one.
        policies: scripted behavior by name; a policy acts itself, a `HighLevelPolicy` through a low level.
        bound: `bound(instances)`, `Float64[episodes]`, upper bound of the return, of full information or in the mean of any
            policy (slow, outside jit); None if unknown.
        render: `render(axes, pipeline_state)`, draws one moment into Matplotlib axes, see `ohio_jax.render`; None if the task has
            no picture.
        plans: `plans(learner, interface, preset)`, see `plan`; None: the task has none.
        errors: `errors(action, logged, end, logged_end) -> {name: Float}`, how far low-level actions [h, ...] and the state that
            a segment ends in are from those logged, by names with units; for `ohio_jax.labels`. None: not said.
    """

    name: str
    settings: dict[str, Any]
    env: Environment
    controller_obs: Callable[[State], jax.Array]
    next_controller_obs: Callable[[State], jax.Array]
    interfaces: dict[str, ActionInterface]
    policies: Mapping[str, Policy | HighLevelPolicy]
    instances: Callable[[int, int], Any]
    reference: Reference
    bound: Callable[[Any], np.ndarray] | None = None
    render: Callable[[Any, Any], None] | None = None
    plans: Callable[[str, str, str], Any] | None = None
    errors: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], dict[str, jax.Array]] | None = None

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        return f"Task({self.name}: {settings}; interfaces {', '.join(self.interfaces)}; policies {', '.join(self.policies)})"

    @functools.cached_property
    def state_shape(self) -> tuple[int, ...] | None:
        """Of what `controller_obs` gives; None where there is no simulator to ask."""
        if not hasattr(self.env, "reset"):
            return None
        return jax.eval_shape(lambda: self.controller_obs(self.env.reset(jax.random.key(0)))).shape

    def plan(self, learner: str, interface: str = "ohio", preset: str = "quick") -> Any:
        """How a learner is trained on an action interface of this task, an `ohio_jax.training.Plan`: hyperparameters and budget.

        Args:
            learner: name in LEARNERS.
            preset: `quick` takes seconds to minutes on two cores, `cpu` up to hours, `paper` is what was published.

        Raises:
            UserError: for an unknown learner, interface or preset, and for a task without plans.
        """
        _interface(self, interface)
        if self.plans is None:
            raise UserError(f"task {self.name!r}: expected plans of its own, found none: write a `Plan`")
        return self.plans(learner, interface, preset)

    def score(self, returns: Any) -> np.ndarray:
        """Normalized scores of returns, Float64 of any shape, see `Reference`."""
        return scores.normalize(returns, self.reference.zero, self.reference.full)

    def high_level(self, interface: str) -> HighLevelEnv:
        """The environment a learner of this interface acts in."""
        return self.under(self.interfaces[interface])

    def under(self, interface: ActionInterface) -> HighLevelEnv:
        """The environment as it is for whoever gives the goals of an interface, one of the task's or not."""
        goal_size = int(np.prod(interface.spec.shape))
        return HighLevelEnv(self.env, interface.params, interface.controller, goal_size, interface.steps, self.controller_obs)


def of_logs(name: str, observation_size: int, interfaces: dict[str, ActionInterface]) -> Task:
    """A task of which there are logs and low levels but no simulator: enough to read logs, recover goals and train.

    Whatever would play an episode raises UserError.
    """

    def instances(seed: int, episodes: int) -> Any:
        raise UserError(f"task {name!r}: expected a simulator to play episodes in, found logs alone")

    env: Any = SimpleNamespace(observation_size=observation_size)
    view = lambda state: state.pipeline_state
    reference = Reference(0.0, 100.0, "logs alone: a score is a return")
    return Task(name, {}, env, view, view, interfaces, {}, instances, reference)


def check_transitions(transitions: Transitions, task: Task, interface: str) -> None:
    """Whether transitions are those of an interface of a task: by their card, as far as it says, and by sizes, without which they
    would be broadcast. Actions out of its range are for learners to project; what is `FAR` beyond it is no action of it.

    Raises:
        UserError: naming the field, and for an unknown interface.
    """
    chosen, of, card = _interface(task, interface), f"{task.name} {interface}", transitions.card
    said = {name: card[name] for name in ("task", "interface", "steps") if name in card}
    said |= {f"settings.{name}": value for name, value in card.get("settings", {}).items() if name in task.settings}
    meant = {"task": task.name, "interface": interface, "steps": chosen.steps}
    meant |= {f"settings.{name}": value for name, value in task.settings.items()}
    for name, found in said.items():
        if found != meant[name] and name != "settings.backend":  # which engine steps the physics is the machine's choice
            expected = f"{short(meant[name])}, as {of} has it"
            raise UserError(f"transitions: field card.{name}: expected {expected}, found {short(found)}")
    size, shape = task.env.observation_size, tuple(chosen.spec.shape)
    for field, expected in {"obs": (size,), "next_obs": (size,), "action": shape}.items():
        _agree("transitions", f"field {field}", expected, np.shape(getattr(transitions, field))[1:], of)
    ends = [np.abs(chosen.spec.project(jnp.full(shape, end, jnp.float32))).max() for end in (-HUGE, HUGE)]
    most = FAR * max(1.0, *map(float, ends))
    forms.check_range("transitions", "action", transitions.action, -most, most, f"an action of {of}, within {most:g}")


def check_trajectories(trajectories: Trajectories, task: Task, interface: str) -> None:
    """Whether logs are of the sizes that a task observes, and its low level reads and makes. The low level is traced, not run.

    Raises:
        UserError: naming the field, for an unknown interface, and for a low level that says of itself what does not fit
            together: a residual that is no vector, or high-level actions of another shape than the interface's.
    """
    chosen, of = _interface(task, interface), f"{task.name} {interface}"
    rows = {field: getattr(trajectories, field).shape[1:] for field in ("obs", "state", "next_state", "action")}
    _agree("trajectories", "field obs", (task.env.observation_size,), rows["obs"], task.name)
    for field in ("state", "next_state"):
        _agree("trajectories", f"field {field}", task.state_shape or rows["state"], rows[field], task.name)
    steps = lambda x: jax.ShapeDtypeStruct((chosen.steps, *x.shape[1:]), jax.dtypes.canonicalize_dtype(x.dtype))
    segment = Segment(*map(steps, (trajectories.state, trajectories.action, trajectories.next_state)))
    try:
        jax.eval_shape(lambda segment: _check_low_level(chosen, segment, of), segment)
    except UserError as error:
        raise UserError(str(error)) from None  # without what JAX notes of its frames
    except Exception as error:  # whatever code of others raises on shapes that it was not made for
        found = f"rows of shapes {rows['state']} and {rows['action']} ({type(error).__name__}: {brief(error)})"
        expected = f"states and actions that the low level of {of} can read"
        raise UserError(f"trajectories: expected {expected}, found {found}") from error


def _check_low_level(chosen: ActionInterface, segment: Segment, of: str) -> None:
    """Traces what inverses ask of the low level, and compares goals and status; of: whose low level it is."""
    problem, goal = chosen.problem, jnp.zeros(chosen.spec.shape)
    told = f"states of shape {segment.state.shape[1:]} and actions of shape {segment.action.shape[1:]}"
    where = f"low level of {of}, told {told}"
    at = low_level.prepare(problem, segment)
    begin = low_level.start(problem, at)
    _agree(where, "high-level action where searches start", goal.shape, begin.shape, "the interface's spec")
    try:
        if problem.action is not None:
            low_level.action_residual(problem, goal, at)
        if problem.state is not None:
            low_level.state_residual(problem, goal, at)
    except UserError as error:
        raise UserError(f"trajectories: {told}, for {of}: {error}") from error
    if problem.action is None:  # which says of no logged action what it should be
        made, _ = chosen.controller.act(chosen.params, chosen.controller.init(chosen.params), segment.state[0], goal)
        _agree("trajectories", "field action", made.shape, segment.action.shape[1:], f"the low level of {of}")
    if problem.closed_form is not None:
        begin, status = low_level.closed_form(problem, at)
        _agree(where, "high-level action in closed form", goal.shape, begin.shape, "the interface's spec")
        _agree(where, "status in closed form", (), status.shape, "every segment")


def _interface(task: Task, interface: str) -> ActionInterface:
    if interface not in task.interfaces:
        raise unknown(f"action interface for {task.name}", interface, task.interfaces)
    return task.interfaces[interface]


def _agree(where: str, what: str, expected: tuple[int, ...], found: tuple[int, ...], as_in: str) -> None:
    if tuple(found) != tuple(expected):
        raise UserError(f"{where}: {what}: expected shape {tuple(expected)} a row, as {as_in} has it, found {tuple(found)}")
