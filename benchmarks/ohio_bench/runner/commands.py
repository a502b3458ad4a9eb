"""The command lines that make a cell again: what its run file and its page say."""

import shlex
from typing import Any


def of_cell(experiment: str, preset: str, name: str) -> str:
    """The line that fills a cell again, stored or not; experiment: its command without the program."""
    return shlex.join(["ohio-jax", *shlex.split(experiment), "--preset", preset, "--only", name, "--force"])


def steps(config: dict[str, Any]) -> list[str]:
    """The same step by step, from logs to a score, for a cell of a table: a learner's, or a scripted policy's; else none."""
    if "test_seed" not in config or "task" not in config:
        return []
    test = ["--episodes", config["test_episodes"], "--seed", config["test_seed"]]
    if "policy" in config:
        given = ["evaluate", config["task"], "--policy", config["policy"], *test, *_set(config["settings"])]
        return [] if "plan" in config else [_line(given)]
    if not {"interface", "inverse", "behavior_policy"} <= set(config) or "plan" not in config:
        return []
    home = config.get("data_settings", config["settings"])  # of the task that was logged
    learned = home if config.get("zero_shot") else config["settings"]
    changed = lambda settings, before: [] if settings == before else _set(settings)
    logs = ["--episodes", config["data_episodes"], "--seed", config["data_seed"], *_set(home)]
    weights = ["--weights", config["weights"]] if "weights" in config else []
    invert = ["--interface", config["interface"], "--inverse", config["inverse"], *weights, *changed(learned, home)]
    acting = ["--sample-actions"] if config.get("acting") == "sample" else []
    return [
        _line(["collect", config["task"], "--policy", config["behavior_policy"], *logs, "--out", "logs.npz"]),
        _line(["invert", "logs.npz", *invert, "--out", "transitions.npz"]),
        _line(["train", "transitions.npz", *_plan(config["plan"]), "--out", "run"]),
        _line(["evaluate", "--checkpoint", "run", *test, *changed(config["settings"], learned), *acting]),
    ]


def _line(words: list[Any]) -> str:
    return shlex.join(["ohio-jax", *map(str, words)])


def _set(settings: dict[str, Any]) -> list[str]:
    return ["--set", ",".join(f"{name}={value}" for name, value in settings.items())] if settings else []


def _plan(plan: dict[str, Any]) -> list[Any]:
    value = lambda x: str(x).lower() if isinstance(x, bool) else x
    config = ",".join(f"{name}={value(x)}" for name, x in plan["config"].items())
    words = ["--learner", plan.get("learner_from", plan["learner"])]
    for name in ("seeds", "first_seed", "updates", "batch", "hidden", "sampling"):
        words += [f"--{name.replace('_', '-')}", plan[name]]
    ahead = ["--ahead", plan["ahead"]] if "ahead" in plan else []
    return [*words, *ahead, *([] if plan["normalize"] else ["--no-normalize"]), "--config", config]
