"""Run files of earlier versions as ones of today's: `python -m ohio_bench.runner.migration FOLDER`, for files of one's own.

The only place that knows earlier words. A field that did not exist when a file was made gets the value that the code had then,
which need not be today's default.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from ohio_bench.runner import commands
from ohio_bench.runner.store import LARGEST, VERSION, slug
from ohio_jax import reading
from ohio_jax.errors import UserError, brief, one_line
from ohio_jax.files import write_json

CONFIG = {  # of an experiment's cell, and of its data's card
    "behaviour": "behavior_policy",
    "space": "interface",
    "made": "data_settings",
    "carried": "zero_shot",
}
PLAN = {"normalise": "normalize"}
ONLINE = {"each": "updates_per_step", "warm_up": "learning_starts", "capacity": "buffer_size", "restart": "reset_every"}
LEARNER = {
    "actor_rate": "actor_lr",
    "critic_rate": "critic_lr",
    "temperature_rate": "temperature_lr",
    "decay": "actor_lr_decay_steps",
    "conservatism": "cql_alpha",
    "samples": "n_actions",
    "draws": "n_sampled_terms",
    "cloning": "bc_warmup",
    "largest_weight": "exp_adv_max",
    "inverse_temperature": "beta",
    "largest_gradient": "max_grad_norm",
    "value_weight": "alpha",
    "target_noise": "policy_noise",
    "largest_noise": "noise_clip",
    "exploration": "exploration_noise",
    "delay": "policy_freq",
}
METRICS = {"asked_too_much": "infeasible_requests"}
FAMILIES = {
    "Logged goals": "Logged high-level actions",
    "OHIO least squares, equal ranges": "OHIO least squares, same action range",
    "OHIO gradient, equal ranges": "OHIO gradient, same action range",
    "OHIO least squares, unexplained dropped": "OHIO least squares, exact segments only",
}
PLAN_BEFORE = {"normalize": False, "first_seed": 0}
BEFORE = {
    "cql": {"bc_warmup": 0.0, "importance": True},
    "cal_ql": {"bc_warmup": 0.0, "importance": True},
    "iql": {"value_update": "new", "bc_warmup": 0, "max_grad_norm": 0.0},
    "bc": {"periodic_lr": False},
}


def migrated(cell: dict[str, Any]) -> dict[str, Any]:
    """A run file of any version up to `VERSION` as one of `VERSION`."""
    if cell.get("version", 0) == VERSION:
        return cell
    config = _config(cell["config"])
    found = {**cell, "version": VERSION, "config": config}
    if isinstance(cell.get("data"), dict):  # of all seeds, before each run had a data set of its own
        found["data"] = [_renamed(cell["data"], CONFIG)]
    if "column" in cell:
        found["column"] = column(cell["column"])
    for field in ("metrics", "curve"):
        if field in cell:
            found[field] = _renamed(cell[field], METRICS)
    if "author" not in cell:
        found["steps"] = commands.steps(config)
    if "tests" in cell:
        found["tests"] = {name: _renamed(of, METRICS) for name, of in cell["tests"].items()}
    return found


def column(name: str) -> str:
    """A method's name: its family, then its learner."""
    family, _, learner = name.rpartition(" ")
    return f"{FAMILIES[family]} {learner}" if family in FAMILIES else name


def file_name(name: str) -> str:
    """A run file's, after that of its method."""
    for old, new in FAMILIES.items():
        name = name.replace(f".{slug(old)}.", f".{slug(new)}.")
    return name


def _renamed(part: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in part.items()}


def _config(config: dict[str, Any]) -> dict[str, Any]:
    found = _renamed(config, CONFIG)
    for name, part in found.items():
        if isinstance(part, dict) and "learner" in part and isinstance(part.get("config"), dict):
            found[name] = _plan(part)
        elif isinstance(part, dict) and "plan" in part:
            found[name] = _renamed(part, ONLINE) | {"plan": _plan(part["plan"])}
    return found


def _plan(plan: dict[str, Any]) -> dict[str, Any]:
    config = _renamed(plan["config"], LEARNER)
    if "polyak" in config:
        # Kept in the order of the fields: what was the share kept is the share taken.
        config = {("tau" if k == "polyak" else k): (round(1.0 - v, 12) if k == "polyak" else v) for k, v in config.items()}
    config |= {name: value for name, value in BEFORE.get(plan["learner"], {}).items() if name not in config}
    plan = _renamed(plan, PLAN) | {"config": config}
    return plan | {name: value for name, value in PLAN_BEFORE.items() if name not in plan}


def main(folder: Path) -> None:
    """Writes every run file below a folder anew, under its method's name of today.

    Raises:
        UserError: where there is no such folder, and at the first file that is damaged, or whose new name is another file's;
            what came before is written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder of run files, found none")
    for path in sorted(folder.rglob("*.json")):
        cell = reading.parse_json(path, reading.content(path, LARGEST))
        if not isinstance(cell, dict) or "config" not in cell or cell.get("version", 0) == VERSION:
            continue
        new = path.with_name(file_name(path.name))
        try:
            found = migrated(cell)
            if "author" not in cell and cell.get("version", 0) < 2:  # later ones name their own cell
                experiment, _, preset = cell["command"].removeprefix("ohio-jax ").partition(" --preset ")
                *_, name = str(new.with_suffix("")).rpartition(f"/{preset}/")
                found["command"] = commands.of_cell(experiment, preset, name)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"{path}: expected a run file of an earlier version, found damage ({brief(error)})") from error
        if new != path and new.exists() and reading.parse_json(new, reading.content(new, LARGEST)) != found:
            raise UserError(f"{path}: expected no other file at its new name, found {new}")
        write_json(new, found)
        if new != path:
            path.unlink()


def command(words: list[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ohio_bench.runner.migration", description="Run files of earlier versions.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="whose run files are written anew as ones of today's")
    try:
        main(parser.parse_args(words).folder)
    except (UserError, OSError) as error:
        print(one_line(str(error)), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(command())
