"""A learner as it acts: its state, and what it is shown of observations, which are features of the task, normalized.

What a task knows of its observations, angles as sines and cosines or nodes of a graph, is the interface's `features`. They are
then counted in deviations from the mean of the data learned from, so that no policy depends on the units of a log. No learner
and no network does any of this: batches are made of features (`ohio_jax.training.plan.batch_of`), and `Agent.act` makes them.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Num, PRNGKeyArray

from ohio_jax.data.mapped import blocks

Features = Callable[[jax.Array], jax.Array]  # Float[..., observation_size] -> Float[..., F]; pure, and the same object each time

CONSTANT = 1e-6  # of a feature's largest size: what deviates less is rounding in float32


def as_given(obs: Num[Array, "..."]) -> Num[Array, "..."]:
    """The features of a task that knows nothing of its observations."""
    return obs


class Preprocessor(struct.PyTreeNode):
    """From observations to what a learner is shown.

    Attributes:
        mean, deviation: `Float[f]`, of each feature, or of each feature of a node where the F = n f features are those of n
            nodes, in C order of [n, f].
        features: of an observation.
        observation_size: its length.
    """

    mean: jax.Array
    deviation: jax.Array
    features: Features = struct.field(pytree_node=False)
    observation_size: int = struct.field(pytree_node=False)

    @classmethod
    def plain(cls, observation_size: int, features: Features = as_given, nodes: int = 1) -> "Preprocessor":
        """Features as they are."""
        f = feature_size(observation_size, features) // nodes
        return cls(np.zeros(f, np.float32), np.ones(f, np.float32), features, observation_size)  # type: ignore[arg-type]

    def fitted(self, obs: Num[np.ndarray, "M observation_size"], used: Bool[np.ndarray, "M"] | None = None) -> "Preprocessor":
        """The same with the moments of these observations, over all nodes; constants keep their unit.

        In float64 on the host, so that they do not depend on how many devices there are; a chunk at a time, in two passes.

        Args:
            used: which of them count; all unless given.
        """

        def parts() -> Iterator[np.ndarray]:
            for first, rows in blocks(obs):
                of = np.asarray(_features(self.features, np.asarray(rows, np.float32)), np.float64)
                yield (of if used is None else of[used[first : first + len(rows)]]).reshape(-1, len(self.mean))

        sums = [(len(of), of.sum(axis=0), np.abs(of).max(axis=0, initial=0.0)) for of in parts()]
        counts, totals, largest = zip(*sums, strict=True)
        mean = np.sum(totals, axis=0) / sum(counts)
        deviation = np.sqrt(np.sum([np.square(of - mean[None]).sum(axis=0) for of in parts()], axis=0) / sum(counts))
        deviation = np.where(deviation > CONSTANT * np.max(largest, axis=0), deviation, 1.0)
        return self.replace(mean=mean.astype(np.float32), deviation=deviation.astype(np.float32))

    def __call__(self, obs: jax.Array) -> jax.Array:
        """`Float[..., F]` of `Float[..., observation_size]`."""
        of = self.features(obs)
        nodes = of.reshape(-1, len(self.mean))
        return ((nodes - self.mean[None]) / self.deviation[None]).reshape(of.shape)


class Agent(NamedTuple):
    """A learner as it acts.

    Attributes:
        state: a learner's.
        preprocess: what it is shown of observations, wherever it acts and whatever else it learns from.
    """

    state: Any
    preprocess: Preprocessor

    def of_seed(self, seed: int) -> "Agent":
        """One of those that are stacked."""
        return jax.tree.map(lambda x: x[seed], self)

    def act(self, learner: Any, obs: Float[Array, "*batch n"], key: PRNGKeyArray, deterministic: bool) -> Float[Array, "..."]:
        """Goals `Float[..., *shape]` for observations Float[..., observation_size]; learner: whose state it is, see its `act`."""
        return learner.act(self.state, self.preprocess(obs), key, deterministic)


def feature_size(observation_size: int, features: Features) -> int:
    """F, how many features an observation has."""
    return jax.eval_shape(features, jax.ShapeDtypeStruct((observation_size,), jnp.float32)).shape[-1]


@jax.jit
def shown(preprocess: Preprocessor, obs: jax.Array) -> jax.Array:
    """What a learner is shown of a data set: `preprocess(obs)`, compiled."""
    return preprocess(obs)


_features = jax.jit(lambda features, obs: features(obs), static_argnums=0)
