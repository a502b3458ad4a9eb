"""What an inverse costs and how that grows: segments a second and memory, against how many, how large and how long."""

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ohio_envs.routing import scenario

from ohio_bench.runner.sensitivity import arm
from ohio_bench.speed.timing import race
from ohio_jax.controllers import lqr, relative, transport
from ohio_jax.dynamics.model import Model
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import Problem, Segment
from ohio_jax.solvers.transport import perturb

STEPS = 5  # of a segment where nothing else is said
INTERVAL, SPRING = 0.1, 1.0  # s; 1 / s^2, between neighbors of the chain and at its ends

# A family of problems of one size: (shared, segments, goals asked for, problem(shared) -> Problem).
Case = tuple[Any, Segment, Any, Callable[[Any], Problem]]


def of_reacher(steps: int, amount: int, episodes: int) -> Case:
    """The arm's regulator with true dynamics; segments are repeated where logs are short."""
    known = arm.known(steps, 0.0, 1024, episodes)
    rows = np.resize(np.arange(len(known.goal)), amount)
    pick = lambda x: jnp.asarray(x)[rows]
    return arm.regulator(steps), jax.tree.map(pick, known.segments), pick(known.goal), relative.problem


def of_chain(size: int, amount: int) -> Case:
    """LQR of size / 2 carts on a line, each pulled by its neighbors: goals are positions and velocities of all."""
    k = size // 2
    tied = SPRING * (2 * np.eye(k) - np.eye(k, k=1) - np.eye(k, k=-1))
    push = INTERVAL * np.eye(k)
    A = np.block([[np.eye(k), push], [-INTERVAL * tied, np.eye(k)]])
    B = np.concatenate([np.zeros((k, k)), push])
    model = Model((jnp.asarray(A, jnp.float32), jnp.asarray(B, jnp.float32)), linear_step, k)
    one = lambda n, value=1.0: jnp.full(n, value)
    params = lqr.Params(model, model, one(size), one(k, 0.1), one(size), one(k, 1e6), one(size, 1e3), one(size, 0.01), STEPS)
    state, goal = jax.random.normal(jax.random.key(0), (2, amount, size))
    return params, jax.vmap(functools.partial(arm.follow, lqr, params, params))(state, goal), goal, lqr.problem


def linear_step(constants: tuple[jax.Array, jax.Array], x: jax.Array, u: jax.Array) -> jax.Array:
    A, B = constants
    return A @ x + B @ u


def of_routing(size: int, amount: int) -> Case:
    """Vehicle routing on a synthetic city: random shares asked for, moved by cheapest flows. Goals are those reached."""
    city = scenario.synthetic(size)
    params = transport.Params(jnp.asarray(perturb(city.reb_time)))
    random = np.random.default_rng(0)
    idle = jnp.asarray(random.multinomial(size * city.vehicles, random.dirichlet(np.ones(size), amount)), jnp.int32)
    goals = jnp.asarray(random.dirichlet(np.ones(size), amount), jnp.float32)
    flows, _ = jax.jit(jax.vmap(lambda state, goal: transport.act(params, (), state, goal)))(idle, goals)
    moves = jax.vmap(transport.moved)(flows)
    reached = idle - moves.sum(axis=2, dtype=jnp.int32) + moves.sum(axis=1, dtype=jnp.int32)
    given = Segment(idle[:, None], flows[:, None], reached[:, None])
    return params, given, reached / reached.sum(axis=1, keepdims=True), transport.problem


def case(kind: str, size: int, amount: int, episodes: int) -> Case:
    """kind: what grows: "segments", "horizon", "dimension" or "regions"."""
    if kind == "segments":
        return of_reacher(STEPS, size, episodes)
    if kind == "horizon":
        return of_reacher(size, amount, episodes)
    return of_chain(size, amount) if kind == "dimension" else of_routing(size, amount)


def measured(
    kind: str, size: int, segments: dict[str, int], windows: int, seconds: float, episodes: int, platform: str
) -> dict[str, Any]:
    """Each inverse on so many of its segments, on one device: rates, XLA's memory, and how far its goals are off.

    - temporary: bytes XLA allots for intermediate results.
    - given: bytes of its inputs.
    - error: root mean square over entries in units of the goals' deviation, the median over segments.

    Args:
        platform: JAX's backend, where it is measured, for the configuration alone.
    """
    shared, given, goals, problem = case(kind, size, max(segments.values()), episodes)
    calls, told = {}, {}
    for inverse, amount in segments.items():
        of_shared = lambda shared, each, inverse=inverse: jax.vmap(lambda s: INVERSES[inverse](problem(shared), s))(each)
        some = jax.tree.map(lambda x, amount=amount: x[:amount], given)
        start = time.perf_counter()
        program = jax.jit(of_shared).lower(shared, some).compile()
        told[inverse] = {"compile_seconds": time.perf_counter() - start}
        calls[inverse] = functools.partial(program, shared, some)
        plan: Any = program.memory_analysis()
        told[inverse] |= {"temporary": int(plan.temp_size_in_bytes), "given": int(plan.argument_size_in_bytes)}
    timings = race(calls, windows, seconds)
    scale = jnp.std(goals)

    def off(inverse: str) -> float:
        away = (calls[inverse]().goal - goals[: segments[inverse]]) / scale
        return float(jnp.median(jnp.sqrt(jnp.mean(jnp.square(away), axis=1))))

    return {
        inverse: {"segments": amount, "rate": timings[inverse].rates(amount), **told[inverse], "error": off(inverse)}
        for inverse, amount in segments.items()
    }
