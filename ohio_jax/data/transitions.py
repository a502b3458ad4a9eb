"""High-level transitions: what an inverse makes of logged trajectories, and what a learner sees of them."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int, Num

from ohio_jax.data import arrays as forms
from ohio_jax.data.arrays import Arrays, Form
from ohio_jax.errors import UserError
from ohio_jax.low_level import FAILED, UNIQUE

ALL = slice(None)  # rows


class Batch(NamedTuple):
    """What a learner sees of B transitions (or of a whole dataset).

    Attributes:
        obs, next_obs: `Float[B, observation_size]`; in what a learner is given, features, see `ohio_jax.agent`.
        action: `Float[B, *spec.shape]`, the high-level one.
        reward: `Float[B]`, summed over the segment, in the task's unit; and, discounted, over those of a window, see
            `Transitions.window`.
        discount: `Float[B]`, what follows counts, beside the learner's own discount, see `continuation`: 0 where the episode
            truly ended, 1 after a segment of full length.
        weight: `Float[B]`, trust in the transition; multiplies its loss.
        mc_return: `Float[B]`, discounted reward from here to the episode's end, where a learner asks for it.
        next_action: `Float[B, *spec.shape]`, the action of the next decision, where a learner asks for it.
    """

    obs: jax.Array
    action: jax.Array
    reward: jax.Array
    next_obs: jax.Array
    discount: jax.Array
    weight: jax.Array
    mc_return: jax.Array | None = None
    next_action: jax.Array | None = None


def continuation(discount: Any, elapsed: Any, steps: int, terminal: Any) -> Any:
    """What stands in `Batch.discount`: 0 at true ends, else discount^(elapsed / steps - 1).

    Learners multiply by their discount, which is that of a decision of `steps` low-level steps, so that what follows a transition
    that took `elapsed` of them counts discount^(elapsed / steps). Kept apart like this, it changes nothing of what a learner does
    with segments of full length, bit by bit. NumPy or JAX; a discount of 0 stays one.

    Returns:
        `Float[...]`.
    """
    return (discount + (discount == 0.0)) ** (elapsed / steps - 1.0) * (1.0 - terminal)


class Window(NamedTuple):
    """What follows from each of B transitions, see `Transitions.window`.

    Attributes:
        reward: `Float[B]`, of all its transitions, each discounted by the low-level steps before it.
        elapsed: `Int[B]`, low-level steps that they took.
        last: which transition is its last; an index as `rows` was.
    """

    reward: np.ndarray
    elapsed: np.ndarray
    last: Any


@dataclass(frozen=True, eq=False)
class Transitions(Arrays):
    """M high-level transitions.

    Attributes:
        obs, action, reward, next_obs, weight: as in `Batch`, leading axis M.
        elapsed: `Int[M]`, low-level steps that it took, `steps` but where the episode ended earlier.
        terminal: `Bool[M]`, whether it ended truly. After a time limit `next_obs` is what followed, and learners look beyond it.
        status, residual: `Int[M]`, `Float[M]`, what the inverse said of each (see `ohio_jax.low_level`).
        episode: `Int[M]`, from one transition to the next never falling.
        episode_return: `Float[E]`.
    """

    obs: np.ndarray
    action: np.ndarray
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

    FORMS: ClassVar[dict[str, Form]] = {
        **dict.fromkeys(("obs", "next_obs"), forms.ROWS),
        "action": Form(forms.NUMBERS, 2, 8),
        **dict.fromkeys(("reward", "weight", "residual", "episode_return"), forms.VECTOR),
        **dict.fromkeys(("elapsed", "status", "episode"), Form(forms.INTEGERS, 1, 1)),
        "terminal": Form(forms.FLAGS, 1, 1),
    }
    NEEDED: ClassVar[tuple[str, ...]] = ("task", "interface")

    def as_dict(self) -> dict[str, np.ndarray]:
        """The data under the names that offline learners elsewhere read, as in D4RL and OGBench: a row a decision."""
        last = np.append(self.episode[1:] != self.episode[:-1], True)
        return {
            "observations": np.asarray(self.obs),
            "actions": np.asarray(self.action),
            "rewards": self.reward,
            "next_observations": np.asarray(self.next_obs),
            "terminals": self.terminal,
            "timeouts": last & ~self.terminal,
        }

    def check(self, where: str) -> None:
        """Raises UserError naming `where` and the field for what no transitions are: the card, types, shapes and ranges."""
        super().check(where)
        arrays = self.arrays
        forms.check_rows(where, arrays, [name for name in arrays if name != "episode_return"])
        forms.check_alike(where, "obs", self.obs, "next_obs", self.next_obs)
        for name, array in arrays.items():
            if array.dtype.kind == "f":
                forms.check_finite(where, name, array)
        forms.check_range(where, "elapsed", self.elapsed, 1, self.steps, f"1 to {self.steps}, the steps of card.steps")
        forms.check_range(where, "status", self.status, UNIQUE, FAILED, f"a code from {UNIQUE} to {FAILED}")
        for name in ("weight", "residual"):
            forms.check_range(where, name, arrays[name], 0.0, forms.LARGEST, "a number of at least 0")
        most = len(self.episode_return) - 1
        forms.check_range(where, "episode", self.episode, 0, most, f"0 to {most}, a row of episode_return")
        if not self.weight.any():
            raise UserError(f"{where}: field weight: expected some above 0, found none")
        back = self.episode[1:] < self.episode[:-1]
        if back.any():
            row = int(np.argmax(back)) + 1
            raise UserError(f"{where}: field episode[{row}]: expected no less than the row before, found {self.episode[row]}")
        if (needed := self.episode[-1] + 1) != most + 1:
            raise UserError(f"{where}: field episode_return: expected {needed} rows, one an episode, found {most + 1}")

    @property
    def steps(self) -> int:
        """h, low-level steps of a whole segment, as the card says; 1 where it says nothing."""
        return self.card.get("steps", 1)

    def batch(self, discount: float = 1.0, rows: Any = ALL, ahead: int = 1) -> Batch:
        """Transitions as one batch of float32 arrays, on the host.

        Args:
            discount: a learner's, for a whole segment.
            rows: which; all of them unless given.
            ahead: decisions that each looks ahead, see `window`.
        """
        reward, elapsed, last = self.window(discount, rows, ahead)
        follows = continuation(discount, elapsed, self.steps, self.terminal[last])
        own = self.obs[rows], self.action[rows], reward, self.next_obs[last]
        return Batch(*(np.asarray(array, np.float32) for array in (*own, follows, self.weight[rows])))  # type: ignore[arg-type]

    def window(self, discount: float, rows: Any = ALL, ahead: int = 1) -> Window:
        """What follows from each of B transitions up to `ahead` decisions later: n-step returns (Sutton and Barto, section 7.1).

        A window is cut short by the end of its episode, and before a transition of no weight.

        Args:
            discount: of a whole segment, see `continuation`.
        """
        reward, elapsed = self.reward[rows], self.elapsed[rows]
        if ahead == 1:  # the rows as they were asked for, of which a slice is read from a file at once
            return Window(reward, elapsed, rows)
        elapsed, last = elapsed.astype(np.int64), np.arange(len(self.reward))[rows]
        for _ in range(ahead - 1):
            later = self._after(last)
            more = (later > last) & ~self.terminal[last]
            if not more.any():
                break
            reward = reward + np.where(more, discount ** (elapsed / self.steps) * self.reward[later], 0.0)
            elapsed = elapsed + np.where(more, self.elapsed[later], 0)
            last = np.where(more, later, last)
        return Window(reward, elapsed, last)

    def mc_returns(self, discount: float) -> Float32[np.ndarray, "M"]:
        """Float32[M], reward from each transition to the end of its episode; discount: of a whole segment, see `continuation`."""
        last = np.append(self.episode[1:] != self.episode[:-1], True)
        share = np.where(last, 0.0, discount ** (self.elapsed / self.steps)).astype(np.float32)

        def back(later, now):
            reward, share = now
            earned = reward + share * later
            return earned, earned

        return np.asarray(jax.lax.scan(back, jnp.float32(0.0), (self.reward.astype(np.float32), share), reverse=True)[1])

    def following(self, rows: Any = ALL, ahead: int = 1) -> Int[np.ndarray, "B"]:
        """`Int[B]`, the transition after the window of each, see `window`; its last one where that is of another episode or has
        no weight.
        """
        return self._after(np.arange(len(self.reward))[self.window(1.0, rows, ahead).last])

    def _after(self, rows: Int[np.ndarray, "B"]) -> Int[np.ndarray, "B"]:
        """Each one's next; itself where that is of another episode or has no weight."""
        later = np.minimum(rows + 1, len(self.reward) - 1)
        return np.where((self.episode[later] == self.episode[rows]) & (self.weight[later] > 0), later, rows)

    def next_actions(self, rows: Any = ALL, ahead: int = 1) -> Num[np.ndarray, "B ..."]:
        """The action of the one that follows each transition's window."""
        return self.action[self.following(rows, ahead)]
