"""Data sets by name: what each version means, that it is made once and bit by bit again, and that damage is named."""

import dataclasses
import hashlib
import json
import shutil
from dataclasses import asdict, replace

import jax
import numpy as np
import pytest
from ohio_bench import experiments
from ohio_bench.runner import source
from ohio_envs import datasets, load_dataset, registry

from ohio_jax import data
from ohio_jax.collect import collect
from ohio_jax.errors import UserError
from ohio_jax.streams import Data
from scripts import dataset_digests

NAME = "tiny-city-v1"
SMALL = datasets.Recipe("routing-synthetic", "dtv", 70, 7, {"regions": 4, "horizon": 5})  # more than one chunk


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.setenv("OHIO_DATASETS", str(tmp_path / "cache"))
    monkeypatch.setitem(datasets.RECIPES, NAME, SMALL)


@pytest.fixture(scope="module")
def parts_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("OHIO_DATASETS", str(tmp_path_factory.mktemp("parts")))
        patched.setitem(datasets.RECIPES, NAME, SMALL)
        for seed, episodes in ((0, None), (0, 3), (4, None)):
            datasets.make(NAME, seed, "train", episodes)
        return datasets.folder()


@pytest.fixture
def made_parts(small, parts_once):
    """A cache of two data seeds, of one also its first episodes alone; a third is being made."""
    shutil.copytree(parts_once, datasets.folder())
    (datasets.folder() / NAME / "5" / ".train.parts").mkdir(parents=True)


# Of the fields of every recipe. A line here never changes and never goes: what would change one is a new version beside it.
PINNED = {
    "reacher-expert-v1": "be3d33cd4999",
    "reacher-medium-v1": "112336455ce7",
    "reacher-mixed-v1": "f4ee4827bf0e",
    "lift-expert-v1": "f6299c2b5dc5",
    "lift-medium-v1": "2fece6e8815a",
    "lift-replay-v1": "62b8346b312c",
    "door-expert-v1": "82b5db6598dc",
    "door-medium-v1": "ef2ced4035a2",
    "door-replay-v1": "8dd6ae55f8e2",
    "lift-noisy-v1": "28e682ac586a",
    "lift-noisy-all-gains-v1": "ecbe905063e0",
    "door-noisy-v1": "d949d4b985f4",
    "door-noisy-all-gains-v1": "1acfa3e0f76d",
    "nyc-inf-v1": "07dc470225f7",
    "nyc-dtv-v1": "0ed2d0c5e998",
    "nyc-prop-v1": "712ff6e9f939",
    "nyc-disp-v1": "8cb7e8fd4817",
    "shenzhen-inf-v1": "b4bebb328c5b",
    "shenzhen-dtv-v1": "c09d6ff46c02",
    "shenzhen-prop-v1": "0cdb7dce8dbe",
    "shenzhen-disp-v1": "21250cff04cc",
    "synthetic-inf-v1": "ef6f8f777dc8",
    "synthetic-dtv-v1": "74c55fb39f61",
    "synthetic-prop-v1": "eacc931d7316",
    "synthetic-disp-v1": "af1b5b74fffe",
    "1w3s-mpc-v1": "a4a09379ae48",
    "1w3s-fresh-v1": "a312e2c0310f",
    "1w3s-heur-v1": "fa0cc6a92601",
    "1w3s-mixed-v1": "73fc8e22b906",
    "1w10s-mpc-v1": "fe2714a6810a",
    "1w10s-fresh-v1": "7f1c4fd5fe64",
    "1w10s-heur-v1": "43f55b9606b3",
    "1w10s-mixed-v1": "829f170ed3be",
}


def pinned(recipe: datasets.Recipe) -> str:
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:12]


def shipped_recipes() -> dict[str, datasets.Recipe]:
    """All but those of tests."""
    return {name: recipe for name, recipe in datasets.RECIPES.items() if not name.startswith("tiny-")}


def test_a_version_never_changes_its_meaning():
    assert {name: pinned(recipe) for name, recipe in shipped_recipes().items()} == PINNED


def test_recipes_are_what_tasks_and_experiments_know():
    used = {row.data_set for table in experiments.TABLES.values() for preset in table.presets.values() for row in preset().rows}
    assert used <= set(datasets.RECIPES)
    for name, recipe in shipped_recipes().items():
        assert recipe.task in registry.TASKS and name.rpartition("-v")[2].isdecimal()
        assert recipe.validation_episodes == recipe.episodes // 10


def test_the_episodes_of_a_data_seed():
    """Those of its stream, played by the policy; those for validation come after, so that the first do not depend on them."""
    found = load_dataset(NAME, data_seed=3)
    task = registry.make(SMALL.task, SMALL.settings)
    logged = collect(task, "dtv", SMALL.episodes + SMALL.validation_episodes, Data(3).seed)
    assert found.task.settings == task.settings
    for part, of in ((found.train, logged.episodes(0, 70)), (found.validation, logged.episodes(70, 77))):
        for name, array in part.arrays.items():
            np.testing.assert_array_equal(np.asarray(array), of.arrays[name], err_msg=name)
    card = found.train.card
    assert (card["data_set"], card["data_seed"], card["seed"], card["episodes"]) == (NAME, 3, Data(3).seed, 70)
    assert card["platform"] == datasets.platform(SMALL.task)
    assert found.validation.card["first_episode"] == 70 and "first_episode" not in card
    assert not np.array_equal(np.asarray(load_dataset(NAME).train.obs), np.asarray(found.train.obs))


def test_made_once(monkeypatch):
    found = load_dataset(NAME)
    monkeypatch.setattr(datasets, "play", None)
    assert load_dataset(NAME).train.digest == found.train.digest
    assert list(datasets.cached(NAME)) == [0] and datasets.digest(NAME, 0) == found.train.digest


@pytest.mark.parametrize("episodes", [1, 64, 65])
def test_the_first_ones_are_those_of_the_whole(episodes):
    some, whole = load_dataset(NAME, 0, episodes).train, load_dataset(NAME).train
    assert some.card["episodes"] == episodes == len(some.returns)
    assert some.digest == replace(whole.episodes(0, episodes), card={}).digest
    assert load_dataset(NAME, 0, SMALL.episodes).train.digest == whole.digest
    some = data.load(datasets.make(NAME, 0, "validation", min(episodes, 3)), "trajectories")
    assert some.digest == replace(load_dataset(NAME).validation.episodes(0, min(episodes, 3)), card={}).digest


def test_what_other_code_made_is_made_again():
    """Where the caller says by which code; the same code finds it, and who does not care takes it."""
    path = datasets.make(NAME, 3, "train", 2, sources="a")
    card = lambda: json.loads((path / "card.json").read_text())
    first = (path / "card.json").stat().st_mtime_ns
    for sources in ("a", None):
        assert datasets.make(NAME, 3, "train", 2, sources=sources) == path
    assert ((path / "card.json").stat().st_mtime_ns, card()["sources"]) == (first, "a")
    assert datasets.make(NAME, 3, "train", 2, sources="b") == path and card()["sources"] == "b"


def test_a_whole_one_is_read_where_nothing_can_be_written(monkeypatch, tmp_path):
    """Not even a lock; and what is missing there is one line, before the work."""
    made = datasets.make(NAME, 0, "train", 2)
    monkeypatch.setattr(datasets, "file_lock", lambda path: pytest.fail("it was locked"))
    assert datasets.make(NAME, 0, "train", 2) == made
    (tmp_path / "file").touch()
    monkeypatch.setenv("OHIO_DATASETS", str(tmp_path / "file"))
    monkeypatch.setattr(datasets, "task_of", lambda name: pytest.fail("it worked"))
    with pytest.raises(UserError, match="train-2: expected a file that can be written, found: Not a directory"):
        datasets.make(NAME, 0, "train", 2)


def test_a_killed_call_goes_on(monkeypatch):
    """With the chunk that it had finished, which is not played again."""
    real, played = data.write, []

    def killed(*of):
        list(of[2].items())
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        datasets.make(NAME, 2, "train")
    monkeypatch.setattr(data, "write", real)
    monkeypatch.setattr("ohio_jax.collect._log", lambda *of: played.append(of))
    found = datasets.make(NAME, 2, "train")
    assert data.load(found, "trajectories").card["episodes"] == SMALL.episodes and not played


def test_what_is_wrong_is_one_line():
    with pytest.raises(UserError, match=r"unknown data set 'tiny-v9': expected one of 1w10s-fresh-v1, "):
        load_dataset("tiny-v9")
    with pytest.raises(UserError, match=r"tiny-city-v1: episodes: expected an integer from 1 to 70, found 71"):
        load_dataset(NAME, 0, 71)
    with pytest.raises(UserError, match="number of Data: expected an integer from 0 to"):
        load_dataset(NAME, -1)


@pytest.mark.parametrize("split", datasets.SPLITS)
def test_another_digest_than_the_shipped_one_is_refused(monkeypatch, split):
    found = getattr(load_dataset(NAME), split).digest
    here = datasets.platform(SMALL.task)
    shipped = lambda digest, where=here: lambda: {NAME: {"0": {where: {split: digest}}}}
    monkeypatch.setattr(datasets, "shipped", shipped(found))
    assert datasets.check(NAME, 0, split) and not datasets.check(NAME, 1, split)
    assert [datasets.check(NAME, 0, of) for of in datasets.SPLITS].count(True) == 1
    load_dataset(NAME)
    monkeypatch.setattr(datasets, "shipped", shipped("0" * 64))
    message = f"data set {NAME}, data seed 0, {split}: expected SHA-256 {'0' * 64} on its .*, found {found}"
    with pytest.raises(UserError, match=message):
        load_dataset(NAME)
    datasets.make(NAME, 0, split, 5)  # of which nothing is shipped
    monkeypatch.setattr(datasets, "shipped", shipped("0" * 64, "another processor"))
    load_dataset(NAME)


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("behavior_policy", {"behavior_policy": "inf"}),
        ("settings", {"settings": {"regions": 5, "horizon": 5}}),
        ("first_episode", {"episodes": 71}),
    ],
)
def test_what_another_recipe_of_the_name_made_is_refused(monkeypatch, field, changes):
    """As one of one's own did before it was edited."""
    datasets.make(NAME, 0, "validation")
    monkeypatch.setitem(datasets.RECIPES, NAME, replace(SMALL, **changes))
    with pytest.raises(UserError, match=f"validation: field {field}: expected .*, as data set {NAME} has it, found .*--again"):
        datasets.make(NAME, 0, "validation")
    datasets.make(NAME, 0, "validation", again=True)


def test_a_setting_that_came_later_makes_no_other_data(monkeypatch):
    task = datasets.task_of(NAME)
    datasets.make(NAME, 0, "validation")
    later = replace(task, settings={**task.settings, "later": 1})
    monkeypatch.setattr(datasets, "task_of", lambda name: later)
    datasets.make(NAME, 0, "validation")


def test_shipped_digests_are_of_data_sets_that_there_are():
    for name, seeds in datasets.shipped().items():
        assert name in datasets.RECIPES and all(seed.isdecimal() for seed in seeds)
        found = [splits for places in seeds.values() for splits in places.values()]
        assert all(splits and splits.keys() <= set(datasets.SPLITS) for splits in found)
        assert all(len(digest) == 64 for splits in found for digest in splits.values())
    plain = datasets.platform("reacher")
    assert jax.devices()[0].platform in plain and "mujoco" not in plain


def test_digests_of_the_cache_are_added_to_those_shipped(tmp_path, monkeypatch):
    """Of what today's code made, beside those of other platforms; one that differs is refused, and the file left alone."""
    path, today = tmp_path / "datasets.json", source.of_data_set(NAME)
    path.write_text(json.dumps({NAME: {"0": {"another processor": {"train": "0" * 64}}}}))
    for seed, split, episodes, by in ((0, "train", None, today), (0, "validation", None, today), (2, "train", None, today),
                                      (1, "train", None, "other"), (3, "train", 5, today)):  # fmt: skip
        datasets.make(NAME, seed, split, episodes, sources=by)
    assert dataset_digests.ship(path) == (3, 1)
    found, here = json.loads(path.read_text())[NAME], datasets.platform(SMALL.task)
    parts = lambda seed: {split: card["sha256"] for split in datasets.SPLITS if (card := datasets.card(NAME, seed, split))}
    assert found == {"0": {"another processor": {"train": "0" * 64}, here: parts(0)}, "2": {here: parts(2)}}
    assert set(parts(0)) == {"train", "validation"}
    assert dataset_digests.ship(path) == (0, 1) and json.loads(path.read_text())[NAME] == found
    monkeypatch.setattr(datasets, "shipped", lambda: json.loads(path.read_text()))
    assert datasets.check(NAME, 0, "validation") and datasets.check(NAME, 2, "train") and not datasets.check(NAME, 1, "train")
    found["2"][here]["train"] = "1" * 64
    path.write_text(json.dumps({NAME: found}))
    with pytest.raises(UserError, match=f"data seed 2, train, platform .*: expected SHA-256 {'1' * 64}, found .* in the cache"):
        dataset_digests.ship(path)
    assert json.loads(path.read_text()) == {NAME: found}


def test_the_command(command):
    code, out, _ = command("data list")
    assert code == 0 and f"{NAME:<26}routing-synthetic" in out and "data seed" not in out.partition("\n")[2]
    code, out, _ = command(f"data make {NAME} --data-seed 0 --data-seed 4 --json")
    made = json.loads(out)
    assert code == 0 and [of["data_seed"] for of in made["cached"]] == [0, 4] and made["episodes"] == 70
    first, logs = made["cached"][0], load_dataset(NAME).train
    assert first["return_mean"] == pytest.approx(logs.returns.mean()) and first["sha256"] == datasets.digest(NAME, 0)
    task = datasets.task_of(NAME)
    assert first["score"] == pytest.approx(float(task.score(logs.returns).mean())) == 100 * first["quality"]
    assert 0 < first["coverage"] <= 1 and first["steps"] == 70 * 5 and made["reference"]["full"] == task.reference.full
    code, out, _ = command("data list")
    assert code == 0 and "data seed 4: 350 steps" in out and "J_ref" in out
    code, out, _ = command(f"data verify {NAME}")
    assert code == 0 and out.count("sound; no digest shipped for this platform") == 2
    code, out, _ = command(f"invert {NAME} --data-seed 4 --episodes 3 --out g.npz --json")
    assert code == 0 and json.loads(out)["episodes"] == 3 and json.loads(out)["data_seed"] == 4
    assert command(f"data make {NAME} --episodes 3")[1] == f"{NAME}: {datasets.path_of(NAME, 0, 'train', 3)}\n"
    array = datasets.path_of(NAME, 4, "validation") / "obs.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    code, _, err = command("data verify")
    assert code == 2 and str(array) in err and err.count("\n") == 1
    code, _, _ = command(f"data make {NAME} --data-seed 4 --again")
    assert code == 0 and command(f"data verify {NAME}")[0] == 0


def as_file(folder):
    shutil.rmtree(folder)
    folder.write_bytes(b"logs")


def swapped(one, other):
    one.rename(one.with_name("kept"))
    other.rename(one)
    one.with_name("kept").rename(other)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda cache: (cache / "0/train/card.json").write_bytes(b""), "0/train/card.json: expected JSON in UTF-8, found damage"),
        (lambda cache: (cache / "0/train/card.json").write_text("[]"), "0/train/card.json: expected an object, found []"),
        (lambda cache: (cache / "0/train/card.json").unlink(), "0/train/card.json: expected a readable file, found No such file"),
        (lambda cache: as_file(cache / "0/train"), "0/train: expected a folder, found a file"),
        (lambda cache: as_file(cache / "4"), "4: expected a folder, found a file"),
        (lambda cache: as_file(cache), f"{NAME}: expected a folder, found a file"),
        (lambda cache: swapped(cache / "0", cache / "4"), "0/train: field card.data_seed: expected 0, found 4"),
        (lambda cache: swapped(cache / "0/train", cache / "0/train-3"), "0/train: field card.episodes: expected 70, found 3"),
        (lambda cache: (cache / "0/train").rename(cache / "0/validation"), "card.first_episode: expected 70, found 0"),
        (lambda cache: (cache / "0/train").rename(cache / "0/trian"), "0: expected train and validation, found 'trian'"),
        (lambda cache: (cache / "0/train-3/obs.npy").write_bytes(b""), "0/train-3/obs.npy: "),
        (
            lambda cache: (cache / "4").rename(cache / "99999999999"),
            f"{NAME}: expected data seeds, each an integer from 0 to 16777215, found '99999999999'",
        ),
        (lambda cache: (cache / "4").rename(cache / "04"), "from 0 to 16777215, found '04'"),
        (lambda cache: (cache / "4").rename(cache / "x"), "from 0 to 16777215, found 'x'"),
    ],
)
def test_verifying_passes_nothing_over(command, made_parts, spoil, said):
    for line in ("data verify", f"data verify {NAME}"):
        code, out, _ = command(line)
        assert code == 0 and out.count("sound") == 2  # what is being made is no part yet
    spoil(datasets.folder() / NAME)
    for line in ("data verify", f"data verify {NAME}"):
        code, out, err = command(line)
        assert code == 2 and out == "" and said in err and err.count("\n") == 1


def test_verifying_finds_what_another_recipe_made(command, made_parts, monkeypatch):
    monkeypatch.setitem(datasets.RECIPES, NAME, dataclasses.replace(datasets.RECIPES[NAME], behavior_policy="none"))
    code, _, err = command("data verify")
    assert code == 2 and "0/train: field card.behavior_policy: expected 'none', found " in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("data make", "NAME: expected one of reacher-expert-v1"),
        ("data make lift-v9", "unknown data set 'lift-v9'"),
        ("data list reacher", "NAME: expected with make or verify, found with list"),
        ("data verify --data-seed 1", "--data-seed: expected with make, found with verify"),
        (f"invert {NAME} --inverse magic --out g.npz", "unknown inverse 'magic'"),
        (f"invert {NAME} --interface magic --out g.npz", "unknown action interface for routing-synthetic 'magic'"),
        (f"invert {NAME} --weights magic --out g.npz", "unknown weights 'magic'"),
        (f"invert {NAME} --set sails=3 --out g.npz", "sails"),
        ("invert none.npz --data-seed 1 --out g.npz", "--data-seed: expected with the name of a data set, found with none.npz"),
    ],
)
def test_mistakes_end_in_one_line(command, line, said):
    code, out, err = command(line)
    assert code == 2 and out == "" and said in err and err.count("\n") == 1 and not datasets.folder().exists()
