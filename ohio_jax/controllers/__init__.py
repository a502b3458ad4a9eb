"""Low-level policies, one a file, all with the same functions (see `ohio_jax.low_level.Controller`):

- `init(params) -> memory`
- `plan(params, memory, state, goal) -> memory`, where a goal is given
- `act(params, memory, state, goal) -> (action, memory)`
- `problem(params)`: what inverses need to recover goals from logged actions
"""

from ohio_jax.controllers import (
    convex,
    direct,
    ilqr,
    inventory,
    joint_impedance,
    lqr,
    mixture,
    mpc,
    order_up_to,
    orders,
    osc,
    pd,
    recurrent,
    relative,
    requests,
    shares,
    transport,
)

CONTROLLERS = {
    "direct": direct,
    "lqr": lqr,
    "mpc": mpc,
    "ilqr": ilqr,
    "convex": convex,
    "pd": pd,
    "joint_impedance": joint_impedance,
    "osc": osc,
    "recurrent": recurrent,
    "mixture": mixture,
    "relative": relative,
    "transport": transport,
    "shares": shares,
    "requests": requests,
    "inventory": inventory,
    "orders": orders,
    "order_up_to": order_up_to,
}

__all__ = ["CONTROLLERS"]
