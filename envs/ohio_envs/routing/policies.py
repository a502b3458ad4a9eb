"""The behavior policies of the paper: functions (environment, key, state) -> flows `Int[n, n]`, row = origin.

Policies that name a distribution (uniform, disp, prop) floor its counts as the original does, so a few vehicles of each
region stay where they are, and reach them by cheapest flows. Also as in the original, the vehicles that DTV and INF send to the
region they are in stand on the diagonal, and those of the other policies do not.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from ohio_envs.routing.simulator import Routing
from ohio_jax.controllers.transport import counts, moved
from ohio_jax.environment import State
from ohio_jax.solvers import transport

INF_REACH = 6  # steps, the farthest the informed heuristic sends a vehicle


def none(env: Routing, key: PRNGKeyArray, state: State) -> Int[Array, "n n"]:
    """Moves nothing."""
    n = env.scenario.regions
    return jnp.zeros((n, n), jnp.int32)


def uniform(env: Routing, key: PRNGKeyArray, state: State) -> Int[Array, "n n"]:
    """The same number of idle vehicles everywhere."""
    idle = state.pipeline_state.idle
    return moved(_cheapest(env, idle, jnp.full_like(idle, jnp.sum(idle) // env.scenario.regions)))


def disp(env: Routing, key: PRNGKeyArray, state: State) -> Int[Array, "n n"]:
    """DISP: a random distribution, Dirichlet(1, ..., 1), drawn anew at each step."""
    shares = jax.random.dirichlet(key, jnp.ones(env.scenario.regions))
    return _to_shares(env, state, shares)


def prop(env: Routing, key: PRNGKeyArray, state: State) -> Int[Array, "n n"]:
    """PROP: idle vehicles in proportion to the requests expected over the next five steps."""
    return _to_shares(env, state, env.scenario.shares[_step(env, state)])


def dtv(env: Routing, key: PRNGKeyArray, state: State) -> Int[Array, "n n"]:
    """DTV: as many forecast requests as possible get a vehicle, by cheapest flows."""
    idle = state.pipeline_state.idle
    return _cheapest(env, idle, env.scenario.forecast[_step(env, state)])


def inf(env: Routing, key: PRNGKeyArray, state: State) -> Int[Array, "n n"]:
    """INF: all idle vehicles of a region go where forecast requests times nearness, R_j (6 - time_ij), is greatest.

    The closed form of the original's integer program, whose capacity never binds at its parameters. Ties with staying
    are decided for staying, others for the lowest index.
    """
    s, idle = env.scenario, state.pipeline_state.idle
    wanted = s.forecast[_step(env, state)]
    gain = wanted[None, :] * jnp.maximum(INF_REACH - s.reb_time, 0)
    # A bonus smaller than any difference makes staying win its ties.
    target = jnp.argmax(2 * gain + jnp.eye(s.regions, dtype=jnp.int32), axis=1)
    return jnp.where(target[:, None] == jnp.arange(s.regions)[None, :], idle[:, None], 0)


POLICIES = {"none": none, "uniform": uniform, "disp": disp, "prop": prop, "dtv": dtv, "inf": inf}


def _step(env: Routing, state: State) -> jax.Array:
    return jnp.minimum(state.pipeline_state.t, env.horizon - 1)


def _to_shares(env: Routing, state: State, shares: jax.Array) -> jax.Array:
    idle = state.pipeline_state.idle
    return moved(_cheapest(env, idle, counts(shares, jnp.sum(idle), "floor")))


def _cheapest(env: Routing, idle: jax.Array, wanted: jax.Array) -> jax.Array:
    """Cheapest flows after which each region has its wanted vehicles at least.

    A source that stands for no vehicle serves at no cost what is wanted beyond the idle vehicles.

    Returns:
        `Int[n, n]`.
    """
    missing = jnp.maximum(jnp.sum(wanted) - jnp.sum(idle), 0)
    cost = jnp.concatenate([env.scenario.reb_cost, jnp.zeros((1, idle.shape[0]), jnp.int32)])
    return transport.solve(cost, jnp.append(idle, missing), wanted).flow[:-1]
