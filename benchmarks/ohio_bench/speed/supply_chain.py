"""`ohio-jax speed supply-chain`: periods a second beside NumPy, and how long HDPO takes.

The peer in this process is the same simulator in NumPy, one episode after another (`reference_supply_chain`); what is fast is
checked to earn the same.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs import registry

from ohio_bench.experiments import supply_chain
from ohio_bench.speed import reference_supply_chain as reference
from ohio_bench.speed.timing import over_devices, rates
from ohio_bench.speed.work import play
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.training.hdpo import hdpo
from ohio_jax.training.plan import Plan

NETWORKS = ("supply-chain-1w3s", "supply-chain-1w10s")


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        batches: of episodes.
        peers: episodes of NumPy.
        plan: HDPO's.
        deadline: by when all of it is to end.
    """

    windows: int
    seconds: float
    batches: tuple[int, ...]
    peers: int
    plan: Plan
    deadline: Deadline = NEVER


FULL = Budget(7, 0.5, (1, 64, 4096), 4, replace(supply_chain.hdpo(64, 500), seeds=4))
WIDE = FULL._replace(batches=(*FULL.batches, 65_536))
QUICK = Budget(2, 0.02, (1, 64), 1, replace(supply_chain.hdpo(32, 200), seeds=2))


def parts(budget: Budget) -> dict[str, Callable[[], dict[str, Any]]]:
    """The simulator of both networks, and HDPO on them."""
    return {
        "simulator": lambda: {"simulator": {name: periods(name, budget) for name in NETWORKS}},
        "hdpo": lambda: {"hdpo": {name: training(name, budget) for name in NETWORKS}},
    }


def orders(task, batch: int) -> np.ndarray:
    """Whole orders `Float32[E, T, N]`, some for stock that is not there."""
    env = task.env
    most = np.append(np.full(env.scenario.stores, 5), int(env.scenario.limit[-1]))
    return np.random.default_rng(0).integers(0, most + 1, (batch, env.horizon, env.scenario.nodes)).astype(np.float32)


def periods(name: str, budget: Budget) -> dict[str, Any]:
    """Environment steps a second under orders drawn beforehand, and with the low level under random goals."""
    task = registry.make(name)
    env: Any = task.env
    contenders, amounts = {}, {}
    for batch in budget.batches:
        given = (task.instances(0, batch), jnp.asarray(orders(task, batch)))
        contenders[f"batch_{batch}"] = partial(over_devices(play, batch), env, given)
        goals = task.interfaces["ohio"].spec.random(jax.random.key(0), (batch, env.horizon))[0]
        steered = partial(over_devices(play, batch), task.high_level("ohio"), (given[0], goals))
        contenders[f"batch_{batch}, low level"] = steered
        amounts |= dict.fromkeys((f"batch_{batch}", f"batch_{batch}, low level"), batch * env.horizon)
    instances, actions = task.instances(0, budget.peers), orders(task, budget.peers)
    paths, queues = (np.asarray(x, np.float64) for x in instances)

    def peer() -> list[float]:
        chains = [reference.chain(env.scenario, *each) for each in zip(paths, queues.astype(int), strict=True)]
        return [sum(chain.step(action)[0] for action in each) for chain, each in zip(chains, actions, strict=True)]

    found = rates(contenders | {"numpy": peer}, amounts | {"numpy": budget.peers * env.horizon}, budget)
    ours = np.asarray(jax.jit(play)(env, (instances, jnp.asarray(actions)))[0])
    best = {key: rate["best"] for key, rate in found.items()}
    return {
        "steps_per_second": found,
        "ratio_to_numpy": {key: best[key] / best["numpy"] for key in contenders},
        "largest_difference_of_return": float(np.abs(ours - peer()).max()),
    }


def training(name: str, budget: Budget) -> dict[str, Any]:
    """HDPO as the table trains it: when its mean return was within 1 % of the last for good, seeds side by side."""
    plan, task = budget.plan, registry.make(name, {"smooth": "1"})
    trained = hdpo(plan, task, "ohio", deadline=budget.deadline)
    curve = trained.curve["return"].mean(axis=1)
    last = curve[-max(1, len(curve) // 20) :].mean()
    below = np.flatnonzero(curve < last - 0.01 * abs(last))
    blocks = int(below[-1]) + 2 if len(below) else 1
    return {
        "plan": plan.as_json(),
        "seconds": trained.seconds,
        "periods_per_second": plan.seeds * plan.updates * plan.batch * task.env.horizon / trained.seconds["train"],
        "last_return": float(last),
        "seconds_to_99_percent": trained.seconds["train"] * min(blocks, len(curve)) / len(curve),
        "updates_to_99_percent": min(blocks * plan.block, plan.updates),
    }
