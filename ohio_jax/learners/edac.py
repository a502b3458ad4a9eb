"""EDAC (An et al. 2021): SAC-N whose critics are kept apart, so that fewer are enough."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.data import Batch
from ohio_jax.learners import sac, sac_n
from ohio_jax.learners.common import Spec

act = sac.act
init = sac_n.init


class Config(sac_n.Config):
    """Defaults: the paper's, beside SAC-N's."""

    diversity: float = 1.0  # weight of the critics' likeness in their loss; 0 leaves SAC-N


def update(state: sac.State, batch: Batch) -> tuple[sac.State, dict[str, Float[Array, ""]]]:
    """One gradient step of SAC-N, whose critics pay for being alike (the paper's algorithm 1)."""
    config: Any = state.config
    alike = lambda params: jnp.mean(batch.weight * likeness(state.spec, params, batch))
    return sac.update(state, batch, lambda params: config.diversity * alike(params))


def likeness(spec: Spec, params: Any, batch: Batch) -> Float[Array, "B"]:
    """Sum over pairs i, j of C critics of cos(grad Q_i, grad Q_j) / (C - 1), gradients by the action's coordinates.

    One gradient serves all critics, since each is asked about a copy of the action that is its own; and the sum over pairs is
    the squared length of the sum of all directions, less those of critics with themselves.
    """
    critics = len(jax.tree.leaves(params)[0])
    where = jnp.broadcast_to(spec.action.coordinates(batch.action)[None], (critics, *batch.action.shape))
    total = lambda where: jnp.sum(spec.critics_apart(params, batch.obs, spec.action.at(where)))
    slope = jax.grad(total)(where).reshape(critics, len(batch.action), -1)
    direction = slope * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(slope), axis=-1, keepdims=True), 1e-20))
    pairs = jnp.sum(jnp.square(jnp.sum(direction, axis=0)), axis=-1) - jnp.sum(jnp.square(direction), axis=(0, 2))
    return pairs / (critics - 1)
