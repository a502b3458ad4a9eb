"""Low-level trajectories: what a behavior policy logged, step by step."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Num

from ohio_jax.data import arrays as forms
from ohio_jax.data.arrays import Arrays, Form
from ohio_jax.errors import UserError

BLOCK = 1 << 16  # rows that `coverage` takes at a time in float64
PRINCIPAL = 3  # components by which it tells states, and actions, apart
STEPWISE = ("state", "next_state", "action", "reward", "terminated", "truncated")  # arrays with a row a step
PER_STEP = ("obs", "state", "next_state", "action", "reward")  # numbers logged of each step; of obs, those before and after it


@dataclass(frozen=True, eq=False)
class Trajectories(Arrays):
    """E logged episodes of N low-level steps in all. Episode e owns steps offset[e] .. offset[e+1]-1.

    Attributes:
        obs: `Float[N + E, observation_size]`, one more row an episode than steps; see `obs_index`.
        state, next_state: [N, k], what the low-level policy saw, and what that became through the step's action.
        action: `[N, *action]`, low-level actions as executed.
        reward: `Float[N]`.
        first_reward: `Float[E]`, earned before the first decision; part of the episode's return.
        terminated, truncated: `Bool[N]`, true ends and time limits, at an episode's last step alone; if both are set,
            terminated wins.
        offset: `Int[E + 1]`.
    """

    obs: np.ndarray
    state: np.ndarray
    next_state: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    first_reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    offset: np.ndarray
    card: dict[str, Any]

    FORMS: ClassVar[dict[str, Form]] = {
        **dict.fromkeys(("obs", "state", "next_state"), forms.ROWS),
        "action": forms.ROWS_OF_ANY_SHAPE,
        **dict.fromkeys(("reward", "first_reward"), forms.VECTOR),
        **dict.fromkeys(("terminated", "truncated"), Form(forms.FLAGS, 1, 1)),
        "offset": Form(forms.INTEGERS, 1, 1),
    }
    NEEDED: ClassVar[tuple[str, ...]] = ("task",)

    @property
    def episode(self) -> Int[np.ndarray, "N"]:
        """`Int[N]`, the episode of each step."""
        return np.repeat(np.arange(len(self.offset) - 1), np.diff(self.offset))

    @property
    def obs_index(self) -> Int[np.ndarray, "N"]:
        """`Int[N]`, the row of `obs` before each step; the row after it is the next one."""
        return np.arange(len(self.reward)) + self.episode

    @property
    def returns(self) -> Float64[np.ndarray, "E"]:
        """`Float64[E]`, undiscounted return of each episode; a reward that is not finite counts as 0."""
        reward = np.where(forms.finite_rows(self.reward), self.reward, 0)
        return self.first_reward + np.bincount(self.episode, reward, len(self.offset) - 1)

    @property
    def finite(self) -> Bool[np.ndarray, "N"]:
        """`Bool[N]`, whether all numbers of a step are finite in float32, what was observed before and after it among them."""
        obs, *others = (forms.finite_rows(getattr(self, name)) for name in PER_STEP)
        before = self.obs_index
        return np.logical_and.reduce([obs[before], obs[before + 1], *others])

    def episodes(self, first: int, stop: int) -> "Trajectories":
        """The episodes first .. stop-1 alone."""
        steps = slice(int(self.offset[first]), int(self.offset[stop]))
        return replace(
            self,
            obs=self.obs[steps.start + first : steps.stop + stop],
            first_reward=self.first_reward[first:stop],
            offset=self.offset[first : stop + 1] - self.offset[first],
            **{name: getattr(self, name)[steps] for name in STEPWISE},
        )

    def as_dict(self) -> dict[str, np.ndarray]:
        """The data under the names that offline learners elsewhere read, as in D4RL and OGBench: a row a low-level step."""
        last = np.zeros(len(self.reward), bool)
        last[self.offset[1:] - 1] = True
        return {
            "observations": self.obs[self.obs_index],
            "actions": np.asarray(self.action),
            "rewards": self.reward,
            "next_observations": self.obs[self.obs_index + 1],
            "terminals": self.terminated,
            "timeouts": last & ~self.terminated,
        }

    def check(self, where: str) -> None:
        """Raises UserError naming `where` and the field for what no logs are.

        The card, types and shapes; rows of each field; ends inside an episode; and numbers that are not finite, unless the
        card's `nonfinite_steps` says of how many steps.
        """
        super().check(where)
        arrays, offset, steps = self.arrays, self.offset, len(self.reward)
        forms.check_rows(where, arrays, STEPWISE)
        forms.check_alike(where, "state", self.state, "next_state", self.next_state)
        if len(offset) < 2 or offset[0] != 0 or offset[-1] != steps or (offset[1:] <= offset[:-1]).any():
            raise UserError(f"{where}: field offset: expected increasing from 0 to {steps}, found {offset[:8].tolist()}...")
        episodes = len(offset) - 1
        for name, rows in {"obs": steps + episodes, "first_reward": episodes}.items():
            if len(arrays[name]) != rows:
                expected = f"{rows} rows, of {steps} steps and {episodes} episodes"
                raise UserError(f"{where}: field {name}: expected {expected}, found {len(arrays[name])}")
        inside = self.terminated | self.truncated
        inside[offset[1:] - 1] = False
        if inside.any():
            row = int(np.argmax(inside))
            name = "terminated" if self.terminated[row] else "truncated"
            raise UserError(f"{where}: field {name}[{row}]: expected ends at episodes' last rows, found one inside an episode")
        admitted = self.card.get("nonfinite_steps", 0)
        found = int(np.sum(~self.finite)) if admitted else 0
        if found != admitted:
            raise UserError(f"{where}: field card.nonfinite_steps: expected {found}, as there are, found {admitted}")
        for name in ("first_reward",) if admitted else (*PER_STEP, "first_reward"):
            forms.check_finite(where, name, arrays[name])


def columns(parts: Iterable[Trajectories]) -> dict[str, list[Any]]:
    """The arrays of consecutive episodes, by field, that make one data set where those of a field are joined."""
    found: dict[str, list[Any]] = {}
    for part in parts:
        for name, array in part.arrays.items():
            found.setdefault(name, []).append(array)
        del part
    found["offset"] = [np.cumsum(np.concatenate([[0], *map(np.diff, found["offset"])]))]
    return found


def concatenate(parts: Iterable[Trajectories], card: dict[str, Any]) -> Trajectories:
    """Joins trajectories of consecutive episodes into one data set with the given card.

    Parts that nobody else holds are let go of field by field, so that hardly more than one copy of the data lies in memory.
    """
    found = columns(parts)
    return Trajectories(**{name: np.concatenate(found.pop(name)) for name in [*found]}, card=card)


def quality(returns: Float[np.ndarray, "E"], zero: float, full: float) -> float:
    """Trajectory quality: mean return of the data between score zero (0) and full score (1)."""
    return float((np.mean(returns) - zero) / (full - zero))


def coverage(
    obs: Num[np.ndarray, "N n"],
    action: Num[np.ndarray, "M ..."],
    index: Int[np.ndarray, "M"] | None = None,
    bins: int = 20,
) -> float:
    """Distinct (state, action) cells as a share of the transitions, in (0, 1].

    In tens of dimensions every pair is unique, so both are first projected on their three leading principal components
    and binned in `bins` intervals from the smallest to the largest value: a relative of SACo (Schweighofer et al. 2022)
    that needs no reference dataset.

    Args:
        index: the row of `obs` that goes with each action; None: the same.
    """
    observed = lambda rows: obs[rows if index is None else index[rows]]
    acted = lambda rows: action[rows].reshape(rows.stop - rows.start, -1)
    pairs = _cells(observed, len(action), bins) * bins**PRINCIPAL + _cells(acted, len(action), bins)
    return len(np.unique(pairs)) / len(pairs)


def _cells(read: Callable[[slice], np.ndarray], count: int, bins: int) -> Int[np.ndarray, "M"]:
    """`Int[M]`, the number of the cell that each of `count` rows is in; read: `read(slice)`, `Num[rows, n]`."""
    blocks = [slice(first, min(first + BLOCK, count)) for first in range(0, count, BLOCK)]
    mean = sum(np.sum(read(rows), axis=0, dtype=np.float64) for rows in blocks) / count
    centered = lambda rows: read(rows).astype(np.float64) - mean
    _, axes = np.linalg.eigh(sum(part.T @ part for part in map(centered, blocks)))
    cells = np.zeros(count, np.int64)
    for y in np.concatenate([centered(rows) @ axes[:, -PRINCIPAL:] for rows in blocks]).T:
        bin = (bins * (y - y.min()) / max(np.ptp(y), 1e-12)).astype(np.int64)
        cells = cells * bins + np.minimum(bin, bins - 1)
    return cells
