"""The trials by which a table's settings are chosen: equally many for each learner and kind of method, on one of its rows."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ohio_jax.errors import UserError, unknown
from ohio_jax.training.plan import Plan

Kind = Literal["hierarchy", "end-to-end", "learned executor"]
Trial = dict[str, Any]  # changes of the declared plan: fields of the learner's Config, else of `Plan`

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
        for learner, trials in self.grid.items():
            found = len({tuple(sorted(changes.items())) for changes in trials})
            if found != TRIALS or len(trials) != TRIALS or trials[0]:
                expected = f"{TRIALS} that differ, of which the first is {{}}"
                raise UserError(f"trials of {learner}: expected {expected}, found {found} of {len(trials)}, first {trials[:1]}")


def kind_of(interface: str) -> Kind:
    """The kind of a method that learns on this action interface."""
    if interface.startswith("end_to_end"):
        return "end-to-end"
    return "learned executor" if interface.startswith("hrl") else "hierarchy"


def applied(plan: Plan, changes: Trial) -> Plan:
    """The plan with the changes of a trial. Raises UserError for a field that neither it nor its Config has, or a bad value."""
    of_plan = [field.name for field in fields(Plan)]
    for name, value in changes.items():
        if hasattr(plan.config, name):
            plan = replace(plan, config=plan.config.replace(**{name: value}))
        elif name == "updates":
            plan = plan.lasting(value)
        elif name in of_plan:
            plan = replace(plan, **{name: value})
        else:
            raise unknown(f"field of {plan.learner}'s Config or of Plan", name, [*vars(plan.config), *of_plan])
    plan.check()
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
