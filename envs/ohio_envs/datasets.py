"""Data sets by name and version: which policy plays which task, how often. Made on first use and kept in the user's cache.

A name means one recipe for good: what would change it gets another version. Data seed k plays the episodes of `streams.Data(k)`,
those for validation after those for training. Floating-point programs differ between processors, so the digest of a data set is
compared with the one that the package ships only where that is of the same platform.
"""

import functools
import hashlib
import json
import os
import platform as machine
import re
import shutil
from collections.abc import Iterable
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax

from ohio_envs import files, registry
from ohio_envs.recipe import SPLITS, Recipe, Split, play
from ohio_jax import data, limits, mesh
from ohio_jax.data import Trajectories, parts
from ohio_jax.errors import UserError, unknown
from ohio_jax.files import file_lock, read_card, try_output
from ohio_jax.task import Task

DIGESTS = "datasets.json"  # of the package; `scripts/dataset_digests.py` adds to it
VARIABLE = "OHIO_DATASETS"  # a folder for data sets, instead of the user's cache
EXTENSIONS = re.compile(r"avx\w*|amx\w*|fma\w*|sse4\w*|asimd\w*|sve\w*|bf16|f16c")  # of a processor, by which programs differ
MUJOCO = ("lift", "door")  # tasks whose physics MuJoCo steps
DEVICES = "--xla_force_host_platform_device_count"  # the one flag of XLA that changes no bits


def _recipes() -> dict[str, Recipe]:
    made = {f"reacher-{policy}-v1": Recipe("reacher", policy, 300, 30) for policy in ("expert", "medium", "mixed")}
    for scene in ("lift", "door"):
        made |= {f"{scene}-{policy}-v1": Recipe(scene, policy, 200, 20) for policy in ("expert", "medium", "replay")}
        made[f"{scene}-noisy-v1"] = Recipe(scene, "noisy-0.3", 200, 20)
        # Episode by episode under another of the three gains.
        made[f"{scene}-noisy-all-gains-v1"] = Recipe(scene, "noisy-0.3", 200, 20, {"logged": "all"})
    # As the paper tests: the original's dynamics and demand, steps of four minutes in New York and of three in Shenzhen.
    original = {"dynamics": "strict", "demand": "numpy"}
    cities = {"nyc": {"minutes": 4, **original}, "shenzhen": {"minutes": 3, **original}, "synthetic": {}}
    for city, settings in cities.items():
        for policy in ("inf", "dtv", "prop", "disp"):
            made[f"{city}-{policy}-v1"] = Recipe(f"routing-{city}", policy, 510, 51, settings)
    operators = {"mpc": "mpc", "fresh": "s_policy_fresh", "heur": "s_policy", "mixed": "mixed"}
    for network in ("1w3s", "1w10s"):
        for name, policy in operators.items():
            made[f"{network}-{name}-v1"] = Recipe(f"supply-chain-{network}", policy, 500, 50)
    return made


RECIPES: dict[str, Recipe] = _recipes()


class Dataset(NamedTuple):
    """A data set of one data seed: the task it was logged in, and its episodes."""

    task: Task
    train: Trajectories
    validation: Trajectories


def recipe(name: str) -> Recipe:
    """Raises UserError for an unknown name."""
    if name not in RECIPES:
        raise unknown("data set", name, RECIPES)
    return RECIPES[name]


@functools.cache
def _task(name: str, settings: str) -> Task:
    return registry.make(name, json.loads(settings))


def task_of(name: str) -> Task:
    """The task a data set is logged in."""
    of = recipe(name)
    return _task(of.task, json.dumps(of.settings))


def load_dataset(name: str, data_seed: int = 0, episodes: int | None = None) -> Dataset:
    """A data set by its name: from the cache if it is there, else made and kept, which a killed call goes on with.

    Args:
        data_seed: which of the data sets of this name; those of two seeds have no episode in common.
        episodes: only the first so many of those for training.

    Raises:
        UserError: for an unknown name, numbers beyond their bounds, damaged files, and where the digest of all episodes for
            training is not the one shipped for this platform.
    """
    task = task_of(name)
    paths = make(name, data_seed, "train", episodes), make(name, data_seed, "validation")
    return Dataset(task, *(data.load(path, "trajectories") for path in paths))


def folder() -> Path:
    """Where data sets are kept: `$OHIO_DATASETS`, else the folder `datasets` of the cache."""
    given = os.environ.get(VARIABLE)
    return Path(given) if given else files.cache() / "datasets"


def path_of(name: str, data_seed: int, split: Split, episodes: int | None = None) -> Path:
    """Where a part of a data set is kept, made or not; episodes: of one that was made smaller."""
    return folder() / name / str(data_seed) / (split if episodes is None else f"{split}-{episodes}")


def make(
    name: str, data_seed: int, split: Split, episodes: int | None = None, again: bool = False, sources: str | None = None
) -> Path:
    """The folder of a part of a data set, made if it is not there.

    Args:
        episodes: only the first so many of the part, bit by bit those of the whole.
        again: make it also where it is there.
        sources: a digest of the code that plays it, which the card notes; what other code made is made again. None: whatever
            code made it will do.

    Raises:
        UserError: as `load_dataset`.
    """
    of = recipe(name)
    whole, part = of.part(split, data_seed), of.part(split, data_seed, episodes)
    limits.check(f"{name}: episodes", part["episodes"], (1, whole["episodes"]))
    path = path_of(name, data_seed, split, None if part == whole else episodes).absolute()
    as_noted = lambda: sources is None or (read_card(path) or {}).get("sources") == sources
    is_whole = lambda: path.exists() and not parts.folder(path).exists() and as_noted()
    if again or not mesh.broadcast_bool(is_whole()):  # a whole one may lie where nothing can be written
        try_output(path, folder=True)
        with file_lock(path):
            if mesh.is_main_process() and path.exists() and (again or not as_noted()):
                shutil.rmtree(path)
            if mesh.is_main_process() and not is_whole():
                named = {"data_set": name, "data_seed": data_seed, "platform": platform(of.task)}
                play(of, task_of(name), part, {**named, **({} if sources is None else {"sources": sources})}, path)
    _check_recipe(name, path, part)
    if part == whole:
        check(name, data_seed, split)
    return path


def _check_recipe(name: str, path: Path, part: dict[str, int]) -> None:
    """Raises UserError for a part of the cache that another recipe made, such as one of one's own before it was edited."""
    found = read_card(path)
    if not isinstance(found, dict):
        return  # whoever reads it says so
    task, found = task_of(name), {"first_episode": 0, **found}
    given = lambda settings: {key: value for key, value in settings.items() if (task.name in MUJOCO, key) != (True, "backend")}
    known = given(found.get("settings", {}))  # a setting that came later has the default that it stands for
    expected = {**part, "task": task.name, "behavior_policy": recipe(name).behavior_policy}
    expected |= {"settings": {key: value for key, value in given(task.settings).items() if key in known}}
    for key, value in expected.items():
        made = known if key == "settings" else found.get(key)
        if made != value:
            again = "`ohio-jax data make --again` makes it anew; what a version means never changes"
            raise UserError(f"{path}: field {key}: expected {value}, as data set {name} has it, found {made}; {again}")


# --- Digests ----------------------------------------------------------------------------------------------------------


@functools.cache
def platform(task: str) -> str:
    """What the bits of a data set depend on beside the recipe: backend, machine, vector extensions, versions and XLA's flags."""
    try:
        described = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        described = ""
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", described, re.MULTILINE)
    extensions = sorted(filter(EXTENSIONS.fullmatch, line[1].split())) if line else []
    device = jax.devices()[0]
    words = [device.platform, *([] if device.platform == "cpu" else [device.device_kind]), machine.machine()]
    short = hashlib.sha256(" ".join(extensions).encode()).hexdigest()[:8]
    flags = sorted(flag for flag in os.environ.get("XLA_FLAGS", "").split() if not flag.startswith(DEVICES))
    words += [f"flags-{hashlib.sha256(' '.join(flags).encode()).hexdigest()[:8]}"] if flags else []
    simulators = [f"mujoco-{version('mujoco')}"] if task in MUJOCO else []
    return " ".join([*words, f"extensions-{short}", f"jax-{version('jax')}", *simulators])


def card(name: str, data_seed: int, split: Split, episodes: int | None = None) -> dict[str, Any] | None:
    """The card of a part as it stands in the cache; None where there is none. episodes: see `path_of`."""
    found = read_card(path_of(name, data_seed, split, episodes))
    return found if isinstance(found, dict) and "sha256" in found else None


def digest(name: str, data_seed: int) -> str | None:
    """SHA-256 of the part to train on, as its card notes it; None where it is not there."""
    known = card(name, data_seed, "train")
    return known["sha256"] if known else None


def _parts(name: str, data_seed: int) -> list[Path]:
    """Those in the cache."""
    paths = [path_of(name, data_seed, split) for split in SPLITS]
    return [path for path in paths if path.is_dir()]


def size(name: str, data_seed: int) -> int:
    """Bytes of a data set on the disk."""
    return sum(path.stat().st_size for part in _parts(name, data_seed) for path in part.iterdir())


@functools.cache
def shipped() -> dict[str, dict[str, dict[str, dict[Split, str]]]]:
    """name -> data seed -> platform -> part -> digest, of the file that the package holds."""
    return json.loads(resources.files("ohio_envs").joinpath(DIGESTS).read_text(encoding="utf-8"))


def check(name: str, data_seed: int, split: Split) -> bool:
    """Whether a digest is shipped for the platform that made a part in the cache. Raises UserError where the two differ."""
    made = card(name, data_seed, split) or {}
    places = shipped().get(name, {}).get(str(data_seed), {})
    expected, found = places.get(made.get("platform", ""), {}).get(split), made.get("sha256")
    if expected is None:
        return False
    if expected != found:
        again = f"`ohio-jax data make {name} --data-seed {data_seed} --again` makes it anew"
        place = f"data set {name}, data seed {data_seed}, {split}"
        raise UserError(f"{place}: expected SHA-256 {expected} on its platform, found {found}; {again}")
    return True


def cached(name: str) -> Iterable[int]:
    """The data seeds of which the part to train on is there."""
    seeds = [int(path.name) for path in (folder() / name).glob("*") if path.name.isdecimal()]
    return [seed for seed in sorted(seeds) if digest(name, seed) is not None]
