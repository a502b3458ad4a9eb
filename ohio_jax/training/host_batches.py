"""Batches gathered on the host: data that exceed a device stay in memory or in their files, and a block is given its batches.

Which transitions an update draws depends on the seed and its number alone, so those of the next block are gathered while this one
runs. They are the ones that `ohio_jax.training.offline.make_block` draws on the device.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32, Key, UInt32

from ohio_jax.data import Batch, Transitions, sampling
from ohio_jax.errors import unknown
from ohio_jax.training.plan import Plan
from ohio_jax.training.sharding import SeedSharding, over_seeds

PLACES = ("device", "host")
ON_DEVICE = 1 << 31  # bytes of features, actions and rewards up to which data lie on the device where nobody says otherwise


def place_of(asked: str | None, features: int, transitions: Transitions) -> str:
    """Where the data of a run lie, one of PLACES: as asked, else by what they take. Raises UserError for another word.

    Args:
        features: of an observation.
    """
    if asked is not None and asked not in PLACES:
        raise unknown("place for data", asked, PLACES)
    row = 2 * features + 2 * math.prod(transitions.action.shape[1:]) + 4  # as `Batch` has it, in float32
    return asked or ("device" if 4 * row * len(transitions.reward) <= ON_DEVICE else "host")


@functools.cache
def make_block(learner: Any, seeds: SeedSharding) -> jax.stages.Wrapped:
    """Compiled `block(states, batches) -> (states, metrics)`: as `offline.make_block`, of batches [S, updates, ...]."""

    def one_seed(state, batches: Batch):
        state, metrics = jax.lax.scan(learner.update, state, batches)
        return state, jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)

    return over_seeds(one_seed, seeds)


@functools.partial(jax.jit, static_argnames=("size", "updates"))
def indices(
    keys: Key[Array, "S"], first: int, cumulative: UInt32[Array, "M"], size: int, updates: int
) -> Int32[Array, "S {updates} {size}"]:
    """The transitions that the updates from number `first` on draw."""
    draw = lambda key, number: sampling.sample_indices(jax.random.fold_in(key, number), cumulative, size)
    numbers = first + jnp.arange(updates)
    return jax.vmap(lambda key: jax.vmap(lambda number: draw(key, number))(numbers))(keys)


@contextlib.contextmanager
def ahead(
    plan: Plan, seeds: SeedSharding, keys: Key[Array, "S"], cumulative: UInt32[np.ndarray, "M"], take: Callable[[Any], Batch]
) -> Iterator[Callable[[int], Batch]]:
    """`batches(done)`, spread over the seeds' devices, of the block that follows `done` updates; that after it is then gathered.

    Args:
        take: `take(rows)`, see `ohio_jax.training.plan.rows_of`.
    """
    on_device = jax.device_put(cumulative)

    def gather(done: int) -> Batch:
        updates = min(plan.block, plan.updates - done)
        rows = np.asarray(indices(keys, done, on_device, plan.batch, updates))
        flat = take(rows.reshape(-1))
        return seeds.spread(jax.tree.map(lambda x: x.reshape(*rows.shape, *x.shape[1:]), flat))

    pool, begun = ThreadPoolExecutor(1, "batches"), dict[int, Future]()

    def batches(done: int) -> Batch:
        for number in [number for number in begun if number < done]:
            del begun[number]
        for number in (done, done + plan.block):
            if number < plan.updates and number not in begun:
                begun[number] = pool.submit(gather, number)
        return begun[done].result()

    try:
        yield batches
    finally:
        pool.shutdown(cancel_futures=True)
