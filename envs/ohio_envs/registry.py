"""All tasks by name."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ohio_envs import files, plans
from ohio_envs.manipulation import policies as manipulation_policies
from ohio_envs.manipulation import task as manipulation
from ohio_envs.reacher import brax_reacher, mujoco_reacher
from ohio_envs.reacher import policies as reacher_policies
from ohio_envs.reacher import task as reacher
from ohio_envs.routing import policies as routing_policies
from ohio_envs.routing import task as routing
from ohio_envs.supply_chain import classical
from ohio_envs.supply_chain import policies as supply_chain_policies
from ohio_envs.supply_chain import task as supply_chain
from ohio_jax.errors import unknown
from ohio_jax.task import Task

TASKS: dict[str, Callable[[dict[str, Any]], Task]] = {
    "routing-nyc": routing.nyc,
    "routing-shenzhen": routing.shenzhen,
    "routing-synthetic": routing.synthetic,
    "supply-chain-1w3s": supply_chain.one_warehouse_3,
    "supply-chain-1w10s": supply_chain.one_warehouse_10,
    "inventory-one-store": classical.one_store,
    "inventory-serial": classical.serial,
    "inventory-many-stores": classical.many_stores,
    "reacher": reacher.reacher,
    "reacher-mjx": mujoco_reacher.reacher_mjx,
    "reacher-brax": brax_reacher.reacher_brax,
    "lift": manipulation.lift,
    "door": manipulation.door,
}


def make(name: str, settings: dict[str, Any] | None = None, **more: Any) -> Task:
    """Builds a task: `make("reacher", horizon=200)`.

    Args:
        settings: the same as a dict, typed, or text as given by `--set`.

    Raises:
        UserError: for an unknown task or a bad setting.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return replace(TASKS[name]({**(settings or {}), **more}), plans=functools.partial(plans.plan, name))


def policies() -> dict[str, list[str]]:
    """Names of the policies of each family of tasks; "oracle" is the task's bound, for `evaluate` only."""
    return {
        "routing": [*routing_policies.POLICIES, "oracle"],
        "supply-chain": [*supply_chain_policies.NAMES, "oracle"],
        "inventory": [*classical.NAMES, "oracle"],
        "reacher": [*reacher_policies.POLICIES],
        "manipulation": [*manipulation_policies.POLICIES["lift"]],
    }


__all__ = ["TASKS", "files", "make", "policies"]
