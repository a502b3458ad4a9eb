"""What inverses know where gains differ from those of the logs: the logged goals, and the prior width under the new gains."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ohio_envs.manipulation import panda
from ohio_envs.manipulation.policies import RANGE
from ohio_jax.controllers import mixture, osc
from ohio_jax.data import Trajectories
from ohio_jax.inverse import least_squares
from ohio_jax.low_level import Problem, Segment, prepare
from ohio_jax.relabel import segments_of
from ohio_jax.task import ActionInterface

QUANTILE = 0.95  # of the speeds in the logs
LANES = 256  # states side by side

Logged = Callable[[Segment], osc.Params]  # the low level that made a segment


def problem(params: osc.Params, behavior: ActionInterface) -> Problem:
    """The problem of a learner's low level on logs of `behavior`, which has the same arm.

    Its logged goals are recovered by least squares under behavior's own gains; they are exact where UNIQUE.
    """
    own = _logged(behavior)
    logged = lambda segment: least_squares.invert(behavior.problem, prepare(behavior.problem, segment)).goal
    rescaled = lambda segment, at: osc.rescaled(own(segment), params, segment.state[0], logged(segment))
    return osc.problem(params)._replace(logged=logged, rescaled=rescaled)


def fit(params: osc.Params, behavior: ActionInterface, steps: int, logs: Trajectories) -> Problem:
    """The same with a prior whose width follows from the speeds in these logs, see `osc.prior_width`. steps: of a decision."""
    own, speed = _logged(behavior), jnp.asarray(speed_quantiles(steps, logs))

    def width(segment: Segment, at: osc.Known) -> Float[Array, "7"]:
        return jnp.append(osc.prior_width(own(segment), params, jnp.asarray(RANGE[:6]), speed), 1.0)

    return problem(params, behavior)._replace(width=width)


@functools.lru_cache(maxsize=8)
def speed_quantiles(steps: int, logs: Trajectories) -> Float[np.ndarray, "6"]:
    """`Float32[6]`, the QUANTILE of the gripper's speeds where decisions are made, axis by axis, m/s and rad/s."""
    first, _ = segments_of(logs.offset, steps)
    state = np.asarray(logs.state[first[logs.finite[first]]], np.float32)
    return np.quantile(np.abs(_velocities(state)), QUANTILE, axis=0).astype(np.float32)


@jax.jit
def _velocities(state: Float[Array, "n 21"]) -> Float[Array, "n 6"]:
    chain = jax.tree.map(jnp.float32, panda.chain())
    return jax.lax.map(functools.partial(osc.site_velocity, chain), state, batch_size=LANES)


def _logged(behavior: ActionInterface) -> Logged:
    """Whose torques a segment holds: behavior's one controller, or that of the segment's episode."""
    params = behavior.params
    if isinstance(params, mixture.Params):
        return lambda segment: params.at(params.which(segment.state[0]))
    return lambda segment: params
