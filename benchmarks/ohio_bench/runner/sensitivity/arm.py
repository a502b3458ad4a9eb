"""What the sensitivity benchmark varies on the reacher: torque noise, what an inverse believes of the arm, segment length."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from ohio_envs import registry
from ohio_envs.reacher.simulator import Body, advance
from ohio_envs.reacher.task import DISPLACEMENTS, LEARNED, NOISE, regulation

from ohio_bench.runner.sensitivity.answers import invert
from ohio_bench.runner.sensitivity.low_levels import Case, follow
from ohio_bench.speed.work import segments
from ohio_jax.collect import collect
from ohio_jax.controllers import lqr, relative
from ohio_jax.data import Trajectories
from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Model
from ohio_jax.environment import State
from ohio_jax.low_level import Problem, Segment
from ohio_jax.solvers import riccati
from ohio_jax.streams import Data
from ohio_jax.task import Task

TRUE = Model(Body(), advance, 2)
FLOOR = 0.1  # of the deterministic arm's tolerance, what a noisy one's deviation is at least
PRIOR_STEPS = 5  # length of the segments whose goals are taken as examples of what goals are like


@struct.dataclass
class Shaken:
    """An environment whose low level is stochastic: normal noise of this deviation on every torque, a share of the gear.

    `info["action"]` is the torque applied, which logs keep. The noise of an episode follows from its instance.
    """

    env: Any
    deviation: jax.Array

    @property
    def horizon(self) -> int:
        return self.env.horizon

    @property
    def observation_size(self) -> int:
        return self.env.observation_size

    @property
    def action_size(self) -> int:
        return self.env.action_size

    def reset_to(self, instance: jax.Array) -> State:
        state = self.env.reset_to(instance)
        bits = jax.lax.bitcast_convert_type(instance, jnp.uint32)
        own = {"noise": jax.random.key(bits[0] ^ bits[-1]), "action": jnp.zeros(self.action_size)}
        return state.replace(info={**state.info, **own})

    def step(self, state: State, action: jax.Array) -> State:
        key, now = jax.random.split(state.info["noise"])
        torque = shaken(self.deviation, now, action)
        after = self.env.step(state, torque)
        return after.replace(info={**after.info, "noise": key, "action": torque})


def shaken(deviation: jax.Array, key: jax.Array, action: jax.Array) -> jax.Array:
    """`Float[m]`, the action with noise, within the torques' bounds."""
    return jnp.clip(action + deviation * jax.random.normal(key, action.shape), -1.0, 1.0)


@functools.cache
def task(steps: int, deviation: float) -> Task:
    """The reacher with h = `steps` and noisy torques."""
    same = registry.make("reacher", {"steps": str(steps)})
    return replace(same, env=Shaken(same.env, jnp.float32(deviation)))


@functools.cache
def logs(episodes: int, deviation: float, data_seed: int = 0) -> Trajectories:
    """The expert's; without noise those of the data set `reacher-expert-v1`."""
    return collect(task(PRIOR_STEPS, deviation), "expert", episodes, Data(data_seed).seed)


# What a body is with one of its physical constants `factor` times as large.
WRONG: dict[str, Callable[[Body, float], Body]] = {
    "masses": Body.heavier,
    "gear": lambda body, factor: body._replace(gear=factor * body.gear),
    "damping": lambda body, factor: body._replace(damping=factor * body.damping),
}


@dataclass(frozen=True)
class Belief:
    """The dynamics an inverse works with: the true ones, those of a wrong constant, or learned from logs.

    Attributes:
        quantity: name in WRONG, of what is `factor` times as large as it is.
        share: of the logs' episodes; 0: not learned.
        noise: deviation of every entry of A - 1 and B of the linearized model, as a share of the entry, the same at all states.
    """

    quantity: str = "masses"
    factor: float = 1.0
    share: float = 0.0
    noise: float = 0.0

    @property
    def name(self) -> str:
        if self.share:
            return f"data-{100 * self.share:g}" + (f".ab-{100 * self.noise:g}" if self.noise else "")
        return "true" if self.factor == 1 else f"{self.quantity}{100 * (self.factor - 1):+g}"


@struct.dataclass
class Noisy:
    """A model whose linearization is off: x' = (A + a (A - 1)) x + B (1 + b) u + c, products entry by entry.

    Attributes:
        model: that A, B and c are of, linearized at each state.
        a, b: `Float[n, n]`, `Float[n, m]`.
    """

    model: Any
    a: jax.Array
    b: jax.Array

    def step(self, x: jax.Array, u: jax.Array) -> jax.Array:
        A, B, c = self.linear(x)
        return A @ x + B @ u + c

    def linear(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        A, B, c = self.model.linear(x)
        return A + self.a * (A - jnp.eye(len(x))), B * (1.0 + self.b), c


def off(model: Any, deviation: float, n: int, m: int, seed: int = 0) -> Noisy:
    """The model with normal noise of this deviation on A and B."""
    random = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(deviation * random.normal(size=shape), jnp.float32)
    return Noisy(model, draw(n, n), draw(n, m))


@functools.cache
def believed(belief: Belief, episodes: int, updates: int, deviation: float, data_seed: int = 0) -> Any:
    """The model of a belief. Learned ones make `updates` gradient steps, however few their logs, and keep the best epoch."""
    if not belief.share:
        return Model(WRONG[belief.quantity](Body(), belief.factor), advance, 2)
    if belief.noise:
        exact = believed(replace(belief, noise=0.0), episodes, updates, deviation, data_seed)
        return off(exact, belief.noise, 4, 2, Data(data_seed).seed)
    whole = logs(episodes, deviation, data_seed)
    rows = slice(0, whole.offset[max(1, round(belief.share * episodes))])
    config = LEARNED
    an_epoch = max(1, int((1 - config.held_out) * rows.stop) // config.batch)
    config = replace(config, epochs=max(1, round(updates / an_epoch)))
    return learned.fit(config, jax.random.key(0), whole.state[rows], whole.action[rows], whole.next_state[rows]).model


def regulator(steps: int, model: Any = TRUE, noise: Any = NOISE) -> relative.Params:
    """The reacher's regulator given displacements, explained with `model`; noise: `Float[4]`, see `lqr.Params`."""
    return relative.Params(
        replace(regulation(model, steps), noise=jnp.asarray(noise, jnp.float32)), jnp.array(DISPLACEMENTS), lqr
    )


# --- What torque noise does -----------------------------------------------------------------------------------------


def propagated(low: relative.Params, segment: Segment) -> jax.Array:
    """Covariance of the reached state for torque noise of deviation 1, by linear propagation in closed loop:

    S' = (A + B K) S (A + B K)' + B B', gains as the low level's, the model linearized at the observed states.

    Returns:
        `Float[n, n]`.
    """
    p = low.params
    A, B, c = p.dynamics.linear(segment.state[0])
    K = riccati.gains(A, B, c, jnp.diag(p.Q), jnp.diag(p.R), jnp.diag(p.P), p.steps).K

    def step(S, at):
        gain, seen = at
        A, B, _ = p.model.linear(seen)
        closed = A + B @ gain
        return closed @ S @ closed.T + B @ B.T, None

    return jax.lax.scan(step, jnp.zeros_like(A), (K, segment.state))[0]


_variances = jax.jit(jax.vmap(lambda low, segment: jnp.diagonal(propagated(low, segment)), (None, 0)))


def tolerance(deviation: float, given: Segment, low: relative.Params) -> np.ndarray:
    """`Float[4]`, the deviation of the reached state: the task's own without noise, with it the median over segments."""
    if not deviation:
        return NOISE
    variance = _variances(low, given)
    return np.sqrt(deviation**2 * np.median(variance, axis=0) + (FLOOR * NOISE) ** 2).astype(np.float32)


def correlated(low: relative.Params, deviation: jax.Array) -> Problem:
    """The low level's problem, whitened by the whole covariance of each segment's reached state, not by its diagonal."""
    plain, least = relative.problem(low), jnp.diag(jnp.square(FLOOR * jnp.asarray(NOISE)))
    assert plain.state is not None
    root = lambda segment, context: jnp.linalg.cholesky(deviation**2 * propagated(low, segment) + least)
    return plain._replace(state=plain.state._replace(scale=root))


# --- Goals that are known -------------------------------------------------------------------------------------------


@functools.cache
def examples(amount: int, episodes: int, data_seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(states `Float[N, 4]` of the expert's logs, goals `Float[N, 4]` as they occur there, in an order of their own)."""
    given = segments(logs(episodes, 0.0, data_seed), PRIOR_STEPS, amount)
    found = invert("analytic", regulator(PRIOR_STEPS), given, relative.problem)
    return np.asarray(given.state[:, 0]), np.random.default_rng(data_seed).permutation(found.goal)


@functools.cache
def known(steps: int, deviation: float, amount: int, episodes: int, data_seed: int = 0) -> Case:
    """Goals and starts from the expert's logs, one independent of the other, executed on the true arm with torque noise."""
    states, goals = examples(amount, episodes, data_seed)
    keys = jax.random.split(jax.random.fold_in(jax.random.key(steps), data_seed), amount)
    low = regulator(steps)
    return Case(relative, low, _play_all(low, jnp.float32(deviation), states, goals, keys), goals)


def play(low: relative.Params, deviation: jax.Array, state: jax.Array, goal: jax.Array, key: jax.Array) -> Segment:
    """The segment of a goal on the arm that the gains are of, with torque noise."""
    p = low.params
    keys = jax.random.split(key, p.steps)
    return follow(relative, low, p.dynamics.step, p.steps, state, goal, keys, functools.partial(shaken, deviation))


_play_all = jax.jit(jax.vmap(play, (None, None, 0, 0, 0)))


# --- What an inverse believes -----------------------------------------------------------------------------------------


_steps = jax.jit(jax.vmap(lambda model, x, u: model.step(x, u), (None, 0, 0)))


def model_error(model: Any, given: Segment) -> float:
    """Error of a predicted step: root mean square, over what a step changes, a mean over the four entries."""
    flat = [x.reshape(-1, x.shape[-1]) for x in given[:3]]
    predicted, truth = (_steps(m, *flat[:2]) for m in (model, TRUE))
    change = np.asarray(truth) - np.asarray(flat[0])
    return float(np.mean(np.sqrt(np.mean(np.square(np.asarray(predicted - truth)), axis=0)) / np.std(change, axis=0)))


def beliefs(factors: Mapping[str, Sequence[float]], shares: Sequence[float], noises: Sequence[float] = ()) -> tuple[Belief, ...]:
    """The true dynamics, wrong constants, learned models, and noise on the one that was learned from all logs, in this order.

    Args:
        factors: of quantities in WRONG.
    """
    wrong = [(quantity, factor) for quantity, of in factors.items() for factor in of if not math.isclose(factor, 1.0)]
    learned = (*(Belief(share=share) for share in shares), *(Belief(share=1.0, noise=noise) for noise in noises))
    return (Belief(), *(Belief(*each) for each in wrong), *learned)
