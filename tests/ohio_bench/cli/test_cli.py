"""The command as its user meets it: the whole path from logs to scores, one JSON object, one line for a mistake."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from ohio_bench import cli
from ohio_envs import registry

from ohio_jax import streams
from ohio_jax.training.checkpoint import load_policy

SMALL = "regions=4,horizon=5"


def test_from_logs_to_scores(command):
    code, out, _ = command(f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 8 --out d.npz --json")
    card = json.loads(out)
    assert code == 0 and card["episodes"] == 8 and card["behavior_policy"] == "dtv" and 0 < card["coverage"] <= 1
    code, out, _ = command("invert d.npz --inverse analytic --out g.npz --json")
    found = json.loads(out)
    assert code == 0 and found["transitions"] == 8 * 5 and found["failed"] == 0
    code, out, _ = command("train g.npz --learner bc --seeds 2 --updates 20 --out run --json")
    assert code == 0 and json.loads(out)["seeds"] == 2
    code, out, _ = command("evaluate --checkpoint run --episodes 3 --seed 1 --json")
    played = json.loads(out)
    assert code == 0 and len(played["returns"]) == 6 and played["training_seed"] == [0, 0, 0, 1, 1, 1]
    # The same command again finds its work done.
    assert command("train g.npz --learner bc --seeds 2 --updates 20 --out run")[0] == 0


def test_the_same_path_through_folders(command):
    """Digests and metrics are those of files; `data verify` names what is damaged."""
    found = {}
    for name in ("{}.npz", "{}"):
        logs, transitions = name.format("d"), name.format("g")
        card = json.loads(command(f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 8 --out {logs} --json")[1])
        made = json.loads(command(f"invert {logs} --out {transitions} --json")[1])
        code, out, _ = command(
            f"train {transitions} --learner bc --seeds 1 --updates 20 --hidden 8 --out run-{name.format('')} --json"
        )
        assert code == 0 and made["file"] == transitions
        found[name] = card["sha256"], made["sha256"], json.loads(out)["metrics"]
    assert found["{}.npz"] == found["{}"]
    assert sorted(os.listdir("g"))[:2] == ["action.npy", "card.json"]
    for path, kind, chunks in (("d", "trajectories", 4), ("g", "transitions", 3), ("g.npz", "transitions", 0)):
        said = json.loads(command(f"data verify {path} --json")[1])
        assert (said["kind"], said["rows"], said["chunks"]) == (kind, 40, chunks)
    assert ": transitions, 40 rows, sound: SHA-256 " in command("data verify g")[1]
    raw = Path("g/obs.npy").read_bytes()
    Path("g/obs.npy").write_bytes(raw[:-1] + b"x")
    for line in ("data verify g", "train g --learner bc --updates 2 --out new", "corrupt g --kind observation --out c"):
        code, out, err = command(line)
        assert (code, out, err.count("\n")) == (2, "", 1) and "g/obs.npy: chunk 0 (rows 0 to 39): damaged" in err
    code, _, err = command("data list g")
    assert code == 2 and "NAME: expected with make or verify, found with list" in err
    assert not Path("new").exists() and not Path("c").exists()


def test_end_to_end_is_the_same_path(command):
    command(f"collect routing-synthetic --set {SMALL} --policy inf --episodes 4 --out d.npz")
    for interface in ("end_to_end", "end_to_end_compat", "ohio_compat"):
        assert command(f"invert d.npz --interface {interface} --out {interface}.npz")[0] == 0
        assert command(f"train {interface}.npz --learner iql --updates 5 --seeds 1 --out {interface}")[0] == 0
        assert command(f"evaluate --checkpoint {interface} --episodes 2")[0] == 0


def test_goals_of_another_low_level_than_the_logged(command):
    """`--set` changes the task that is asked for goals, and what is trained on them knows."""
    command("collect supply-chain-1w3s --policy s_policy --episodes 2 --out d.npz")
    code, out, _ = command("invert d.npz --set dynamics=released --out g.npz --json")
    assert code == 0 and json.loads(out)["settings"]["dynamics"] == "released"
    assert json.loads(command("invert d.npz --out h.npz --json")[1])["settings"]["dynamics"] == "corrected"
    assert command("train g.npz --learner bc --updates 2 --seeds 1 --out run")[0] == 0
    assert json.loads(Path("run/run.json").read_text())["settings"]["dynamics"] == "released"


def test_a_hyperparameter_and_a_task_without_a_table(command):
    """What a plan says is changed by --config; the classical inventories are trained like any task."""
    command("collect inventory-one-store --set horizon=10 --policy base_stock --episodes 3 --out d.npz")
    assert command("invert d.npz --out g.npz")[0] == 0
    line = "train g.npz --learner iql --updates 2 --seeds 1 --config expectile=0.6 --out"
    assert command(f"{line} run")[0] == 0 and command("evaluate --checkpoint run --episodes 2")[0] == 0
    plan = json.loads(Path("run/run.json").read_text())["plan"]
    assert plan["config"]["expectile"] == 0.6 and plan["config"]["discount"] == 0.99
    code, _, err = command(f"{line} other --config speed=1")
    assert code == 2 and "unknown field of Config 'speed'" in err


def test_training_goes_on_with_more_updates(command):
    """In the same directory, its schedule over all of them; what has fewer, or differs in anything else, is another run."""
    command(f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 4 --out d.npz")
    command("invert d.npz --out g.npz")
    line = "train g.npz --learner bc --seeds 2 --hidden 8 --batch 16 --first-seed 3 --out run --updates"
    assert command(f"{line} 4")[0] == 0
    first = json.loads(Path("run/run.json").read_text())["plan"]
    assert first["config"]["actor_lr_decay_steps"] == first["updates"] == 4
    assert (first["hidden"], first["batch"], first["first_seed"]) == (8, 16, 3)
    for updates, config in (
        (4, " --config actor_lr=1e-2"),
        (8, " --config actor_lr=1e-2"),
        (3, ""),
        (8, " --config actor_lr_decay_steps=0"),
    ):
        code, _, err = command(f"{line} {updates}{config}")
        assert code == 2 and "field plan" in err and "give another directory" in err and "batch" not in err  # what differs alone
    code, out, _ = command(f"{line} 8 --json")
    assert code == 0 and json.loads(out)["updates"] == 8
    run = json.loads(Path("run/run.json").read_text())
    assert run["extended"] == [4] and run["plan"]["config"]["actor_lr_decay_steps"] == run["plan"]["updates"] == 8
    assert command(f"{line} 8")[0] == 0 and command(f"{line} 12")[0] == 0
    played = json.loads(command("evaluate --checkpoint run --episodes 2 --seed 10 --json")[1])
    assert played["training_seed"] == [3, 3, 4, 4]
    # Elsewhere as well a seed is called by its number.
    logged = "collect --checkpoint run --episodes 2 --seed 10 --out own.npz"
    card = json.loads(command(f"{logged} --training-seed 4 --json")[1])
    assert card["return_mean"] == pytest.approx(np.mean(played["returns"][2:]))
    code, _, err = command(f"{logged} --training-seed 1")
    assert code == 2 and "--training-seed: expected one of the run's, 3 to 4, found 1" in err


def test_what_goes_on_learns_at_its_own_rate(command):
    """The rate that had fallen to zero rises again: the actor moves."""
    command(f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 4 --out d.npz")
    command("invert d.npz --out g.npz")
    for updates, out in ((4, "short"), (4, "long"), (8, "long")):
        assert command(f"train g.npz --learner bc --seeds 1 --hidden 8 --updates {updates} --out {out}")[0] == 0
    short, long = (load_policy(Path(name), registry.make)[3].state.actor.params for name in ("short", "long"))
    assert any(np.any(a != b) for a, b in zip(jax.tree.leaves(short), jax.tree.leaves(long), strict=True))


def test_a_learner_of_ones_own_trains_and_is_found_again(command):
    """By programs that never heard of it, in the folder where it lies."""
    parts = "".join(f"    {name} = staticmethod({name})\n" for name in ("init", "update", "act"))
    Path("own.py").write_text(f"from ohio_jax.learners.bc import *\n\n\nclass Mine:\n{parts}    Config = Config\n")
    command(f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 4 --out d.npz")
    command("invert d.npz --out g.npz")
    typed = lambda line: subprocess.run([sys.executable, "-m", "ohio_bench", *line.split()], capture_output=True, text=True)
    train = "train g.npz --learner own:Mine --seeds 1 --updates 2 --out run"
    for line in (train, "evaluate --checkpoint run --episodes 2 --json"):
        done = typed(line)
        assert done.returncode == 0, done.stderr
    assert json.loads(Path("run/run.json").read_text())["plan"]["learner_from"] == "own:Mine"
    assert json.loads(done.stdout)["policy"] == "ohio mine"
    Path("own.py").write_text(Path("own.py").read_text() + "# Not what it was.\n")
    done = typed(train)
    assert done.returncode == 2 and "field plan.learner_sha256" in done.stderr and "give another directory" in done.stderr


def test_a_policy_plays_under_other_settings(command):
    command(f"collect routing-synthetic --set {SMALL} --policy dtv --episodes 2 --out d.npz")
    command("invert d.npz --out g.npz")
    command("train g.npz --learner bc --seeds 1 --updates 2 --hidden 8 --out run")
    found = json.loads(command("evaluate --checkpoint run --set horizon=3 --episodes 2 --json")[1])
    assert found["settings"]["horizon"] == 3 and found["settings"]["regions"] == 4
    code, _, err = command("evaluate routing-synthetic --checkpoint run")
    assert code == 2 and "--checkpoint brings its own task" in err


def test_flags_are_not_abbreviated(capsys):
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["train", "g.npz", "--learner", "bc", "--out", "run", "--seed", "3"])
    assert "--seed" in capsys.readouterr().err


def test_evaluate_prints_one_object(command):
    line = f"evaluate routing-synthetic --policy none --episodes 3 --seed 5 --set {SMALL} --json"
    code, out, _ = command(line)
    found = json.loads(out)
    assert code == 0 and out.count("\n") == 1
    assert found["task"] == "routing-synthetic" and found["policy"] == "none" and found["seed"] == 5
    assert len(found["returns"]) == len(found["served"]) == 3
    reference = found["reference"]
    scores = 100 * (np.array(found["returns"]) - reference["zero"]) / (reference["full"] - reference["zero"])
    assert found["score"] == pytest.approx(scores.mean())
    half = 4.302653 * scores.std(ddof=1) / 3**0.5  # Student's quantile of two degrees of freedom
    assert (found["score_low"], found["score_high"]) == pytest.approx((scores.mean() - half, scores.mean() + half), rel=1e-6)
    assert command(line)[1] == out
    said = command(line.removesuffix(" --json"))[1]
    interval = f"[{found['score_low']:.1f}, {found['score_high']:.1f}]"
    assert f"score {found['score']:.1f} {interval} (100 = {reference['full']:.1f})" in said and "over 3 episodes" in said
    separate = line.replace(SMALL, "regions=4 --set horizon=5")
    assert command(separate)[1] == out


def test_no_episodes_to_choose_or_to_test_by_are_logged(command, tmp_path):
    """Up to the last seed of the data stream, also those of no stream beyond the others."""
    line = f"collect routing-synthetic --policy none --episodes 1 --set {SMALL} --out d.npz --seed"
    most = streams.Data(streams.SPAN - 1).seed
    for seed in (most + 1, *(of().seed for of in (streams.Selection, streams.ReferenceStream, streams.Test)), 2**32 - 1):
        code, out, err = command(f"{line} {seed}")
        assert code == 2 and out == "" and err.count("\n") == 1 and os.listdir(tmp_path) == []
        assert f"--seed: expected an integer from 0 to {most}, the last of the data stream, found {seed}" in err
    assert command(f"{line} {most}")[0] == 0


def test_a_stream_names_the_episodes(command, capsys):
    """The test stream's by default; those of a seed instead."""
    line = f"evaluate routing-synthetic --policy none --episodes 2 --set {SMALL} --json"
    of_streams = {name: f" --stream {name}" for name in ("selection", "reference", "test")}
    found = {name: json.loads(command(line + flags)[1]) for name, flags in {"": "", **of_streams}.items()}
    assert found[""] == found["test"] and found["test"]["seed"] == streams.Test().seed
    assert len({tuple(of["returns"]) for of in found.values()}) == 3
    given = json.loads(command(f"{line} --seed {streams.Selection().seed}")[1])
    assert "stream" not in given and given["returns"] == found["selection"]["returns"]
    for flags in ("--stream data", "--stream test --seed 3"):
        with pytest.raises(SystemExit):
            cli.parser().parse_args(f"{line} {flags}".split())
        assert "--stream" in capsys.readouterr().err


def test_oracle_bounds_the_policies(command):
    tail = f"--episodes 3 --seed 5 --set {SMALL} --json"
    returns = lambda policy: np.array(json.loads(command(f"evaluate routing-synthetic --policy {policy} {tail}")[1])["returns"])
    bound = returns("oracle")
    for policy in ("none", "dtv", "inf"):
        assert (returns(policy) <= bound + 1e-2).all()


def test_no_oracle_is_offered_where_there_is_none(command):
    """What is said to be expected is what there is."""
    code, out, err = command("evaluate reacher --policy oracle --episodes 1")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert "policy for reacher 'oracle': expected one of " in err and "oracle" not in err.partition("expected")[2]


def test_hdpo_trains_through_the_simulator(command):
    tail = "--updates 4 --batch 2 --hidden 8 --seeds 2 --out run"
    code, out, _ = command(f"hdpo supply-chain-1w3s --set smooth=1,horizon=4 {tail} --json")
    assert code == 0 and len(json.loads(out)["return"]) == 2
    assert len(json.loads(command("evaluate --checkpoint run --episodes 3 --json")[1])["returns"]) == 6
    code, _, err = command(f"hdpo supply-chain-1w3s {tail}")
    assert code == 2 and "smooth=1" in err


def test_list_names_everything(command):
    found = json.loads(command("list --json")[1])
    assert {"routing-nyc", "routing-shenzhen", "routing-synthetic"} <= set(found["tasks"])
    assert {"bc", "iql", "cql"} <= set(found["learners"])
    assert {"transport", "shares", "requests"} <= set(found["controllers"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("evaluate routing-mars --policy none", ["routing-mars", "routing-nyc"]),
        (f"evaluate routing-synthetic --policy fast --set {SMALL}", ["policy", "fast", "dtv"]),
        ("evaluate routing-synthetic --policy none --set regions=one", ["regions", "one"]),
        ("evaluate routing-synthetic --policy none --set planets=3", ["planets", "regions"]),
        ("evaluate routing-synthetic --policy none --set regions", ["--set", "KEY=VALUE", "regions"]),
        ("evaluate routing-synthetic --policy none --set regions=4 --set regions=5", ["regions", "twice"]),
        ("evaluate --policy none", ["TASK"]),
        ("evaluate --checkpoint nowhere", ["nowhere", "run.json"]),
        (f"collect routing-synthetic --set {SMALL} --policy fast --out d.npz", ["policy", "fast"]),
        ("collect routing-synthetic --policy none --out d.txt", ["--out", ".npz", "d.txt"]),
        ("invert none.npz --out g.npz", ["none.npz", "No such file"]),
        ("train none.npz --learner bc --out run", ["none.npz", "No such file"]),
        ("collect routing-synthetic --policy dtv --training-seed 3 --out d.npz", ["--training-seed", "--checkpoint", "--policy"]),
        ("evaluate routing-synthetic --policy dtv --sample-actions", ["--sample-actions", "--checkpoint", "--policy"]),
        ("bench sailing", ["table", "sailing", "routing"]),
        ("bench routing --preset huge", ["preset", "huge", "quick"]),
        ("bench routing --only Mars-INF", ["row", "Mars-INF"]),
        ("bench all --preset quick --seeds 2", ["--seeds", "one table", "all"]),
        ("bench all --preset huge", ["preset", "huge", "quick"]),
        ("bench routing --executor slurm", ["executor", "slurm", "ray"]),
        ("bench routing --cell-cpus 2", ["--cell-cpus", "--executor ray"]),
        ("bench routing --processes 2 --process 0", ["--processes", "--coordinator HOST:PORT"]),
        ("train none.npz --learner bc --out run --coordinator here --processes 2 --process 0", ["HOST:PORT or auto", "'here'"]),
        ("invert none.npz --out g.npz --coordinator here:1 --processes 2", ["--process", "found none"]),
        ("speed sailing", ["sailing", "routing"]),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(command, tmp_path, line, words):
    code, out, err = command(line)
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and err.startswith("ohio-jax ") and "Traceback" not in err
    for word in words:
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_datasets_of_the_wrong_kind_task_or_content(command, tmp_path):
    command(f"collect routing-synthetic --set {SMALL} --policy none --episodes 2 --out d.npz")
    code, _, err = command("train d.npz --learner bc --out run")
    assert code == 2 and "card.kind" in err and not (tmp_path / "run").exists()
    command("invert d.npz --out g.npz")
    for line, word in (
        ("invert d.npz --inverse magic --out h.npz", "magic"),
        ("invert d.npz --interface low --out h.npz", "low"),
        ("invert d.npz --set planets=3 --out h.npz", "planets"),
        ("train g.npz --learner sarsa --out run", "sarsa"),
        ("train g.npz --learner bc --preset huge --out run", "huge"),
        ("train g.npz --learner bc --sampling best --out run", "best"),
    ):
        code, _, err = command(line)
        assert code == 2 and word in err and not (tmp_path / "run").exists() and not (tmp_path / "h.npz").exists()
    (tmp_path / "d.npz").write_bytes((tmp_path / "d.npz").read_bytes()[:-100])
    code, _, err = command("invert d.npz --out h.npz")
    assert code == 2 and "d.npz" in err


def test_help_loads_neither_jax_nor_numpy():
    script = (
        "import sys; from ohio_bench.cli import parser\n"
        "try: parser().parse_args(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('jax', 'numpy', 'flax', 'ohio_envs') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "--learner" in done.stdout and done.stdout.splitlines()[-1] == "[]"


def test_the_installed_command_exits_with_two(tmp_path):
    program = [sys.executable, "-m", "ohio_bench", "evaluate", "routing-mars", "--policy", "none", "--json"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert "routing-mars" in done.stderr and "Traceback" not in done.stderr


def test_collect_survives_kills(tmp_path):
    """Killed early and late, `collect` leaves no half file, and at last gives what an undisturbed call gives."""
    program = [sys.executable, "-m", "ohio_bench", "collect", "routing-synthetic", "--set", SMALL, "--policy", "dtv"]
    program += ["--episodes", "200", "--out"]
    subprocess.run([*program, "whole.npz"], cwd=tmp_path, check=True, capture_output=True)
    target = tmp_path / "cut.npz"
    for wait in (2.0, 4.0):
        process = subprocess.Popen([*program, "cut.npz"], cwd=tmp_path, stderr=subprocess.DEVNULL)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*program, "cut.npz"], cwd=tmp_path, check=True, capture_output=True)
    with np.load(tmp_path / "whole.npz") as whole, np.load(target) as cut:
        for name in whole.files:
            np.testing.assert_array_equal(whole[name], cut[name])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.npz", "whole.npz"]


@pytest.mark.slow
def test_labels_are_compared_with_what_was_logged(command, tmp_path):
    pytest.importorskip("mujoco")
    logs, labels = tmp_path / "logs.npz", tmp_path / "labels.npz"
    assert command(f"collect lift --policy noisy-0.3 --episodes 1 --set horizon=8 --out {logs}")[0] == 0
    assert command(f"invert {logs} --inverse rescaled --set gains=damping --out {labels}")[0] == 0
    code, out, _ = command(f"labels {labels} --logs {logs} --json")
    found = json.loads(out)
    assert code == 0 and found["segments"] == 8 and 0.1 < found["torque_nm"] < 80 and 0 < found["position_m"] < 0.01
    assert "root mean square over 8 segments: " in command(f"labels {labels} --logs {logs}")[1]
    code, out, err = command(f"labels {labels} --logs {labels}")
    assert code == 2 and out == "" and len(err.splitlines()) == 1
