"""Fleets of vehicles, and the segments that routing's low levels make of goals."""

import functools

import jax
import numpy as np

from ohio_jax.low_level import Segment

N = 14


def world(n=N, batch=300, seed=0):
    """Travel times, idle vehicles of fleets from nothing to 1,400, goals."""
    rng = np.random.default_rng(seed)
    tau = rng.integers(1, 13, (n, n))
    np.fill_diagonal(tau, 0)
    fleet = np.linspace(0, 1400, batch).astype(int)
    idle = np.stack([rng.multinomial(f, rng.dirichlet(np.ones(n))) for f in fleet]).astype(np.int32)
    goal = rng.dirichlet(np.full(n, 0.3), batch).astype(np.float32)
    return tau, idle, goal


def segments(idle, flows):
    """Segments of one step in which moves and nothing else happen."""
    moves = flows * (1 - np.eye(flows.shape[1], dtype=np.int32))
    after = idle - moves.sum(2) + moves.sum(1)
    return Segment(idle[:, None], flows[:, None], after[:, None])


@functools.partial(jax.jit, static_argnames="module")
def _act(module, params, idle, goal):
    return jax.vmap(lambda s, g: module.act(params, (), s, g)[0])(idle, goal)


def act(module, params, idle, goal):
    return np.asarray(_act(module, params, idle, goal))
