"""The edges of the command: flags within bounds, results where they may be written, one line for whatever goes wrong."""

import argparse
import io
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ohio_bench import cli
from ohio_bench.cli import arguments
from ohio_bench.cli.arguments import Number
from ohio_bench.report import leaderboard

from ohio_jax import data
from ohio_jax.data import corruption
from ohio_jax.errors import UserError
from tests.ohio_bench import boards

SMALL = "regions=4,horizon=5"
LOGS = f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 2 --out"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Logs and transitions of a small city, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    for line in (f"{LOGS} {folder}/d.npz", f"invert {folder}/d.npz --out {folder}/g.npz"):
        assert cli.main(cli.parser().parse_args(line.split())) == 0
    return folder


@pytest.fixture
def small(command, made, tmp_path):
    """`command`, in a folder of small logs `d.npz` and transitions `g.npz`."""
    for name in ("d.npz", "g.npz"):
        shutil.copy(made / name, tmp_path)
    return command


# --- Flags


def flags() -> list[tuple[str, argparse.Action]]:
    (commands,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return [(name, action) for name, parser in commands.choices.items() for action in parser._actions]


def test_every_number_of_every_flag_has_bounds():
    kinds = {type(action.type) for _, action in flags() if action.type is not None}
    assert Number in kinds and not {action.type for _, action in flags()} & {int, float}
    for name, action in flags():
        if not isinstance(action.type, Number):
            assert not isinstance(action.default, int) or isinstance(action.default, bool), (name, action.dest)
            continue
        low, high = action.type.bounds
        assert action.type(str(low)) == low and action.type(str(high)) == high
        assert action.default in (None, []) or low <= action.default <= high
        for text in (str(low - 1), str(2 * high + 1), "1" + "0" * 18, "9" * 5000, "nan", "inf", "1e400", "one", "", "0x10"):
            with pytest.raises(argparse.ArgumentTypeError, match=r"^expected (an integer|a number) from") as caught:
                action.type(text)
            assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "line",
    [
        "evaluate reacher --policy pd --episodes 1000000000000",
        "train g.npz --learner bc --out run --hidden 1000000000000",
        "train g.npz --learner bc --out run --seeds 1000000000000000000",
        "online reacher --buffer-size 1000000000000000000 --out run",
        "hdpo supply-chain-1w3s --lr NaN --out run",
        "corrupt g.npz --kind label --scale inf --out c.npz",
        "corrupt g.npz --kind label --rate -0.1 --out c.npz",
        "evaluate reacher --policy pd --seed " + "9" * 5000,
        "sail\nto mars",
        "train g.npz --learner bc --out run --a\nb" + "x" * 5000,
    ],
)
def test_a_flag_out_of_bounds_is_one_line(line, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.parser().parse_args(line.split(" "))
    said = capsys.readouterr().err.splitlines()
    errors = [line for line in said if "error:" in line]
    assert caught.value.code == 2 and len(errors) == 1 and errors[0] == said[-1] and len(errors[0]) < 600


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("expectile=1.5", ["config", "expectile", "from 0.001 to 0.999", "1.5"]),
        ("discount=1.01", ["config", "discount", "from 0 to 1"]),
        ("actor_lr=NaN", ["config", "actor_lr", "float", "NaN"]),
        ("actor_lr=-1", ["config", "actor_lr", "from 0 to 1"]),
        ("reward_scale=1e400", ["config", "reward_scale", "float"]),
        ("reward_scale=" + "9" * 4000, ["config", "reward_scale"]),
        ("tau=" + "[" * 20_000, ["config", "tau"]),
    ],
)
def test_a_hyperparameter_out_of_bounds_is_one_line(small, tmp_path, config, words):
    code, out, err = small(f"train g.npz --learner iql --updates 2 --config {config} --out run")
    assert code == 2 and out == "" and err.count("\n") == 1 and len(err) < 600
    assert all(word in err for word in words) and not (tmp_path / "run").exists()


def test_the_command_alone_says_which_commands_there_are(command):
    code, out, err = command("")
    assert code == 2 and out == "" and all(word in err for word in ("usage:", "collect", "train", "leaderboard"))


def test_an_empty_name_is_no_name(capsys):
    for words in (["speed", ""], ["bench", "all", "--learner", ""], ["evaluate", "", "--checkpoint", "run"]):
        assert cli.main(cli.parser().parse_args(words)) == 2
        assert capsys.readouterr().err.count("\n") == 1
    for words in (["train", "g.npz", "--learner", "bc", "--out", ""], ["leaderboard", "--results", ""]):
        with pytest.raises(SystemExit):
            cli.parser().parse_args(words)
        assert "expected a path, found none" in capsys.readouterr().err


def test_a_home_folder_is_meant_where_the_shell_leaves_its_sign(command, tmp_path, monkeypatch):
    """As in `--out=~/new/d.npz`, whose `~` begins no word. Of every flag of a path, and of files that are given alone."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    paths = {"F", "G", "DIR", "F.gif", "FILE"}
    named = [action for _, action in flags() if action.metavar in paths or action.dest in ("path", "results")]
    assert len(named) > 30 and all(action.type("~/x") == f"{tmp_path}/home/x" for action in named)
    code, out, _ = command(f"{LOGS}=~/new/d.npz".replace(" =", "="))
    assert code == 0 and out.startswith(f"{tmp_path}/home/new/d.npz: ") and os.listdir(tmp_path) == ["home"]
    assert command("data verify ~/new/d.npz")[0] == 0


# --- Where results go


@pytest.mark.parametrize("out", ["d.npz", "./d.npz", "../{folder}/d.npz", "link.npz", "hard.npz"])
@pytest.mark.parametrize("line", ["invert d.npz", "corrupt d.npz --kind action"])
def test_no_result_takes_the_place_of_its_input(small, tmp_path, line, out):
    (tmp_path / "link.npz").symlink_to("d.npz")
    (tmp_path / "hard.npz").hardlink_to(tmp_path / "d.npz")
    before = (tmp_path / "d.npz").read_bytes()
    code, _, err = small(f"{line} --out {out.format(folder=tmp_path.name)}")
    assert code == 2 and "--out: expected another file than the input d.npz" in err
    assert (tmp_path / "d.npz").read_bytes() == before


def test_training_into_its_data_leaves_them(small, tmp_path):
    before = (tmp_path / "g.npz").read_bytes()
    code, _, err = small("train g.npz --learner bc --updates 2 --out g.npz")
    assert code == 2 and "expected a file that can be written" in err and (tmp_path / "g.npz").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "other", "taken"),
    [
        (LOGS.removesuffix(" --out"), "--seed 3", "g.npz"),
        ("invert d.npz", "--interface end_to_end", "d.npz"),
        ("invert d.npz", "--weights drop", "d.npz"),
        ("corrupt g.npz --kind label", "--seed 3", "d.npz"),
    ],
)
def test_what_is_not_an_earlier_result_is_kept(small, tmp_path, line, other, taken):
    """A result that is made again is replaced; for anything else there is a line."""
    assert small(f"{line} --out new.npz")[0] == 0 and small(f"{line} --out new.npz")[0] == 0
    (tmp_path / "mine.npz").write_bytes(b"mine")
    for words in (f"{line} --out {taken}", f"{line} --out mine.npz", f"{line} {other} --out new.npz"):
        path = tmp_path / words.split()[-1]
        before = path.read_bytes()
        code, _, err = small(words)
        assert code == 2 and err.count("\n") == 1 and "expected" in err and path.read_bytes() == before


@pytest.mark.parametrize(
    "out", ["file/x.npz", "folder.npz", "x" * 300 + ".npz", "new/" + "x" * 300 + "/x.npz", "file", ".", ".."]
)
@pytest.mark.parametrize("line", [LOGS, "invert d.npz --out", "corrupt g.npz --kind label --out"])
def test_where_nothing_can_be_written_nothing_is_worked(small, tmp_path, monkeypatch, line, out):
    (tmp_path / "file").touch()
    (tmp_path / "folder.npz").mkdir()
    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(data, "load", lambda *_: pytest.fail("it worked"))
    code, _, err = small(f"{line} {out}")
    assert code == 2 and err.count("\n") == 1 and len(err) < 600 and "expected a f" in err  # file, folder
    assert sorted(os.listdir(tmp_path)) == before


def test_weights_of_another_command_are_not_replaced(small, tmp_path):
    """Whether they are the inverse's own or not, and whether they are named or not."""
    assert small("invert d.npz --weights drop --out drop.npz")[0] == 0
    code, _, err = small("invert d.npz --out drop.npz")
    assert code == 2 and "field card.weights: expected 'keep', found 'drop'" in err
    assert small("invert d.npz --weights keep --out keep.npz")[0] == small("invert d.npz --out keep.npz")[0] == 0


def test_what_would_be_replaced_is_asked_before_the_work(small, tmp_path, monkeypatch):
    """Also where all but the data that are spoiled is the same."""
    assert small("corrupt g.npz --kind label --out new.npz")[0] == 0
    assert small("corrupt new.npz --kind label --out more.npz")[0] == 0
    monkeypatch.setattr(corruption, "corrupt", lambda *_: pytest.fail("it worked"))
    for line in ("corrupt more.npz --kind label --out new.npz", "corrupt g.npz --kind label --out d.npz"):
        code, _, err = small(line)
        assert code == 2 and "give another name" in err


@pytest.mark.parametrize("line", [LOGS, "invert d.npz --out", "corrupt g.npz --kind label --out"])
def test_a_folder_that_is_no_earlier_result_is_kept(small, tmp_path, line):
    assert small(f"{line} new")[0] == 0 and small(f"{line} new")[0] == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "obs.npy").write_bytes(b"mine")
    for words in (f"{line} mine", f"{line} new --seed 3" if "invert" not in line else f"{line} new --interface end_to_end"):
        folder = tmp_path / words.split()[-1 if words.endswith("mine") else -3]
        before = {path: path.read_bytes() for path in folder.iterdir()}
        code, _, err = small(words)
        assert code == 2 and err.count("\n") == 1 and "give another name" in err
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert small("invert new --out new")[0] == 2


def test_a_picture_that_is_not_ours_is_kept(command, tmp_path):
    (tmp_path / "arm.gif").write_bytes(b"GIF89a mine")
    code, _, err = command("render reacher --policy pd --episodes 1 --decisions 1 --out arm.gif")
    assert code == 2 and "give another name" in err and (tmp_path / "arm.gif").read_bytes() == b"GIF89a mine"
    for _ in range(2):
        assert command("render reacher --policy pd --episodes 1 --decisions 1 --out new.gif")[0] == 0


@pytest.mark.parametrize("line", ["bench routing --preset quick", "finetune", "speed routing --quick"])
def test_no_cell_is_run_for_a_folder_that_is_none(command, tmp_path, line):
    (tmp_path / "file").touch()
    code, _, err = command(f"{line} --results file")
    assert code == 2 and "Not a directory" in err and os.listdir(tmp_path) == ["file"]


def test_pages_that_cannot_be_written_are_not_made(command, tmp_path, monkeypatch):
    boards.fill(tmp_path)
    (tmp_path / "index.html").mkdir()
    monkeypatch.setattr(leaderboard, "rebuild", lambda *_: pytest.fail("it worked"))
    code, _, err = command("leaderboard --results .")
    assert code == 2 and err == "ohio-jax leaderboard: index.html: expected a file to write, found a folder\n"


def test_a_submission_that_cannot_be_written_makes_nothing(command, tmp_path):
    boards.fill(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(boards.submission()))
    (tmp_path / "runs" / "submitted").touch()
    code, _, err = command("submit mine.json --results .")
    found = "runs/submitted/reacher/cpu/reacher-expert.ours-iql.json: expected a file that can be written, found: Not a directory"
    assert (code, err) == (2, f"ohio-jax submit: mine.json: {found}\n")
    assert sorted(os.listdir(tmp_path / "runs")) == ["reacher", "submitted"]


# --- What is said


def test_the_texts_count_and_measure(small):
    text = small("invert d.npz --out h.npz")[1]
    assert all(f" {status}" in text for status in ("ambiguous", "unexplained", "failed"))
    text = small("train h.npz --learner bc --seeds 2 --updates 4 --out run")[1]
    assert "4 updates of 2 seeds of bc, " in text and " s; actor_loss " in text


def test_a_terminal_without_all_letters(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    arguments.say("return 10.0 ± 2.0 é")
    assert shown.getvalue() == b"return 10.0 +/- 2.0 \\xe9\n"


def test_a_result_that_cannot_be_said_is_one_line(command, monkeypatch):
    """As where standard output is a file on a full disk."""

    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Full())
        code, _, err = command("list")
    assert (code, err) == (2, "ohio-jax list: standard output: No space left on device\n")


def test_returns_that_are_no_numbers_are_no_result(command, monkeypatch):
    from ohio_jax import evaluate
    from ohio_jax.rollout import Episodes

    monkeypatch.setattr(evaluate, "evaluate_policy", lambda *_: Episodes(np.array([1.0, np.nan]), {}))
    code, out, err = command("evaluate reacher --policy pd --episodes 2")
    assert code == 2 and out == "" and "pd on reacher: expected finite returns" in err


# --- What goes wrong below


def fails(error: BaseException, capsys) -> tuple[int, str]:
    def function(args):
        raise error

    code = cli.main(argparse.Namespace(command="train", function=function))
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(13, "Permission denied", "/x/a.npz"), "/x/a.npz: Permission denied"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (OSError(), "OSError"),
        (MemoryError("Unable to allocate 7 TiB"), "out of memory: Unable to allocate 7 TiB"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes.\nMore."), "out of memory: RESOURCE_EXHAUSTED: Out"),
        (UserError("a.npz: expected\n1, found 2"), "a.npz: expected 1, found 2"),
        (UserError("a.npz: found " + "9" * 100_000), "a.npz: found 999"),
    ],
)
def test_what_the_user_can_mend_is_one_line(capsys, error, said):
    code, err = fails(error, capsys)
    assert code == 2 and err.startswith(f"ohio-jax train: {said}") and err.count("\n") == 1 and len(err) < 600


def test_what_the_user_cannot_mend_has_its_traceback(capsys):
    with pytest.raises(ZeroDivisionError):
        fails(ZeroDivisionError("of ours"), capsys)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train", "interrupted; the same command goes on"),
        ("invert", "interrupted; the same command goes on"),
        ("evaluate", "interrupted"),
        ("leaderboard", "interrupted; the same command starts anew"),
    ],
)
def test_ctrl_c_is_one_line(capsys, command, words):
    def function(args):
        raise KeyboardInterrupt

    code = cli.main(argparse.Namespace(command=command, function=function))
    assert code == 130 and capsys.readouterr().err == f"ohio-jax {command}: {words}\n"


def test_interrupted_with_force_is_another_line(capsys):
    def function(args):
        raise KeyboardInterrupt

    assert cli.main(argparse.Namespace(command="bench", force=True, function=function)) == 130
    words = "interrupted; the same command starts anew; without --force it keeps what is finished"
    assert capsys.readouterr().err == f"ohio-jax bench: {words}\n"


def test_float64_is_refused(command, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_X64", "1")
    code, out, err = command("list")
    assert code == 2 and out == "" and "JAX_ENABLE_X64: expected it unset" in err and err.count("\n") == 1
    monkeypatch.setenv("JAX_ENABLE_X64", "0")
    assert command("list")[0] == 0


@pytest.mark.parametrize("platform", ["cuda", "sailing"])
def test_a_platform_that_is_not_there_is_one_line(tmp_path, platform):
    line = "evaluate routing-synthetic --policy none --episodes 1 --compilation-cache off"
    typed = [sys.executable, "-m", "ohio_bench", *line.split()]
    done = subprocess.run(typed, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"JAX_PLATFORMS": platform})
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "JAX_PLATFORMS: expected devices" in done.stderr
    assert list(tmp_path.iterdir()) == []
