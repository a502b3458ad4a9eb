"""What an inverse costs and how that grows: segments a second and memory, against how many, how large and how long."""

import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ohio_bench.runner.sensitivity import arm
from ohio_bench.runner.sensitivity.low_levels import Case, fleet, follow, plant, supply
from ohio_bench.speed.timing import race
from ohio_jax.controllers import lqr
from ohio_jax.dynamics.model import Model
from ohio_jax.inverse import INVERSES

STEPS = 5  # of a segment where nothing else is said
INTERVAL, SPRING = 0.1, 1.0  # s; 1 / s^2, between neighbors of the chain and at its ends


def of_reacher(steps: int, amount: int, episodes: int, data_seed: int) -> Case:
    """The arm's regulator with true dynamics; segments are repeated where logs are short."""
    known = arm.known(steps, 0.0, 1024, episodes, data_seed)
    rows = np.resize(np.arange(len(known.goals)), amount)
    pick = lambda x: jnp.asarray(x)[rows]
    return known._replace(segments=jax.tree.map(pick, known.segments), goals=pick(known.goals))


def of_chain(size: int, amount: int, data_seed: int) -> Case:
    """LQR of size / 2 carts on a line, each pulled by its neighbors: goals are positions and velocities of all."""
    k = size // 2
    tied = SPRING * (2 * np.eye(k) - np.eye(k, k=1) - np.eye(k, k=-1))
    push = INTERVAL * np.eye(k)
    A = np.block([[np.eye(k), push], [-INTERVAL * tied, np.eye(k)]])
    B = np.concatenate([np.zeros((k, k)), push])
    model = Model(tuple(jnp.asarray(x, jnp.float32) for x in (A, B, np.zeros(size))), plant, k)
    one = lambda n, value=1.0: jnp.full(n, value)
    params = lqr.Params(model, model, one(size), one(k, 0.1), one(size), one(k, 1e6), one(size, 1e3), one(size, 0.01), STEPS)
    state, goal = jax.random.normal(jax.random.key(data_seed), (2, amount, size))
    played = jax.jit(jax.vmap(functools.partial(follow, lqr, params, model.step, STEPS)))
    return Case(lqr, params, played(state, goal), goal)


def case(kind: str, size: int, amount: int, episodes: int, data_seed: int) -> Case:
    """kind: what grows: "segments", "horizon", "dimension", "regions" or "stores"."""
    if kind == "segments":
        return of_reacher(STEPS, size, episodes, data_seed)
    if kind == "horizon":
        return of_reacher(size, amount, episodes, data_seed)
    if kind == "dimension":
        return of_chain(size, amount, data_seed)
    return fleet("transport", amount, data_seed, size) if kind == "regions" else supply("inventory", amount, data_seed, size)


def measured(
    kind: str, size: int, segments: dict[str, int], runs: int, seconds: float, episodes: int, platform: str
) -> dict[str, Any]:
    """Each inverse on so many segments, on one device, those of each run its own: rates, XLA's memory, how far goals are off.

    - rates: segments a second of each run, in a window of `seconds`.
    - temporary: bytes XLA allots for intermediate results.
    - given: bytes of its inputs.
    - errors: of each run, root mean square over entries in units of the goals' deviation, the median over segments, those among
      them whose goals do not show in all entries, as of stores without room for more.

    Args:
        platform: JAX's backend, where it is measured, for the configuration alone.
    """
    found: dict[str, Any] = {name: {"segments": amount, "rates": [], "errors": []} for name, amount in segments.items()}
    programs: dict[str, Any] = {}
    for run in range(runs):
        known, calls = case(kind, size, max(segments.values()), episodes, run), {}
        for inverse, amount in segments.items():
            of = known.first(amount)
            if run == 0:
                programs[inverse], found[inverse] = _compiled(inverse, of, found[inverse])
            calls[inverse] = functools.partial(programs[inverse], of.params, of.segments)
        for inverse, timing in race(calls, 1, seconds).items():
            goals = known.goals[: segments[inverse]]
            away = (calls[inverse]().goal - goals) / jnp.std(known.goals)
            found[inverse]["rates"].append(segments[inverse] / max(timing.best, 1e-12))
            found[inverse]["errors"].append(float(jnp.median(jnp.sqrt(jnp.mean(jnp.square(away), axis=1)))))
    return found


def _compiled(inverse: str, of: Case, found: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The inverse's program on such segments, and what is known of it before it runs."""
    problem, start = of.controller.problem, time.perf_counter()
    of_all = jax.jit(lambda params, each: jax.vmap(lambda s: INVERSES[inverse](problem(params), s))(each))
    program = of_all.lower(of.params, of.segments).compile()
    told = {"compile_seconds": time.perf_counter() - start}
    plan: Any = program.memory_analysis()
    return program, {**found, **told, "temporary": int(plan.temp_size_in_bytes), "given": int(plan.argument_size_in_bytes)}
