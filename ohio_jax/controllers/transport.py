"""The paper's low level in vehicle routing: a goal says how idle vehicles shall be spread, cheapest flows make it so.

- goal: `Float[n]`, shares of the idle vehicles.
- state: `Int[n]`, idle vehicles.
- action: `Int[n, n]`, flows from row to column, the diagonal holding the vehicles that stay.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Int

from ohio_jax.controllers import stateless
from ohio_jax.low_level import AMBIGUOUS, UNEXPLAINED, UNIQUE, LinearProgram, Problem, Segment, StateModel
from ohio_jax.solvers.transport import solve

Rounding = Literal["largest_remainder", "floor"]

init, plan = stateless.init, stateless.plan


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        cost: `Int[n, n]`, of moving one vehicle, as `solvers.transport.perturb` returns it.
        rounding: see `counts`.
    """

    cost: jax.Array
    rounding: Rounding = struct.field(pytree_node=False, default="largest_remainder")


def act(params: Params, memory: Any, state: Int[Array, "n"], goal: Float[Array, "n"]) -> tuple[Int[Array, "n n"], Any]:
    """`Int[n, n]`, cheapest flows after which every region has at least the vehicles the goal asks for."""
    best = solve(params.cost, state, counts(goal, _total(state), params.rounding))
    return best.flow + jnp.diag(best.slack), memory


def proportions(shares: Float[Array, "n"]) -> Float[Array, "n"]:
    """`Float[n]` that sums to 1: what is not positive counts as 0; uniform if nothing is left."""
    positive = jnp.where(shares > 0, shares, 0.0)
    total = jnp.sum(positive)
    return jnp.where(total > 0, positive / jnp.where(total > 0, total, 1.0), 1.0 / shares.shape[0])


def counts(shares: Float[Array, "n"], total: Int[Array, ""], rounding: Rounding = "largest_remainder") -> Int[Array, "n"]:
    """`total` vehicles (at most 100,000) in proportion to `shares: Float[n]`, any reals (see `proportions`).

    - "largest_remainder": whole parts first, then one vehicle each to the largest remainders, ties to the lowest index. Sums to
      `total` exactly, and returns k exactly for shares k / total in float32.
    - "floor": the original's, floor(share * total). Loses up to one vehicle a region; vehicles left over stay where they are.
    """
    total = jnp.asarray(total, jnp.int32)
    if rounding == "floor":
        # Shares that sum to 1 up to round-off are taken as they are: scaling them would move exact whole numbers.
        already = jnp.all(shares >= 0) & (jnp.abs(jnp.sum(shares) - 1.0) < 1e-5)
        return jnp.floor(jnp.where(already, shares, proportions(shares)) * total).astype(jnp.int32)
    shares = proportions(shares)
    whole, part = _split(shares * total)
    # In a large fleet the round-off of the sum of shares is worth most of a vehicle. Counting it in whole and broken
    # parts is exact enough to give it back.
    lost = (total - _total(whole)) - jnp.sum(part)
    more, part = _split(part + shares * lost)
    whole = whole + more
    missing = total - _total(whole)
    rank = jnp.argsort(jnp.argsort(-part, stable=True), stable=True)
    return whole + (rank < missing).astype(jnp.int32)


def problem(params: Params) -> Problem:
    """What inverses may know: the rounding, and `program` the cost. Expects segments of one step.

    State model: the vehicles asked for, rounded in value, smooth in their gradient. The closed form is the paper's routing
    inverse, (idle_i - sum_j F_ij + sum_j F_ji) / sum_k idle_k: the end state of cheapest flows F is a goal whose cheapest flows
    cost the same and end there too. It sees only net changes: traffic that is circular or relayed leaves no trace. Status, read
    from the actions: UNEXPLAINED for flows that no idle vehicles could have made, else AMBIGUOUS for an empty fleet (the goal is
    then uniform).
    """
    return Problem(
        project=proportions,
        start=_uniform,
        state=STATE,
        prepare=lambda segment: stateless.Context(params, segment.state[-1]),
        closed_form=_closed_form,
        program=_program,
        observed=_observed,
    )


def _uniform(segment: Segment, at: stateless.Context) -> jax.Array:
    return jnp.full(at.state.shape, 1.0 / at.state.shape[0])


def _observed(segment: Segment, at: stateless.Context) -> jax.Array:
    return proportions(segment.next_state[-1].astype(jnp.float32))


def _asked(goal: jax.Array, at: stateless.Context) -> jax.Array:
    """`Float[1, n]`, vehicles."""
    total = _total(at.state)
    asked = proportions(goal) * total
    return (asked + jax.lax.stop_gradient(counts(goal, total, at.params.rounding) - asked))[None]


def _closed_form(segment: Segment, at: stateless.Context) -> tuple[jax.Array, jax.Array]:
    moves = moved(segment.action[-1])
    goal = proportions((at.state - _total(moves, axis=1) + _total(moves, axis=0)).astype(jnp.float32))
    return goal, status_of_flows(at.state, moves, jnp.where(_total(at.state) > 0, UNIQUE, AMBIGUOUS))


def _program(segment: Segment, at: stateless.Context) -> LinearProgram:
    """Cheapest flows that leave every region its share of the fleet. Entries: moves row by row, then who stays.

    Its flows are whole where the goal asks for whole vehicles, as that of logged flows does. Flows that are as cheap by
    another tie-break are not this low level's if `params.cost` has one.
    """
    idle, moves = at.state, moved(segment.action[-1])
    n = idle.shape[0]
    away, home = np.nonzero(~np.eye(n, dtype=bool)), np.diag_indices(n)
    i, j = np.concatenate([away, home], axis=1)
    unit = np.eye(n, dtype=np.float32)
    return LinearProgram(
        cost=at.params.cost[i, j],  # integers, beyond what float32 can tell apart
        A=np.concatenate([unit[:, i], unit[:, j], np.zeros((1, n * n), np.float32)]),
        b=jnp.concatenate([idle, jnp.zeros(n, idle.dtype), -jnp.ones(1, idle.dtype)]),
        B=jnp.concatenate([jnp.zeros((n, n)), _total(idle) * jnp.eye(n), jnp.ones((1, n))]),
        action=moves[away],
        slack=idle - _total(moves, axis=1),
        goal=_closed_form(segment, at)[0],
        most=1.0,
    )


STATE = StateModel(_asked, lambda segment, at: segment.next_state[-1], lambda segment, at: 1.0)


def moved(flows: Int[Array, "n n"]) -> Int[Array, "n n"]:
    """`Int[n, n]`, flows between different regions: logs differ in whether the diagonal holds the vehicles that stay."""
    return jnp.where(jnp.eye(flows.shape[0], dtype=bool), 0, flows).astype(jnp.int32)


def status_of_flows(idle: Int[Array, "n"], moves: Int[Array, "n n"], status: Int[Array, ""] | int = UNIQUE) -> Int[Array, ""]:
    """`Int[]`, the status; UNEXPLAINED where `idle: Int[n]` vehicles could not have made the moves `Int[n, n]`."""
    fits = jnp.all(_total(moves, axis=1) <= idle) & jnp.all(moves >= 0)
    return jnp.where(fits, status, UNEXPLAINED)


def _split(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Whole part (Int) and remainder in [0, 1)."""
    whole = jnp.floor(x)
    return whole.astype(jnp.int32), x - whole


def _total(x: jax.Array, axis: int | None = None) -> jax.Array:
    return jnp.sum(x, axis=axis, dtype=jnp.int32)
