"""What the learners share and that holds none of their mathematics."""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ohio_jax.errors import UserError
from ohio_jax.networks import Networks
from ohio_jax.networks.heads import ActionSpec


class Spec(NamedTuple):
    """What a learner needs to know of a task: hashable, so that it can be static.

    Attributes:
        observation_size: how many features an observation has, see `ohio_jax.agent`.
        action: the space of actions.
        networks: sized for both.
    """

    observation_size: int
    action: ActionSpec
    networks: Networks

    def actor(self, params: Any, obs: Float[Array, "... features"]) -> Float[Array, "..."]:
        """Raw head parameters, `Float[..., *spec.action.raw_shape]`."""
        return cast(jax.Array, self.networks.actor.apply(params, obs))

    def value(self, params: Any, obs: Float[Array, "*batch features"]) -> Float[Array, "*batch"]:
        """`Float[...]`."""
        return cast(jax.Array, self.networks.value.apply(params, obs))

    def critics(self, params: Any, obs: Float[Array, "... features"], action: Float[Array, "..."]) -> Float[Array, "C ..."]:
        """`Float[C, ...]` of C critics whose parameters are stacked; batch axes of obs and action broadcast."""
        return self.critics_apart(params, obs, _of_each(params, action))

    def critics_apart(
        self, params: Any, obs: Float[Array, "... features"], actions: Float[Array, "C ..."]
    ) -> Float[Array, "C ..."]:
        """As `critics`, with actions of its own for each critic on the leading axis."""
        return cast(jax.Array, jax.vmap(self.networks.critic.apply)(params, _of_each(params, obs), actions))

    def flow(
        self, params: Any, obs: Float[Array, "... features"], coordinates: Float[Array, "..."], time: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Velocity `Float[..., *spec.action.shape]` of coordinates of the same shape at times `Float[...]`."""
        return cast(jax.Array, self._flow.apply(params, obs, coordinates, time))

    def init_flow(self, key: PRNGKeyArray) -> Any:
        """Initial parameters of `flow`. Raises UserError if the networks have none."""
        obs, coordinates = jnp.zeros((1, self.observation_size)), jnp.zeros((1, *self.action.shape))
        return self._flow.init(key, obs, coordinates, jnp.zeros(1))

    @property
    def _flow(self) -> nn.Module:
        if self.networks.flow is None:
            raise UserError("networks: flow: expected a module, found none")
        return self.networks.flow

    def with_layer_norm(self) -> "Spec":
        """The same with critics whose hidden layers are normalized. Raises UserError if they have no such layers."""
        critic: Any = self.networks.critic
        if not hasattr(critic, "layer_norm"):
            raise UserError(f"networks: critic: expected a field layer_norm, found none in {type(critic).__name__}")
        return self._replace(networks=self.networks._replace(critic=critic.clone(layer_norm=True)))


def _of_each(params: Any, x: Float[Array, "..."]) -> Float[Array, "C ..."]:
    """x for each of the stacked critics: products of stacked matrices are faster than of a stack and a matrix."""
    return jnp.broadcast_to(x[None], (len(jax.tree.leaves(params)[0]), *x.shape))


class TrainState(NamedTuple):
    """Parameters, and the state of the Adam that trains them."""

    params: Any
    opt_state: Any

    @classmethod
    def create(cls, params: Any) -> "TrainState":
        """Parameters that no step was taken on."""
        return cls(params, optax.adam(0.0).init(params))  # the rate is no part of it, and comes with each step

    @property
    def step(self) -> Int[Array, ""]:
        """`Int[]`, steps taken."""
        return self.opt_state[0].count


def adam_step(
    model: TrainState,
    gradient: Any,
    rate: float | Float[Array, ""],
    decay: float | Float[Array, ""] = 0.0,
    periodic: bool = False,
) -> TrainState:
    """One step of Adam; `rate` and `decay` may be traced, so one compilation serves every schedule.

    Args:
        decay: steps over which the rate falls to zero along a cosine; 0 keeps it constant.
        periodic: whether it then follows the cosine up again, and so on, and does not stay at zero.
    """
    elapsed = model.step / jnp.maximum(decay, 1.0)  # not optax's schedule, whose length cannot be traced
    elapsed = elapsed if periodic else jnp.minimum(elapsed, 1.0)
    rate = rate * jnp.where(decay > 0.0, 0.5 * (1.0 + jnp.cos(jnp.pi * elapsed)), 1.0)
    change, opt_state = optax.adam(rate).update(gradient, model.opt_state)
    return TrainState(optax.apply_updates(model.params, change), opt_state)


def as_arrays(config: Any) -> Any:
    """The config with its leaves as arrays, ready to live in a learner's state.

    Their type is stated: one that JAX only infers is lost in a checkpoint, and the first update after it compiles anew.
    """
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float)), config)


def init_params(key: PRNGKeyArray, spec: Spec, critics: int = 2) -> tuple[Any, Any, Any]:
    """Initial parameters: actor, so many critics stacked, value."""
    for_actor, for_critic, for_value = jax.random.split(key, 3)
    obs, action = jnp.zeros((1, spec.observation_size)), jnp.zeros((1, *spec.action.shape))
    actor, critic, value, _ = spec.networks
    return (
        actor.init(for_actor, obs),
        jax.vmap(critic.init, (0, None, None))(jax.random.split(for_critic, critics), obs, action),
        value.init(for_value, obs),
    )


def act(state: Any, obs: Float[Array, "... features"], key: PRNGKeyArray, deterministic: bool) -> Float[Array, "..."]:
    """Actions `Float[..., *shape]` for observations `Float[..., observation_size]`.

    deterministic is static: True plays the density's mode (for a Dirichlet its mean), False draws from it.
    """
    raw = state.spec.actor(state.actor.params, obs)
    return state.spec.action.mode(raw) if deterministic else state.spec.action.sample(raw, key)[0]
