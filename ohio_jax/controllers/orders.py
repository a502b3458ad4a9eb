"""End-to-end control of a supply chain: the policy says itself what to ship to each store and how much to produce.

- goal: `Float[S + 1]` within [0, 1], each shipment and the production as a share of its largest.
- state: `Float[S + 1]`, what stores have room for (not looked at) and the stock that can be shipped.
- action: `Float[S + 1]`, shipments and production.

All in units but for the goal. The end-to-end agent of OHIO's (ICLR 2025) supply-chain experiment, and a fairer one.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Float

from ohio_jax.controllers import stateless
from ohio_jax.controllers.transport import counts
from ohio_jax.low_level import AMBIGUOUS, UNIQUE, ActionModel, Problem, Segment

init, plan = stateless.init, stateless.plan


@struct.dataclass
class Params:
    """Parameters of the low level.

    Attributes:
        largest: `Float[S + 1]`, shipments and production of a goal of ones.
        within_stock: shipments are shares of the stock instead, cut in proportion where they exceed it, in whole units: a fair
            control, which never asks for more than there is. The original's asks for what it likes.
        whole: orders are whole units; if not, they have a derivative.
    """

    largest: jax.Array
    within_stock: bool = struct.field(pytree_node=False, default=True)
    whole: bool = struct.field(pytree_node=False, default=True)


def act(params: Params, memory: Any, state: Float[Array, "n"], goal: Float[Array, "n"]) -> tuple[Float[Array, "n"], Any]:
    """`Float[S + 1]`, orders."""
    goal, stock = project(goal), state[-1]
    smooth = _smooth(params, goal, stock)
    if not params.whole:
        return smooth, memory
    if not params.within_stock:  # the simulator rounds shipments itself
        return smooth.at[-1].set(jnp.floor(smooth[-1])), memory
    share = _within(goal[:-1])
    ship = counts(jnp.append(share, 1.0 - jnp.sum(share)), stock.astype(jnp.int32))[:-1]
    return jnp.append(ship.astype(jnp.float32), jnp.round(smooth[-1])), memory


def _smooth(params: Params, goal: jax.Array, stock: jax.Array) -> jax.Array:
    """`Float[S + 1]`, orders before they are rounded."""
    ship = _within(goal[:-1]) * stock if params.within_stock else params.largest[:-1] * goal[:-1]
    return jnp.append(ship, params.largest[-1] * goal[-1])


def _within(share: jax.Array) -> jax.Array:
    return share / jnp.maximum(jnp.sum(share), 1.0)


def project(goal: Float[Array, "*goal"]) -> Float[Array, "*goal"]:
    """Within [0, 1]; what is no number counts as 0."""
    return jnp.clip(jnp.nan_to_num(goal), 0.0, 1.0)


def problem(params: Params) -> Problem:
    """Expects segments of one step. Compared are orders, rounded in value, smooth in their gradient. Closed form: logged orders
    over the largest possible.

    Status: AMBIGUOUS where there was no stock to share, UNEXPLAINED where this goal makes other orders, as where a logged
    order is above the largest.
    """
    return Problem(
        project=project,
        start=half,
        action=ACTION,
        prepare=lambda segment: stateless.Context(params, segment.state[-1]),
        closed_form=_closed_form,
    )


def half(segment: Segment, at: Any) -> Float[Array, "n"]:
    """`Float[S + 1]`, where searches begin: half of everything."""
    return jnp.full(segment.action.shape[-1], 0.5)


def _closed_form(segment: Segment, at: stateless.Context) -> tuple[jax.Array, jax.Array]:
    params, stock, action = at.params, at.state[-1], segment.action[-1]
    shipments = jnp.broadcast_to(stock, action[:-1].shape) if params.within_stock else params.largest[:-1]
    largest = jnp.append(shipments, params.largest[-1])
    goal = project(action / jnp.where(largest > 0, largest, 1.0))
    return goal, jnp.where(jnp.any(largest <= 0), AMBIGUOUS, UNIQUE)


ACTION = ActionModel(
    unclipped=lambda goal, at: _smooth(at.params, project(goal), at.state[-1])[None],
    scale=lambda segment, at: 1.0,
    execute=lambda goal, at: act(at.params, (), at.state, goal)[0][None],
)
