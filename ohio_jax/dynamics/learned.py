"""Models learned from logged steps: an ensemble of small networks for what moves by itself and what actions do.

::

    x' = x + s (f(x) + G(x) u),   s the deviation of logged changes

The mean of the ensemble predicts; its error on held-out steps says how far a prediction is to be trusted.
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Float, PRNGKeyArray

from ohio_jax.dynamics.model import Homogeneous, Model
from ohio_jax.errors import UserError
from ohio_jax.networks.mlp import Perceptron
from ohio_jax.solvers.small import product


@dataclass(frozen=True)
class Config:
    """How a model is learned.

    Attributes:
        hidden: width of the two layers.
        members: of the ensemble, each from its own start.
        rate: Adam's, falling to zero.
        epochs, batch: passes over the steps and steps an update.
        held_out: share of steps for validation, drawn once.
        angles: entries of the state that are angles and enter as sine and cosine.
        homogeneous: the original's form x' = A(x) x + B(x) u, on raw states, with its constant rate lowered tenfold every ten
            epochs and its last epoch kept.
    """

    hidden: int = 64
    members: int = 3
    rate: float = 3e-3
    epochs: int = 20
    batch: int = 256
    held_out: float = 0.1
    angles: tuple[int, ...] = ()
    homogeneous: bool = False


ORIGINAL = Config(hidden=128, members=1, rate=1e-2, batch=32, homogeneous=True)


class Scales(NamedTuple):
    """Units of a network's inputs and outputs.

    Attributes:
        center, width: `Float[n]`, of the inputs.
        change: `Float[n]`, of x' - x.
    """

    center: jax.Array
    width: jax.Array
    change: jax.Array


class Fitted(NamedTuple):
    """A learned model and how good it is.

    Attributes:
        model: see `ohio_jax.dynamics`.
        error: `Float[n]`, root mean square error of a step on held-out steps.
        epoch: `Int[]`.
    """

    model: Any
    error: jax.Array
    epoch: jax.Array


def fit(
    config: Config,
    key: PRNGKeyArray,
    x: Float[jax.Array | np.ndarray, "N n"],
    u: Float[jax.Array | np.ndarray, "N m"],
    after: Float[jax.Array | np.ndarray, "N n"],
) -> Fitted:
    """Fits a model to N logged steps; keeps the epoch that predicts held-out steps best.

    Args:
        u: `Float[N, m]`. Steps that are not finite are left out.

    Raises:
        UserError: for fewer other steps than one batch and a validation set need.
    """
    x, u, after = (np.asarray(y, np.float32) for y in (x, u, after))
    usable = np.isfinite(np.concatenate([x, u, after], axis=1)).all(axis=1)
    x, u, after = x[usable], u[usable], after[usable]
    held_out = int(config.held_out * len(x))
    if held_out < 1 or len(x) - held_out < config.batch:
        raise UserError(f"dynamics: expected steps for validation and a batch of {config.batch}, found {len(x)} finite steps")
    return _fit(config, held_out, key, jnp.asarray(x), jnp.asarray(u), jnp.asarray(after))


def _network(config: Config, n: int, m: int) -> Perceptron:
    # A smooth model: inverses differentiate it, and search in a few steps where nothing has a kink.
    activation = nn.relu if config.homogeneous else nn.silu
    return Perceptron((config.hidden,) * 2, n * (n if config.homogeneous else 1) + n * m, activation)


def _features(config: Config, scales: Scales, x: jax.Array) -> jax.Array:
    if config.homogeneous:
        return x
    angles = jnp.array(config.angles, jnp.int32)
    rest = jnp.array([i for i in range(x.shape[0]) if i not in config.angles], jnp.int32)
    straight = ((x - scales.center) / scales.width)[rest]
    return jnp.concatenate([jnp.sin(x[angles]), jnp.cos(x[angles]), straight])


def _heads(config: Config, m: int, scales: Scales, parameters, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What moves by itself, `Float[n]` (or A: `Float[n, n]`), and what actions do, `Float[n, m]`; means over the ensemble."""
    n = x.shape[0]
    one = lambda member: _network(config, n, m).apply(member, _features(config, scales, x))
    out = jnp.mean(cast(jax.Array, jax.vmap(one)(parameters)), axis=0)
    own, effect = out[: -n * m], out[-n * m :].reshape(n, m)
    return own.reshape(n, n) if config.homogeneous else own, effect


def _step(config: Config, constants, x: jax.Array, u: jax.Array) -> jax.Array:
    scales, parameters = constants
    own, effect = _heads(config, u.shape[0], scales, parameters, x)
    pushed = product(effect, u)
    return product(own, x) + pushed if config.homogeneous else x + scales.change * (own + pushed)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fit(config: Config, held_out: int, key: jax.Array, x: jax.Array, u: jax.Array, after: jax.Array) -> Fitted:
    (N, n), m = x.shape, u.shape[1]
    updates = (N - held_out) // config.batch
    for_split, for_start, for_order = jax.random.split(key, 3)
    order = jax.random.permutation(for_split, N)
    check, learn = (tuple(y[rows] for y in (x, u, after)) for rows in (order[:held_out], order[held_out:]))
    spread = lambda y: jnp.maximum(jnp.std(y, axis=0), 1e-6)
    scales = Scales(jnp.mean(x, axis=0), spread(x), spread(after - x))
    start = jax.vmap(lambda key: _network(config, n, m).init(key, _features(config, scales, x[0])))
    parameters = start(jax.random.split(for_start, config.members))

    total = config.epochs * updates
    if config.homogeneous:
        schedule = optax.exponential_decay(config.rate, 10 * updates, 0.1, staircase=True)
    else:
        schedule = optax.cosine_decay_schedule(config.rate, total)
    adam = optax.adam(schedule)
    weight = jnp.ones(n) if config.homogeneous else 1.0 / scales.change

    def errors(parameters, data):
        x, u, after = data
        return jax.vmap(lambda *step: _step(config, (scales, parameters), *step[:2]) - step[2])(x, u, after)

    def loss(member, data):
        alone = jax.tree.map(lambda y: y[None], member)
        return jnp.mean(jnp.square(errors(alone, data) * weight[None]))

    def update(carry, rows):
        parameters, memory = carry

        def one(member, memory):
            slope = jax.grad(loss)(member, tuple(y[rows] for y in learn))
            change, memory = adam.update(slope, memory)
            return optax.apply_updates(member, change), memory

        return jax.vmap(one)(parameters, memory), None

    def epoch(carry, key_and_number):
        (parameters, memory), best, least, when = carry
        key, number = key_and_number
        rows = jax.random.permutation(key, N - held_out)[: updates * config.batch].reshape(updates, config.batch)
        (parameters, memory), _ = jax.lax.scan(update, (parameters, memory), rows)
        error = jnp.sqrt(jnp.mean(jnp.square(errors(parameters, check)), axis=0))
        score = jnp.sum(jnp.square(error * weight))
        better = (score < least) | config.homogeneous
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), (parameters, error), best)
        return ((parameters, memory), best, jnp.where(better, score, least), jnp.where(better, number, when)), None

    first = ((parameters, jax.vmap(adam.init)(parameters)), (parameters, jnp.full(n, jnp.inf)), jnp.inf, jnp.int32(0))
    keys = jax.random.split(for_order, config.epochs)
    (_, (parameters, error), _, when), _ = jax.lax.scan(epoch, first, (keys, jnp.arange(config.epochs)))
    constants = (scales, parameters)
    # How a model was learned is no part of what it computes: models of one form share their compiled programs.
    form = Config(hidden=config.hidden, angles=config.angles, homogeneous=config.homogeneous)
    if config.homogeneous:
        return Fitted(Homogeneous(constants, _function(_matrices, form, m)), error, when)
    return Fitted(Model(constants, _function(_step, form), m), error, when)


def _matrices(config: Config, m: int, constants, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    scales, parameters = constants
    return _heads(config, m, scales, parameters, x)


@functools.cache
def _function(function, *config):
    """The same object for the same arguments, so that models of one kind share their compiled programs."""
    return functools.partial(function, *config)
