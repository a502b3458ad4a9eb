"""Logs of any origin as trajectories. What is wrong with them is said in the rows and columns of the arrays that were given."""

import math
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Num

from ohio_jax.data import arrays as forms
from ohio_jax.data.trajectories import Trajectories
from ohio_jax.errors import UserError, brief, short

LEVELS = 1000  # so many values float32 must tell apart over a column's range
CONSTANT = 1e-9  # of a column's size: what varies by less is taken for rounding
FORMS = {**Trajectories.FORMS, "next_obs": forms.ROWS}


def from_arrays(
    obs: Num[np.ndarray, "N observation_size"],
    action: Num[np.ndarray, "N ..."],
    reward: Num[np.ndarray, "N"],
    next_obs: Num[np.ndarray, "N observation_size"],
    card: dict[str, Any],
    terminated: Bool[np.ndarray, "N"] | None = None,
    truncated: Bool[np.ndarray, "N"] | None = None,
    state: Num[np.ndarray, "N k"] | None = None,
    next_state: Num[np.ndarray, "N k"] | None = None,
    tolerance: float = 0.0,
    allow_nan: bool = False,
    where: str = "arrays",
) -> Trajectories:
    """Logs of any origin as trajectories: arrays with a row a step, in the order in which the steps were taken.

    Args:
        obs, next_obs: before and after each step.
        action, reward: as in `Trajectories`.
        card: where the data come from; `task` must name the task whose low level explains them.
        terminated, truncated: the last steps of episodes, as bool, 0 or 1; None: no step. What is left open at the end counts as
            truncated, and where both are set the episode has truly ended.
        state, next_state: see `Trajectories`; None: obs and next_obs, where the low level saw what policies see.
        tolerance: how far, within an episode, a number of next_obs may lie from the next step's obs: by
            `tolerance * (1 + |obs|)`, as where a file has rounded them. Kept is obs; the card's `rounded_steps` counts the steps
            that differ.
        allow_nan: whether steps may hold numbers that are not finite. They are kept and counted in the card's
            `nonfinite_steps`, and `relabel` makes the segments that hold one FAILED.
        where: what messages begin with.

    Raises:
        UserError: naming field, row and column, for what the arrays may not be: of other shapes or numbers of rows, masked, not
            numbers, not finite, or closer together than float32 tells apart; flags other than 0 and 1; and a gap in an episode.
    """
    if not isinstance(tolerance, Real) or not 0.0 <= tolerance < math.inf:
        raise UserError(f"{where}: tolerance: expected a number of at least 0, found {short(tolerance)}")
    if (state is None) != (next_state is None):
        raise UserError(f"{where}: field {'state' if state is None else 'next_state'}: expected beside the other, found none")
    forms.check_card(where, card)
    given = {"obs": obs, "next_obs": next_obs, "action": action, "reward": reward}
    given |= {} if state is None else {"state": state, "next_state": next_state}
    arrays = {name: _numbers(where, name, array) for name, array in given.items()}
    none = np.zeros(len(arrays["reward"]), bool)
    flags = {"terminated": terminated, "truncated": truncated}
    flags = {name: none if x is None else _flags(where, name, x) for name, x in flags.items()}
    steps = len(arrays["reward"])
    for name, array in (arrays | flags).items():
        if len(array) != steps or not steps:
            raise UserError(f"{where}: field {name}: expected {steps or 'at least 1'} rows, one a step, found {len(array)}")
    forms.check_alike(where, "obs", arrays["obs"], "next_obs", arrays["next_obs"])
    for name, array in arrays.items():
        if not allow_nan:
            forms.check_finite(where, name, array)
        _check_resolution(where, name, array)

    end = flags["terminated"] | flags["truncated"]
    end[-1] = True
    last = np.flatnonzero(end)
    # The low level's own view keeps its type, as actions and rewards do.
    logged = {"state": arrays["obs"], "next_state": arrays["next_obs"]} | arrays
    with np.errstate(over="ignore"):  # what float32 cannot hold is not finite in it
        before, after = (logged.pop(name).astype(np.float32, copy=False) for name in ("obs", "next_obs"))
    rounded = _steps_off(where, before, after, end, tolerance)
    whole = Trajectories(
        obs=np.insert(before, last + 1, after[last], axis=0),
        first_reward=np.zeros(len(last), np.float32),
        offset=np.append(0, last + 1),
        card={},
        terminated=flags["terminated"],
        truncated=end & ~flags["terminated"],
        **logged,
    )
    counts = {"rounded_steps": rounded, "nonfinite_steps": int(np.sum(~whole.finite)) if allow_nan else 0}
    card = {name: value for name, value in card.items() if name != "nonfinite_steps"} | {k: n for k, n in counts.items() if n}
    whole = replace(whole, card=card)
    whole.check(where)
    return whole


def _array(where: str, name: str, values: Any) -> np.ndarray:
    """Anything like an array as one, without a mask."""
    if np.ma.is_masked(values):
        place = [int(i) for i in np.argwhere(np.ma.getmaskarray(values))[0]]
        raise UserError(f"{where}: field {name}{place}: expected a value, found a masked one")
    try:
        return np.asarray(values)
    except (TypeError, ValueError) as error:  # lists in a list, of different lengths
        raise UserError(f"{where}: field {name}: expected an array, found {brief(error)}") from error


def _numbers(where: str, name: str, values: Any) -> np.ndarray:
    array = _array(where, name, values)
    if array.dtype.kind == "b":
        array = array.astype(np.int8)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    forms.check_form(where, name, array, FORMS[name])
    return array


def _flags(where: str, name: str, values: Any) -> np.ndarray:
    """`Bool[N]`. Nothing is read as a flag that is none: text "False" would be true, and so would NaN."""
    flags = _array(where, name, values)
    if flags.ndim != 1:
        raise UserError(f"{where}: field {name}: expected 1 dimension, found shape {flags.shape}")
    fits = (flags == 0) | (flags == 1) if flags.dtype.kind in forms.ANY else np.zeros(len(flags), bool)
    if not fits.all():
        row = int(np.argmin(fits))
        found = f"{short(flags[row : row + 1].tolist()[0])} ({brief(flags.dtype)})"
        raise UserError(f"{where}: field {name}[{row}]: expected True, False, 0 or 1, found {found}")
    return flags.astype(bool)


def _check_resolution(where: str, name: str, array: np.ndarray) -> None:
    """Raises UserError for a column whose distinct numbers become equal in float32, as times counted from 1970 do.

    Numbers that float32 rounds by less than a share of their column's range are as good as ever. Looked at is the range without
    the lowest and the highest number as well, since one of them may stand for what is missing, far from all others.
    """
    rounds = array.dtype.itemsize == 8 if array.dtype.kind == "f" else name in ("obs", "next_obs")  # others stay whole
    if not rounds:
        return
    columns = array.reshape(len(array), -1).astype(np.float64, copy=False)
    counted = np.abs(columns) <= forms.LARGEST
    for _ in range(2):
        low = np.min(columns, axis=0, initial=np.inf, where=counted)
        high = np.max(columns, axis=0, initial=-np.inf, where=counted)
        size = np.where(high >= low, np.maximum(np.abs(low), np.abs(high)), 0.0)
        gap, spread = np.spacing(size.astype(np.float32)).astype(np.float64), high - low
        for column in map(int, np.flatnonzero((LEVELS * gap > spread) & (spread > CONSTANT * size))):
            values = np.unique(columns[counted[:, column], column])
            if len(np.unique(values.astype(np.float32))) < len(values):
                ends, step = f"{values[0]:.12g} to {values[-1]:.12g}", f"{gap[column]:.3g}"
                found = f"{ends}, which it counts in steps of {step}; take an offset off"
                place = f", column {column}" if array.ndim > 1 else ""
                raise UserError(f"{where}: field {name}{place}: expected numbers that float32 tells apart, found {found}")
        counted &= (columns > low) & (columns < high)


def _steps_off(where: str, obs: np.ndarray, next_obs: np.ndarray, end: np.ndarray, tolerance: float) -> int:
    """How many steps within episodes end beside where the next one begins, by no more than the tolerance.

    Raises UserError for one that ends farther away. Rows that are not finite are not compared.
    """
    found, expected = next_obs[:-1], obs[1:]
    compared = ~end[:-1] & forms.finite_rows(found) & forms.finite_rows(expected)
    off = np.flatnonzero(compared & (found != expected).any(axis=1))
    near, at = found[off].astype(np.float64), expected[off].astype(np.float64)
    far = np.argwhere(np.abs(near - at) > tolerance * (1.0 + np.abs(at)))
    if len(far):
        step, column = int(off[far[0, 0]]), int(far[0, 1])
        raise UserError(
            f"{where}: field next_obs[{step}, {column}]: expected obs[{step + 1}, {column}], of the same episode,"
            f" {expected[step, column]}, found {found[step, column]}"
        )
    return len(off)
