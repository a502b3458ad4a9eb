"""MuJoCo's step of a model on two engines: MuJoCo itself, on threads, or MJX, on accelerators.

Both take a state and give the next as arrays, so that a step is pure and the state can be kept, batched and started from.
Readings of sensors belong to the state before the step, as MuJoCo leaves them: they lag by a step, as robosuite's do.
"""

import math
import os
import threading
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ohio_jax.extras import imported

FEW = 8  # states that are stepped sooner by one thread than handed to others


class Bodies(NamedTuple):
    """The state of MuJoCo's bodies.

    Attributes:
        q: `Float[nq]`, positions.
        v: `Float[nv]`, velocities.
        a: `Float[nv]`, last accelerations, where the solver begins.
    """

    q: jax.Array
    v: jax.Array
    a: jax.Array


Sensors = tuple[tuple[str, tuple[int, int]], ...]  # name, first reading, last + 1


class Threads:
    """A model and a pool of threads that step it; compiled programs are shared by whoever holds the same object."""

    def __init__(self, body: Any):
        mujoco, rollout = imported("mujoco", "mujoco"), imported("mujoco", "mujoco.rollout")
        mujoco.set_mju_user_warning(lambda text: None)  # else each divergence is written to a file; the state shows it
        cores = os.cpu_count() or 1
        self.model = body
        self._data = [mujoco.MjData(body) for _ in range(cores)]
        self._pool, self._caller = rollout.Rollout(nthread=cores), rollout.Rollout(nthread=0)
        self._turn = threading.Lock()  # devices that play side by side take turns: each call uses all cores
        parts = (mujoco.mjtState.mjSTATE_CTRL, mujoco.mjtState.mjSTATE_MOCAP_POS, mujoco.mjtState.mjSTATE_MOCAP_QUAT)
        self._told = sum(int(part) for part in parts)

    def step(self, given: jax.Array) -> np.ndarray:
        """Positions, velocities, and readings before them, on the host.

        Args:
            given: `Float[..., k]`, any batch of positions, velocities, controls with places, and accelerations to begin with.

        Returns:
            `Float[..., nq + nv + sensors]`.
        """
        body = self.model
        rows = np.asarray(given, np.float64).reshape(math.prod(given.shape[:-1]), given.shape[-1])
        state, told, begin = np.split(rows, [body.nq + body.nv, rows.shape[1] - body.nv], axis=1)
        after = np.empty((len(rows), 1, 1 + state.shape[1]))
        seen = np.empty((len(rows), 1, body.nsensordata))
        few = len(rows) < FEW
        with self._turn:
            (self._caller if few else self._pool).rollout(
                [body] * len(rows),
                self._data[:1] if few else self._data,
                np.insert(state, 0, 0.0, axis=1),  # the time, which nothing here depends on
                np.ascontiguousarray(told)[:, None],
                control_spec=self._told,
                nstep=1,
                initial_warmstart=np.ascontiguousarray(begin),
                state=after,
                sensordata=seen,
                skip_checks=True,
            )
        answer = np.concatenate([after[:, 0, 1:], seen[:, 0]], axis=1, dtype=np.float32)
        return answer.reshape(*given.shape[:-1], -1)


@struct.dataclass
class Native:
    """MuJoCo on the host's threads, called from within compiled programs with a whole batch at once.

    Attributes:
        sensors: where the readings of each lie.
        velocities: how many there are.
    """

    threads: Threads = struct.field(pytree_node=False)
    sensors: Sensors = struct.field(pytree_node=False)
    velocities: int = struct.field(pytree_node=False)

    def step(self, at: Bodies, control: jax.Array, place: jax.Array) -> tuple[Bodies, jax.Array]:
        """The state a time step later, readings before it; control: Float[nu]; place: Float[7] of a mocap body or Float[0]."""
        # One array there and one back: each has its price.
        given = jnp.concatenate([at.q, at.v, control, place, at.a]).astype(jnp.float32)
        sizes = np.cumsum([len(at.q), len(at.v), self.threads.model.nsensordata])
        shape = jax.ShapeDtypeStruct((sizes[-1],), jnp.float32)
        after = jax.pure_callback(self.threads.step, shape, given, vmap_method="broadcast_all")
        q, v, seen = jnp.split(after, sizes[:2])
        return Bodies(q, v, (v - at.v) / self.threads.model.opt.timestep), seen


@struct.dataclass
class Mjx:
    """MuJoCo's steps in JAX. model: `mjx.Model`, a pytree; the rest as in `Native`."""

    model: Any
    sensors: Sensors = struct.field(pytree_node=False)
    velocities: int = struct.field(pytree_node=False)

    def step(self, at: Bodies, control: jax.Array, place: jax.Array) -> tuple[Bodies, jax.Array]:
        """See `Native.step`."""
        mjx = imported("mujoco", "mujoco.mjx")
        body = jax.tree.map(jnp.asarray, self.model)  # MJX takes NumPy's arrays for settings that bodies must share
        data = mjx.make_data(body)
        data = data.replace(qpos=at.q, qvel=at.v, qacc_warmstart=at.a, ctrl=control)
        if len(place):
            data = data.replace(mocap_pos=place[None, :3], mocap_quat=place[None, 3:])
            # MJX moves a mocap body once its tree is laid out, without what hangs on it; so the tree is laid out from there.
            moved = np.asarray(self.model.body_mocapid) >= 0
            to = {"body_pos": body.body_pos.at[moved].set(place[:3]), "body_quat": body.body_quat.at[moved].set(place[3:])}
            body = body.replace(**to)
        after = mjx.step(body, data)
        return Bodies(after.qpos, after.qvel, after.qacc_warmstart), after.sensordata


def on_mjx(body: Any, iterations: int, searches: int) -> Any:
    """The `mjx.Model` of a `mujoco.MjModel`, whose solver and its line search stop after so many, rather than 100 and 50.

    Leaves are NumPy arrays, tied to no device.

    Raises:
        UserError: without MJX.
    """
    put = jax.device_get(imported("mujoco", "mujoco.mjx").put_model(body, impl="jax"))
    return put.replace(opt=put.opt.replace(iterations=iterations, ls_iterations=searches))


def engine(backend: str, body: Any, iterations: int, searches: int) -> Native | Mjx:
    """An engine of a `mujoco.MjModel`. backend: "c" or "mjx"; iterations, searches: see `on_mjx`."""
    each = (body.sensor(i) for i in range(body.nsensor))
    sensors = tuple((sensor.name, (int(sensor.adr[0]), int(sensor.adr[0] + sensor.dim[0]))) for sensor in each)
    if backend == "c":
        return Native(Threads(body), sensors, body.nv)
    return Mjx(on_mjx(body, iterations, searches), sensors, body.nv)
