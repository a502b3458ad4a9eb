"""Every controller with parameters, and segments that it makes of goals that are known: what inverses are judged by.

Regulators have a linear plant of three states, arms the Panda without contacts, fleets a synthetic city, and supply chains a
warehouse with its stores. States and goals follow from a seed; parameters, and so what is compiled for them, do not.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from ohio_envs.manipulation import panda
from ohio_envs.routing import scenario

from ohio_bench.runner.sensitivity import free_panda
from ohio_jax.controllers import CONTROLLERS, convex, mixture
from ohio_jax.dynamics.model import Model
from ohio_jax.extras import imported
from ohio_jax.low_level import Segment
from ohio_jax.solvers.transport import perturb

STEPS = 5  # of the segments that last longer than one
REGIONS, STORES = 4, 3


class Case(NamedTuple):
    """A low level and what it did.

    Attributes:
        segments: leaves [N, h, ...], what it made of the goals.
        goals: `Float[N, *goal]`, what it was asked for.
    """

    controller: Any
    params: Any
    segments: Segment
    goals: Any

    @property
    def spread(self) -> np.ndarray:
        """`Float[g]`, half the distance of the goals' 16 % and 84 % quantiles, entry by entry; 1 of an entry that is constant."""
        low, high = np.quantile(np.asarray(self.goals).reshape(len(self.goals), -1), (0.16, 0.84), axis=0)
        return np.where(high > low, (high - low) / 2, 1.0)

    def first(self, amount: int) -> "Case":
        """The first so many segments."""
        return self._replace(segments=jax.tree.map(lambda x: x[:amount], self.segments), goals=self.goals[:amount])


def plant(constants: Any, x: Float[Array, " n"], u: Float[Array, " m"]) -> Float[Array, " n"]:
    """A x + B u + c."""
    A, B, c = constants
    return A @ x + B @ u + c


def follow(
    controller: Any,
    params: Any,
    move: Callable[[jax.Array, jax.Array], jax.Array],
    steps: int,
    state: jax.Array,
    goal: jax.Array,
    keys: Any = None,
    disturbed: Callable[[Any, jax.Array], jax.Array] = lambda key, action: action,
) -> Segment:
    """The segment of a goal that is asked for in `state`, in a world that `move(x, u)` steps.

    Args:
        disturbed: (a step's key, what the low level does) -> what is done; keys: `[steps]`.
    """

    def step(carry, key):
        x, memory = carry
        wanted, memory = controller.act(params, memory, x, goal)
        u = disturbed(key, wanted)
        after = move(x, u)
        return (after, memory), Segment(x, u, after)

    memory = controller.plan(params, controller.init(params), state, goal)
    return jax.lax.scan(step, (state, memory), keys, steps)[1]


def case(name: str, amount: int, seed: int = 0) -> Case:
    """Segments of a controller of CONTROLLERS. Raises UserError where the extra that it needs is missing."""
    return MAKERS[name](amount, seed)


def _random(*shape: int, low: float = -1.0, high: float = 1.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@functools.cache
def _model(actions: int) -> Model:
    random = np.random.default_rng(0)
    A, B = np.eye(3) + 0.2 * random.normal(size=(3, 3)), random.normal(size=(3, actions))
    return Model(tuple(jnp.asarray(x, jnp.float32) for x in (A, B, random.normal(size=3))), plant, actions)


def _followed(name: str, params: Any, x: np.ndarray, goals: np.ndarray, move: Callable, steps: int = STEPS) -> Case:
    segments = jax.vmap(functools.partial(follow, CONTROLLERS[name], params, move, steps))
    return Case(CONTROLLERS[name], params, jax.tree.map(np.asarray, jax.jit(segments)(x, goals)), goals)


def _regulated(name: str, amount: int, seed: int, bound: float = 3.0) -> Case:
    """LQR, MPC and nonlinear MPC of a linear plant, some of whose actions are on their bounds.

    MPC has the same gains at all steps, and so needs as many actions as there are states to show its goals.
    """
    actions = 2 if name == "lqr" else 3
    model, three, of_actions = _model(actions), jnp.ones(3), jnp.ones(actions)
    own = (model, model, three, 0.1 * of_actions, three, bound * of_actions, 50.0 * three, 0.01 * three)
    params = CONTROLLERS["lqr"].Params(*own, STEPS) if name == "lqr" else CONTROLLERS["mpc"].Params(*own, 4, STEPS)
    x, goals = _random(amount, 3, seed=2 * seed), _random(amount, 3, low=-2.0, high=2.0, seed=2 * seed + 1)
    return _followed(name, params, x, goals, model.step)


def _displaced(amount: int, seed: int) -> Case:
    inner, relative = _regulated("lqr", amount, seed), CONTROLLERS["relative"]
    params = relative.Params(inner.params, 40.0 * jnp.ones(3), inner.controller)
    return _followed("relative", params, inner.segments.state[:, 0], inner.goals, inner.params.model.step)


def _second(state: jax.Array) -> jax.Array:
    return jnp.int32(1)


def _mixed(amount: int, seed: int) -> Case:
    inner = _regulated("lqr", amount, seed)
    several = mixture.stack([inner.params, inner.params.replace(R=20.0 * inner.params.R)])
    params = mixture.Params(several, inner.controller, _second)
    return _followed("mixture", params, inner.segments.state[:, 0], inner.goals, inner.params.model.step)


def _joints(amount: int, seed: int) -> Case:
    two = lambda x: np.full(2, x, np.float32)
    params = CONTROLLERS["pd"].Params(kp=two(5.0), kd=two(0.5), bound=two(4.0), limit=two(3.0), noise=two(0.05))
    move = lambda x, u: jnp.concatenate([x[:2] + 0.1 * x[2:], x[2:] + 0.3 * u])
    x, goals = _random(amount, 4, seed=2 * seed), _random(amount, 2, low=-2.0, high=2.0, seed=2 * seed + 1)
    return _followed("pd", params, x, goals, move)


def _arm(name: str, amount: int, seed: int) -> Case:
    controller = CONTROLLERS[name]
    if name == "osc":
        output, params = free_panda.OUTPUT, free_panda.osc_params()
    else:
        output = np.full(7, 0.05)
        params = controller.Params(panda.chain(), np.full(7, 300.0), np.ones(7), output, panda.TORQUE)
    states, goals = free_panda.states(amount, seed=2 * seed), free_panda.goals(amount, output, 0.2, 2 * seed + 1)
    return Case(controller, params, jax.tree.map(np.asarray, free_panda.play(controller, params, states, goals)), goals)


def _taught(amount: int, seed: int) -> Case:
    """A recurrent network's goals are what is reached; these are read off what an arm did."""
    recurrent, own = CONTROLLERS["recurrent"], _arm("osc", amount, seed)
    output = np.repeat([0.5, 10.0], 7).astype(np.float32)
    params = recurrent.Params((), panda.chain(), output, panda.TORQUE, "joint", 4)
    return Case(recurrent, params, own.segments, jax.vmap(functools.partial(recurrent.reached, params))(own.segments))


@functools.cache
def _program() -> convex.Params:
    """The next state as near to the goal as bounds on the action let it come."""
    cvxpy: Any = imported("convex", "cvxpy")
    x, goal, u = cvxpy.Parameter(3, name="x"), cvxpy.Parameter(3, name="goal"), cvxpy.Variable(3, name="u")
    A, B, c = (np.asarray(part, float) for part in _model(3).constants)
    cost = cvxpy.sum_squares(A @ x + B @ u + c - goal) + 0.1 * cvxpy.sum_squares(u)
    program = convex.program(cvxpy.Problem(cvxpy.Minimize(cost), [cvxpy.abs(u) <= 3.0]), x, goal, u)
    return convex.Params(program, 5.0 * jnp.ones(3), 0.01 * jnp.ones(3))


def _convex(amount: int, seed: int) -> Case:
    x, goals = _random(amount, 3, seed=2 * seed), _random(amount, 3, seed=2 * seed + 1)
    return _followed("convex", _program(), x, goals, _model(3).step, steps=2)


def one_step(name: str, params: Any, state: np.ndarray, goals: np.ndarray, end: Callable | None = None) -> Case:
    """Segments of one step; end: (states, actions) -> the states after it, by default those before it, which will do."""
    actions = np.asarray(_acted(CONTROLLERS[name], params, state, goals))
    after = state if end is None else end(state, actions)
    return Case(CONTROLLERS[name], params, Segment(state[:, None], actions[:, None], after[:, None]), goals)


@functools.partial(jax.jit, static_argnums=0)
def _acted(controller: Any, params: Any, state: Any, goals: Any) -> jax.Array:
    return jax.vmap(lambda state, goal: controller.act(params, controller.init(params), state, goal)[0])(state, goals)


def moved(idle: np.ndarray, flows: np.ndarray) -> np.ndarray:
    """`Int[N, n]`, idle vehicles once all have come where flows: `Int[N, n, n]` send them."""
    flows = flows * (1 - np.eye(idle.shape[1], dtype=np.int32))
    return (idle - flows.sum(axis=2) + flows.sum(axis=1)).astype(np.int32)


def fleet(name: str, amount: int, seed: int, regions: int = REGIONS) -> Case:
    """All vehicles of a synthetic city, idle somewhere, and goals that ask for whole vehicles, so that rounding hides nothing."""
    random, city = np.random.default_rng(seed), scenario.synthetic(regions)
    share, vehicles = lambda *shape: random.dirichlet(np.ones(regions), shape), regions * city.vehicles
    idle = random.multinomial(vehicles, share(amount)).astype(np.int32)
    if name == "transport":
        goals = random.multinomial(vehicles, share(amount)) / vehicles
    else:
        goals = random.multinomial(idle, share(amount, regions))
        goals = goals / np.maximum(idle, 1)[:, :, None] if name == "shares" else goals.reshape(amount, -1)
    costs = [jnp.asarray(perturb(city.reb_time))] if name == "transport" else []
    return one_step(name, CONTROLLERS[name].Params(*costs), idle, goals.astype(np.float32), moved)


def supply(name: str, amount: int, seed: int, stores: int = STORES) -> Case:
    """What stores have room for and the stock to share, and goals that ask for whole units; of `order_up_to`, for levels."""
    random, produced = np.random.default_rng(seed), 7.0
    room, stock = random.integers(2, 7, (amount, stores)), random.integers(2 * stores, 3 * stores + 1, amount)
    share = random.multinomial(stock, random.dirichlet(np.ones(stores + 1), amount)) / stock[:, None]
    make = random.integers(1, int(produced), (amount, 1)) / produced
    params, goals = {
        "inventory": lambda low: (low.Params(jnp.float32(produced), jnp.float32(4.0 * stores)), np.hstack([share, make])),
        "orders": lambda low: (low.Params(jnp.full(stores + 1, produced)), np.hstack([share[:, :-1], make])),
        "order_up_to": lambda low: (low.Params(jnp.full(stores + 1, 25.0)), random.uniform(0.05, 1.0, (amount, stores + 1))),
    }[name](CONTROLLERS[name])
    return one_step(name, params, np.column_stack([room, stock]).astype(np.float32), goals.astype(np.float32))


def _direct(amount: int, seed: int) -> Case:
    state, goals = _random(amount, 3, seed=2 * seed), _random(amount, 2, low=-6.0, high=6.0, seed=2 * seed + 1)
    return one_step("direct", CONTROLLERS["direct"].Params(5.0 * jnp.ones(2)), state, goals)


MAKERS: dict[str, Callable[[int, int], Case]] = {
    "direct": _direct,
    **{name: functools.partial(_regulated, name) for name in ("lqr", "mpc", "ilqr")},
    "convex": _convex,
    "pd": _joints,
    **{name: functools.partial(_arm, name) for name in ("joint_impedance", "osc")},
    "recurrent": _taught,
    "mixture": _mixed,
    "relative": _displaced,
    **{name: functools.partial(fleet, name) for name in ("transport", "shares", "requests")},
    **{name: functools.partial(supply, name) for name in ("inventory", "orders", "order_up_to")},
}
