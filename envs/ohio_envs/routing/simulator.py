"""Dynamic vehicle routing: a fleet serves trip requests and is rebalanced between regions (OHIO, ICLR 2025).

One step t of the original is matching, observation, rebalancing, arrivals. Here `reset_to` does the first matching and
`step` goes from one decision to the next: rebalancing and arrivals of t, then matching of t + 1. A vehicle that leaves
at t for a drive of d steps lands during step t + d, after that step's decisions, and can be used from t + d + 1 on.

The original's dynamics have a fault, which `dynamics="strict"` reproduces and "conserving" (the default) does not:
passengers of one pair of regions who left at different times and land together overwrite each other, and the vehicles
of the first are lost for good.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Int, Num, PRNGKeyArray

from ohio_envs.routing.scenario import LOOK_AHEAD, Scenario
from ohio_jax.environment import EnvBase, State
from ohio_jax.errors import UserError

SCALE = 0.01  # of all features, as in the original
DYNAMICS = ("conserving", "strict")


class Fleet(NamedTuple):
    """The simulator's state at step t, between matching and rebalancing. Arrivals are kept by how far off they are.

    Attributes:
        t: `Int[]`.
        idle: `Int[n]`, vehicles free to move.
        announced: `Int[ring, n]`, row k holds the vehicles said to land at step t + k.
        demand: `Int[T, n, n]`, requests of the whole episode.
        reached: `Int[n]`, what the idle counts before the last step became through its moves alone, once they have landed.
        passengers: `Int[ring, n, n]`, vehicles of each pair that land with passengers at t + k (strict dynamics, else None).
        vanished: `Int[ring, n]`, announced vehicles that will not land (strict dynamics, else None).
    """

    t: jax.Array
    idle: jax.Array
    announced: jax.Array
    demand: jax.Array
    reached: jax.Array
    passengers: jax.Array | None
    vanished: jax.Array | None


@struct.dataclass
class Routing(EnvBase):
    """The environment. Action: vehicles to send from row to column, [n, n] or flat; reward: profit in dollars.

    Any real action is accepted: numbers are truncated toward zero, negatives and the diagonal count for nothing, and what
    exceeds a region's idle vehicles is cut off in the original's order of edges.

    The observation is `Float[n * features]` in C order of [n, features]: idle vehicles; idle plus announced vehicles of each
    of the next six steps; expected revenue of the requests of each of the next six steps; with `time` also t / T.

    With `time` the end of the horizon is a true termination, since a policy can see it coming; without, a truncation.

    The first `State` holds the reward of the first matching: an episode's return is its reward plus those of the steps.
    """

    scenario: Scenario
    dynamics: str = struct.field(pytree_node=False, default="conserving")
    time: bool = struct.field(pytree_node=False, default=False)

    @property
    def horizon(self) -> int:
        return self.scenario.horizon

    @property
    def features(self) -> int:
        return 1 + 2 * LOOK_AHEAD + self.time

    @property
    def observation_size(self) -> int:
        return self.scenario.regions * self.features

    @property
    def action_size(self) -> int:
        return self.scenario.regions**2

    def sample_instance(self, key: PRNGKeyArray) -> Int[Array, "T n n"]:
        """Requests of an episode: independent Poisson counts.

        By inverting the distribution function of the few pairs with a rate: `jax.random.poisson` rejects in lockstep
        and took a hundred times as long as the episode itself.
        """
        s = self.scenario
        uniform = jax.random.uniform(key, s.live.shape)
        counts = jnp.sum(uniform[:, None] >= s.cumulative, axis=1, dtype=jnp.int32)
        return jnp.zeros(s.lam.size, jnp.int32).at[s.live].set(counts, unique_indices=True).reshape(s.lam.shape)

    def reset_to(self, instance: Int[Array, "..."]) -> State:
        """Begins an episode on an instance, its requests `Int[T, n, n]`, and matches those of step 0.

        Requests of pairs whose rate is 0 are not seen: they have no price.

        Raises:
            UserError: for another shape.
        """
        s, n = self.scenario, self.scenario.regions
        if instance.shape != (s.horizon, n, n):
            raise UserError(f"demand: expected an array of shape {(s.horizon, n, n)}, found {instance.shape}")
        strict = self.dynamics == "strict"
        empty = jnp.zeros((s.ring, n), jnp.int32)
        idle = jnp.full(n, s.vehicles, jnp.int32)
        fleet = Fleet(
            t=jnp.int32(0),
            idle=idle,
            announced=empty,
            demand=jnp.asarray(instance, jnp.int32),
            reached=idle,
            passengers=jnp.zeros((s.ring, n, n), jnp.int32) if strict else None,
            vanished=empty if strict else None,
        )
        fleet, reward, metrics = _match(s, fleet)
        metrics |= {"rebalancing_cost": jnp.float32(0.0), "infeasible_requests": jnp.float32(0.0)}
        zero = jnp.float32(0.0)
        return State(fleet, self._observe(fleet), reward, zero, metrics, {"truncation": zero})

    def step(self, state: State, action: Num[Array, "..."]) -> State:
        """Sends the flows `action`, lets arrivals land, and matches the requests of the next step."""
        s, fleet = self.scenario, state.pipeline_state
        playing = fleet.t < s.horizon
        asked = _whole(s, action) * playing
        flows = _clip_in_order(asked, fleet.idle, s.order)
        cost = s.cost * jnp.sum(flows * s.reb_time).astype(jnp.float32)

        left = fleet.idle - jnp.sum(flows, axis=1)
        announced = _add(fleet.announced, s.reb_time, jnp.arange(s.regions)[None, :], flows)
        reached = left + jnp.sum(announced - fleet.announced, axis=0)
        fleet = fleet._replace(idle=left, reached=reached, announced=announced)
        fleet, profit, metrics = _match(s, _land(fleet, jnp.minimum(fleet.t + 1, s.horizon)))

        metrics |= {"rebalancing_cost": cost, "infeasible_requests": jnp.sum(asked - flows).astype(jnp.float32)}
        ended = (fleet.t >= s.horizon).astype(jnp.float32)
        done, truncation = (ended, jnp.zeros_like(ended)) if self.time else (jnp.zeros_like(ended), ended)
        return replace(
            state,
            pipeline_state=fleet,
            obs=self._observe(fleet),
            reward=profit - cost,
            done=done,
            metrics={**state.metrics, **metrics},
            info={**state.info, "truncation": truncation},
        )

    def _observe(self, fleet: Fleet) -> jax.Array:
        idle = fleet.idle[:, None]
        soon = idle + fleet.announced[1 : LOOK_AHEAD + 1].T
        columns = [SCALE * idle, SCALE * soon, self.scenario.value[fleet.t]]
        if self.time:
            columns.append(jnp.full(idle.shape, fleet.t / self.scenario.horizon))
        return jnp.concatenate(columns, axis=1).astype(jnp.float32).reshape(-1)


def _match(s: Scenario, fleet: Fleet) -> tuple[Fleet, jax.Array, dict[str, jax.Array]]:
    """Serves the requests of step t: each region its dearest first, until it is out of vehicles. Nothing at t = T.

    This is the optimum of the original's linear program (maximal revenue), which separates by origin.
    """
    t = jnp.minimum(fleet.t, s.horizon - 1)
    to, time = s.destination[t], s.trip_time[t]
    origin = jnp.broadcast_to(jnp.arange(s.regions), to.shape)
    requests = fleet.demand[t].at[origin, to].get(mode="promise_in_bounds") * ((time > 0) & (fleet.t < s.horizon))
    idle, served = _first_come(fleet.idle, requests)

    profit = jnp.sum(served * s.trip_profit[t])
    passengers, vanished, lost = fleet.passengers, fleet.vanished, jnp.int32(0)
    if passengers is not None and vanished is not None:
        profit = jnp.maximum(profit, 0.0)
        place = (time, origin, to)
        overwritten = jnp.where(served > 0, passengers[place], 0)
        lost = jnp.sum(overwritten)
        passengers = passengers.at[place].set(jnp.where(served > 0, served, passengers[place]))
        vanished = _add(vanished, time, to, overwritten)
    fleet = fleet._replace(
        idle=idle,
        announced=_add(fleet.announced, time, to, served),
        passengers=passengers,
        vanished=vanished,
    )
    amounts = {"served": jnp.sum(served), "requests": jnp.sum(requests), "passenger_reward": profit, "lost": lost}
    return fleet, profit, {name: amount.astype(jnp.float32) for name, amount in amounts.items()}


def _land(fleet: Fleet, t: jax.Array) -> Fleet:
    """Arrivals of this step become idle, and the buffers move on to step t."""
    landing = fleet.announced[0] if fleet.vanished is None else fleet.announced[0] - fleet.vanished[0]
    later = lambda buffer: None if buffer is None else jnp.concatenate([buffer[1:], jnp.zeros_like(buffer[:1])])
    return fleet._replace(
        t=t,
        idle=fleet.idle + landing,
        announced=later(fleet.announced),
        passengers=later(fleet.passengers),
        vanished=later(fleet.vanished),
    )


def _add(buffer: jax.Array, row: jax.Array, column: jax.Array, amount: jax.Array) -> jax.Array:
    """`Int[ring, n]` with `amount: Int[n, m]` added at (row, column); on CPU twice as fast as indexing with a pair."""
    n = buffer.shape[1]
    place = jnp.broadcast_to(row * n + column, amount.shape)
    added = buffer.reshape(-1).at[place.reshape(-1)].add(amount.reshape(-1), mode="promise_in_bounds")
    return added.reshape(buffer.shape)


def _whole(s: Scenario, action: jax.Array) -> jax.Array:
    """`Int[n, n]`, vehicles an action asks for: whole, not negative, none within a region, at most the whole fleet."""
    n = s.regions
    # The upper bound changes nothing that can be granted; it keeps sums of absurd actions within int32.
    asked = jnp.clip(action.reshape(n, n), 0, n * s.vehicles)
    asked = jnp.where(jnp.isnan(asked), 0, asked).astype(jnp.int32)
    return asked * (1 - jnp.eye(n, dtype=jnp.int32))


def _clip_in_order(asked: jax.Array, idle: jax.Array, order: jax.Array) -> jax.Array:
    """What is granted of `asked` when each region's idle vehicles are given out in the order of edges.

    Once clipped, nothing exceeds: the loop runs at most once, and in a batch not at all unless an episode needs it.

    Returns:
        `Int[n, n]`.
    """

    def clip(asked):
        _, granted = _first_come(idle, jnp.take_along_axis(asked, order, axis=1).T)
        return jnp.put_along_axis(jnp.zeros_like(asked), order, granted.T, axis=1, inplace=False)

    return jax.lax.while_loop(lambda asked: jnp.any(jnp.sum(asked, axis=1) > idle), clip, asked)


def _first_come(idle: jax.Array, queue: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(`Int[n]` left, `Int[m, n]` given): each region's idle vehicles, `Int[n]`, go to its queue, `Int[m, n]`, first come first.

    A scan, because place after place of a whole batch is faster on CPU than sums over a region's few places.
    """

    def serve(left, asked):
        given = jnp.minimum(left, asked)
        return left - given, given

    return jax.lax.scan(serve, idle, queue)
