"""Training by gradients of whole episodes: a policy descends what its episodes cost, through a simulator that has a derivative.

Hindsight differentiable policy optimization (Alvo, Russo and Kanoria 2023): chance is drawn before an episode, so its return
is a differentiable function of the policy's weights. Needs a task in smooth quantities. What comes out is a training
directory like any other, its learner behavior cloning's, whose policy is trained another way.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ohio_jax.agent import Agent, Preprocessor
from ohio_jax.deadline import NEVER, Deadline
from ohio_jax.environment import HighLevelEnv
from ohio_jax.errors import UserError
from ohio_jax.learners import bc, common
from ohio_jax.task import Task
from ohio_jax.training.checkpoint import Run
from ohio_jax.training.loop import Trained, run_blocks
from ohio_jax.training.plan import Plan, initial_agents
from ohio_jax.training.sharding import SeedSharding, over_seeds

MAX_GRAD_NORM = 10.0  # norm at which the gradient of the mean reward is clipped


def mean_return(params: Any, spec: common.Spec, preprocess: Preprocessor, env: HighLevelEnv, instances: Any) -> Float[Array, ""]:
    """`Float[]`, of the deterministic policy's episodes on instances with leading axis E; differentiable in params."""

    def episode(instance):
        def step(state, _):
            state = env.step(state, spec.action.mode(spec.actor(params, preprocess(state.obs))))
            return state, state.reward

        first = env.reset_to(instance)
        return first.reward + jnp.sum(jax.lax.scan(step, first, None, env.horizon)[1])

    return jnp.mean(jax.vmap(episode)(instances))


@functools.cache
def make_block(episodes: int, updates: int, seeds: SeedSharding) -> jax.stages.Wrapped:
    """Compiled `block(agents, keys, first, env) -> (agents, metrics)` of so many updates, each on fresh episodes."""

    def one_seed(agent: Agent, key, first, env: HighLevelEnv):
        def update(state: bc.State, number):
            instances = jax.vmap(env.sample_instance)(jax.random.split(jax.random.fold_in(key, number), episodes))
            # The length of an episode is not part of how steep it is.
            loss = lambda params: -mean_return(params, state.spec, agent.preprocess, env, instances) / env.horizon
            cost, gradient = jax.value_and_grad(loss)(state.actor.params)
            gradient, _ = optax.clip_by_global_norm(MAX_GRAD_NORM).update(gradient, optax.EmptyState())
            actor = common.adam_step(state.actor, gradient, state.config.actor_lr, state.config.actor_lr_decay_steps)
            return state.replace(actor=actor), {"return": -cost * env.horizon}

        state, metrics = jax.lax.scan(update, agent.state, first + jnp.arange(updates))
        return agent._replace(state=state), jax.tree.map(jnp.mean, metrics)

    return over_seeds(one_seed, seeds)


def hdpo(plan: Plan, task: Task, interface: str, directory: Path | None = None, deadline: Deadline = NEVER) -> Trained:
    """Trains `plan.seeds` policies for `plan.updates` updates on `plan.batch` episodes each; `plan.learner` is "bc".

    With a directory, keeps checkpoints there and resumes from them. The curve holds the mean return of a block's episodes.

    Raises:
        UserError: for a task in whole quantities, another learner, or a directory that holds another run.
        OutOfTime: where it cannot end by the deadline; what was done is kept.
    """
    if not getattr(task.env, "smooth", False):
        raise UserError(f"{task.name}: expected a task with a derivative (--set smooth=1), found whole quantities")
    if plan.learner != "bc":
        raise UserError(f"hdpo: expected learner 'bc', whose actor is trained, found {plan.learner!r}")
    if plan.ahead != 1:
        raise UserError(f"hdpo: ahead: expected 1, since whole episodes are differentiated, found {plan.ahead}")
    identity = {"task": task.name, "settings": task.settings, "interface": interface, "hdpo": True}
    run = Run(f"hdpo {task.name} {interface}", plan, identity, directory)
    fresh, keys = initial_agents(plan, task, interface)
    agents = run.restore(fresh)
    agents = agents._replace(state=agents.state.replace(config=fresh.state.config))
    agents, keys = run.seeds.spread((agents, keys))
    env = run.seeds.share(task.high_level(interface))
    return run_blocks(
        run,
        lambda updates: make_block(plan.batch, updates, run.seeds),
        agents,
        lambda agents, done: (agents, keys, jnp.int32(done), env),
        deadline=deadline,
    )
