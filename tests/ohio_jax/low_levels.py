"""Every controller with parameters, goals, and the segments that it makes of them: what tests of their contract go through."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_envs.manipulation import panda

from ohio_jax.controllers import CONTROLLERS, convex, mixture
from ohio_jax.dynamics.model import Model
from ohio_jax.low_level import Segment
from ohio_jax.solvers.transport import perturb
from tests.ohio_jax import arm, linear

N, STEPS = 8, 5  # segments; steps of those that last longer than one


class Case(NamedTuple):
    """segments: leaves [N, h, ...], what the controller did when it was asked for goals: Float[N, *goal]."""

    controller: Any
    params: Any
    segments: Segment
    goals: Any


def _random(*shape, low=-1.0, high=1.0, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def _model(actions: int) -> Model:
    random = np.random.default_rng(0)
    A, B = np.eye(3) + 0.2 * random.normal(size=(3, 3)), random.normal(size=(3, actions))
    return Model(tuple(jnp.asarray(x, jnp.float32) for x in (A, B, random.normal(size=3))), linear.plant, actions)


def _played(name: str, params: Any, x: np.ndarray, goals: np.ndarray, step: Callable, steps: int = STEPS) -> Case:
    controller = CONTROLLERS[name]

    def one(x, goal):
        def go(carry, _):
            x, memory = carry
            u, memory = controller.act(params, memory, x, goal)
            after = step(x, u)
            return (after, memory), (x, u, after)

        memory = controller.plan(params, controller.init(params), x, goal)
        return Segment(*jax.lax.scan(go, (x, memory), None, steps)[1])

    return Case(controller, params, jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(x, goals)), goals)


def _regulated(name: str, bound: float = 3.0) -> Case:
    """LQR, MPC and nonlinear MPC of a linear plant, some of whose actions are on their bounds.

    MPC has the same gains at all steps, and so needs as many actions as there are states to show its goals.
    """
    actions = 2 if name == "lqr" else 3
    model, three, of_actions = _model(actions), jnp.ones(3), jnp.ones(actions)
    own = (model, model, three, 0.1 * of_actions, three, bound * of_actions, 50.0 * three, 0.01 * three)
    params = CONTROLLERS["lqr"].Params(*own, STEPS) if name == "lqr" else CONTROLLERS["mpc"].Params(*own, 4, STEPS)
    return _played(name, params, _random(N, 3), _random(N, 3, low=-2.0, high=2.0, seed=1), model.step)


def _displaced() -> Case:
    inner, relative = _regulated("lqr"), CONTROLLERS["relative"]
    params = relative.Params(inner.params, 40.0 * jnp.ones(3), inner.controller)
    return _played("relative", params, inner.segments.state[:, 0], inner.goals, inner.params.model.step)


def _mixed() -> Case:
    inner = _regulated("lqr")
    several = mixture.stack([inner.params, inner.params.replace(R=20.0 * inner.params.R)])
    params = mixture.Params(several, inner.controller, lambda state: jnp.int32(1))  # the second of the two
    return _played("mixture", params, inner.segments.state[:, 0], inner.goals, inner.params.model.step)


def _joints() -> Case:
    two = lambda x: np.full(2, x, np.float32)
    params = CONTROLLERS["pd"].Params(kp=two(5.0), kd=two(0.5), bound=two(4.0), limit=two(3.0), noise=two(0.05))
    step = lambda x, u: jnp.concatenate([x[:2] + 0.1 * x[2:], x[2:] + 0.3 * u])
    return _played("pd", params, _random(N, 4), _random(N, 2, low=-2.0, high=2.0, seed=1), step)


def _arm(name: str) -> Case:
    controller = CONTROLLERS[name]
    if name == "osc":
        output, params = arm.OUTPUT, arm.osc_params()
    else:
        output = np.full(7, 0.05)
        params = controller.Params(panda.chain(), np.full(7, 300.0), np.ones(7), output, panda.TORQUE)
    goals = arm.goals(N, output, 0.2)
    return Case(controller, params, jax.tree.map(np.asarray, arm.play(controller, params, arm.states(N), goals)), goals)


def _taught() -> Case:
    """A recurrent network's goals are what is reached; these are read off what an arm did."""
    recurrent, own = CONTROLLERS["recurrent"], _arm("osc")
    output = np.repeat([0.5, 10.0], 7).astype(np.float32)
    params = recurrent.Params((), panda.chain(), output, panda.TORQUE, "joint", 4)
    return Case(recurrent, params, own.segments, jax.vmap(functools.partial(recurrent.reached, params))(own.segments))


def _convex() -> Case:
    """The next state as near to the goal as bounds on the action let it come."""
    cvxpy = pytest.importorskip("cvxpy")
    x, goal, u = cvxpy.Parameter(3, name="x"), cvxpy.Parameter(3, name="goal"), cvxpy.Variable(3, name="u")
    model = _model(3)
    A, B, c = (np.asarray(part, float) for part in model.constants)
    cost = cvxpy.sum_squares(A @ x + B @ u + c - goal) + 0.1 * cvxpy.sum_squares(u)
    program = convex.program(cvxpy.Problem(cvxpy.Minimize(cost), [cvxpy.abs(u) <= 3.0]), x, goal, u)
    params = convex.Params(program, 5.0 * jnp.ones(3), 0.01 * jnp.ones(3))
    return _played("convex", params, _random(N, 3), _random(N, 3, seed=1), model.step, steps=2)


def _one_step(name: str, params: Any, state: np.ndarray, goals: np.ndarray, end: Callable | None = None) -> Case:
    controller = CONTROLLERS[name]
    act = lambda state, goal: controller.act(params, controller.init(params), state, goal)[0]
    actions = np.asarray(jax.jit(jax.vmap(act))(state, goals))
    after = state if end is None else end(state, actions)
    return Case(controller, params, Segment(state[:, None], actions[:, None], after[:, None]), goals)


def _fleet(name: str) -> Case:
    random, n = np.random.default_rng(0), 4
    idle = random.integers(6, 12, (N, n)).astype(np.int32)
    moved = lambda flows: flows * (1 - np.eye(n, dtype=np.int32))
    end = lambda idle, flows: (idle - moved(flows).sum(axis=2) + moved(flows).sum(axis=1)).astype(np.int32)
    share = lambda *shape: random.dirichlet(np.ones(n), shape).astype(np.float32)
    params = CONTROLLERS[name].Params(*([perturb(1 + np.abs(np.subtract.outer(range(n), range(n))))] * (name == "transport")))
    goals = {"transport": share(N), "shares": share(N, n), "requests": _random(N, n * n, low=0.0, high=2.0)}[name]
    return _one_step(name, params, idle, goals, end)


def _supply(name: str) -> Case:
    state, goals = np.round(_random(N, 4, low=2.0, high=6.0)), _random(N, 4, low=0.05, high=1.0, seed=1)
    if name == "inventory":  # shares of three stores, most of which have room for them, and the warehouse, then production
        goals = np.concatenate([goals / goals.sum(axis=1, keepdims=True), goals[:, :1]], axis=1)
        state = state + np.array([0.0, 0.0, 0.0, 4.0], np.float32)
    params = {
        "inventory": lambda low: low.Params(jnp.float32(7.0), jnp.float32(18.0)),
        "orders": lambda low: low.Params(jnp.full(4, 9.0)),
        "order_up_to": lambda low: low.Params(jnp.full(4, 25.0)),
    }[name](CONTROLLERS[name])
    return _one_step(name, params, state, goals)


MAKERS: dict[str, Callable[[], Case]] = {
    "direct": lambda: _one_step("direct", CONTROLLERS["direct"].Params(jnp.ones(2)), _random(N, 3), _random(N, 2)),
    **{name: functools.partial(_regulated, name) for name in ("lqr", "mpc", "ilqr")},
    "convex": _convex,
    "pd": _joints,
    **{name: functools.partial(_arm, name) for name in ("joint_impedance", "osc")},
    "recurrent": _taught,
    "mixture": _mixed,
    "relative": _displaced,
    **{name: functools.partial(_fleet, name) for name in ("transport", "shares", "requests")},
    **{name: functools.partial(_supply, name) for name in ("inventory", "orders", "order_up_to")},
}


@functools.cache
def case(name: str) -> Case:
    return MAKERS[name]()
