"""Command lines and files that are wrong in one place, or may be: a strategy for each kind of input the command reads."""

import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from ohio_jax import data
from tests.fuzz.damage import damaged, finite, sealed, sealed_card, spoiled, wrong
from tests.fuzz.edge import CITY, Case, content, typed
from tests.ohio_bench import boards
from tests.ohio_envs import cities

TASK = "supply-chain-1w3s"
COLLECT = f"collect {TASK} --policy s_policy --episodes 2 --out o.npz"
INVERT = "invert x.npz --out o.npz --json"
CORRUPT = "corrupt x.npz --kind reward --out o.npz --json"
TRAIN = "train x.npz --learner bc --seeds 1 --updates 1 --batch 4 --hidden 4 --out o"
EVALUATE = "evaluate --checkpoint run --episodes 1 --json"
MADE = {COLLECT: "logs.npz", INVERT: "transitions.npz", CORRUPT: "spoiled.npz", TRAIN: "run", EVALUATE: ""}  # sound inputs

# Values that are wrong wherever a value of their kind is expected. What no memory holds is wrong as well.
LARGE = (str(10**12), "9" * 30)
COUNTS = ("", "x", "-1", "0", "1.5", "nan", "1e3", "½", *LARGE)
SEEDS = ("", "x", "-1", "0.5", str(2**32), *LARGE)
NUMBERS = ("", "x", "nan", "inf", "-inf", "-1", "1e999")
NAMES = ("", "zzz", "../x", "é", "a" * 5000, "a\nb", "\u202e", ":", "x:y")
INPUTS = ("", ".", "nowhere.npz", "folder.npz", "file", "/dev/null", "a" * 300 + ".npz", "a\nb.npz", "\udcff.npz")
OUTPUTS = ("", ".", "o.txt", "folder.npz", "file/o.npz", "/dev/null/o.npz", "a" * 300 + ".npz")
PLACES = ("", "file", "file/o", "/dev/null/o", "a" * 300)
SETTINGS = ("horizon", "horizon=", "=3", "horizon=x", "horizon=-1", "horizon=nan", f"horizon={'9' * 30}", "a=b=c", ",", "é=1")
SETTINGS += ("horizon=4,horizon=5", "demand=zzz")
CONFIGS = ("discount", "discount=x", "discount=NaN", "discount=1e999", "discount=-1", "discount=7", "x=1", "discount=[]")
ADDRESSES = ("", "here", "x:y", ":1", "here:1", "here:99999999")

# A sound command line, and which values are wrong for its flags ("" is its first argument).
FLAGS = {
    f"collect {TASK} --policy s_policy --episodes 2 --seed 1 --out o.npz": {
        "": NAMES,
        "--policy": NAMES,
        "--episodes": COUNTS,
        "--seed": (*SEEDS, str(2**26)),
        "--training-seed": SEEDS,
        "--set": SETTINGS,
        "--out": OUTPUTS,
        "--compilation-cache": ("file", "file/o", "/dev/null/o"),
    },
    "invert {logs} --out o.npz": {
        "": INPUTS,
        "--inverse": NAMES,
        "--interface": NAMES,
        "--weights": NAMES,
        "--set": SETTINGS,
        "--executor": NAMES,
        "--cell-cpus": COUNTS,
        "--out": OUTPUTS,
        "--processes": COUNTS,
        "--process": SEEDS,
        "--coordinator": ADDRESSES,
    },
    "corrupt {transitions} --kind label --out o.npz": {
        "": INPUTS,
        "--kind": NAMES,
        "--rate": (*NUMBERS, "1.5"),
        "--scale": NUMBERS,
        "--seed": SEEDS,
        "--adversary": PLACES,
        "--out": OUTPUTS,
    },
    "train {transitions} --learner iql --seeds 1 --updates 1 --batch 4 --hidden 4 --out o": {
        "": INPUTS,
        "--learner": NAMES,
        "--seeds": COUNTS,
        "--first-seed": SEEDS,
        "--updates": COUNTS,
        "--batch": COUNTS,
        "--hidden": COUNTS,
        "--sampling": NAMES,
        "--preset": NAMES,
        "--data-on": NAMES,
        "--config": CONFIGS,
        "--out": PLACES,
    },
    f"online {TASK} --env-steps 4 --envs 2 --learning-starts 2 --batch 2 --hidden 4 --out o": {
        "": NAMES,
        "--learner": NAMES,
        "--interface": NAMES,
        "--env-steps": COUNTS,
        "--envs": COUNTS,
        "--updates-per-step": COUNTS,
        "--learning-starts": SEEDS,
        "--buffer-size": COUNTS,
        "--reset-every": SEEDS,
        "--batch": COUNTS,
        "--hidden": COUNTS,
        "--seeds": COUNTS,
        "--set": SETTINGS,
        "--config": CONFIGS,
        "--out": PLACES,
    },
    f"hdpo {TASK} --set smooth=1 --updates 1 --batch 2 --hidden 4 --out o": {
        "": NAMES,
        "--interface": NAMES,
        "--updates": COUNTS,
        "--batch": COUNTS,
        "--hidden": COUNTS,
        "--seeds": COUNTS,
        "--lr": NUMBERS,
        "--set": SETTINGS,
        "--out": PLACES,
    },
    f"evaluate {TASK} --policy none --episodes 1": {
        "": NAMES,
        "--policy": NAMES,
        "--checkpoint": PLACES,
        "--episodes": COUNTS,
        "--seed": SEEDS,
        "--stream": NAMES,
        "--set": SETTINGS,
    },
    "evaluate --checkpoint {run} --episodes 1": {"--checkpoint": (".", *PLACES), "--episodes": COUNTS, "--set": SETTINGS},
    "render reacher --policy pd --episodes 1 --decisions 1 --out o.gif": {
        "": NAMES,
        "--policy": NAMES,
        "--episodes": COUNTS,
        "--decisions": COUNTS,
        "--every": COUNTS,
        "--fps": COUNTS,
        "--out": ("", ".", "file/o.gif", "/dev/null/o.gif", "a" * 300 + ".gif"),
    },
    "bench supply-chain --only 1w3s.policy.none": {
        "": NAMES,
        "--preset": NAMES,
        "--only": NAMES,
        "--learner": NAMES,
        "--seeds": COUNTS,
        "--executor": NAMES,
        "--cell-cpus": COUNTS,
        "--cell-gpus": NUMBERS,
        "--results": PLACES,
    },
    "tune reacher --only none": {"": NAMES, "--preset": NAMES, "--learner": NAMES, "--executor": NAMES, "--results": PLACES},
    "finetune": {"--preset": NAMES, "--only": NAMES, "--executor": NAMES, "--results": PLACES},
    "sensitivity": {"--preset": NAMES, "--only": NAMES, "--executor": NAMES, "--results": PLACES},
    "speed routing --quick": {"": NAMES, "--results": PLACES},
    "leaderboard": {"--results": ("nowhere", *PLACES)},
    "claims reacher": {"": NAMES, "--results": ("nowhere", *PLACES)},
    "submit mine.json": {"": INPUTS, "--results": ("nowhere", *PLACES)},
    "data list": {"": NAMES},
    "data make 1w3s-heur-v1": {"": NAMES, "--data-seed": SEEDS, "--episodes": COUNTS},
    "data verify {logs}": {"": NAMES},
    "list": {"": NAMES},
}


class Room(NamedTuple):
    """Sound inputs, made once.

    Attributes:
        paths: of the files that command lines name.
        logs, transitions: a data set's file, its card and its arrays.
        folder: the files of `logs` as a folder.
        said: what INVERT, CORRUPT and EVALUATE print of them.
        run, board: the files of a training directory and of a folder of results.
    """

    paths: dict[str, Path]
    logs: tuple[bytes, dict, dict[str, np.ndarray]]
    transitions: tuple[bytes, dict, dict[str, np.ndarray]]
    folder: dict[str, bytes]
    said: dict[str, str]
    run: dict[str, bytes]
    board: dict[str, bytes]


def room(folder: Path) -> Room:
    """Makes them in the current folder, which is the one given."""
    said = {}
    for line, kept in MADE.items():
        code, said[line], lines = typed(line.split())
        assert code == 0, lines
        if kept:
            Path("o" if kept == "run" else "o.npz").rename(kept)
        if line in (COLLECT, INVERT):
            shutil.copy(kept, "x.npz")
    boards.fill(folder / "board")
    paths = {name: folder / f"{name}.npz" for name in ("logs", "transitions")}
    files = lambda name: {f"{name}/{at}": raw for at, raw in content(folder / name).items() if raw is not None}
    logs, transitions = map(_dataset, paths.values())
    data.save("folder", data.load("logs.npz", "trajectories"))
    stored = {path.name: path.read_bytes() for path in Path("folder").iterdir()}
    return Room(paths | {"run": folder / "run"}, logs, transitions, stored, said, files("run"), files("board"))


def _dataset(path: Path) -> tuple[bytes, dict, dict[str, np.ndarray]]:
    raw = path.read_bytes()
    with np.load(io.BytesIO(raw)) as file:
        arrays = {name: file[name] for name in file.files}
    return raw, json.loads(str(arrays.pop("card"))), arrays


def encoded(value) -> bytes:
    return json.dumps(value).encode()


@st.composite
def flags(draw, room: Room) -> Case:
    """One flag with a value that is wrong for it."""
    line = draw(st.sampled_from(sorted(FLAGS)))
    words, flag = line.format(**room.paths).split(), draw(st.sampled_from(sorted(FLAGS[line])))
    value = draw(st.sampled_from(FLAGS[line][flag]))
    if flag in words:
        words[words.index(flag) + 1] = value
    elif flag:
        words += [flag, value]
    else:
        words[1:2] = [value]
    return Case(words, {"file": b"x", "folder.npz/file": b"x", "mine.json": b"{}"}, sound=False)


@st.composite
def damaged_data(draw, room: Room) -> Case:
    """A data set's file with other bytes: what is read of it all the same says what the file said."""
    line, (raw, *_) = draw(st.sampled_from(((INVERT, room.logs), (CORRUPT, room.transitions))))
    return Case(line.split(), {"x.npz": draw(damaged(raw))}, answer=room.said[line])


@st.composite
def damaged_folders(draw, room: Room) -> Case:
    """A data set's folder, one of whose files has other bytes or is gone, or whose card may be wrong."""
    words, files = INVERT.replace("x.npz", "x").split(), {f"x/{at}": raw for at, raw in room.folder.items()}
    name = draw(st.sampled_from(("x/card.json", *sorted(files))))
    how = draw(st.sampled_from(("bytes", "bytes", "card", "gone")))
    if how == "card":
        return Case(words, files | {"x/card.json": sealed_card(draw(spoiled(json.loads(files["x/card.json"]))))})
    changed = {name: draw(damaged(files[name]))} if how == "bytes" else {}
    return Case(words, {at: raw for at, raw in files.items() if at != name} | changed, answer=room.said[INVERT])


@st.composite
def wrong_data(draw, room: Room) -> Case:
    """A data set with a right digest, one of whose fields is none."""
    line, (_, card, arrays) = draw(st.sampled_from(((INVERT, room.logs), (TRAIN, room.transitions))))
    name = draw(st.sampled_from(sorted(arrays)))
    return Case(line.split(), {"x.npz": sealed(card, {**arrays, name: draw(wrong(name, arrays[name]))})}, sound=False)


@st.composite
def cards(draw, room: Room) -> Case:
    """A data set whose card may be wrong."""
    line, (_, card, arrays) = draw(st.sampled_from(((INVERT, room.logs), (TRAIN, room.transitions))))
    return Case(line.split(), {"x.npz": sealed(draw(spoiled(card)), arrays)})


@st.composite
def runs(draw, room: Room) -> Case:
    """A trained run: weights that are read are those that were saved, whatever happened to a file; run.json may be wrong."""
    name = draw(st.sampled_from(("run/run.json", *sorted(room.run))))
    if name == "run/run.json":
        return Case(EVALUATE.split(), room.run | {name: encoded(draw(spoiled(json.loads(room.run[name]))))})
    left = {at: raw for at, raw in room.run.items() if at != name}
    changed = {name: draw(damaged(room.run[name]))} if draw(st.booleans()) else {}
    return Case(EVALUATE.split(), left | changed, answer=room.said[EVALUATE])


@st.composite
def submissions(draw, room: Room) -> Case:
    """A run file made elsewhere."""
    cell, board = boards.submission(), lambda raw: room.board | {"mine.json": raw}
    line = ["submit", "mine.json", "--results", "board"]
    if draw(st.integers(0, 4)) == 0:
        return Case(line, board(draw(damaged(encoded(cell)))))
    cell = draw(spoiled(cell))
    return Case(line, board(encoded(cell)), sound=finite(cell))


@st.composite
def run_files(draw, room: Room) -> Case:
    """A run file of the board's own."""
    name = draw(st.sampled_from([name for name in sorted(room.board) if name.endswith(".json")]))
    cell = draw(spoiled(json.loads(room.board[name])))
    return Case(["leaderboard", "--results", "board"], room.board | {name: encoded(cell)}, sound=finite(cell))


@st.composite
def city_files(draw, room: Room) -> Case:
    """A city's file: one that may be wrong (an unknown policy is then what is refused), or is not the published one."""
    sound, kind = city(), draw(st.integers(0, 9))
    words = lambda policy: f"evaluate routing-nyc --policy {policy} --episodes 1 --set horizon=2".split()
    if kind == 0:  # of two equal names parsers take either
        return Case(words("none"), {CITY: encoded(sound)[:-1] + b', "nlat": 3}'}, sound=False)
    raw = draw(st.one_of(spoiled(sound).map(encoded), damaged(encoded(sound))))
    if kind == 1:
        return Case(words("none"), {CITY: raw}, sound=False, published=False)
    return Case(words("zzz"), {CITY: raw})


def city() -> dict:
    """The content of a city's file: three regions from 19:00, when `routing-nyc` begins."""
    found = cities.tiny_content()
    for table, field, later in (("demand", "time_stamp", 720), ("rebTime", "time_stamp", 12), ("totalAcc", "hour", 12)):
        found[table] = [{**record, field: record[field] + later} for record in found[table]]
    return found


# How many examples of each are quick, and how many are thorough.
GROUPS = {
    flags: (100, 1000),
    damaged_data: (40, 1000),
    damaged_folders: (40, 1000),
    wrong_data: (40, 1000),
    cards: (15, 300),
    runs: (15, 300),
    submissions: (40, 1000),
    run_files: (5, 50),
    city_files: (40, 1000),
}
