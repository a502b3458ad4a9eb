"""What the sensitivity benchmark varies on the reacher: torque noise, what an inverse believes of the arm, segment length."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from ohio_envs import registry
from ohio_envs.reacher.simulator import Body, advance
from ohio_envs.reacher.task import DISPLACEMENTS, LEARNED, NOISE, regulation

from ohio_bench.speed.work import segments
from ohio_jax import low_level
from ohio_jax.collect import collect
from ohio_jax.controllers import lqr, relative
from ohio_jax.data import Trajectories
from ohio_jax.dynamics import learned
from ohio_jax.dynamics.model import Model
from ohio_jax.environment import State
from ohio_jax.inverse import INVERSES
from ohio_jax.inverse.result import Recovered
from ohio_jax.low_level import Problem, Segment
from ohio_jax.relabel import lanes
from ohio_jax.solvers import riccati
from ohio_jax.streams import Data
from ohio_jax.task import Task

TRUE = Model(Body(), advance, 2)
Array = np.ndarray | jax.Array
FLOOR = 0.1  # of the deterministic arm's tolerance, what a noisy one's deviation is at least
PRIOR_STEPS = 5  # length of the segments whose goals are taken as examples of what goals are like


@struct.dataclass
class Noisy:
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
    return replace(same, env=Noisy(same.env, jnp.float32(deviation)))


@functools.cache
def logs(episodes: int, deviation: float, data_seed: int = 0) -> Trajectories:
    """The expert's; without noise those of the data set `reacher-expert-v1`."""
    return collect(task(PRIOR_STEPS, deviation), "expert", episodes, Data(data_seed).seed)


@dataclass(frozen=True)
class Belief:
    """The dynamics an inverse works with: the true ones, those of masses `factor` times as large, or learned from logs.

    Attributes:
        share: of the logs' episodes; 0: not learned.
    """

    factor: float = 1.0
    share: float = 0.0

    @property
    def name(self) -> str:
        if self.share:
            return f"data-{100 * self.share:g}"
        return "true" if self.factor == 1 else f"mass{100 * (self.factor - 1):+g}"


@functools.cache
def believed(belief: Belief, episodes: int, updates: int, deviation: float, data_seed: int = 0) -> Model:
    """The model of a belief. Learned ones make `updates` gradient steps, however few their logs, and keep the best epoch."""
    if not belief.share:
        return Model(Body().heavier(belief.factor), advance, 2)
    whole = logs(episodes, deviation, data_seed)
    rows = slice(0, whole.offset[max(1, round(belief.share * episodes))])
    config = LEARNED
    an_epoch = max(1, int((1 - config.held_out) * rows.stop) // config.batch)
    config = replace(config, epochs=max(1, round(updates / an_epoch)))
    return learned.fit(config, jax.random.key(0), whole.state[rows], whole.action[rows], whole.next_state[rows]).model


def regulator(steps: int, model: Model = TRUE, noise: Any = NOISE) -> relative.Params:
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


class Known(NamedTuple):
    """N segments executed by the low level itself. goal: `Float[N, g]`, what it was asked; spread: `Float[g]`, of such goals."""

    segments: Segment
    goal: np.ndarray
    spread: np.ndarray


@functools.cache
def examples(amount: int, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """(states `Float[N, 4]` of the expert's logs, goals `Float[N, 4]` as they occur there, in an order of their own)."""
    given = segments(logs(episodes, 0.0), PRIOR_STEPS, amount)
    found = invert("analytic", regulator(PRIOR_STEPS), given)
    return np.asarray(given.state[:, 0]), np.random.default_rng(0).permutation(found.goal)


@functools.cache
def known(steps: int, deviation: float, amount: int, episodes: int) -> Known:
    """Goals and starts from the expert's logs, one independent of the other, executed on the true arm with torque noise."""
    states, goals = examples(amount, episodes)
    keys = jax.random.split(jax.random.key(steps), amount)
    played = _play_all(regulator(steps), jnp.float32(deviation), states, goals, keys)
    low, high = np.quantile(goals, (0.16, 0.84), axis=0)
    return Known(played, goals, (high - low) / 2)


def follow(controller, params, plant: lqr.Params, state, goal, keys=None, disturbed=lambda key, action: action) -> Segment:
    """The segment of a goal asked for in `state`, on the plant's dynamics; disturbed: (key of a step, action) -> what is done."""

    def step(carry, key):
        x, memory = carry
        wanted, memory = controller.act(params, memory, x, goal)
        u = disturbed(key, wanted)
        after = plant.dynamics.step(x, u)
        return (after, memory), Segment(x, u, after)

    memory = controller.plan(params, controller.init(params), state, goal)
    return jax.lax.scan(step, (state, memory), keys, plant.steps)[1]


def play(low: relative.Params, deviation: jax.Array, state: jax.Array, goal: jax.Array, key: jax.Array) -> Segment:
    """The segment that follows on the arm that the gains are of, with torque noise."""
    keys = jax.random.split(key, low.params.steps)
    return follow(relative, low, low.params, state, goal, keys, functools.partial(shaken, deviation))


_play_all = jax.jit(jax.vmap(play, (None, None, 0, 0, 0)))


# --- Inverting ------------------------------------------------------------------------------------------------------


@functools.cache
def _inverter(inverse: str, problem):
    def invert(shared, given: Segment) -> Recovered:
        return jax.lax.map(lambda segment: INVERSES[inverse](problem(shared), segment), given, batch_size=lanes(inverse))

    return jax.jit(invert)


def invert(inverse: str, shared: Any, given: Segment, problem=relative.problem) -> Recovered:
    """The inverse's answers, on the host.

    On one device: batches of LAPACK calls that several devices of a CPU start at once may wait for each other for ever.

    Args:
        problem: `problem(shared) -> Problem`; models of one kind share a compiled program.
    """
    return jax.device_get(_inverter(inverse, problem)(shared, given))


@functools.cache
def _judge(problem):
    def judged(shared, segment: Segment, goal: jax.Array):
        of = problem(shared)
        at = low_level.prepare(of, segment)
        return jax.jacfwd(lambda goal: (low_level.residual(of, goal, at),) * 2, has_aux=True)(goal)

    return jax.jit(jax.vmap(judged, (None, 0, 0)))


def derivative(shared: Any, given: Segment, goal: Array, problem=relative.problem) -> tuple[np.ndarray, np.ndarray]:
    """(J: `Float[N, k, g]`, residual: `Float[N, k]`) of a problem at these goals, on the host."""
    return jax.device_get(_judge(problem)(shared, given, goal))


_steps = jax.jit(jax.vmap(lambda model, x, u: model.step(x, u), (None, 0, 0)))


def model_error(model: Model, given: Segment) -> float:
    """Error of a predicted step: root mean square, over what a step changes, a mean over the four entries."""
    flat = [x.reshape(-1, x.shape[-1]) for x in given[:3]]
    predicted, truth = (_steps(m, *flat[:2]) for m in (model, TRUE))
    change = np.asarray(truth) - np.asarray(flat[0])
    return float(np.mean(np.sqrt(np.mean(np.square(np.asarray(predicted - truth)), axis=0)) / np.std(change, axis=0)))


def beliefs(factors: Sequence[float], shares: Sequence[float]) -> tuple[Belief, ...]:
    """The true dynamics, wrong masses and learned models, in this order."""
    wrong = [factor for factor in factors if not math.isclose(factor, 1.0)]
    return (Belief(), *(Belief(factor=factor) for factor in wrong), *(Belief(share=share) for share in shares))
