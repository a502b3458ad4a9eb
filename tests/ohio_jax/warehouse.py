"""A warehouse with three stores: its low levels, states and goals, and the paper's program of what it ships."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linprog

from ohio_jax.controllers import inventory
from ohio_jax.low_level import Segment

LIMIT, STORAGE, STORES = 25.0, 50.0, 3
CORRECTED = inventory.Params(jnp.float32(LIMIT), jnp.float32(np.inf))
RELEASED = inventory.Params(jnp.float32(LIMIT), jnp.float32(STORAGE), "floor")


def states(amount, seed=0):
    """Float[amount, S + 1]: room of each store, stock to ship; some rooms are nothing, some stocks are."""
    random = np.random.default_rng(seed)
    room = random.integers(0, 25, (amount, STORES)) * (random.random((amount, STORES)) > 0.2)
    stock = random.integers(0, 75, (amount, 1)) * (random.random((amount, 1)) > 0.1)
    return np.concatenate([room, stock], axis=1).astype(np.float32)


def goals(amount, seed=1):
    random = np.random.default_rng(seed)
    return np.concatenate([random.dirichlet(np.ones(STORES + 1), amount), random.random((amount, 1))], axis=1).astype(np.float32)


def program(state, want, make, storage):
    """The optimum of the paper's two objectives, (least overfill, least deviation), by HiGHS. Variables: f, p, k, e, m."""
    S, room, stock = STORES, state[:-1], state[-1]
    eye, none = np.eye(S), np.zeros((S, S))
    one, column = np.ones((1, S)), np.zeros((S, 1))
    # f - k <= room; |f - want| <= e; |p - make| <= m; stock + p - sum f <= storage; sum f <= stock; p <= limit.
    rows = [
        (np.hstack([eye, column, -eye, none, column]), room),
        (np.hstack([eye, column, none, -eye, column]), want),
        (np.hstack([-eye, column, none, -eye, column]), -want),
        (np.hstack([0 * one, [[1.0]], 0 * one, 0 * one, [[-1.0]]]), [make]),
        (np.hstack([0 * one, [[-1.0]], 0 * one, 0 * one, [[-1.0]]]), [-make]),
        (np.hstack([-one, [[1.0]], 0 * one, 0 * one, [[0.0]]]), [storage - stock]),
        (np.hstack([one, [[0.0]], 0 * one, 0 * one, [[0.0]]]), [stock]),
    ]
    A, b = np.vstack([row for row, _ in rows]), np.concatenate([right for _, right in rows])
    bounds = [(0, None)] * S + [(None, LIMIT)] + [(0, None)] * (2 * S + 1)
    first = np.concatenate([np.zeros(S + 1), np.ones(S), np.zeros(S + 1)])
    second = np.concatenate([np.zeros(2 * S + 1), np.ones(S + 1)])
    overfill = linprog(first, A, b, bounds=bounds, method="highs").fun
    A, b = np.vstack([A, first]), np.append(b, overfill + 1e-9)
    return overfill, linprog(second, A, b, bounds=bounds, method="highs").fun


def segments(params, low, amount=500):
    state, goal = states(amount), goals(amount) if low is inventory else np.random.default_rng(2).random((amount, STORES + 1))
    action = jax.vmap(lambda s, g: low.act(params, (), s, g)[0])(state, jnp.asarray(goal, jnp.float32))
    return Segment(*(jnp.asarray(x)[:, None] for x in (state, action, state)))
