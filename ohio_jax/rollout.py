"""Rollouts: whole episodes in one compiled call, vmapped over episodes; and how any policy acts."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ohio_jax import mesh
from ohio_jax.environment import HighLevelEnv, State
from ohio_jax.errors import unknown
from ohio_jax.task import HighLevelPolicy, Policy, Task

# How any policy acts, scripted or learned: (params, environment, key, state) -> action of that environment.
Act = Callable[[Any, Any, jax.Array, State], jax.Array]

# Episodes a device plays at once. Where a step calls out of the program, as MuJoCo's does, a device holds one of XLA's threads
# while it waits for what the call is given, which above 100 kB another thread brings: if all devices wait, none is left.
AT_ONCE = 200
POLICY = 2**32 - 1  # folded into a seed's key: policies draw from another stream than instances, which fold in their episode


class Episodes(NamedTuple):
    """Results of E episodes: returns `Float[E]` and metrics `Float[E]` each, summed over the episode."""

    returns: Any
    metrics: dict[str, Any]


def horizon_scan(
    env: Any,
    act: Act,
    params: Any,
    instance: Any,
    key: PRNGKeyArray,
    record: Callable[[State, jax.Array, State], Any],
    steps: int | None = None,
) -> tuple[State, Any]:
    """One episode: the state it starts in, and what `record(before, action, after)` says of each step, stacked.

    Args:
        steps: so many, all of the episode's unless given.
    """
    first = env.reset_to(instance)

    def step(state, key):
        action = act(params, env, key, state)
        after = env.step(state, action)
        return after, record(state, action, after)

    return first, jax.lax.scan(step, first, jax.random.split(key, env.horizon if steps is None else steps))[1]


@functools.partial(jax.jit, static_argnames=("act", "devices"))
def _play(env, act: Act, params, instances, keys, devices: tuple[Any, ...]) -> Episodes:
    def play(env, params, instances, keys):
        def episode(instance, key):
            alive = lambda state: 1.0 - jnp.maximum(state.done, state.info["truncation"])
            record = lambda before, _, after: (alive(before), after.reward, after.metrics)
            first, (counted, rewards, metrics) = horizon_scan(env, act, params, instance, key, record)
            counted = jnp.cumprod(counted)  # an end is one, whatever the simulator goes on to say
            total = lambda at_start, later: at_start + jnp.sum(counted * later, axis=0)
            return Episodes(total(first.reward, rewards), jax.tree.map(total, first.metrics, metrics))

        return jax.vmap(episode)(instances, keys)

    specs = (mesh.WHOLE, mesh.WHOLE, mesh.EACH, mesh.EACH)
    spread = jax.shard_map(play, mesh=mesh.over(devices), in_specs=specs, out_specs=mesh.EACH, check_vma=False)
    return spread(env, params, instances, keys)


def rollouts(env: Any, act: Act, params: Any, instances: Any, keys: Key[Array, "E"]) -> Episodes:
    """Plays one episode for each instance, up to `AT_ONCE` at a time on each device; results are on the host.

    Args:
        env: environment (pytree).
        act: static.
        params: whatever `act` needs.
        instances: leading axis E.
        keys: [E].
    """
    episodes = len(keys)
    devices = mesh.devices(episodes)
    waves = -(-episodes // (AT_ONCE * len(devices)))
    wave = -(-episodes // (waves * len(devices))) * len(devices)
    played = []
    for first in range(0, episodes, wave):
        # As many episodes on each device: spare places repeat the last one and are dropped.
        rows = np.minimum(np.arange(first, first + wave), episodes - 1)
        some, theirs = jax.tree.map(lambda x, rows=rows: x[rows], (instances, keys))
        played.append(mesh.gather(_play(env, act, params, some, theirs, devices)))
    return jax.tree.map(lambda *x: np.concatenate(x)[:episodes], *played)


def episode_keys(seed: int, episodes: int) -> Key[Array, "{episodes}"]:
    """Keys [episodes] of the policy's own randomness; key e does not depend on how many follow it."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(jax.random.key(seed), POLICY), jnp.arange(episodes))


@functools.cache
def scripted(policy: Policy) -> Act:
    """A scripted policy as an `Act`; cached so that the same policy never compiles twice."""
    return lambda params, env, key, state: policy(env, key, state)


@functools.cache
def guiding(policy: Policy) -> Act:
    """The policy of a `HighLevelPolicy` as an `Act`, whose params are the low-level environment that it is told of; cached
    likewise.
    """
    return lambda params, env, key, state: policy(params, key, state)


@functools.cache
def learned(learner: Any, deterministic: bool) -> Act:
    """A learner's policy as an `Act` whose params are an `ohio_jax.agent.Agent`."""
    return lambda agent, env, key, state: agent.act(learner, state.obs, key, deterministic)


@struct.dataclass
class StepwiseHierarchy:
    """A `HighLevelEnv` taken one low-level step at a time, so that each can be logged.

    Its action is a goal, `Float[*goal_shape]`, heeded only where one is due: every `high.steps` steps.
    """

    high: HighLevelEnv
    goal_shape: tuple[int, ...] = struct.field(pytree_node=False)

    @property
    def horizon(self) -> int:
        return self.high.env.horizon

    def reset_to(self, instance: Any) -> State:
        high, state, goal = self.high, self.high.reset_to(instance), jnp.zeros(self.goal_shape)
        action, _ = jax.eval_shape(high.controller.act, high.params, state.info["controller"], high.controller_obs(state), goal)
        own = {"goal": goal, "step": jnp.int32(0), "action": jnp.zeros(action.shape, action.dtype)}
        return state.replace(info={**state.info, **own})

    def step(self, state: State, goal: Float[Array, "..."]) -> State:
        """One low-level step; `info["action"]` is the action it took."""
        high, info = self.high, state.info
        due, seen = info["step"] % high.steps == 0, high.controller_obs(state)
        choose = lambda new, old: jax.tree.map(lambda a, b: jnp.where(due, a, b), new, old)
        goal = choose(goal, info["goal"])
        memory = choose(high.controller.plan(high.params, info["controller"], seen, goal), info["controller"])
        action, memory = high.controller.act(high.params, memory, seen, goal)
        after = high.env.step(state, action)
        own = {"controller": memory, "goal": goal, "step": info["step"] + 1, "action": action}
        return after.replace(info={**info, **after.info, **own})


class BehaviorPolicy(NamedTuple):
    """A policy that can be logged. name: for the card; env, act, params: as for `rollouts`; card: what else to note."""

    name: str
    env: Any
    act: Act
    params: Any
    card: dict[str, Any]


def scripted_policy(task: Task, policy: str, others: Sequence[str] = ()) -> BehaviorPolicy:
    """A scripted policy by its name. Raises UserError for an unknown one, naming `others` that are known as well."""
    if policy not in task.policies:
        raise unknown(f"policy for {task.name}", policy, [*task.policies, *others])
    chosen = task.policies[policy]
    if isinstance(chosen, HighLevelPolicy):
        env = StepwiseHierarchy(task.under(chosen.interface), chosen.interface.spec.shape)
        return BehaviorPolicy(policy, env, guiding(chosen.policy), task.env, {})
    return BehaviorPolicy(policy, task.env, scripted(chosen), (), {})
