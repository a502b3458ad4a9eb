"""`ohio-jax speed learners`: gradient updates a second on the usual size of a locomotion task, beside plain JAX and PyTorch.

These take turns with ours in one process: IQL as a single file of JAX (`plain_iql`) and, where it is installed, PyTorch, on one
thread and on as many as there are cores. Their first updates are compared with ours from the same parameters on the same rows.
"""

import os
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_bench.speed import plain_iql, updates
from ohio_bench.speed.pages import PLAIN
from ohio_jax.data import Batch, Transitions
from ohio_jax.learners import LEARNERS, Spec, cql, iql, td3_bc
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.training.plan import Plan, initial_states

OBSERVATION, ACTION = 17, 6  # numbers in each, those of HalfCheetah
# Updates a second measured before, of each project's own code on two cores of a machine of this kind, at this size.
BEFORE = {
    "iql": {"unifloral (JAX)": 563, "JAX-CORL": 431, "CORL (PyTorch)": 176},
    "cql": {"JAX-CORL, a CPU second": 17.5, "CORL (PyTorch), a CPU second": 8.7},
}


class Budget(NamedTuple):
    """How much is measured: windows of `seconds` each; transitions; batch; hidden, width; updates of a peer's call by learner."""

    windows: int
    seconds: float
    transitions: int
    batch: int
    hidden: int
    seeds: tuple[int, ...]
    peers: dict[str, int]


FULL = Budget(7, 1.0, 200_000, 256, 256, (1, 4), {"iql": 20, "cql": 2})
QUICK = Budget(2, 0.002, 500, 32, 16, (1,), {"iql": 1, "cql": 1})


def measure(budget: Budget) -> dict[str, Any]:
    """Updates of ours and of PyTorch's, and how the first ones agree."""
    transitions = synthetic(budget.transitions)
    action = Box((1.0,) * ACTION)
    spec = Spec(OBSERVATION, action, mlp_networks(action, budget.hidden))
    plans = contenders(budget)
    peers, agreement = torch_peers(spec, transitions, plans, budget)
    plain, plain_agreement = plain_peer(spec, transitions, plans["iql"], budget)
    peers[PLAIN] = plain, budget.peers["iql"]
    return {
        "sizes": {"observation": OBSERVATION, "action": ACTION},
        "updates": updates.measure(spec, transitions, plans, budget.batch, budget, peers),
        "agreement": agreement,
        "plain_agreement": plain_agreement,
        "before": BEFORE,
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
        "td3_bc": td3_bc.Config(),
        "cql": cql.Config(discount=0.99, reward_scale=1.0, chunk=32),
        "cql, one draw": cql.Config(discount=0.99, reward_scale=1.0, n_sampled_terms=1),
    }
    return {name: Plan(name.split(",")[0], config, budget.hidden, batch=budget.batch) for name, config in configs.items()}


def torch_peers(spec: Spec, transitions: Transitions, plans: dict[str, Plan], budget: Budget) -> tuple[dict, dict[str, Any]]:
    """The peers as `updates.measure` wants them, and how their first update agrees with ours; without PyTorch: none, and why."""
    try:
        from ohio_bench.speed import reference_learners as reference
    except ModuleNotFoundError as error:
        return {}, {"missing": f"no module {error.name}: pip install torch"}
    peers, agreement = {}, {}
    for learner, amount in budget.peers.items():
        plan = plans[learner]
        whole, some, state = given(plan, spec, transitions, budget)
        ours = first_update(plan.learner, state, some)
        theirs = reference.MAKE[learner](state, plan.config).update(reference.rows_of(some))
        agreement[learner] = {name: {"ours": ours[name], "torch": float(value.detach())} for name, value in theirs.items()}
        rows = reference.rows_of(whole)
        for threads in sorted({1, os.cpu_count() or 1}):
            peer = reference.MAKE[learner](state, plan.config)
            name = f"{learner}, torch, {threads} thread{'s' if threads > 1 else ''}"
            peers[name] = reference.block(peer, rows, budget.batch, amount, threads), amount
    return peers, agreement


def plain_peer(spec: Spec, transitions: Transitions, plan: Plan, budget: Budget) -> tuple[Any, dict[str, dict[str, float]]]:
    """The call of `plain_iql.block`, and how its first update agrees with ours."""
    whole, some, state = given(plan, spec, transitions, budget)
    ours = first_update(plan.learner, state, some)
    _, theirs = jax.jit(plain_iql.update, static_argnums=0)(plan.config, plain_iql.start(state), jax.tree.map(jnp.asarray, some))
    agreement = {name: {"ours": ours[name], "plain": float(value)} for name, value in theirs.items()}
    return plain_iql.block(state, plan.config, whole, budget.batch, budget.peers["iql"]), agreement


def given(plan: Plan, spec: Spec, transitions: Transitions, budget: Budget) -> tuple[Batch, Batch, Any]:
    """All rows, those of the first update, and the state of one seed."""
    whole = updates.whole(plan, spec, transitions)
    state = jax.tree.map(lambda x: x[0], initial_states(replace(plan, seeds=1), spec)[0])
    return whole, jax.tree.map(lambda x: x[: budget.batch], whole), state


def first_update(learner: str, state: Any, some: Any) -> dict[str, float]:
    """Losses of one update of ours."""
    _, metrics = jax.jit(LEARNERS[learner].update)(state, jax.tree.map(jnp.asarray, some))
    return {name: float(value) for name, value in metrics.items()}
