"""A learner of one's own: reward-weighted regression, which clones what went well (Peters and Schaal 2007)."""

import sys
from typing import Any

import jax
import jax.numpy as jnp
from add_task import registry  # with the task `cart` in it
from flax import struct

from ohio_jax.collect import collect
from ohio_jax.data import Batch
from ohio_jax.evaluate import evaluate_learner, evaluate_policy
from ohio_jax.learners import LEARNERS, Spec, common
from ohio_jax.relabel import relabel
from ohio_jax.training import Plan, train

OUTCOMES = True  # batches are to hold what each episode went on to earn
act = common.act


class Config(struct.PyTreeNode):
    actor_rate: float = 1e-3  # Adam's learning rate
    discount: float = 0.97  # of rewards in an outcome
    sharpness: float = 3.0  # how much a deviation better counts more


class State(struct.PyTreeNode):
    actor: common.TrainState
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: jax.Array, spec: Spec, config: Config) -> State:
    actor, _, _ = common.init_params(key, spec)
    return State(common.TrainState.create(actor), common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """One step on -E[w log pi(u | s)], w = exp(sharpness (G - mean) / deviation), of mean 1 in the batch."""
    spread = (batch.outcome - jnp.mean(batch.outcome)) / jnp.std(batch.outcome)
    weight = batch.weight * len(spread) * jax.nn.softmax(state.config.sharpness * spread)

    def actor_loss(params: Any):
        return -jnp.mean(weight * state.spec.action.log_prob(state.spec.actor(params, batch.obs), batch.goal))

    loss, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    return state.replace(actor=common.adam_step(state.actor, gradient, state.config.actor_rate)), {"actor_loss": loss}


if __name__ == "__main__":
    LEARNERS["rwr"] = sys.modules[__name__]  # in the suite: a line in `LEARNERS`
    task = registry.make("cart")
    goals = relabel(collect(task, "random", episodes=400, seed=1), task, "ohio", "analytic", "drop")
    trained = train(Plan("rwr", Config(), hidden=32, updates=1500, batch=128, block=1500), task, "ohio", goals)
    mine = evaluate_learner(task, "ohio", LEARNERS["rwr"], trained.states, 100, seed=10).returns.mean()
    random = evaluate_policy(task, "random", 100, seed=10).returns.mean()
    print(f"return {mine:.1f}, learned from random goals, whose own is {random:.1f}")
    assert mine > 0.7 * random  # both are negative: at least 30 % nearer
