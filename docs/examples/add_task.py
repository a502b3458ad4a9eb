"""A task of one's own: a cart on a rail that is to stand at a mark. Its high level says where to go, PD control pushes."""

import jax
import jax.numpy as jnp
from flax import struct
from ohio_envs import registry
from ohio_envs.settings import Rule, integer, parse

from ohio_jax.collect import collect
from ohio_jax.controllers import pd
from ohio_jax.environment import Drawn, State
from ohio_jax.networks.heads import Box
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.relabel import relabel
from ohio_jax.task import Guide, Reference, Space, Task


@struct.dataclass
class Cart(Drawn):
    """pipeline_state: Float[4], position [m], velocity [m/s], the mark [m] and the step. The action is a force [N]."""

    horizon: int = struct.field(pytree_node=False)
    observation_size, action_size = 3, 1

    def draw(self, key):
        return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)  # where it starts, where the mark is

    def start(self, instance):
        x, zero = jnp.stack([instance[0], 0.0, instance[1], 0.0]), jnp.float32(0)
        return State(x, x[:3], zero, zero, {}, {"truncation": zero})

    def step(self, state, action):
        place, velocity, mark, time = state.pipeline_state
        x = jnp.stack([place + 0.1 * velocity, velocity + 0.1 * action[0], mark, time + 1])
        info = {**state.info, "truncation": (x[3] >= self.horizon).astype(jnp.float32)}
        return state.replace(pipeline_state=x, obs=x[:3], reward=-jnp.abs(x[0] - mark), info=info)


def cart(settings: dict) -> Task:
    """`cart`, with the setting `horizon`. Raises UserError for a bad setting."""
    values = parse("cart", {"horizon": Rule("40", integer(5, 1000))}, settings)
    env, goals, view = Cart(values["horizon"]), Box((1.5,)), lambda state: state.pipeline_state[:2]
    low = pd.Params(*(jnp.full(1, x) for x in (4.0, 3.0, 8.0, 1.5, 0.01)))  # kp, kd, bound, limit, noise
    space = Space(goals, pd, low, pd.problem(low), lambda hidden: mlp_networks(goals, hidden), steps=5)
    instances = lambda seed, n: jax.vmap(lambda e: env.draw(jax.random.fold_in(jax.random.key(seed), e)))(jnp.arange(n))
    at_mark = Guide(lambda env, key, state: state.pipeline_state[2:3], space)
    anywhere = Guide(lambda env, key, state: jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0), space)
    reference = Reference(-float(env.horizon), 0.0, "0 is a metre off at every step, 100 never off")
    return Task("cart", values, env, view, view, {"ohio": space}, {"operator": at_mark, "random": anywhere}, instances, reference)


registry.TASKS["cart"] = cart  # in the suite: a line in `registry.TASKS`
if __name__ == "__main__":
    task = registry.make("cart", {"horizon": "40"})
    goals = relabel(collect(task, "operator", episodes=16, seed=1), task, "ohio", "analytic")
    error = abs(goals.goal - goals.obs[:, 2:])[goals.status == 0].max()
    returns = {name: float(collect(task, name, 100, seed=10).returns.mean()) for name in task.policies}
    print(f"{len(goals.goal)} goals recovered from forces, at most {error:.1e} m from the marks that were asked for;", returns)
    assert error < 1e-3 and returns["operator"] > returns["random"]
