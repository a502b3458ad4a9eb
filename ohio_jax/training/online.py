"""Online training: a learner gathers its own data in environments that live on the device beside it.

A block is one `lax.scan` over steps. In each step E environments make one decision, its E transitions go into the buffer, a
ring that overwrites the oldest, and the learner takes U gradient updates on batches drawn evenly from the buffer. Between
blocks Python shows progress and saves the whole carry, so a killed run goes on where it stopped and ends with the same
numbers. What comes out is a training directory like any other.
"""

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ohio_jax import limits
from ohio_jax.agent import Agent
from ohio_jax.data import Batch, Transitions, continuation
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.environment import HighLevelEnv, State
from ohio_jax.errors import UserError
from ohio_jax.learners import LEARNERS
from ohio_jax.task import Task
from ohio_jax.training.checkpoint import Run, tree_digest
from ohio_jax.training.loop import Trained, executable, run_blocks
from ohio_jax.training.plan import Plan, batch_of, identity_of, initial_agents
from ohio_jax.training.sharding import SeedSharding, over_seeds


@dataclass(frozen=True)
class OnlinePlan:
    """How a learner gathers its own data.

    Attributes:
        plan: the learner, its networks and how long it learns; `updates` and `block` are multiples of `updates_per_step`.
        envs: E, environments side by side.
        updates_per_step: U, gradient updates after each decision of all environments.
        learning_starts: steps, one decision in each environment, with actions spread evenly over the action space before the
            first update.
        buffer_size: transitions the buffer holds.
        reset_every: every so many steps all environments start anew, so that one that has settled does not fill the buffer with
            what it settled in; learned from as a time limit, which is no end. 0: only where an episode ends.
        mixing: pairs (step, share): from that step on, warm-up included, so large a share of each batch comes from the data given
            instead of the buffer. Without, the buffer starts with that data.
        critics_first: steps, warm-up included, before which only the critics learn.
        stale: compat; write each transition with its next observation in the place of its observation, the original's fault.
    """

    plan: Plan
    envs: int = 64
    updates_per_step: int = 16
    learning_starts: int = 100
    buffer_size: int = 1_000_000
    reset_every: int = 0
    mixing: tuple[tuple[int, float], ...] = ()
    critics_first: int = 0
    stale: bool = False

    @property
    def decisions(self) -> int:
        """Decisions a seed makes in all environments together."""
        return self.envs * (self.learning_starts + self.plan.updates // self.updates_per_step)

    @property
    def program(self) -> "OnlinePlan":
        """The plan without what a compiled block does not depend on: plans that leave the same share their programs."""
        learn = replace(self.plan, config=None, hidden=0, updates=0, block=0, seeds=0, first_seed=0, normalize=False)
        return replace(self, plan=learn, envs=0, learning_starts=0, buffer_size=0, stale=False)

    @property
    def warming(self) -> "OnlinePlan":
        """The same of the warm-up, in which nothing is learned yet."""
        return replace(self.program, updates_per_step=0, mixing=(), critics_first=0)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "plan"}


class Buffer(NamedTuple):
    """The replay buffer.

    Attributes:
        rows: Batch of C transitions.
        written: `Int[]`, transitions ever written, of which the last C are kept.
    """

    rows: Batch
    written: jax.Array

    def write(self, new: Batch) -> "Buffer":
        """The buffer with E <= C more transitions."""
        size = len(new.reward)
        places = (self.written + jnp.arange(size)) % len(self.rows.reward)
        return Buffer(jax.tree.map(lambda old, x: old.at[places].set(x), self.rows, new), self.written + size)

    def sample_batch(self, key: PRNGKeyArray, size: int) -> Batch:
        """Transitions drawn evenly, with replacement, from those kept."""
        places = jax.random.randint(key, (size,), 0, jnp.minimum(self.written, len(self.rows.reward)))
        return jax.tree.map(lambda x: x[places], self.rows)


class Carry(NamedTuple):
    """All that a seed takes from step to step.

    Attributes:
        agent: the learner as it acts.
        worlds: State of E environments.
        buffer: of what the agent was shown.
        returns: `Float[E]`, earned so far in each one's episode.
    """

    agent: Agent
    worlds: State
    buffer: Buffer
    returns: jax.Array


@functools.partial(jax.jit, static_argnames=("envs", "buffer_size"))
def begin(agent: Agent, key: PRNGKeyArray, env: HighLevelEnv, envs: int, buffer_size: int, data: Batch | None) -> Carry:
    """The first carry of a seed; data: transitions the buffer starts with, no more than `buffer_size`."""
    worlds = jax.vmap(env.reset)(jax.random.split(key, envs))
    spec = agent.state.spec
    obs, action, number = jnp.zeros(spec.observation_size), jnp.zeros(spec.action.shape), jnp.zeros(())
    empty = jax.tree.map(lambda x: jnp.zeros((buffer_size, *x.shape)), Batch(obs, action, number, obs, number, number))
    buffer = Buffer(empty, jnp.int32(0))
    return Carry(agent, worlds, buffer if data is None else buffer.write(data), worlds.reward)


def env_step(
    carry: Carry,
    key: PRNGKeyArray,
    env: HighLevelEnv,
    act: Callable[[Agent, jax.Array, jax.Array], jax.Array],
    reset: Bool[Array, ""],
    stale: Bool[Array, ""] | bool = False,
) -> tuple[Carry, dict[str, Float[Array, ""]]]:
    """One decision in every environment, written down; environments whose episode ends start anew, all if `reset: Bool[]`.

    Args:
        act: `act(agent, obs, key) -> actions`. Metrics are sums over environments: reward, episodes left, what these returned,
            and the environment's own metrics.
        stale: see `OnlinePlan`.
    """
    for_actions, for_restart = jax.random.split(key)
    before, learner, show = carry.worlds, carry.agent.state, carry.agent.preprocess
    action = act(carry.agent, before.obs, for_actions)
    after = jax.vmap(env.step)(before, action)
    # A time limit is no end: the learner's backup looks beyond it.
    action = learner.spec.action.project(action)
    seen, next_seen = show(jnp.where(stale, after.obs, before.obs)), show(after.obs)
    discount = getattr(learner.config, "discount", 1.0)
    follows = continuation(discount, after.info["elapsed"], env.steps, after.done)
    new = Batch(seen, action, after.reward, next_seen, follows, jnp.ones_like(after.reward))
    ended = (jnp.maximum(after.done, after.info["truncation"]) > 0) | reset
    returns = carry.returns + after.reward

    def anew(worlds: State) -> State:
        fresh = jax.vmap(env.reset)(jax.random.split(for_restart, len(ended)))
        choose = lambda new, old: jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old)
        return jax.tree.map(choose, fresh, worlds)

    # A branch, since drawing an instance may cost more than many steps.
    worlds = jax.lax.cond(jnp.any(ended), anew, lambda worlds: worlds, after)
    metrics = {**after.metrics, "reward": after.reward, "episodes": ended, "return": jnp.where(ended, returns, 0.0)}
    returns = jnp.where(ended, worlds.reward, returns)
    carry = Carry(carry.agent, worlds, carry.buffer.write(new), returns)
    return carry, jax.tree.map(lambda x: jnp.sum(x, dtype=returns.dtype), metrics)


def mixed(batch: Batch, given: Batch, key: PRNGKeyArray, share: Float[Array, ""]) -> Batch:
    """The batch with so large a share of its rows replaced by rows of `given`, drawn evenly. share: `Float[]`."""
    size = len(batch.reward)
    rows = jax.random.randint(key, (size,), 0, len(given.reward))
    theirs = jnp.arange(size) < jnp.round(share * size)
    choose = lambda x, y: jnp.where(theirs.reshape(-1, *(1,) * (x.ndim - 1)), y[rows], x)
    return jax.tree.map(choose, batch, given)


def share_at(mixing: tuple[tuple[int, float], ...], number: Int[Array, ""]) -> Float[Array, ""]:
    """`Float[]`, the share of `OnlinePlan.mixing` at step `number`."""
    share = jnp.float32(0.0)
    for step, value in mixing:
        share = jnp.where(number >= step, value, share)
    return share


@functools.cache
def make_block(learner: Any, plan: OnlinePlan, steps: int, explore: bool, seeds: SeedSharding) -> jax.stages.Wrapped:
    """Compiled `block(carries, keys, first, stale, env, given) -> (carries, metrics)` of so many steps with updates after each.

    - carries: stacked over S seeds as in `offline.make_block`; donated.
    - keys: [S].
    - first: `Int[]`, number of the first step.
    - stale: `Bool[]`, see `OnlinePlan`.
    - given: the data that batches are mixed with, or None.

    Args:
        plan: `program` of a plan, or `warming`.
        explore: actions are spread evenly over the action space.
    """

    def evenly(agent: Agent, obs, key):
        return agent.state.spec.action.random(key, obs.shape[:1])[0]

    act = evenly if explore else lambda agent, obs, key: agent.act(learner, obs, key, deterministic=False)

    def one_seed(carry: Carry, key, first, stale, env: HighLevelEnv, given: Batch | None):
        def step(carry: Carry, number):
            for_decision, for_batches = jax.random.split(jax.random.fold_in(key, number))
            due = (number + 1) % plan.reset_every == 0 if plan.reset_every else jnp.bool_(False)
            carry, lived = env_step(carry, for_decision, env, act, due, stale)

            def update(state, key):
                batch = carry.buffer.sample_batch(key, plan.plan.batch)
                if given is not None:
                    batch = mixed(batch, given, jax.random.fold_in(key, 1), share_at(plan.mixing, number))
                new, metrics = learner.update(state, batch)
                if plan.critics_first:
                    keep = lambda old, new: jnp.where(number < plan.critics_first, old, new)
                    new = new.replace(actor=jax.tree.map(keep, state.actor, new.actor))
                return new, metrics

            if plan.updates_per_step:
                state, learned = jax.lax.scan(update, carry.agent.state, jax.random.split(for_batches, plan.updates_per_step))
                carry = carry._replace(agent=carry.agent._replace(state=state))
            else:
                learned = {}
            return carry, (lived, jax.tree.map(lambda x: jnp.mean(x, axis=0), learned))

        carry, (lived, learned) = jax.lax.scan(step, carry, first + jnp.arange(steps))
        lived = jax.tree.map(lambda x: jnp.sum(x, axis=0), lived)
        ended = {name: lived.pop(name) for name in ("episodes", "return")}
        lived = jax.tree.map(lambda x: x / (steps * len(carry.returns)), lived)
        ended["return"] /= jnp.maximum(ended["episodes"], 1.0)
        return carry, {**lived, **ended, **jax.tree.map(lambda x: jnp.mean(x, axis=0), learned)}

    return over_seeds(one_seed, seeds)


def check(plan: OnlinePlan, states: Any, data: Transitions | None) -> None:
    """Raises UserError for a plan that cannot be followed."""
    for name in ("envs", "updates_per_step", "learning_starts", "buffer_size", "reset_every"):
        limits.check(f"online: {name}", getattr(plan, name), limits.BUDGETS[name])
    learn = plan.plan
    if any(getattr(LEARNERS[learn.learner], what, False) for what in ("MC_RETURNS", "NEXT_ACTIONS")):
        raise UserError(f"online: learner: {learn.learner} learns from episodes that have ended; go on from it with sac")
    for name in ("updates", "block"):
        if getattr(learn, name) % plan.updates_per_step:
            raise UserError(
                f"online: {name}: expected a multiple of {plan.updates_per_step} updates a step, found {getattr(learn, name)}"
            )
    if plan.mixing and data is None:
        raise UserError("online: mixing: expected data to mix with, found none")
    if any(not 0.0 <= share <= 1.0 for _, share in plan.mixing):
        raise UserError(f"online: mixing: expected shares from 0 to 1, found {plan.mixing}")
    if learn.sampling != "uniform":
        raise UserError(f"online: sampling: expected 'uniform', found {learn.sampling!r}")
    if learn.ahead != 1:
        raise UserError(f"online: ahead: expected 1, since what is gathered is one transition, found {learn.ahead}")
    least = max(plan.envs, 0 if data is None or plan.mixing else len(data.reward))
    if plan.buffer_size < least:
        raise UserError(
            f"online: buffer_size: expected at least {least} (environments, transitions given), found {plan.buffer_size}"
        )
    seeds = learn.seeds if states is None else len(jax.tree.leaves(states)[0])
    if seeds != learn.seeds:
        raise UserError(f"online: seeds: expected {seeds} as in the states given, found {learn.seeds}")


def online(
    plan: OnlinePlan,
    task: Task,
    interface: str,
    directory: Path | None = None,
    states: Any = None,
    data: Transitions | None = None,
    deadline: Deadline = NEVER,
) -> Trained:
    """Trains `plan.plan.seeds` seeds; with a directory, keeps checkpoints there and resumes from them.

    The curve adds to the learner's metrics: reward and the environment's metrics (means of a decision), episodes (that ended
    in the block, or were left) and return (mean of those; 0 if none).

    Args:
        states: agents stacked over seeds to start from, as `train` returns; they go on with the plan's numbers, shown what they
            were shown before, and it is their policy that acts in the warm-up.
        data: transitions that the buffer starts with, or batches are mixed with.

    Raises:
        UserError: for an impossible plan, or if the directory holds another run.
        OutOfTime: where it cannot end by the deadline; what was done is kept.
    """
    check(plan, states, data)
    learn, learner = plan.plan, LEARNERS[plan.plan.learner]
    identity = {
        "task": task.name,
        "settings": task.settings,
        "interface": interface,
        **({"data_sha256": None} if data is None else identity_of(data)),
        "start_sha256": None if states is None else tree_digest(states),
        "online": plan.as_json(),
    }
    run = Run(f"online {task.name} {interface} {learn.learner}", learn, identity, directory)
    env, (agents, keys) = task.high_level(interface), initial_agents(learn, task, interface)
    if states is not None:
        agents = states._replace(state=states.state.replace(config=agents.state.config))
    for_start, for_steps = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    preprocess = jax.tree.map(lambda x: x[0], agents.preprocess)  # of the same data in all of them
    given = None if data is None else batch_of(learn, agents.state.spec, preprocess, data)
    kept, apart = (None, given) if plan.mixing else (given, None)
    of_seed = lambda k: begin(agents.of_seed(k), for_start[k], env, plan.envs, plan.buffer_size, kept)
    carry = jax.tree.map(lambda *x: jnp.stack(x), *map(of_seed, range(learn.seeds)))
    # Of a finished run only the agents are kept.
    carry = carry._replace(agent=run.restore(carry.agent)) if run.finished else run.restore(carry)
    carry, keys = run.seeds.spread((carry, for_steps))
    stale, env, apart = run.seeds.share((jnp.bool_(plan.stale), env, apart))

    if run.progress.done == 0 and plan.learning_starts:
        inputs = (carry, keys, jnp.int32(0), stale, env, None)
        carry, _ = executable(make_block(learner, plan.warming, plan.learning_starts, states is None, run.seeds), *inputs)(
            *inputs
        )
    return run_blocks(
        run,
        lambda updates: make_block(learner, plan.program, updates // plan.updates_per_step, False, run.seeds),
        carry,
        lambda carry, done: (carry, keys, jnp.int32(plan.learning_starts + done // plan.updates_per_step), stale, env, apart),
        lambda carry, finished: carry.agent if finished else carry,
        agents=lambda carry: carry.agent,
        deadline=deadline,
        fewest=plan.updates_per_step,
    )
