"""What to train and for how long, and what a learner is given for it."""

import functools
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ohio_jax import limits
from ohio_jax.agent import Agent, Preprocessor, feature_size, shown
from ohio_jax.data import Batch, Transitions
from ohio_jax.data.transitions import ALL
from ohio_jax.errors import UserError, short, unknown
from ohio_jax.learners import LEARNERS, Spec, outside
from ohio_jax.task import ActionInterface, Task


@dataclass(frozen=True)
class Plan:
    """What to train and for how long.

    Attributes:
        learner: name in LEARNERS.
        config: its Config.
        hidden: width of the networks.
        updates: gradient updates.
        batch: transitions an update.
        block: updates a compiled call.
        seeds: so many independent runs, with keys first_seed .. first_seed + seeds - 1.
        sampling: "uniform", or trajectory-weighted: "return" (RW) or "advantage" (AW), with temperature; or "top", of so large a
            share of the episodes as temperature says.
        normalize: whether `train` counts features in deviations from the mean of its data, see `ohio_jax.agent`. `online` and
            `hdpo` keep what the agents they start from do, and count new ones' features as they are.
        ahead: decisions that a transition of the data looks ahead, see `Transitions.window`: n-step returns, which leave the
            learner as it is. What is gathered online looks one ahead, and `online` and `hdpo` take no other number.
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
    normalize: bool = True
    first_seed: int = 0
    ahead: int = 1

    def as_json(self) -> dict[str, Any]:
        """Its fields; of a learner from elsewhere also where that is found and what its source is, see `learners.outside`.

        `ahead` is left out where it is 1, so that a run from before there was the field is still the same run.
        """
        own = asdict(self)
        if self.ahead == 1:
            del own["ahead"]
        return {**own, **outside.origin(self.learner)}

    @classmethod
    def of_json(cls, given: dict[str, Any]) -> "Plan":
        """The plan that `as_json` gave; a learner from elsewhere is found again, as it is now. UserError for any other JSON."""
        try:
            given = {name: value for name, value in given.items() if name != "learner_sha256"}
            learner = LEARNERS[outside.find(given.pop("learner_from", given["learner"]))]
            plan = cls(**{**given, "config": learner.Config(**given["config"])})
        except (AttributeError, KeyError, TypeError) as error:
            raise UserError(f"plan: expected what a run notes, found {type(error).__name__}: {error}") from error
        plan.check()
        return plan

    def check(self) -> None:
        """Raises UserError naming the field for a value of another type, or beyond its bounds in `ohio_jax.limits`."""
        for field in fields(self):
            value, kind = getattr(self, field.name), typing.cast(Any, field.type)
            if field.name in limits.BUDGETS:
                limits.check(f"plan: field {field.name}", value, limits.BUDGETS[field.name])
            elif kind is not Any and type(value) is not kind:
                raise UserError(f"plan: field {field.name}: expected {kind.__name__}, found {short(value)}")
        # What learners from elsewhere mean by a name is theirs.
        bounds = {} if outside.origin(self.learner) else limits.HYPERPARAMETERS
        for name, kind in typing.get_type_hints(type(self.config)).items():
            value, place = getattr(self.config, name, None), f"config: field {name}"
            if typing.get_origin(kind) is Literal and value not in typing.get_args(kind):
                raise unknown(f"value of {place}", str(value), typing.get_args(kind))
            if kind is bool and type(value) is not bool:
                raise UserError(f"{place}: expected bool, found {short(value)}")
            if kind in (int, float):
                limits.check(place, value, bounds.get(name, limits.WHOLE if kind is int else limits.REAL))

    def lasting(self, updates: int) -> "Plan":
        """The same for so many updates; a rate that falls to zero over the plan's falls over these."""
        follows = getattr(self.config, "actor_lr_decay_steps", 0.0) == self.updates
        config = self.config.replace(actor_lr_decay_steps=float(updates)) if follows else self.config
        return replace(self, updates=updates, block=min(self.block, updates), config=config)


def spec_of(task: Task, interface: ActionInterface, hidden: int) -> Spec:
    return Spec(feature_size(task.env.observation_size, interface.features), interface.spec, interface.networks(hidden))


def initial_agents(
    plan: Plan, task: Task, interface: str, transitions: Transitions | None = None
) -> tuple[Agent, Key[Array, "{plan.seeds}"]]:
    """Agents of all seeds, stacked, and the keys of their batches. transitions: what they will learn from, if known."""
    chosen = task.interfaces[interface]
    states, keys = initial_states(plan, spec_of(task, chosen, plan.hidden))
    preprocess = Preprocessor.plain(task.env.observation_size, chosen.features, chosen.nodes)
    if plan.normalize and transitions is not None:
        preprocess = preprocess.fitted(transitions.obs, transitions.weight > 0)  # of others no loss hears, and some are made up
    return Agent(states, jax.tree.map(lambda x: np.stack([x] * plan.seeds), preprocess)), keys


def initial_states(plan: Plan, spec: Spec) -> tuple[Any, Key[Array, "{plan.seeds}"]]:
    """Learner states of all seeds, stacked, and the keys of their batches."""
    learner = LEARNERS[plan.learner]
    outside.check(plan.learner, spec, plan.config)
    roots = [jax.random.key(seed) for seed in range(plan.first_seed, plan.first_seed + plan.seeds)]
    # One by one: a seed's start then has the same bits however many stand beside it.
    each = [_initial_state(learner, jax.random.fold_in(root, 0), spec, plan.config) for root in roots]
    states = jax.tree.map(lambda *x: jnp.stack(x), *each)
    return states, jnp.stack([jax.random.fold_in(root, 1) for root in roots])


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _initial_state(learner, key: jax.Array, spec: Spec, config: Any):
    return learner.init(key, spec, config)


def identity_of(transitions: Transitions) -> dict[str, Any]:
    """What a run notes of its data: the digest of their arrays, and h where segments are cut short, whose discount it makes."""
    cut_short = (np.asarray(transitions.elapsed) != transitions.steps).any()
    return {"data_sha256": transitions.digest, **({"steps": transitions.steps} if cut_short else {})}


def batch_of(plan: Plan, spec: Spec, preprocess: Preprocessor, transitions: Transitions) -> Batch:
    """The whole dataset as the plan's learner wants it, on the host, see `rows_of`."""
    return rows_of(plan, spec, preprocess, transitions)(ALL)


def rows_of(plan: Plan, spec: Spec, preprocess: Preprocessor, transitions: Transitions) -> Callable[[Any], Batch]:
    """`take(rows)`: transitions as the plan's learner wants them, on the host: features, actions where densities are finite, and
    what else it asks for.
    """
    wants = lambda what: getattr(LEARNERS[plan.learner], what, False)
    mc_return = transitions.mc_returns(plan.config.discount) if wants("MC_RETURNS") else None
    show = lambda obs: np.asarray(shown(preprocess, obs))
    project = lambda action: np.asarray(spec.action.project(jnp.asarray(action, jnp.float32)))

    def take(rows: Any) -> Batch:
        batch = transitions.batch(getattr(plan.config, "discount", 1.0), rows, plan.ahead)
        return batch._replace(
            obs=show(batch.obs),
            next_obs=show(batch.next_obs),
            action=project(batch.action),
            mc_return=None if mc_return is None else mc_return[rows],
            next_action=project(transitions.next_actions(rows, plan.ahead)) if wants("NEXT_ACTIONS") else None,
        )

    return take
