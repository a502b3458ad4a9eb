"""`ohio-jax speed learners`: gradient updates a second on the usual size of a locomotion task, beside plain JAX and PyTorch.

A plain jitted scan (`reference_scan`), and PyTorch where it is installed, on one thread and on as many as there are cores, take
turns with ours in one process; their first updates are compared with ours from the same parameters on the same rows.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_bench.speed import reference_scan, updates
from ohio_jax.data import Transitions
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.learners import LEARNERS, Spec, cql, iql, td3_bc
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.training.plan import Plan, initial_states

OBSERVATION, ACTION = 17, 6  # numbers in each, those of HalfCheetah
SCANNED = 5  # times as many updates a call of the jitted scan as of PyTorch


class Budget(NamedTuple):
    """How much is measured.

    Attributes:
        windows, seconds: so many windows of so many seconds for every contender.
        transitions, batch, hidden: sizes of the data, a batch and the networks.
        seeds: how many of each contender of ours.
        peers: updates of a call of PyTorch's, by learner.
        chunk: states treated at a time in CQL's penalty; 0: all.
        deadline: by when all of it is to end.
    """

    windows: int
    seconds: float
    transitions: int
    batch: int
    hidden: int
    seeds: tuple[int, ...]
    peers: dict[str, int]
    chunk: int = 32
    deadline: Deadline = NEVER


FULL = Budget(7, 1.0, 200_000, 256, 256, (1, 4), {"iql": 20, "cql": 2})
WIDE = FULL._replace(seeds=(1, 100), chunk=0)  # what stays in a CPU's cache keeps an accelerator waiting
QUICK = Budget(2, 0.002, 500, 32, 16, (1,), {"iql": 1, "cql": 1})


def parts(budget: Budget) -> dict[str, Callable[[], dict[str, Any]]]:
    return {"updates": lambda: measure(budget)}


def measure(budget: Budget) -> dict[str, Any]:
    """Updates of ours and of the peers', and how the first ones agree."""
    transitions = synthetic(budget.transitions)
    action = Box((1.0,) * ACTION)
    spec = Spec(OBSERVATION, action, mlp_networks(action, budget.hidden))
    plans = contenders(budget)
    peers, agreement, missing = witnesses(spec, transitions, plans, budget)
    return {
        "sizes": {"observation": OBSERVATION, "action": ACTION, "chunk": budget.chunk},
        "updates": updates.measure(spec, transitions, plans, budget.batch, budget, peers),
        "agreement": agreement,
        "missing": missing,
    }


def synthetic(count: int) -> Transitions:
    """So many transitions of normal observations and even actions: what they say does not matter for speed."""
    random = np.random.default_rng(0)
    normal = lambda *shape: random.standard_normal((count, *shape), np.float32)
    return Transitions(
        obs=normal(OBSERVATION),
        action=random.uniform(-1.0, 1.0, (count, ACTION)).astype(np.float32),
        reward=normal(),
        next_obs=normal(OBSERVATION),
        elapsed=np.ones(count, np.int32),
        terminal=np.zeros(count, bool),
        weight=np.ones(count, np.float32),
        status=np.zeros(count, np.int32),
        residual=np.zeros(count, np.float32),
        episode=np.zeros(count, np.int64),
        episode_return=np.zeros(1, np.float32),
        card={},
    )


def contenders(budget: Budget) -> dict[str, Plan]:
    """IQL; TD3+BC; CQL with the penalty's whole gradient, states in chunks that stay in cache; and with its unbiased estimate."""
    configs = {
        "iql": iql.Config(discount=0.99, reward_scale=1.0),
        "td3_bc": td3_bc.Config(discount=0.99, reward_scale=1.0),
        "cql": cql.Config(discount=0.99, reward_scale=1.0, chunk=budget.chunk),
        "cql, one draw": cql.Config(discount=0.99, reward_scale=1.0, n_sampled_terms=1),
    }
    return {name: Plan(name.split(",")[0], config, budget.hidden, batch=budget.batch) for name, config in configs.items()}


def witnesses(
    spec: Spec, transitions: Transitions, plans: dict[str, Plan], budget: Budget
) -> tuple[dict[str, tuple[Callable[[], Any], int]], dict[str, Any], str]:
    """The peers as `updates.measure` wants them, how their first updates agree with ours, and what is missing."""
    missing, torch = "", None
    try:
        from ohio_bench.speed import reference_learners as torch
    except ModuleNotFoundError as error:
        missing = f"no module {error.name}: pip install 'ohio-jax[torch]'"
    peers, agreement = {}, {}
    for learner, amount in budget.peers.items():
        plan = replace(plans[learner], seeds=1)
        whole = updates.whole(plan, spec, transitions)
        state = jax.tree.map(lambda x: x[0], initial_states(plan, spec)[0])
        some = jax.tree.map(lambda x: x[: budget.batch], whole)
        scan, rows = reference_scan.MAKE[learner](state, plan.config), reference_scan.rows_of(whole)
        _, first = jax.jit(scan.update)(scan.start, jax.random.key(0), reference_scan.rows_of(some))
        found = {"plain scan": {name: float(value) for name, value in first.items()}}
        peers[f"{learner}, plain scan"] = reference_scan.block(scan, rows, budget.batch, SCANNED * amount), SCANNED * amount
        if torch:
            given = torch.rows_of(whole)
            first = torch.MAKE[learner](state, plan.config).update(torch.rows_of(some))
            found["torch"] = {name: float(value.detach()) for name, value in first.items()}
            for threads in sorted({1, os.cpu_count() or 1}):
                peer = torch.MAKE[learner](state, plan.config)
                name = f"{learner}, torch, {threads} thread{'s' if threads > 1 else ''}"
                peers[name] = torch.block(peer, given, budget.batch, amount, threads), amount
        ours = first_update(plan.learner, state, some)
        losses = {name: {"ours": ours[name], **{who: of[name] for who, of in found.items()}} for name in found["plain scan"]}
        agreement[learner] = losses
    return peers, agreement, missing


def first_update(learner: str, state: Any, some: Any) -> dict[str, float]:
    """Losses of one update of ours."""
    _, metrics = jax.jit(LEARNERS[learner].update)(state, jax.tree.map(jnp.asarray, some))
    return {name: float(value) for name, value in metrics.items()}
