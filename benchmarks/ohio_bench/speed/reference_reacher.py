"""The original's analytical inverse once more, in plain NumPy and MuJoCo, one segment after another: the honest peer.

Gains from MuJoCo's finite differences at the segment's start, network matrices one state at a time, NumPy's pseudo-inverse
(public code of OHIO, ICLR 2025, Reacher experiment). float64, but for the network.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ohio_jax.errors import UserError

COST, EFFORT = np.diag([10.0, 10.0, 1.0, 1.0]), 0.1 * np.eye(2)


def dm_control() -> Any:
    """The environment reacher/hard. Raises UserError where dm_control is not installed."""
    try:
        suite: Any = importlib.import_module("dm_control.suite")
    except ImportError as error:
        raise UserError("dm_control is missing: `pip install dm_control` is needed (it is in the `dev` extra)") from error
    return suite.load("reacher", "hard", task_kwargs={"random": 0})


def network(parameters: Any) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """x: `Float[4]` -> (A: `Float[4, 4]`, B: `Float[4, 2]`) of the learned model, from its first member's Flax parameters."""
    layers = [(np.asarray(layer["kernel"][0]), np.asarray(layer["bias"][0])) for _, layer in sorted(parameters["params"].items())]

    def matrices(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for kernel, bias in layers[:-1]:
            x = np.maximum(x @ kernel + bias, 0.0)
        out = x @ layers[-1][0] + layers[-1][1]
        return out[:16].reshape(4, 4), out[16:].reshape(4, 2)

    return matrices


def gains(A: np.ndarray, B: np.ndarray, steps: int) -> list[np.ndarray]:
    """K: `Float[2, 4]` of each step, first step first."""
    P, found = COST, []
    for _ in range(steps):
        K = -np.linalg.solve(EFFORT + B.T @ P @ B, B.T @ P @ A)
        P = COST + A.T @ P @ (A + B @ K)
        found.append(K)
    return found[::-1]


def analytic(physics: Any, matrices: Callable) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """invert(state: `Float[h, 4]`, end: `Float[4]`) -> goal: `Float[4]`. physics: of `dm_control()`."""
    mujoco: Any = importlib.import_module("mujoco")
    model, data = physics.model.ptr, physics.data.ptr
    A, B = np.zeros((4, 4)), np.zeros((4, 2))

    def invert(state: np.ndarray, end: np.ndarray) -> np.ndarray:
        data.qpos[:], data.qvel[:], data.ctrl[:] = state[0, :2], state[0, 2:], 0.0
        mujoco.mjd_transitionFD(model, data, 1e-6, True, A, B, None, None)
        effect, free = np.zeros((4, 4)), state[0]
        for x, K in zip(state, gains(A, B, len(state)), strict=True):
            own, push = matrices(x)
            forward = push @ K
            effect, free = (own + forward) @ effect + forward, (own + forward) @ free
        return -np.linalg.pinv(effect) @ (end - free)

    return invert
