"""A task of one's own: a cart on a rail that is to stand at a mark. Its high level says where to go, PD control pushes."""

import jax
import jax.numpy as jnp
from flax import struct
from ohio_envs import registry, settings

from ohio_jax.collect import collect
from ohio_jax.controllers import direct, pd
from ohio_jax.environment import EnvBase, State, instances_of
from ohio_jax.networks import heads, mlp
from ohio_jax.relabel import relabel
from ohio_jax.task import ActionInterface, HighLevelPolicy, Reference, Task

RULES = {"horizon": settings.Rule("40", settings.integer(5, 1000))}


@struct.dataclass
class Cart(EnvBase):
    """pipeline_state: Float[4], position [m], velocity [m/s], the mark [m] and the step. The action is a force [N]."""

    horizon: int = struct.field(pytree_node=False)
    observation_size, action_size = 3, 1

    def sample_instance(self, key):
        return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)  # start, mark

    def reset_to(self, instance):
        x, zero = jnp.stack([instance[0], 0.0, instance[1], 0.0]), jnp.float32(0)
        return State(x, x[:3], zero, zero, {}, {"truncation": zero})

    def step(self, state, action):
        position, velocity, mark, time = state.pipeline_state
        x = jnp.stack([position + 0.1 * velocity, velocity + 0.1 * action[0], mark, time + 1])
        info = state.info | {"truncation": jnp.float32(x[3] >= self.horizon)}
        return state.replace(pipeline_state=x, obs=x[:3], reward=-jnp.abs(x[0] - mark), info=info)


def interface(limit: float, low, params, steps: int = 1) -> ActionInterface:
    box = heads.Box((limit,))
    return ActionInterface(box, low, params, low.problem(params), lambda hidden: mlp.mlp_networks(box, hidden), steps)


def cart(given: dict) -> Task:
    """`cart`, with the setting `horizon`. Raises UserError for a bad setting."""
    values, joint = settings.parse("cart", RULES, given), lambda state: state.pipeline_state[:2]
    env, low = Cart(**values), pd.Params(*(jnp.full(1, x) for x in (4.0, 3.0, 8.0, 1.5, 0.01)))  # kp, kd, bound, limit, noise
    ohio, forces = interface(1.5, pd, low, steps=5), interface(8.0, direct, direct.Params(low.bound))
    at_mark = lambda env, key, state: state.pipeline_state[2:3]
    random = lambda env, key, state: jax.random.uniform(key, (1,), minval=-1.0, maxval=1.0)
    policies = {name: HighLevelPolicy(goal, ohio) for name, goal in (("operator", at_mark), ("random", random))}
    reference = Reference(-float(env.horizon), 0.0, "0 is a meter off at every step, 100 never off")
    interfaces = {"ohio": ohio, "end_to_end": forces}
    return Task("cart", values, env, joint, joint, interfaces, policies, instances_of(env), reference)


registry.TASKS["cart"] = cart  # in the suite: a line in `registry.TASKS`
if __name__ == "__main__":
    task = registry.make("cart", horizon=40)
    logs = {name: collect(task, name, episodes=100, seed=1) for name in task.policies}
    data = relabel(logs["operator"], task, "ohio", "analytic")
    error = abs(data.action - data.obs[:, 2:])[data.status == 0].max()
    scores = {name: float(task.score(log.returns).mean().round(1)) for name, log in logs.items()}
    print(f"marks recovered from forces, error at most {error:.1e} m; scores {scores}")
    assert error < 1e-3 and scores["operator"] > scores["random"]
