"""Brax's reacher, as Brax's users know it, with joint goals as its high level. Needs the extra `brax`.

Another model than `reacher`: strong motors, heavily damped joints, and a reward of minus the finger's distance from the
target (m) minus the square of the actions. Backends are those that share the model's motors: MJX, MuJoCo's physics, which
is maintained, and Brax's own `generalized`, which no longer is. The motors of the other two are an eighth as strong and would
need gains of their own.
"""

import functools
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

from ohio_envs.settings import Rule, integer, one_of, parse
from ohio_jax.controllers import direct, pd
from ohio_jax.environment import EnvBase, State, instances_of
from ohio_jax.extras import imported
from ohio_jax.networks import heads
from ohio_jax.networks.mlp import mlp_networks
from ohio_jax.task import ActionInterface, Reference, Task

UPPER, LOWER = 0.1, 0.11  # m, lengths of the links, the second up to the finger's center
BEND = 2.95  # rad, largest bend asked of the second joint, whose limit is 3
# Near critical damping with the motors of the default backend, and a good trade of actions for distance.
LOW_LEVEL = pd.Params(
    kp=np.full(2, 0.2, np.float32),
    kd=np.full(2, 0.04, np.float32),
    bound=np.ones(2, np.float32),
    limit=np.full(2, 2 * math.pi, np.float32),
    noise=np.full(2, 0.01, np.float32),
)
NOISE = 0.4  # deviation of `medium`'s actions


@struct.dataclass
class BraxReacher(EnvBase):
    """`brax.envs.reacher.Reacher` as an environment of the suite. An instance is the key of Brax's own reset.

    The observation is `Float[11]`: cosines and sines of the joints, target, velocity of the finger, finger minus target.

    Episodes end by the time limit.
    """

    env: Any = struct.field(pytree_node=False)
    horizon: int = struct.field(pytree_node=False)

    @property
    def observation_size(self) -> int:
        return 11

    @property
    def action_size(self) -> int:
        return 2

    @property
    def backend(self) -> str:
        return self.env.backend

    def sample_instance(self, key: PRNGKeyArray) -> PRNGKeyArray:
        return key

    def reset_to(self, instance: PRNGKeyArray) -> State:
        first = self.env.reset(instance)
        info = {"truncation": jnp.zeros_like(first.reward), "time": jnp.int32(0)}
        return State(first.pipeline_state, first.obs, first.reward, first.done, first.metrics, info)

    def step(self, state: State, action: Float[Array, "2"]) -> State:
        time = state.info["time"] + 1
        info = {**state.info, "truncation": (time >= self.horizon).astype(state.reward.dtype), "time": time}
        # A copy of the metrics, since Brax writes into them.
        return self.env.step(state.replace(metrics=dict(state.metrics), info=info), action)


@functools.cache
def simulator(backend: str) -> Any:
    """Brax's environment, the same object for the same backend so that compiled programs are shared.

    Raises:
        UserError: without Brax.
    """
    module = imported("brax", "brax.envs.reacher")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Brax System", UserWarning)  # says that its own backends are not maintained
        return module.Reacher(backend=backend)


def joints(state: State) -> Float[Array, "4"]:
    """`Float[4]`, what the low level sees: (q1, q2, v1, v2)."""
    body = state.pipeline_state
    return jnp.concatenate([body.q[:2], body.qd[:2]])


def inverse_kinematics(target: Float[Array, "2"], q: Float[Array, "2"]) -> Float[Array, "2"]:
    """The joint angles that bring the finger to (or nearest) `target: Float[2]`, bent as in q: `Float[2]`.

    The shoulder's is the one nearest to its angle in q.
    """
    x, y = target
    cosine = (x * x + y * y - UPPER**2 - LOWER**2) / (2.0 * UPPER * LOWER)
    bend = jnp.minimum(jnp.arccos(jnp.clip(cosine, -1.0, 1.0)), BEND) * jnp.where(q[1] < 0, -1.0, 1.0)
    shoulder = jnp.arctan2(y, x) - jnp.arctan2(LOWER * jnp.sin(bend), UPPER + LOWER * jnp.cos(bend))
    return jnp.stack([q[0] + jnp.mod(shoulder - q[0] + jnp.pi, 2.0 * jnp.pi) - jnp.pi, bend])


def expert(env: BraxReacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """Inverse kinematics and the low level's own PD control."""
    q = state.pipeline_state.q
    return pd.act(LOW_LEVEL, (), joints(state), inverse_kinematics(q[2:], q[:2]))[0]


def medium(env: BraxReacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """The expert with noise on its actions."""
    return jnp.clip(expert(env, key, state) + NOISE * jax.random.normal(key, (2,)), -1.0, 1.0)


def random(env: BraxReacher, key: PRNGKeyArray, state: State) -> Float[Array, "2"]:
    """Actions drawn evenly."""
    return jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)


POLICIES = {"expert": expert, "medium": medium, "random": random}

# Mean returns of `random` and `expert` over 100 episodes of 1,000 steps of the reference stream. The expert's is lost on its way
# to the target, so it is kept for other horizons; that of `random` is lost evenly.
MEASURED = {"mjx": (-826.9, -4.5), "generalized": (-826.6, -4.4)}
SETTINGS = {
    "backend": Rule("mjx", one_of(*MEASURED)),
    "horizon": Rule("1000", integer(1, 100_000)),
    "steps": Rule("5", integer(1, 100)),
}


def reacher_brax(settings: dict[str, Any]) -> Task:
    """`reacher-brax`: Brax's reacher. Raises UserError for a bad setting, or without Brax."""
    values = parse("reacher-brax", SETTINGS, settings)
    backend, horizon = values["backend"], values["horizon"]
    env = BraxReacher(simulator(backend), horizon)
    box, torque, bounds = heads.Box(tuple(LOW_LEVEL.limit.tolist())), heads.Box((1.0, 1.0)), direct.Params(jnp.ones(2))
    zero, full = MEASURED[backend]
    measure = f"ohio-jax evaluate reacher-brax --policy random --stream reference --episodes 100 --set backend={backend}"
    return Task(
        name="reacher-brax",
        settings=values,
        env=env,
        controller_obs=joints,
        next_controller_obs=joints,
        interfaces={
            "ohio": ActionInterface(
                box, pd, LOW_LEVEL, pd.problem(LOW_LEVEL), functools.partial(mlp_networks, box), values["steps"]
            ),
            "end_to_end": ActionInterface(
                torque, direct, bounds, direct.problem(bounds), functools.partial(mlp_networks, torque)
            ),
        },
        policies=POLICIES,
        instances=instances_of(env),
        reference=Reference(
            zero=zero * horizon / 1000,
            full=full,
            how=f"0 and 100 are means over 1,000 steps of `{measure}` and of `--policy expert`; at other "
            "horizons 0 is in proportion",
        ),
    )
