"""Recurrent low levels: the network's equations, the original's way to run it, goals read off logs, and what it can be taught."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ohio_bench.runner.sensitivity import free_panda as arm
from ohio_envs.manipulation import panda

from ohio_jax.controllers import osc, recurrent
from ohio_jax.errors import UserError
from ohio_jax.inverse import INVERSES
from ohio_jax.low_level import FAILED, UNEXPLAINED, UNIQUE, Segment

JOINT = np.repeat([0.05, 1.0], 7).astype(np.float32)
SITE = np.repeat([0.015, 0.05], 3).astype(np.float32)


def params(by="joint", hidden=5, replays=0, seed=0):
    chain = jax.tree.map(jnp.float32, panda.chain())
    blank = recurrent.Params((), chain, JOINT if by == "joint" else SITE, panda.TORQUE.astype(np.float32), by, hidden, replays)
    memory = recurrent.init(blank)
    size = memory.seen.shape[-1]
    return blank.replace(weights=blank.network.init(jax.random.key(seed), blank.network.rest(), jnp.zeros(size)))


def transcribed(p, carry, x):
    """One step in NumPy, float64: gates i, f, g, o of each layer, and the linear layer."""
    sigmoid = lambda y: 1 / (1 + np.exp(-y))
    weights, after = jax.tree.map(lambda y: np.asarray(y, np.float64), p.weights["params"]), []
    for layer, (c, h) in enumerate(carry):
        own = weights[f"OptimizedLSTMCell_{layer}"]
        gate = {name: x @ own[f"i{name}"]["kernel"] + h @ own[f"h{name}"]["kernel"] + own[f"h{name}"]["bias"] for name in "ifgo"}
        c = sigmoid(gate["f"]) * c + sigmoid(gate["i"]) * np.tanh(gate["g"])
        h = sigmoid(gate["o"]) * np.tanh(c)
        after.append((c, h))
        x = h
    return after, x @ weights["Dense_0"]["kernel"] + weights["Dense_0"]["bias"]


@pytest.mark.parametrize(("by", "replays"), [("joint", 0), ("site", 0), ("joint", 5)])
def test_torques_are_the_networks(by, replays):
    """Five steps from rest; with `replays` each step feeds the whole sequence on top of what is remembered (the original's)."""
    p = params(by, replays=replays)
    states = arm.states(5, 1.0)
    goal = np.append(0.7 * p.output, -1.0).astype(np.float32)

    @jax.jit
    def run(states):
        def step(memory, state):
            action, memory = recurrent.act(p, memory, state, goal)
            return memory, action

        spoiled = jax.tree.map(jnp.ones_like, recurrent.init(p))
        return jax.lax.scan(step, recurrent.plan(p, spoiled, states[0], goal), states)[1]

    actions = run(states)
    seen, carry = [], [(np.zeros(5), np.zeros(5))] * 2
    for state, action in zip(states.astype(np.float64), actions, strict=True):
        q, v = state[:7], state[7:14]
        x = [np.sin(q), np.cos(q), v]
        if by == "site":
            position, rotation = osc.pose(p.chain, osc.frames(p.chain, jnp.asarray(q, jnp.float32)))
            x += [np.asarray(position), np.asarray(rotation).reshape(-1)]
        seen.append(np.concatenate([*x, np.full(len(p.output), 0.7)]))
        for x in seen if replays else seen[-1:]:
            carry, out = transcribed(p, carry, x)
        np.testing.assert_allclose(action, [*np.clip(out * panda.TORQUE, -panda.TORQUE, panda.TORQUE), -1.0], atol=2e-4)


@functools.partial(jax.jit, static_argnames="inverse")
def invert(inverse, p, segments):
    return jax.vmap(lambda segment: INVERSES[inverse](recurrent.problem(p), segment))(segments)


@pytest.mark.parametrize("by", ["joint", "site"])
@pytest.mark.parametrize("inverse", ["analytic", "observed", "least_squares"])
def test_goals_are_what_was_reached(by, inverse):
    """Within the range as it is, beyond it at its edge and unexplained; what is not finite fails alone."""
    p = params(by)
    first = arm.states(4)
    last = first.copy()
    last[:, 0] += [0.01, -0.02, 1.0, 0.01]  # the first joint turns about the vertical
    last[:, 7] += [0.5, 0.1, 0.0, 0.0]
    segments = Segment(*(np.repeat(x[:, None], 5, axis=1) for x in (first, np.ones((4, 8), np.float32), last)))
    segments.next_state[3, -1, 2] = np.nan
    found = jax.tree.map(np.asarray, invert(inverse, p, segments))
    if inverse != "observed":
        assert found.status.tolist() == [UNIQUE, UNIQUE, UNEXPLAINED, FAILED]
    assert found.status[3] == FAILED and np.isfinite(found.goal).all()
    np.testing.assert_array_equal(found.goal[:3, -1], 1.0)
    if by == "joint":
        np.testing.assert_allclose(found.goal[:2, :14], (last - first)[:2, :14], atol=1e-6)
        assert found.goal[2, 0] == pytest.approx(0.05)
    else:
        np.testing.assert_allclose(found.goal[:2, 3:6], [[0, 0, 0.01], [0, 0, -0.02]], atol=1e-5)
        before, after = (np.array([osc.pose(p.chain, osc.frames(p.chain, x))[0] for x in at[:2, :7]]) for at in (first, last))
        inside = np.clip(after - before, -0.015, 0.015)
        np.testing.assert_allclose(found.goal[:2, :3], inside, atol=1e-5)


def test_a_network_learns_to_follow():
    """Torques that push joints by what is asked of them: the error falls tenfold, on segments it never saw as well."""
    p = params(hidden=32)
    random = np.random.default_rng(0)
    first = arm.states(2000)
    moved = random.uniform(-1, 1, (2000, 14)).astype(np.float32) * JOINT
    last = first.copy()
    last[:, :14] += moved
    action = np.concatenate([0.5 * panda.TORQUE * moved[:, :7] / 0.05, np.ones((2000, 1))], axis=1).astype(np.float32)
    segments = Segment(*(np.repeat(x[:, None], 5, axis=1) for x in (first, action, last)))
    segments.state[7] = np.nan
    config = recurrent.Config(updates=600, batch=128)
    _, error = recurrent.fit(config, jax.random.key(1), p, segments)
    first, again = (recurrent.fit(recurrent.Config(updates=1, batch=128), jax.random.key(1), p, segments) for _ in range(2))
    assert error < 0.1 * first[1] and first[1] > 0.2
    assert all(map(np.array_equal, *(jax.tree.leaves((fitted.weights, loss)) for fitted, loss in (first, again))))
    with pytest.raises(UserError, match="low level: expected 128 segments and some to hold out, found 50"):
        recurrent.fit(config, jax.random.key(1), p, jax.tree.map(lambda x: x[8:58], segments))
