"""What is tried before a table is run: for each learner and each kind of method as many settings, on one of the table's rows."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from ohio_jax.errors import UserError, unknown
from ohio_jax.training.plan import Plan

Kind = Literal["hierarchy", "end-to-end", "learned executor"]
Try = dict[str, Any]  # what a plan has otherwise than declared: fields of the learner's Config, else of `Plan`

TRIES = 8  # of each learner and kind: no method gets more than another


@dataclass(frozen=True)
class Tries:
    """What a table tries.

    Attributes:
        row: on which; in a preset without it, on the first one.
        families: kind -> the family that stands for all methods of the kind.
        grid: learner -> what every kind tries with it; the first one is {}, the plan as declared.
    """

    row: str
    families: dict[Kind, str]
    grid: dict[str, tuple[Try, ...]]

    def __post_init__(self):
        for learner, tries in self.grid.items():
            found = len({tuple(sorted(changes.items())) for changes in tries})
            if found != TRIES or len(tries) != TRIES or tries[0]:
                expected = f"{TRIES} that differ, of which the first is {{}}"
                raise UserError(f"tries of {learner}: expected {expected}, found {found} of {len(tries)}, first {tries[:1]}")


def kind_of(interface: str) -> Kind:
    """The kind of a method that learns on this action interface."""
    if interface.startswith("end_to_end"):
        return "end-to-end"
    return "learned executor" if interface.startswith("hrl") else "hierarchy"


def applied(plan: Plan, changes: Try) -> Plan:
    """The plan with what a try changes. Raises UserError for a field that neither it nor its Config has, and for its value."""
    of_plan: dict[str, Callable[[Plan, Any], Plan]] = {
        field.name: lambda plan, value, name=field.name: replace(plan, **{name: value}) for field in fields(Plan)
    }
    of_plan["updates"] = Plan.lasting
    for name, value in changes.items():
        if hasattr(plan.config, name):
            plan = replace(plan, config=plan.config.replace(**{name: value}))
        elif name in of_plan:
            plan = of_plan[name](plan, value)
        else:
            raise unknown(f"field of {plan.learner}'s Config or of Plan", name, [*vars(plan.config), *of_plan])
    plan.check()
    return plan


# Of behavior cloning anywhere: how fast, whether the rate falls to zero, and on how many transitions an update.
CLONING: tuple[Try, ...] = (
    {},
    {"actor_lr": 1e-4},
    {"actor_lr": 3e-4},
    {"actor_lr": 3e-3},
    {"actor_lr_decay_steps": 0.0},
    {"actor_lr": 3e-4, "actor_lr_decay_steps": 0.0},
    {"batch": 512},
    {"actor_lr": 3e-3, "batch": 512},
)
