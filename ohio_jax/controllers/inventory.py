"""The paper's low level in supply chains: a goal says how a warehouse's stock shall be shared and how much to produce.

- goal: `Float[S + 2]`, shares of the stock for S stores and for the warehouse itself, then production as a share of its limit.
- state: `Float[S + 1]`, what stores still have room for, and the stock that can be shipped.
- action: `Float[S + 1]`, shipments and production.

All in units but for the shares. OHIO (ICLR 2025), supply-chain experiment: the original solves a lexicographic linear program;
what follows is its optimum in closed form, see `act`.
"""

from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.controllers import stateless
from ohio_jax.controllers.order_up_to import TOLERANCE
from ohio_jax.controllers.transport import counts, proportions
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, ActionModel, LinearProgram, Problem, Segment

Rounding = Literal["largest_remainder", "floor", "none"]

init, plan = stateless.init, stateless.plan


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        limit: `Float[]`, largest production.
        storage: `Float[]`, of the warehouse, which the original's low level keeps free for all it produces, though the simulator
            lets it ship first; infinite without that rule.
        rounding: of what is asked for: to whole units whose sum is the stock, the original's cut to the integer below, or none,
            in which case actions have a derivative.
    """

    limit: jax.Array
    storage: jax.Array
    rounding: Rounding = struct.field(pytree_node=False, default="largest_remainder")


def act(params: Params, memory: Any, state: Float[Array, "n"], goal: Float[Array, "n+1"]) -> tuple[Float[Array, "n"], Any]:
    """Every store gets what the goal asks for as far as it has room, production as far as there is room.

    The optimum of: first exceed as little storage as can be, then deviate as little as can be from what is asked. Where the
    warehouse's storage binds, cutting production and shipping more cost the same; production is cut.
    """
    asked = _asked(params, goal, state[-1])
    return jnp.clip(asked, *_bounds(params, state, asked)), memory


def _asked(params: Params, goal: jax.Array, stock: jax.Array) -> jax.Array:
    """`Float[S + 1]`, shipments and production before any limit but production's own."""
    share, produce = goal[:-1], params.limit * jnp.clip(jnp.nan_to_num(goal[-1]), 0.0, 1.0)
    if params.rounding == "none":
        return jnp.append((proportions(share) * stock)[:-1], produce)
    whole = jnp.floor if params.rounding == "floor" else jnp.round
    ship = counts(share, stock.astype(jnp.int32), params.rounding)[:-1].astype(jnp.float32)
    return jnp.append(ship, whole(produce))


def _bounds(params: Params, state: jax.Array, asked: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`Float[S + 1]` each, least and most that is done of what is asked: more is produced where more is shipped."""
    room, stock = state[:-1], state[-1]
    ship = jnp.minimum(asked[:-1], room)
    free = jnp.maximum(params.storage - stock + jnp.sum(ship), 0.0)
    return jnp.append(jnp.full_like(room, -jnp.inf), 0.0), jnp.append(room, free)


def project(goal: Float[Array, "n"]) -> Float[Array, "n"]:
    """The nearest goal: shares that sum to 1 (see `proportions`), production within [0, 1]."""
    return jnp.append(proportions(goal[:-1]), jnp.clip(jnp.nan_to_num(goal[-1]), 0.0, 1.0))


def problem(params: Params) -> Problem:
    """Expects segments of one step. Compared are units done, rounded in value, smooth in their gradient. Closed form: what was
    shipped and what was left, over the stock; what was produced.

    Status: AMBIGUOUS where there was nothing to share, or where a store's room or the warehouse's binds, for more asked would
    have done the same; UNEXPLAINED where the low level does otherwise under this goal: at all if it rounds, else by more than
    float32 leaves open.
    """
    whole = params.rounding != "none"
    return Problem(
        project=project,
        start=_half,
        action=ACTION,
        prepare=lambda segment: stateless.Context(params, segment.state[-1]),
        closed_form=_closed_form,
        program=_program,
        tolerance=Problem._field_defaults["tolerance"] if whole else TOLERANCE,
    )


def _half(segment: Segment, at: stateless.Context) -> jax.Array:
    return jnp.full(segment.action.shape[-1] + 1, 0.5)


def _closed_form(segment: Segment, at: stateless.Context) -> tuple[jax.Array, jax.Array]:
    params, action = at.params, segment.action[-1]
    room, stock, ship = at.state[:-1], at.state[-1], action[:-1]
    goal = project(jnp.concatenate([ship, (stock - jnp.sum(ship))[None], action[-1:] / params.limit]))
    full = jnp.any(ship >= room) | (action[-1] >= params.storage - stock + jnp.sum(ship))
    return goal, jnp.where(full | (stock <= 0), AMBIGUOUS, UNIQUE)


def _program(segment: Segment, at: stateless.Context) -> LinearProgram:
    """The low level before it rounds, its optimum the only one. Entries: shipments, production, the room they leave in
    stores and in the warehouse, what is above its storage, and what shipments and production fall short of the goal.

    Rounding is of what is asked for: whole orders are the optimum of a goal that asks for whole units, and that one is
    found. The status is this program's, in which goals differ that ask for the same after rounding.
    """
    params, state, action = at.params, at.state, segment.action[-1]
    room, stock, ship, S = state[:-1], state[-1], action[:-1], state.shape[0] - 1
    # A warehouse without a limit holds what is there and all that can be made.
    storage = jnp.minimum(params.storage, stock + params.limit)
    left = storage - stock + jnp.sum(ship) - action[-1]
    ends = np.cumsum([S, 1, S, 1, 1, S, 1])
    f, p, spare, free, over, short, cut = np.split(np.eye(ends[-1], dtype=np.float32), ends[:-1])
    wish, sums_to_1 = jnp.eye(S + 2), np.append(np.ones((1, S + 1), np.float32), [[0.0]], axis=1)
    return LinearProgram(
        # A unit above the storage costs more than to cut production by one, no more than to ship one less.
        cost=short.sum(0) + cut.sum(0) + 2.0 * over.sum(0),
        A=np.concatenate([f + spare, p - f.sum(0) + free - over, f + short, p + cut, 0.0 * p]),
        b=jnp.concatenate([room, (storage - stock)[None], jnp.zeros(S + 1), -jnp.ones(1)]),
        B=jnp.concatenate([jnp.zeros((S + 1, S + 2)), stock * wish[:S], params.limit * wish[-1:], sums_to_1]),
        action=action,
        slack=jnp.concatenate([room - ship, jnp.maximum(left, 0.0)[None], jnp.maximum(-left, 0.0)[None]]),
        goal=_closed_form(segment, at)[0],
        most=1.0,
    )


ACTION = ActionModel(
    unclipped=lambda goal, at: _asked(replace(at.params, rounding="none"), goal, at.state[-1])[None],
    scale=lambda segment, at: 1.0,
    bounds=lambda asked, at: _bounds(at.params, at.state, asked[0]),
    execute=lambda goal, at: act(at.params, (), at.state, goal)[0][None],
)
