"""Rollouts: whole episodes in one compiled call, vmapped over episodes; and datasets made of them."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from ohio_jax import __version__, data, mesh
from ohio_jax.environment import HighLevelEnv, State
from ohio_jax.errors import UserError, unknown
from ohio_jax.learners import LEARNERS
from ohio_jax.progress import progress
from ohio_jax.task import Guide, Policy, Task
from ohio_jax.train import tree_digest

# How any policy acts, scripted or learned: (params, environment, key, state) -> action of that environment.
Act = Callable[[Any, Any, jax.Array, State], jax.Array]

# Episodes a device plays at once. Where a step calls out of the program, as MuJoCo's does, a device holds one of XLA's threads
# while it waits for what the call is given, which above 100 kB another thread brings: if all devices wait, none is left.
AT_ONCE = 200
CHUNK = 64  # episodes a compiled call of `collect`: large enough to be fast, small enough for progress and resume


class Episodes(NamedTuple):
    """Results of E episodes: returns Float[E] and metrics Float[E] each, summed over the episode."""

    returns: Any
    metrics: dict[str, Any]


def _horizon_scan(env, act: Act, params, instance, key, record: Callable[[State, jax.Array, State], Any]):
    """One episode: the state it starts in, and what `record(before, action, after)` says of each step, stacked."""
    first = env.start(instance)

    def step(state, key):
        action = act(params, env, key, state)
        after = env.step(state, action)
        return after, record(state, action, after)

    _, steps = jax.lax.scan(step, first, jax.random.split(key, env.horizon))
    return first, steps


@functools.partial(jax.jit, static_argnames=("act", "devices"))
def _play(env, act: Act, params, instances, keys, devices: tuple[Any, ...]) -> Episodes:
    def play(env, params, instances, keys):
        def episode(instance, key):
            alive = lambda state: 1.0 - jnp.maximum(state.done, state.info["truncation"])
            record = lambda before, _, after: jax.tree.map(lambda x: alive(before) * x, (after.reward, after.metrics))
            first, (rewards, metrics) = _horizon_scan(env, act, params, instance, key, record)
            total = lambda at_start, later: at_start + jnp.sum(later, axis=0)
            return Episodes(total(first.reward, rewards), jax.tree.map(total, first.metrics, metrics))

        return jax.vmap(episode)(instances, keys)

    each, whole = PartitionSpec("episode"), PartitionSpec()
    return jax.shard_map(
        play,
        mesh=Mesh(np.array(devices), ("episode",)),
        in_specs=(whole, whole, each, each),
        out_specs=each,
        check_vma=False,
    )(env, params, instances, keys)


def rollouts(env, act: Act, params, instances, keys) -> Episodes:
    """Plays one episode for each instance, up to `AT_ONCE` at a time on each device; results are on the host.

    env: environment (pytree); act: static; params: whatever `act` needs; instances: leading axis E; keys: [E].
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


@functools.cache
def scripted(policy) -> Act:
    """A scripted policy as an `Act`; cached so that the same policy never compiles twice."""
    return lambda params, env, key, state: policy(env, key, state)


@functools.cache
def guiding(policy: Policy) -> Act:
    """The policy of a `Guide` as an `Act`, whose params are the low-level environment that it is told of; cached likewise."""
    return lambda params, env, key, state: policy(params, key, state)


def episode_keys(seed: int, episodes: int) -> jax.Array:
    """Keys [episodes] of the policy's own randomness; key e does not depend on how many follow it."""
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.arange(episodes))


def evaluate_policy(task: Task, policy: str, episodes: int, seed: int) -> Episodes:
    """Returns of a scripted policy on the instances of a seed; "oracle" is the full-information bound.

    Raises UserError for an unknown policy.
    """
    instances = task.instances(seed, episodes)
    if policy == "oracle" and task.bound is not None:
        return Episodes(task.bound(instances), {})
    who = scripted_behaviour(task, policy, ["oracle"])
    return rollouts(who.env, who.act, who.params, instances, episode_keys(seed, episodes))


@functools.cache
def learned(learner, deterministic: bool) -> Act:
    """A learner's policy as an `Act` whose params are the learner's state."""
    return lambda state_of_learner, env, key, state: learner.act(state_of_learner, state.obs, key, deterministic)


def evaluate_learner(task: Task, space: str, learner, states, episodes: int, seed: int, deterministic=True) -> Episodes:
    """Returns of trained policies, Float[S, E]; `states` are the learner's states stacked over S seeds, on the host."""
    env, instances, keys = task.high_level(space), task.instances(seed, episodes), episode_keys(seed, episodes)
    act = learned(learner, deterministic)
    seeds = jax.tree.leaves(states)[0].shape[0]
    # One seed at a time: on a CPU vmapping seeds gains nothing and costs memory.
    one = lambda seed: rollouts(env, act, jax.tree.map(lambda x: x[seed], states), instances, keys)
    each = [one(seed) for seed in range(seeds)]
    return jax.tree.map(lambda *x: np.stack(x), *each)


@struct.dataclass
class Steered:
    """A `HighLevelEnv` taken one low-level step at a time, so that each can be logged.

    Its action is a goal, Float[*goal_shape], heeded only where one is due: every `high.steps` steps.
    """

    high: HighLevelEnv
    goal_shape: tuple[int, ...] = struct.field(pytree_node=False)

    @property
    def horizon(self) -> int:
        return self.high.env.horizon

    def start(self, instance: Any) -> State:
        high, state, goal = self.high, self.high.start(instance), jnp.zeros(self.goal_shape)
        action, _ = jax.eval_shape(high.controller.act, high.params, state.info["controller"], high.view(state), goal)
        own = {"goal": goal, "step": jnp.int32(0), "action": jnp.zeros(action.shape, action.dtype)}
        return state.replace(info={**state.info, **own})

    def step(self, state: State, goal: jax.Array) -> State:
        """One low-level step; `info["action"]` is the action it took."""
        high, info = self.high, state.info
        due, seen = info["step"] % high.steps == 0, high.view(state)
        choose = lambda new, old: jax.tree.map(lambda a, b: jnp.where(due, a, b), new, old)
        goal = choose(goal, info["goal"])
        memory = choose(high.controller.plan(high.params, info["controller"], seen, goal), info["controller"])
        action, memory = high.controller.act(high.params, memory, seen, goal)
        after = high.env.step(state, action)
        own = {"controller": memory, "goal": goal, "step": info["step"] + 1, "action": action}
        return after.replace(info={**info, **after.info, **own})


class Behaviour(NamedTuple):
    """A policy that can be logged. name: for the card; env, act, params: as for `rollouts`; card: what else to note."""

    name: str
    env: Any
    act: Act
    params: Any
    card: dict[str, Any]


def trained_behaviour(task: Task, space: str, learner: str, state, deterministic: bool = True) -> Behaviour:
    """A trained policy of one seed; learner: name in LEARNERS; state: the learner's state."""
    env = Steered(task.high_level(space), task.spaces[space].spec.shape)
    card = {"deterministic": deterministic, "policy_sha256": tree_digest(state)}
    return Behaviour(f"{space} {learner}", env, learned(LEARNERS[learner], deterministic), state, card)


def scripted_behaviour(task: Task, policy: str, others: Sequence[str] = ()) -> Behaviour:
    """A scripted policy by its name. Raises UserError for an unknown one, naming `others` that are known as well."""
    if policy not in task.policies:
        raise unknown(f"policy for {task.name}", policy, [*task.policies, *others])
    chosen = task.policies[policy]
    if isinstance(chosen, Guide):
        env = Steered(task.under(chosen.space), chosen.space.spec.shape)
        return Behaviour(policy, env, guiding(chosen.policy), task.env, {})
    return Behaviour(policy, task.env, scripted(chosen), (), {})


@functools.partial(jax.jit, static_argnames=("act", "view", "reached"))
def _log(env, act: Act, params, view, reached, instances, keys):
    def record(before: State, action, after: State):
        return {
            "obs": before.obs,
            "next_obs": after.obs,
            "state": view(before),
            "next_state": reached(after),
            "action": after.info.get("action", action),  # of a learned policy `action` is a goal, see `Steered`
            "reward": after.reward,
            "terminated": after.done > 0,
            "truncated": (after.info["truncation"] > 0) & (after.done == 0),
            "alive": jnp.maximum(before.done, before.info["truncation"]) == 0,
        }

    def episode(instance, key):
        first, steps = _horizon_scan(env, act, params, instance, key, record)
        return first.reward, steps

    return jax.vmap(episode)(instances, keys)


def _trajectories(first_reward, steps: dict[str, Any]) -> data.Trajectories:
    """Drops what lies behind an episode's end and flattens [E, T, ...] to [N, ...]."""
    steps = {name: np.asarray(value) for name, value in steps.items()}
    alive = steps.pop("alive")
    lengths = alive.sum(axis=1)
    obs = np.concatenate([steps["obs"], steps["next_obs"][:, -1:]], axis=1)
    last = np.take_along_axis(steps["next_obs"], (lengths - 1)[:, None, None], axis=1)
    rows = [np.concatenate([obs[e, :length], last[e]]) for e, length in enumerate(lengths)]
    flat = {name: value[alive] for name, value in steps.items() if name not in ("obs", "next_obs")}
    return data.Trajectories(
        obs=np.concatenate(rows).astype(np.float32),
        first_reward=np.asarray(first_reward),
        offset=np.concatenate([[0], np.cumsum(lengths)]),
        card={},
        **flat,
    )


def collect(task: Task, policy: str | Behaviour, episodes: int, seed: int, parts: Path | None = None) -> data.Trajectories:
    """Logs a policy, scripted (its name) or trained (see `trained_behaviour`), step by low-level step.

    Episodes are played in chunks; with a folder `parts` each finished chunk is kept there until all are done, so a killed
    call goes on where it stopped and ends with the same data. Raises UserError for an unknown policy or no episodes.
    """
    who = scripted_behaviour(task, policy) if isinstance(policy, str) else policy
    if episodes < 1:
        raise UserError(f"episodes: expected at least 1, found {episodes}")
    identity = {"task": task.name, "settings": task.settings, "behaviour": who.name, "seed": seed, **who.card}
    instances, keys = task.instances(seed, episodes), episode_keys(seed, episodes)
    chunks = []
    with progress(f"collect {task.name} {who.name}", episodes, "episode") as bar:
        for start in range(0, episodes, CHUNK):
            stop = min(start + CHUNK, episodes)
            part = None if parts is None else Path(parts) / f"{start:06d}-{stop:06d}.npz"
            chunk = _kept(part, identity)
            if chunk is None:
                piece = jax.tree.map(lambda x, a=start, b=stop: x[a:b], instances)
                logged = _log(who.env, who.act, who.params, task.view, task.reached, piece, keys[start:stop])
                chunk = _trajectories(*logged)
                if part is not None:
                    data.save(part, data.concatenate([chunk], identity))
            chunks.append(chunk)
            bar.update(stop - start)
    whole = data.concatenate(chunks, {})
    card = {
        **identity,
        "episodes": episodes,
        "code": __version__,
        "return_mean": float(np.mean(whole.returns)),
        "return_std": float(np.std(whole.returns)),
        "quality": data.quality(whole.returns, task.reference.zero, task.reference.full),
        "coverage": data.coverage(whole.obs[whole.obs_index], whole.action),
    }
    return data.concatenate(chunks, card)


def _kept(part: Path | None, identity: dict[str, Any]) -> data.Trajectories | None:
    """The chunk an earlier, killed call left, if it is of the same run."""
    if part is None or not part.exists():
        return None
    chunk = data.load(part, "trajectories")
    return chunk if all(chunk.card.get(key) == value for key, value in identity.items()) else None
