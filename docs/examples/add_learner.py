"""A learner of one's own: reward-weighted regression, which clones what went well (Peters and Schaal 2007)."""

import sys

import jax
import jax.numpy as jnp
from add_task import registry  # with the task `cart` in it
from flax import struct

from ohio_jax.collect import collect
from ohio_jax.data import Batch
from ohio_jax.evaluate import evaluate_learner
from ohio_jax.learners import LEARNERS, Spec, common
from ohio_jax.relabel import relabel
from ohio_jax.training import Plan, train

MC_RETURNS = True  # batches are to hold the return from each transition on
act = common.act


class Config(struct.PyTreeNode):
    actor_lr: float = 1e-3  # Adam's learning rate
    discount: float = 0.97  # of a decision, in the return
    beta: float = 3.0  # inverse temperature: how much more a better transition counts


class State(struct.PyTreeNode):
    actor: common.TrainState
    config: Config
    spec: Spec = struct.field(pytree_node=False)


def init(key: jax.Array, spec: Spec, config: Config) -> State:
    actor, _, _ = common.init_params(key, spec)
    return State(common.TrainState.create(actor), common.as_arrays(config), spec)


def update(state: State, batch: Batch) -> tuple[State, dict[str, jax.Array]]:
    """One step on -E[w log pi(u | s)], w = exp(beta (G - mean) / deviation), of mean 1 in the batch."""
    advantage = (batch.mc_return - jnp.mean(batch.mc_return)) / jnp.std(batch.mc_return)
    weight = batch.weight * len(advantage) * jax.nn.softmax(state.config.beta * advantage)

    def actor_loss(params):
        return -jnp.mean(weight * state.spec.action.log_prob(state.spec.actor(params, batch.obs), batch.action))

    loss, gradient = jax.value_and_grad(actor_loss)(state.actor.params)
    return state.replace(actor=common.adam_step(state.actor, gradient, state.config.actor_lr)), {"actor_loss": loss}


if __name__ == "__main__":
    LEARNERS["rwr"] = sys.modules[__name__]  # in the suite: a line in `LEARNERS`
    task = registry.make("cart")
    logs = collect(task, "random", episodes=400, seed=1)
    plan = Plan("rwr", Config(), hidden=32, updates=1500, batch=128, block=1500)
    trained = train(plan, task, "ohio", relabel(logs, task, "ohio", "analytic", "drop"))
    played = evaluate_learner(task, "ohio", LEARNERS["rwr"], trained.states, 100, seed=2)
    learned, behavior = task.score(played.returns).mean(), task.score(logs.returns).mean()
    print(f"score {learned:.1f}, learned from random data of score {behavior:.1f}")
    assert learned > behavior + 10
