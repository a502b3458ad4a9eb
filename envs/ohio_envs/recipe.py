"""What makes a data set: a policy that plays a task, and how it is played.

This file is one of the sources of whatever learns from a data set, so names, cache and digests lie in `datasets`.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ohio_jax.collect import CHUNK, collect_to
from ohio_jax.rollout import scripted_policy
from ohio_jax.streams import Data
from ohio_jax.task import Task

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class Recipe:
    """What makes a data set.

    Attributes:
        settings: of the task in which the policy plays, where they are not the task's defaults.
        behavior_policy: a policy of the task.
        episodes, validation_episodes: to train on and to validate with.
    """

    task: str
    behavior_policy: str
    episodes: int
    validation_episodes: int
    settings: dict[str, Any] = field(default_factory=dict)

    def part(self, split: Split, data_seed: int, episodes: int | None = None) -> dict[str, int]:
        """What the card of a part says of its episodes; episodes: only the first so many."""
        first, amount = (0, self.episodes) if split == "train" else (self.episodes, self.validation_episodes)
        return {"seed": Data(data_seed).seed, "first_episode": first, "episodes": amount if episodes is None else episodes}


def play(recipe: Recipe, task: Task, part: dict[str, int], card: dict[str, Any], path: Path) -> None:
    """Logs a part of a data set, see `Recipe.part`, as a folder; card: what its card says of it beside what all cards do."""
    policy = scripted_policy(task, recipe.behavior_policy)._replace(card=card)
    lanes = min(CHUNK, recipe.episodes)  # the same for all parts, so that the first episodes are bit by bit those of the whole
    collect_to(path, task, policy, part["episodes"], part["seed"], part["first_episode"], lanes)
