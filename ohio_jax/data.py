"""Datasets: logged low-level trajectories, and the high-level transitions an inverse makes of them.

Both are flat NumPy arrays with a card (a JSON object that says where they come from), kept in one `.npz` file whose card
holds the SHA-256 of the arrays. Files are written to a temporary name and renamed, so none is ever half there.
"""

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ohio_jax.errors import UserError
from ohio_jax.files import write_bytes

FORMAT = 2  # raised when a file of the older layout can no longer be read as it is, see `_of_format_1`


class Batch(NamedTuple):
    """What a learner sees of B transitions (or of a whole dataset).

    obs, next_obs: Float[B, observation_size].
    goal: Float[B, *spec.shape].
    reward: Float[B], summed over the segment, in the task's unit.
    discount: Float[B], what follows counts, beside the learner's own discount, see `continuation`: 0 where the episode truly
        ended, 1 after a segment of full length.
    weight: Float[B], trust in the transition; multiplies its loss.
    outcome: Float[B], discounted reward from here to the episode's end, where a learner asks for it.
    next_goal: Float[B, *spec.shape], the goal of the next decision, where a learner asks for it.
    """

    obs: jax.Array
    goal: jax.Array
    reward: jax.Array
    next_obs: jax.Array
    discount: jax.Array
    weight: jax.Array
    outcome: jax.Array | None = None
    next_goal: jax.Array | None = None


def continuation(discount: Any, elapsed: Any, steps: int, terminal: Any) -> Any:
    """Float[...], what stands in `Batch.discount`: 0 at true ends, else discount^(elapsed / steps - 1).

    Learners multiply by their discount, which is that of a decision of `steps` low-level steps, so that what follows a transition
    that took `elapsed` of them counts discount^(elapsed / steps). Kept apart like this, it changes nothing of what a learner does
    with segments of full length, bit by bit. NumPy or JAX; a discount of 0 stays one.
    """
    return (discount + (discount == 0.0)) ** (elapsed / steps - 1.0) * (1.0 - terminal)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """E logged episodes of N low-level steps in all. Episode e owns steps offset[e] .. offset[e+1]-1.

    obs: Float[N + E, observation_size], one more row an episode than steps; see `obs_index`.
    state, next_state: [N, k], what the low-level policy saw, and what that became through the step's action.
    action: [N, *action], low-level actions as executed.
    reward: Float[N].
    first_reward: Float[E], earned before the first decision; part of the episode's return.
    terminated, truncated: Bool[N].
    offset: Int[E + 1].
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

    @property
    def episode(self) -> np.ndarray:
        """Int[N], the episode of each step."""
        return np.repeat(np.arange(len(self.offset) - 1), np.diff(self.offset))

    @property
    def obs_index(self) -> np.ndarray:
        """Int[N], the row of `obs` before each step; the row after it is the next one."""
        return np.arange(len(self.reward)) + self.episode

    @property
    def returns(self) -> np.ndarray:
        """Float64[E], undiscounted return of each episode."""
        return self.first_reward + np.bincount(self.episode, self.reward, len(self.offset) - 1)


@dataclass(frozen=True)
class Transitions:
    """M high-level transitions.

    obs, goal, reward, next_obs, weight: as in `Batch`, leading axis M.
    elapsed: Int[M], low-level steps that it took, `steps` but where the episode ended earlier; terminal: Bool[M], whether it
        ended truly. After a time limit `next_obs` is what followed, and learners look beyond it.
    status: Int[M] and residual: Float[M], what the inverse said of each (see `ohio_jax.low_level`).
    episode: Int[M]; episode_return: Float[E].
    """

    obs: np.ndarray
    goal: np.ndarray
    reward: np.ndarray
    next_obs: np.ndarray
    elapsed: np.ndarray
    terminal: np.ndarray
    weight: np.ndarray
    status: np.ndarray
    residual: np.ndarray
    episode: np.ndarray
    episode_return: np.ndarray
    card: dict[str, Any]

    @property
    def steps(self) -> int:
        """h, low-level steps of a whole segment, as the card says; 1 where it says nothing."""
        return self.card.get("steps", 1)

    def batch(self, discount: float = 1.0) -> Batch:
        """All transitions as one batch of float32 arrays, on the host; discount: a learner's, for a whole segment."""
        follows = continuation(discount, self.elapsed, self.steps, self.terminal)
        arrays = (self.obs, self.goal, self.reward, self.next_obs, follows, self.weight)
        return Batch(*(np.asarray(array, np.float32) for array in arrays))  # type: ignore[arg-type]

    def outcomes(self, discount: float) -> np.ndarray:
        """Float32[M], reward from each transition to the end of its episode; discount: of a whole segment, see `continuation`."""
        last = np.append(self.episode[1:] != self.episode[:-1], True)
        share = np.where(last, 0.0, discount ** (self.elapsed / self.steps)).astype(np.float32)

        def back(later, now):
            reward, share = now
            earned = reward + share * later
            return earned, earned

        return np.asarray(jax.lax.scan(back, jnp.float32(0.0), (self.reward.astype(np.float32), share), reverse=True)[1])

    def next_goals(self) -> np.ndarray:
        """Float[M, *goal], the goal of each transition's next one; its own where that is of another episode or has no weight."""
        follows = (self.episode[1:] == self.episode[:-1]) & (self.weight[1:] > 0)
        rows = np.arange(len(self.goal))
        rows[:-1] += follows
        return self.goal[rows]


Dataset = Trajectories | Transitions
KINDS: dict[str, type] = {"trajectories": Trajectories, "transitions": Transitions}


def _array_names(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if field.name != "card"]


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of the arrays, in order of name."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        sha.update(array.tobytes())
    return sha.hexdigest()


def save(path: str | Path, dataset: Dataset) -> str:
    """Writes the dataset to one `.npz` file, atomically; returns the SHA-256 of its arrays."""
    kind = next(name for name, cls in KINDS.items() if isinstance(dataset, cls))
    arrays = {name: getattr(dataset, name) for name in _array_names(type(dataset))}
    sha = digest(arrays)
    card = {**dataset.card, "format": FORMAT, "kind": kind, "sha256": sha}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, card=np.array(json.dumps(card, allow_nan=False)), **arrays)
    write_bytes(path, buffer.getvalue())
    return sha


def load(path: str | Path, kind: str) -> Any:
    """Reads a dataset of the given kind ("trajectories" or "transitions") and checks it.

    A file of format 1 is read as what it says. Raises UserError if the file is missing, is no dataset, is of another kind, is
    damaged, or holds NaN.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a dataset (.npz) written by this program")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        card = json.loads(str(arrays.pop("card")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise UserError(f"{path}: damaged or no dataset ({error}); expected an .npz file with a card") from error
    except Exception as error:  # zlib.error has no public base class of its own
        raise UserError(f"{path}: damaged ({type(error).__name__}: {error}); expected a dataset") from error
    if not isinstance(card, dict) or card.get("format") not in (1, FORMAT):
        raise UserError(f"{path}: field card.format: expected {FORMAT}, found {dict(card).get('format')!r}")
    if card.get("kind") != kind:
        raise UserError(f"{path}: field card.kind: expected {kind!r}, found {card.get('kind')!r}")
    sha = digest(arrays)
    if sha != card.get("sha256"):
        raise UserError(f"{path}: field card.sha256: arrays are damaged, expected {card.get('sha256')}, found {sha}")
    if card["format"] == 1 and kind == "transitions":
        arrays = _of_format_1(arrays, card)
    names = set(_array_names(KINDS[kind]))
    if set(arrays) != names:
        raise UserError(f"{path}: fields: expected {sorted(names)}, found {sorted(arrays)}")
    dataset = KINDS[kind](card=card, **arrays)
    check(dataset, str(path))
    return dataset


def _of_format_1(arrays: dict[str, np.ndarray], card: dict[str, Any]) -> dict[str, np.ndarray]:
    """Transitions as they are today: all segments were whole, and a discount of 0 meant a true end. Nothing is lost."""
    today = {name: array for name, array in arrays.items() if name != "discount"}
    if "discount" in arrays:
        today["elapsed"] = np.full(len(arrays["discount"]), card.get("steps", 1), np.int32)
        today["terminal"] = arrays["discount"] == 0
    return today


def check(dataset: Dataset, where: str) -> None:
    """Raises UserError naming `where` and the field if lengths disagree or a number is not finite."""
    steps = len(dataset.reward)
    for name in _array_names(type(dataset)):
        array = getattr(dataset, name)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise UserError(f"{where}: field {name}{list(bad)}: expected a finite number, found {array[bad]}")
    per_step = (
        ("state", "next_state", "action", "terminated", "truncated")
        if isinstance(dataset, Trajectories)
        else ("obs", "goal", "next_obs", "elapsed", "terminal", "weight", "status", "residual", "episode")
    )
    for name in per_step:
        if len(getattr(dataset, name)) != steps:
            raise UserError(f"{where}: field {name}: expected {steps} rows as in reward, found {len(getattr(dataset, name))}")
    if isinstance(dataset, Trajectories):
        offset = dataset.offset
        if len(offset) < 2 or offset[0] != 0 or offset[-1] != steps or (np.diff(offset) < 1).any():
            raise UserError(f"{where}: field offset: expected increasing from 0 to {steps}, found {offset.tolist()[:8]}...")
        episodes = len(offset) - 1
        if len(dataset.obs) != steps + episodes or len(dataset.first_reward) != episodes:
            raise UserError(f"{where}: field obs: expected {steps} steps + {episodes} episodes rows, found {len(dataset.obs)}")


def from_arrays(
    obs: np.ndarray,
    action: np.ndarray,
    reward: np.ndarray,
    next_obs: np.ndarray,
    card: dict[str, Any],
    terminated: np.ndarray | None = None,
    truncated: np.ndarray | None = None,
    state: np.ndarray | None = None,
    next_state: np.ndarray | None = None,
) -> Trajectories:
    """Logs of any origin as trajectories: arrays with a row a step, in the order in which the steps were taken.

    obs, next_obs: Float[N, observation_size], before and after each step; action, reward: as in `Trajectories`.
    card: where the data come from; `task` must name the task whose low level explains them.
    terminated, truncated: Bool[N], the last steps of episodes; None: no step. What is left open at the end counts as truncated.
    state, next_state: [N, k], see `Trajectories`; None: obs and next_obs, where the low level saw what policies see.
    Raises UserError if the numbers of rows differ, a number is not finite, or an episode has a gap.
    """
    never = np.zeros(len(reward), bool)
    arrays = {
        "obs": np.asarray(obs, np.float32),
        "next_obs": np.asarray(next_obs, np.float32),
        "state": np.asarray(obs if state is None else state),
        "next_state": np.asarray(next_obs if next_state is None else next_state),
        "action": np.asarray(action),
        "reward": np.asarray(reward),
        "terminated": np.asarray(never if terminated is None else terminated, bool),
        "truncated": np.asarray(never if truncated is None else truncated, bool),
    }
    for name, array in arrays.items():
        if len(array) != len(never) or not len(array):
            raise UserError(f"arrays: field {name}: expected {len(never) or 'at least 1'} rows, one a step, found {len(array)}")
    obs, next_obs = arrays.pop("obs"), arrays.pop("next_obs")
    ends = arrays["terminated"] | arrays["truncated"]
    ends[-1] = True
    last = np.flatnonzero(ends)
    whole = Trajectories(
        obs=np.insert(obs, last + 1, next_obs[last], axis=0),
        first_reward=np.zeros(len(last), np.float32),
        offset=np.append(0, last + 1),
        card=card,
        **{**arrays, "truncated": ends & ~arrays["terminated"]},
    )
    check(whole, "arrays")
    gaps = np.flatnonzero(~ends[:-1] & (next_obs[:-1] != obs[1:]).any(axis=1))
    if len(gaps):
        step = int(gaps[0])
        raise UserError(
            f"arrays: field next_obs[{step}]: expected obs[{step + 1}], of the same episode, {obs[step + 1].tolist()},"
            f" found {next_obs[step].tolist()}"
        )
    return whole


def concatenate(parts: list[Trajectories], card: dict[str, Any]) -> Trajectories:
    """Joins trajectories of consecutive episodes into one dataset with the given card."""
    names = [name for name in _array_names(Trajectories) if name != "offset"]
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    lengths = np.concatenate([np.diff(part.offset) for part in parts])
    return Trajectories(**arrays, offset=np.concatenate([[0], np.cumsum(lengths)]), card=card)


def quality(returns: np.ndarray, zero: float, full: float) -> float:
    """Trajectory quality: mean return of the data between score zero (0) and full score (1)."""
    return float((np.mean(returns) - zero) / (full - zero))


def coverage(obs: np.ndarray, action: np.ndarray, bins: int = 20) -> float:
    """Distinct (state, action) cells as a share of the transitions, in (0, 1].

    In tens of dimensions every pair is unique, so both are first projected on their three leading principal components
    and binned in `bins` intervals from the smallest to the largest value: a relative of SACo (Schweighofer et al. 2022)
    that needs no reference dataset.
    """

    def cells(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64).reshape(len(x), -1)
        x = x - x.mean(axis=0)
        _, axes = np.linalg.eigh(x.T @ x)
        y = x @ axes[:, -3:]
        low, width = y.min(axis=0), np.maximum(np.ptp(y, axis=0), 1e-12)
        return np.minimum((bins * (y - low) / width).astype(int), bins - 1)

    pairs = np.concatenate([cells(obs), cells(action)], axis=1)
    return len(np.unique(pairs, axis=0)) / len(pairs)
