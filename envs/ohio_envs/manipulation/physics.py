"""MuJoCo's step of one of this folder's models on two engines: MuJoCo itself, on threads, or MJX, on accelerators.

Both take a state and give the next as arrays, so that a step is pure and the state can be kept, batched and started from.
Readings of sensors belong to the state before the step, as MuJoCo leaves them: they lag by a step, as robosuite's do.
"""

import functools
import math
import os
import threading
from importlib import resources
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from ohio_envs.extras import imported

STEP = 0.002  # s
ITERATIONS, SEARCHES = 4, 8  # of MJX's solver and of its line search, which would else go on to a hundred and to fifty


class Bodies(NamedTuple):
    """q: Float[nq], positions; v: Float[nv], velocities; a: Float[nv], last accelerations, where the solver begins."""

    q: jax.Array
    v: jax.Array
    a: jax.Array


Sensors = tuple[tuple[str, tuple[int, int]], ...]  # name, first reading, last + 1


def model(name: str, cube: float | None = None) -> Any:
    """The compiled `mujoco.MjModel` of `name`.xml; cube: m, half an edge of the cube, if there is one.

    Raises UserError without MuJoCo.
    """
    mujoco = imported("mujoco", "mujoco")
    folder = resources.files("ohio_envs.manipulation")
    scene = mujoco.MjSpec.from_string((folder / f"{name}.xml").read_text(), {"panda.xml": (folder / "panda.xml").read_bytes()})
    if cube is not None:
        scene.geom("cube").size = [cube] * 3
    return scene.compile()


class Threads:
    """A model and a pool of threads that step it; compiled programs are shared by whoever holds the same object."""

    def __init__(self, body: Any):
        mujoco, rollout = imported("mujoco", "mujoco"), imported("mujoco", "mujoco.rollout")
        cores = os.cpu_count() or 1
        self.model = body
        self._data = [mujoco.MjData(body) for _ in range(cores)]
        self._pool = rollout.Rollout(nthread=cores)
        self._turn = threading.Lock()  # devices that play side by side take turns: each call uses all cores
        parts = (mujoco.mjtState.mjSTATE_CTRL, mujoco.mjtState.mjSTATE_MOCAP_POS, mujoco.mjtState.mjSTATE_MOCAP_QUAT)
        self._given = sum(int(part) for part in parts)

    def step(self, q, v, a, control, place) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(q, v, readings) of a batch with any leading axes, on the host."""
        lead, batch = q.shape[:-1], math.prod(q.shape[:-1])
        flat = lambda *parts: np.concatenate([np.asarray(x, np.float64).reshape(batch, x.shape[-1]) for x in parts], axis=1)
        state, given, begin = flat(np.zeros((*lead, 1)), q, v), flat(control, place)[:, None], flat(a)
        after = np.empty((batch, 1, state.shape[1]))
        seen = np.empty((batch, 1, self.model.nsensordata))
        with self._turn:
            self._pool.rollout(
                [self.model] * batch,
                self._data,
                state,
                given,
                control_spec=self._given,
                nstep=1,
                initial_warmstart=begin,
                state=after,
                sensordata=seen,
                skip_checks=True,
            )
        q, v = np.split(after[:, 0, 1:], [q.shape[-1]], axis=1)
        back = lambda x: x.astype(np.float32).reshape(*lead, -1)
        return back(q), back(v), back(seen)


@struct.dataclass
class Native:
    """MuJoCo on the host's threads, called from within compiled programs with a whole batch at once.

    sensors: where the readings of each lie; velocities: how many there are.
    """

    threads: Threads = struct.field(pytree_node=False)
    sensors: Sensors = struct.field(pytree_node=False)
    velocities: int = struct.field(pytree_node=False)

    def step(self, at: Bodies, control: jax.Array, place: jax.Array) -> tuple[Bodies, jax.Array]:
        """The state after `STEP` and the readings before it; control: Float[nu]; place: Float[7] of a mocap body or Float[0]."""
        shape = lambda size: jax.ShapeDtypeStruct((size,), jnp.float32)
        shapes = shape(len(at.q)), shape(len(at.v)), shape(self.threads.model.nsensordata)
        q, v, seen = jax.pure_callback(self.threads.step, shapes, *at, control, place, vmap_method="broadcast_all")
        return Bodies(q, v, (v - at.v) / STEP), seen


@struct.dataclass
class Mjx:
    """MuJoCo's steps in JAX. model: `mjx.Model`, a pytree; the rest as in `Native`."""

    model: Any
    sensors: Sensors = struct.field(pytree_node=False)
    velocities: int = struct.field(pytree_node=False)

    def step(self, at: Bodies, control: jax.Array, place: jax.Array) -> tuple[Bodies, jax.Array]:
        """See `Native.step`."""
        mjx = imported("mujoco", "mujoco.mjx")
        data = mjx.make_data(self.model)
        data = data.replace(qpos=at.q, qvel=at.v, qacc_warmstart=at.a, ctrl=control)
        if len(place):
            data = data.replace(mocap_pos=place[None, :3], mocap_quat=place[None, 3:])
        after = mjx.step(self.model, data)
        return Bodies(after.qpos, after.qvel, after.qacc_warmstart), after.sensordata


@functools.cache
def engine(backend: str, name: str, cube: float | None = None) -> Native | Mjx:
    """The same object for the same model, so that compiled programs are shared. backend: "c" or "mjx".

    Raises UserError without MuJoCo, or without MJX where that is asked for.
    """
    body = model(name, cube)
    each = (body.sensor(i) for i in range(body.nsensor))
    sensors = tuple((sensor.name, (int(sensor.adr[0]), int(sensor.adr[0] + sensor.dim[0]))) for sensor in each)
    if backend == "c":
        return Native(Threads(body), sensors, body.nv)
    put = jax.device_get(imported("mujoco", "mujoco.mjx").put_model(body, impl="jax"))  # NumPy: tied to no device
    return Mjx(put.replace(opt=put.opt.replace(iterations=ITERATIONS, ls_iterations=SEARCHES)), sensors, body.nv)
