"""The trials by which a table's settings are chosen: equally many for each learner and kind of method, on one of its rows."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from ohio_jax.errors import UserError, unknown
from ohio_jax.training.plan import Plan

Kind = Literal["hierarchy", "end-to-end", "learned executor"]
Trial = dict[str, Any]  # changes of the declared plan: fields of the learner's Config, else of HYPERPARAMETERS

# Fields of `Plan` that a trial may change. Of others, `learner`, `config` and `ahead` are the method's, `seeds` and `first_seed`
# are those of all trials, and no policy depends on `block`.
HYPERPARAMETERS = ("hidden", "updates", "batch", "sampling", "temperature", "normalize")
TRIALS = 8  # for each learner and kind: no method gets more than another


@dataclass(frozen=True)
class Trials:
    """The trials of a table.

    Attributes:
        row: the row that they learn from and play on; in a preset without it, the first one.
        families: kind -> the family of columns that is tried, for all methods of the kind.
        grid: learner -> trials of every kind; the first one is {}, the plan as declared.
    """

    row: str
    families: dict[Kind, str]
    grid: dict[str, tuple[Trial, ...]]

    def __post_init__(self):
        for kind in self.families:
            if kind not in get_args(Kind):
                raise unknown("kind of the families of trials", kind, get_args(Kind))
        for learner, trials in self.grid.items():
            found = sum(changes not in trials[:number] for number, changes in enumerate(trials))
            if found != TRIALS or len(trials) != TRIALS or trials[0]:
                expected = f"{TRIALS} that differ, of which the first is {{}}"
                raise UserError(f"trials of {learner}: expected {expected}, found {found} of {len(trials)}, first {trials[:1]}")


def kind_of(interface: str) -> Kind:
    """The kind of a method that learns on this action interface."""
    if interface.startswith("end_to_end"):
        return "end-to-end"
    return "learned executor" if interface.startswith("hrl") else "hierarchy"


def applied(plan: Plan, changes: Trial) -> Plan:
    """The plan with the changes of a trial. Raises UserError for a field that no trial may change, or a bad value."""
    for name, value in changes.items():
        if name in vars(plan.config):
            changed = replace(plan, config=plan.config.replace(**{name: value}))
        elif name in HYPERPARAMETERS:
            changed = replace(plan, **{name: value})
        else:
            known = [*vars(plan.config), *HYPERPARAMETERS]
            raise unknown(f"field of {plan.learner}'s Config or hyperparameter of Plan", name, known)
        changed.check()
        plan = plan.lasting(value) if name == "updates" else changed
    return plan


# Of behavior cloning anywhere: how fast, whether the rate falls to zero, and on how many transitions an update.
CLONING: tuple[Trial, ...] = (
    {},
    {"actor_lr": 1e-4},
    {"actor_lr": 3e-4},
    {"actor_lr": 3e-3},
    {"actor_lr_decay_steps": 0.0},
    {"actor_lr": 3e-4, "actor_lr_decay_steps": 0.0},
    {"batch": 512},
    {"actor_lr": 3e-3, "batch": 512},
)
