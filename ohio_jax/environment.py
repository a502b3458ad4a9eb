"""The environment contract, and the hierarchical environment built from it.

An environment is anything with the interface of Brax: `reset(key) -> State`, `step(state, action) -> State`,
`observation_size`, `action_size`; pure and jittable. Ours are pytrees whose leaves are the parameters (city, gains, lead
times), so `jax.vmap` over environments works. Two more methods separate the randomness of an instance from its dynamics:
`sample_instance(key) -> instance` samples what is exogenous (a demand path) and `reset_to(instance) -> State` begins an episode
on it; `reset(key)` is `reset_to(sample_instance(key))`.
"""

import functools
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Num, PRNGKeyArray

from ohio_jax.low_level import Controller


class State(struct.PyTreeNode):
    """One moment of an environment, field by field that of `brax.envs.base.State`.

    Attributes:
        pipeline_state: the simulator's own state, a pytree.
        obs: `Float[observation_size]`.
        reward: `Float[]`, earned by the step that led here (at reset: before the first decision).
        done: `Float[]`, 1 only at a true termination; a time limit sets `info["truncation"]` instead.
        metrics: `Float[]` each, amounts of this step that sum over an episode.
        info: anything else that wrappers carry; always holds `truncation`.
    """

    pipeline_state: Any
    obs: jax.Array
    reward: jax.Array
    done: jax.Array
    metrics: dict[str, jax.Array]
    info: dict[str, Any]


@runtime_checkable
class Environment(Protocol):
    """What every simulator offers; `horizon` is the number of decisions of an episode."""

    @property
    def horizon(self) -> int: ...

    @property
    def observation_size(self) -> int: ...

    @property
    def action_size(self) -> int: ...

    def sample_instance(self, key: PRNGKeyArray) -> Any: ...

    def reset_to(self, instance: Any) -> State: ...

    def reset(self, key: PRNGKeyArray) -> State: ...

    def step(self, state: State, action: Num[Array, "..."]) -> State: ...


class EnvBase:
    """What environments with `sample_instance` and `reset_to` have in common, under the names that Brax's wrappers ask for."""

    sample_instance: Callable[[jax.Array], Any]
    reset_to: Callable[[Any], State]

    @property
    def unwrapped(self):
        return self

    @property
    def backend(self) -> str:
        return "ohio_jax"

    def reset(self, key: PRNGKeyArray) -> State:
        return self.reset_to(self.sample_instance(key))


@functools.partial(jax.jit, static_argnums=2)
def sample_instances(env: Any, key: PRNGKeyArray, episodes: int) -> Any:
    """Instances of so many episodes, leading axis E; that of an episode does not depend on how many follow it."""
    return jax.vmap(lambda episode: env.sample_instance(jax.random.fold_in(key, episode)))(jnp.arange(episodes))


def instances_of(env: Any) -> Callable[[int, int], Any]:
    """`Task.instances` of an environment: as it draws them itself."""
    return lambda seed, episodes: sample_instances(env, jax.random.key(seed), episodes)


@struct.dataclass
class HighLevelEnv(EnvBase):
    """An environment whose action is the goal: `steps` low-level steps share one goal and their rewards are summed.

    Attributes:
        env: the low-level environment.
        params: the controller's parameters.
        controller: the low-level policy.
        goal_size: length of the goal.
        steps: h, low-level steps for each goal.
        controller_obs: what of the environment's `State` the controller sees.
    """

    env: Any
    params: Any
    controller: Controller = struct.field(pytree_node=False)
    goal_size: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False, default=1)
    controller_obs: Callable[[State], Any] = struct.field(pytree_node=False, default=lambda state: state.pipeline_state)

    @property
    def horizon(self) -> int:
        return -(-self.env.horizon // self.steps)

    @property
    def observation_size(self) -> int:
        return self.env.observation_size

    @property
    def action_size(self) -> int:
        return self.goal_size

    def sample_instance(self, key: PRNGKeyArray) -> Any:
        return self.env.sample_instance(key)

    def reset_to(self, instance: Any) -> State:
        state = self.env.reset_to(instance)
        own = {"controller": self.controller.init(self.params), "elapsed": jnp.int32(0)}
        return state.replace(info={**state.info, **own})

    def step(self, state: State, goal: Num[Array, "..."]) -> State:
        """Runs the low level for `steps` steps toward `goal: Float[goal_size]`; stops early where an episode ends.

        `info["elapsed"]`: `Int[]`, the steps it took.
        """

        def low_level_step(carry, _):
            state, ended = carry
            action, memory = self.controller.act(self.params, state.info["controller"], self.controller_obs(state), goal)
            after = self.env.step(state, action)
            # What a wrapper around us put into info must survive the simulator's step.
            after = after.replace(info={**state.info, **after.info, "controller": memory})
            zero = lambda x: jax.tree.map(jnp.zeros_like, x)
            stay = state.replace(reward=zero(state.reward), metrics=zero(state.metrics))
            after = jax.tree.map(lambda old, new: jnp.where(ended, old, new), stay, after)
            ends = ended | (jnp.maximum(after.done, after.info["truncation"]) > 0)
            return (after, ends), (after.reward, after.metrics, ~ended)

        memory = self.controller.plan(self.params, state.info["controller"], self.controller_obs(state), goal)
        state = state.replace(info={**state.info, "controller": memory})
        # Only an end within this segment stops it: a wrapper that resets by itself leaves the last truncation in info.
        (state, _), (rewards, metrics, taken) = jax.lax.scan(low_level_step, (state, jnp.bool_(False)), None, self.steps)
        total = lambda x: jnp.sum(x, axis=0)
        info = {**state.info, "elapsed": jnp.sum(taken, dtype=jnp.int32)}
        return state.replace(reward=total(rewards), metrics=jax.tree.map(total, metrics), info=info)
