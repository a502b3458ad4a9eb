"""Gradient updates a second of learners, and the share of the machine's matrix-product rate they reach."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_bench.speed.timing import race, rates
from ohio_jax.agent import Preprocessor
from ohio_jax.data import Batch, Transitions, sampling
from ohio_jax.deadline import Deadline
from ohio_jax.learners import LEARNERS, Spec
from ohio_jax.training.offline import make_block
from ohio_jax.training.plan import Plan, batch_of, initial_states
from ohio_jax.training.sharding import SeedSharding


def matrix_products(
    sizes: Sequence[tuple[int, int]], windows: int, seconds: float, deadline: Deadline
) -> dict[tuple[int, int], list[float]]:
    """GFLOP/s of float32 products [m, n] @ [n, n] at JAX's default precision: on one device, and on all at once.

    As many products follow each other in a compiled call as make a GFLOP, so that dispatch hardly counts; a hundred at most.
    """

    def contender(m: int, n: int, count: int) -> Callable[[], Any]:
        random = np.random.default_rng(0)
        x = random.standard_normal((m, n), np.float32)
        w = random.standard_normal((n, n), np.float32) / np.float32(np.sqrt(n))  # keeps the size of x

        @jax.jit
        def multiply(x, w):
            for _ in range(repeats(m, n)):
                x = x @ w
            return x

        placed = [jax.device_put((x, w), device) for device in jax.local_devices()[:count]]
        return lambda: [multiply(*pair) for pair in placed]

    repeats = lambda m, n: min(math.ceil(1e9 / (2 * m * n * n)), 100)
    counts = (1, jax.local_device_count())
    timings = race({(*size, k): contender(*size, k) for size in sizes for k in counts}, windows, seconds, deadline)
    work = lambda m, n: 2e-9 * m * n * n * repeats(m, n)
    return {size: [k * work(*size) / timings[*size, k].best for k in counts] for size in sizes}


def whole(plan: Plan, spec, transitions: Transitions) -> Batch:
    """All transitions as the plan's learner wants them, observations as given: what they say does not matter for speed."""
    return batch_of(plan, spec, Preprocessor.plain(spec.observation_size), transitions)


def gflop(plan: Plan, spec, rows: Batch) -> float:
    """GFLOP of one update by XLA's cost analysis of the program before optimization.

    Inside a scan XLA counts a body once, however often it runs; hence of one update outside the block, and of one state and of
    two, which no network computes in chunks.
    """
    plan = replace(plan, config=plan.config.replace(chunk=0)) if getattr(plan.config, "chunk", 0) else plan
    first_seed = lambda: jax.tree.map(lambda x: x[0], initial_states(plan, spec)[0])
    update, state = jax.jit(LEARNERS[plan.learner].update), jax.eval_shape(first_seed)

    def flops(states: int) -> float:
        cost: Any = update.lower(state, jax.tree.map(lambda x: x[:states], rows)).cost_analysis()
        return cost["flops"]

    one, two = flops(1), flops(2)
    return (one + (plan.batch - 1) * (two - one)) / 1e9


def block(plan: Plan, spec, transitions: Transitions) -> Callable[[], Any]:
    """A call that does `plan.block` updates of every seed as `training.offline.train` does, going on where it stopped."""
    seeds = SeedSharding(plan.seeds)
    run = make_block(LEARNERS[plan.learner], plan.batch, plan.block, seeds)

    data = whole(plan, spec, transitions)
    probabilities = sampling.PROBABILITIES[plan.sampling](transitions, plan.temperature)
    data, cumulative = seeds.share((data, sampling.cumulative(probabilities)))
    states, keys = seeds.spread(initial_states(plan, spec))
    done = 0

    def call():
        nonlocal states, done
        states, metrics = run(states, keys, jnp.int32(done), data, cumulative)
        done += plan.block
        return metrics

    return call


def measure(
    spec: Spec,
    transitions: Transitions,
    plans: Mapping[str, Plan],
    rows: int,
    budget: Any,
    peers: Mapping[str, tuple[Callable[[], Any], int]] | None = None,
) -> dict[str, Any]:
    """Updates a second of each of the plans, all of one batch and one width, on as many seeds as the budget says.

    A seed-update is one gradient step of all of a learner's networks for one seed, drawing its batch and the optimizers
    included. Compiling is timed apart; moving the dataset to the device, checkpoints and evaluation are not included.

    Args:
        rows: of the products in a hidden layer.
        budget: has `windows` of `seconds`, `seeds` and a `deadline`.
        peers: what takes turns with them, a call and how many updates it makes.
    """
    first, peers = next(iter(plans.values())), peers or {}
    side = 2048 if budget.windows > 2 else 256  # what fills the device; a quick run proves nothing about speed
    square, at_update = (side, side), (rows, first.hidden)
    products = matrix_products([square, at_update], budget.windows, budget.seconds, budget.deadline)
    highest = max(rate for each in products.values() for rate in each)

    blocks, work = {}, {}
    for name, one in plans.items():
        picked = np.arange(one.batch) % len(transitions.reward)
        work[name] = gflop(one, spec, jax.tree.map(lambda x, rows=picked: x[rows], whole(one, spec, transitions)))
        # A block lasts about a window at a third of the best rate.
        size = int(np.clip(budget.seconds * highest / 3 / work[name], 2, 1000))
        for count in budget.seeds:
            blocks[name, count] = replace(one, block=max(2, size // count), seeds=count)
    calls = {key: block(plan, spec, transitions) for key, plan in blocks.items()}
    amounts = {key: plan.block * plan.seeds for key, plan in blocks.items()}
    calls |= {(name, 0): call for name, (call, _) in peers.items()}
    found = rates(calls, amounts | {(name, 0): amount for name, (_, amount) in peers.items()}, budget)

    def rate(name: str, count: int) -> dict[str, Any]:
        reached = found[name, count]["best"] * work[name]
        return {
            "seed_updates_per_second": found[name, count],
            "block": blocks[name, count].block,
            "gflops": reached,
            "share_of_best_product": reached / highest,
            "share_of_update_product": reached / max(products[at_update]),
        }

    return {
        "hidden": first.hidden,
        "batch": first.batch,
        "transitions": len(transitions.reward),
        "devices": jax.local_device_count(),
        "matrix_product_gflops": {
            f"[{m}, {n}] @ [{n}, {n}]": dict(zip(("one_device", "all_devices"), reached, strict=True))
            for (m, n), reached in products.items()
        },
        "learners": {
            name: {"gflop_per_update": work[name], "seeds": {str(count): rate(name, count) for count in budget.seeds}}
            for name in plans
        },
        **({"peers": {name: found[name, 0] for name in peers}} if peers else {}),
    }
