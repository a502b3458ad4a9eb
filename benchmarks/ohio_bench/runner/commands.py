"""The command lines that make a cell again: what its run file and its page say."""

import shlex
from typing import Any


def of_cell(experiment: str, preset: str, name: str) -> str:
    """The line that fills a cell again, stored or not; experiment: its command without the program."""
    return shlex.join(["ohio-jax", *shlex.split(experiment), "--preset", preset, "--only", name, "--force"])


def steps(config: dict[str, Any]) -> list[str]:
    """The same step by step, from logs to a score, for a cell of a table: a learner's, or a scripted policy's; else none."""
    if "task" not in config or "test_episodes" not in config or not {"test_stream", "test_seed"} & set(config):
        return []
    seed = ["--seed", config["test_seed"]] if "test_seed" in config else ["--stream", config["test_stream"]]
    test = ["--episodes", config["test_episodes"], *seed]
    if "policy" in config:
        given = ["evaluate", config["task"], "--policy", config["policy"], *test, *_set(config["settings"])]
        return [] if "plan" in config else [_line(given)]
    if not {"interface", "inverse", "plan"} <= set(config):
        return []
    of_runs = _of_runs if "data_set" in config else _of_one_data_set if "behavior_policy" in config else None
    return of_runs(config, test) if of_runs else []


def _of_runs(config: dict[str, Any], test: list[Any]) -> list[str]:
    """Run by run, each with a data set and a training seed of its own."""
    plan, lines = config["plan"], []
    some = ["--episodes", config["data_episodes"]] if "data_episodes" in config else []
    changed = _set(config["settings"]) if "zero_shot" in config else []
    seeds = range(plan["first_seed"], plan["first_seed"] + plan["seeds"])
    lines = [_line(["data", "make", config["data_set"], *(x for seed in seeds for x in ("--data-seed", seed)), *some])]
    for seed in seeds:
        transitions, run, once = f"transitions-{seed}.npz", f"run-{seed}", {**plan, "seeds": 1, "first_seed": seed}
        invert = ["invert", config["data_set"], "--data-seed", seed, *some, *_inverse(config)]
        lines += [
            _line([*invert, *([] if config.get("zero_shot") else changed), "--out", transitions]),
            _line(["train", transitions, *_plan(once), "--out", run]),
            _line(["evaluate", "--checkpoint", run, *test, *_acting(config), *(changed if config.get("zero_shot") else [])]),
        ]
    return lines


def _of_one_data_set(config: dict[str, Any], test: list[Any]) -> list[str]:
    """Of cells whose training seeds all learned from the logs of one seed, before data sets had names."""
    home = config.get("data_settings", config["settings"])  # of the task that was logged
    learned = home if config.get("zero_shot") else config["settings"]
    changed = lambda settings, before: [] if settings == before else _set(settings)
    logs = ["--episodes", config["data_episodes"], "--seed", config["data_seed"], *_set(home)]
    return [
        _line(["collect", config["task"], "--policy", config["behavior_policy"], *logs, "--out", "logs.npz"]),
        _line(["invert", "logs.npz", *_inverse(config), *changed(learned, home), "--out", "transitions.npz"]),
        _line(["train", "transitions.npz", *_plan(config["plan"]), "--out", "run"]),
        _line(["evaluate", "--checkpoint", "run", *test, *changed(config["settings"], learned)]),
    ]


def _inverse(config: dict[str, Any]) -> list[Any]:
    weights = ["--weights", config["weights"]] if "weights" in config else []
    return ["--interface", config["interface"], "--inverse", config["inverse"], *weights]


def _acting(config: dict[str, Any]) -> list[str]:
    return ["--sample-actions"] if config.get("acting") == "sample" else []


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
