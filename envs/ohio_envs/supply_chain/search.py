"""Base-stock levels by exhaustive search: all points of a grid of levels play the same demand, then a finer grid about the best.

A level is the demand that lies ahead, its mean and so many deviations of it (see `lead_time_demand`); the search is over these
numbers, one for each node, of which all stores share theirs. So any number of stores is searched as fast as one, and where
there are several, single stores may do a little better than they are found to.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ohio_envs.supply_chain import policies
from ohio_envs.supply_chain.scenario import Scenario, lead_time_demand
from ohio_envs.supply_chain.simulator import SupplyChain
from ohio_jax.errors import UserError

LOW, HIGH = -1.0, 4.0  # deviations at the ends of the first grid
POINTS = 5  # of a grid in each direction
ROUNDS = 5  # grids, each half as wide as the one before: the last one's points are 0.08 deviations apart
MOST = 5  # directions, or a grid has too many points
EPISODES, PLAYED = 1024, 2**19  # episodes at most, and fewer where all nodes of all points of a grid would play more than so many
SEED = 30_000  # of their demand, which is of no other use
NUMBERS = 2**14  # stocks side by side in memory


draw = jax.jit(jax.vmap(SupplyChain.sample_instance, (None, 0)))  # (environment, keys) -> instances


class Found(NamedTuple):
    """The best levels that a search found.

    Attributes:
        levels: `Float64[N]`, echelon base-stock levels.
        cost: $ a period, on the demand that was searched on.
    """

    levels: np.ndarray
    cost: float


def search(s: Scenario, episodes: int | None = None, seed: int = SEED) -> Found:
    """The best levels found. Computes at once, also where JAX traces. Raises UserError for too many nodes that are no stores."""
    share = np.maximum(np.arange(s.nodes) - s.stores + 1, 0)  # which of the numbers is a node's
    directions = int(share[-1]) + 1
    if directions > MOST:
        raise UserError(f"search: expected at most {MOST - 1} nodes that are no stores, found {directions - 1}")
    if episodes is None:
        episodes = int(np.clip(PLAYED // (POINTS**directions * s.nodes), 1, EPISODES))
    mean, deviation = lead_time_demand(s)
    center, reach = np.full(directions, (LOW + HIGH) / 2), (HIGH - LOW) / 2
    with jax.ensure_compile_time_eval():
        env = SupplyChain(s, smooth=True)
        instances = draw(env, jax.random.split(jax.random.key(seed), episodes))
        for _ in range(ROUNDS):
            steps = itertools.product(np.linspace(-reach, reach, POINTS), repeat=directions)
            grid = center + np.array(list(steps))
            levels = mean + grid[:, share] * deviation
            costs = np.asarray(mean_costs(env, instances, jnp.asarray(levels, jnp.float32)))
            best = int(np.argmin(costs))
            center, reach = grid[best], reach / 2
    return Found(levels[best], float(costs[best]))


@jax.jit
def mean_costs(env: SupplyChain, instances: Any, levels: Float[Array, "K N"]) -> Float[Array, "K"]:
    """`Float[K]`, mean cost of a paid period under each of the levels `Float[K, N]`, all on the instances (leading axis E)."""

    def episode(levels: jax.Array, instance: Any) -> jax.Array:
        def step(state, _):
            state = env.step(state, policies.echelon_base_stock(levels, env, jax.random.key(0), state))
            return state, state.reward

        return -jnp.sum(jax.lax.scan(step, env.reset_to(instance), None, env.horizon)[1]) / (env.horizon - env.scenario.free)

    of = lambda levels: jnp.mean(jax.vmap(episode, (None, 0))(levels, instances))
    side_by_side = max(1, NUMBERS // (len(instances.demand) * env.action_size))
    return jax.lax.map(of, levels, batch_size=min(side_by_side, len(levels)))
