"""What a run file may hold: its form, which `run.schema.json` says, and what a schema cannot say.

That is: numbers are finite, lists of numbers are of one length, returns are those of every seed of the plan on every test
episode, each run learned from a data set of its own, references differ, and texts are of one line. Whoever reads or writes a run
file goes through here.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib import resources
from typing import Any

from ohio_jax.errors import UserError, short

VERSION = 5  # of what a run file is. Whoever adds or renames a field raises it, and says in `migration` what older files mean
DEEPEST = 16  # levels of nesting
HIGHEST = 3.5e38  # float32's, in which everything is measured
LONGEST = 100_000  # numbers of a list, or lists of a table
FURTHEST = 1e9  # a score, which is 100 where the references are apart
UNPRINTED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")  # bidi marks among them


def check(cell: Any, kind: str) -> None:
    """Raises UserError, naming field, expected and found, unless this is a run file.

    Args:
        kind: name in the schema's `$defs`.
    """
    check_values(cell)
    if isinstance(cell, dict) and kind != "speed" and type(cell.get("version", 0)) is int:
        check_version(cell)
    some = _thinned(cell)
    error = min(_validator(kind).iter_errors(some), key=lambda error: len(error.absolute_path), default=None)
    if error is not None:
        raise UserError(_explained(error, kind, some))
    _check_time(cell["provenance"]["time"])
    if kind != "speed":
        for name in ("diverged", "untrained"):
            if name in cell and "returns" in cell:
                raise UserError(f"field {name}: expected in place of returns, found beside them")
        tests = cell["tests"] if kind == "finetune" else {}
        _check_lists(cell, tests)
        if "data_set" in cell["config"] and not (kind == "trial" and "diverged" in cell):
            _check_cards(cell)
        _check_scores(cell, tests)


def check_version(cell: dict[str, Any]) -> None:
    """Raises UserError for a run file of another version, with what to do about it."""
    found = cell.get("version", 0)
    if found > VERSION:
        raise UserError(f"field version: expected {VERSION}, found {short(found)}; it is of a later ohio-jax")
    if found < VERSION:
        how = f"python -m ohio_bench.runner.migration FOLDER writes a folder's run files as ones of {VERSION}"
        raise UserError(f"field version: expected {VERSION}, found {short(found)}, of the schema before; {how}")


def check_values(value: Any, path: tuple[Any, ...] = ()) -> None:
    """Raises UserError for NaN, infinity, numbers that are too large, long lists, texts of more than a line, and deep nesting."""
    if len(path) > DEEPEST:
        raise UserError(f"field {where(path[:3])}: expected at most {DEEPEST} levels of nesting, found more")
    if isinstance(value, dict):
        for name, of in value.items():
            check_values(name, path)
            check_values(of, (*path, name))
    elif isinstance(value, list):
        if len(value) > LONGEST:
            raise UserError(f"field {where(path)}: expected at most {LONGEST} entries, found {len(value)}")
        if not _numbers(value) or not all(-HIGHEST <= number <= HIGHEST for number in value):
            for i, of in enumerate(value):
                check_values(of, (*path, i))
    elif isinstance(value, str):
        if UNPRINTED.search(value):
            raise UserError(f"field {where(path)}: expected text of one line without control characters, found {short(value)}")
    elif isinstance(value, (int, float)) and not abs(value) <= HIGHEST:
        found = "NaN" if value != value else "a number too large"
        raise UserError(f"field {where(path)}: expected a finite number, found {found}")


def check_name(what: str, text: Any) -> None:
    """Raises UserError for what no run file may call its row or column."""
    form = _definitions()["name"]
    sound = isinstance(text, str) and len(text) <= form["maxLength"] and re.match(form["pattern"], text)
    if not sound or UNPRINTED.search(text):
        raise UserError(f"{what}: expected {form['description']}, found {short(text)}")


def named(cell: dict[str, Any], *fields: str) -> dict[str, Any]:
    """What these fields hold by name, as in `metrics.success`; nothing of one that is not there."""
    return {f"{field}.{name}": values for field in fields for name, values in cell.get(field, {}).items()}


def where(path: tuple[Any, ...]) -> str:
    """A field as a message names it."""
    plain = lambda part: isinstance(part, str) and re.fullmatch(r"[\w-]{1,60}", part, re.ASCII)
    parts = (f".{part}" if plain(part) else f"[{part if isinstance(part, int) else short(part)}]" for part in path)
    return "".join(parts).lstrip(".") or "of the file"


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= {int, float}


class _Some(list):
    """Some entries of a list; rows: which."""

    def __init__(self, whole: list[Any], rows: Iterable[int]):
        self.rows = sorted(set(rows))
        super().__init__(_thinned(whole[row]) for row in self.rows)


def _thinned(value: Any) -> Any:
    """The value without most of long lists of numbers, which a schema would take seconds to read.

    The first of them are left, and what a schema may refuse: the least and the largest number, and the shortest of such lists.
    """
    if isinstance(value, dict):
        return {name: _thinned(of) for name, of in value.items()}
    if not isinstance(value, list):
        return value
    rows = range(len(value))
    if len(value) > 4 and _numbers(value):
        rows = (*range(4), value.index(min(value)), value.index(max(value)))
    elif len(value) > 1 and all(map(_numbers, value)):
        rows = (0, min(rows, key=lambda row: len(value[row])))
    return _Some(value, rows)


@functools.cache
def _definitions() -> dict[str, Any]:
    return json.loads(resources.files("ohio_bench.runner").joinpath("run.schema.json").read_text(encoding="utf-8"))["$defs"]


@functools.cache
def _validator(kind: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": _definitions()})


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """A node of the schema, then those it refers to."""
    if isinstance(node, dict):
        yield node
        for name in ("then", "else"):
            yield from _nodes(node.get(name))
        if "$ref" in node:
            yield from _nodes(_definitions()[node["$ref"].rpartition("/")[2]])


def _path(error: Any, some: Any) -> Iterator[Any]:
    """Where in the whole run file what is wrong lies; some: the part of it that was looked at."""
    for key in error.absolute_path:
        yield some.rows[key] if isinstance(some, _Some) else key
        some = some[key]


def _explained(error: Any, kind: str, some: Any) -> str:
    """One line: the field, what the schema says it is, and what was found."""
    path = tuple(_path(error, some))
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"field {where((*path, missing))}: expected, found none"
    if error.validator == "additionalProperties":
        more = next(name for name in error.instance if name not in error.schema["properties"])
        return f"field {where((*path, more))}: expected one of {', '.join(error.schema['properties'])}"
    nodes = list(_nodes({"$ref": f"#/$defs/{kind}"}))
    for key in path:
        of = lambda node, key=key: node.get("properties", {}).get(key, node.get("additionalProperties"))
        nodes = [more for node in nodes for more in _nodes(node.get("items") if isinstance(key, int) else of(node))]
    said = next(node["description"] for node in nodes if "description" in node)
    form = error.schema.get("description", said)
    form = f" ({form})" if form != said else ""
    return f"field {where(path)}: expected {said}{form}, found {short(error.instance)}"


def _check_time(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise UserError(f"field provenance.time: expected a day and an hour that exist, found {text!r}") from None


def _check_lists(cell: dict[str, Any], tests: dict[str, Any]) -> None:
    """Raises UserError unless lists of numbers are as long as the plan's seeds and the test episodes say."""
    config = cell["config"]
    played = ({"returns": cell["returns"]} if "returns" in cell else {}) | named(cell, "metrics")
    for when in tests:
        played |= {f"tests.{name}": values for name, values in named(tests, when).items()}
    for name, values in {**played, **named(cell, "curve")}.items():
        if len({len(line) for line in values}) > 1:
            raise UserError(f"field {name}: expected lists of one length, found {len(min(values, key=len))} and more numbers")
    plan = _plan(config)
    for name, values in played.items():
        seeds = plan.get("seeds", len(values))
        episodes = config.get("test_episodes", config.get("selection_episodes", len(values[0])))
        if (len(values), len(values[0])) != (seeds, episodes):
            expected = f"{seeds} lists, a training seed each, of {episodes} numbers, a test episode each"
            raise UserError(f"field {name}: expected {expected}, found {len(values)} of {len(values[0])}")
    cards, runs = cell.get("data", []), _runs(cell)
    if "data_set" not in config and len(cards) not in (0, 1, runs):  # before these had names, all runs learned from one
        raise UserError(f"field data: expected a card for each of {runs} runs, or one for all, found {len(cards)}")
    if tests:
        if len({(len(values), len(values[0])) for values in cell["curve"].values()}) > 1:
            raise UserError("field curve: expected as many rounds and seeds in all curves, found more in one than in another")
        if (found := len(cell["curve"]["return"][0])) != plan.get("seeds", found):
            raise UserError(f"field curve: expected numbers of {plan['seeds']} runs, found {found}")
        if not any(min(line) > 0 for line in cell["curve"]["episodes"]):
            raise UserError("field curve.episodes: expected a round in which every seed ends an episode, found none")


def _plan(config: dict[str, Any]) -> dict[str, Any]:
    """By which a cell's policies were trained first."""
    plan = config.get("plan", config.get("offline", {"seeds": 1} if "policy" in config else {}))
    return plan if isinstance(plan, dict) else {}


def _runs(cell: dict[str, Any]) -> int:
    return _plan(cell["config"]).get("seeds", len(cell.get("returns", [])))


def _check_cards(cell: dict[str, Any]) -> None:
    """Raises UserError unless each run learned from a data set of its own, the one that the configuration names, by its means.

    Likewise for a cell that is called untrained with enough transitions.
    """
    config, cards, runs = cell["config"], cell.get("data", []), _runs(cell)
    first_seed = _plan(config).get("first_seed", 0)
    if len(cards) != runs:
        raise UserError(f"field data: expected a card for each of {runs} runs, found {len(cards)}")
    wanted = {name: config[name] for name in ("task", "data_set", "interface", "inverse", "weights") if name in config}
    wanted |= {"episodes": config["data_episodes"]} if "data_episodes" in config else {}
    for run, card in enumerate(cards):
        for name, expected in {**wanted, "data_seed": first_seed + run}.items():
            if name not in card:
                raise UserError(f"field data[{run}].{name}: expected {short(expected)}, found none")
            if card[name] != expected:
                raise UserError(f"field data[{run}].{name}: expected {short(expected)}, found {short(card[name])}")
    if "untrained" not in cell:
        return
    from ohio_jax.relabel import FEWEST  # which compiles nothing, and yet takes seconds to import

    if (left := min(card.get("trained_on", card.get("transitions", FEWEST)) for card in cards)) >= FEWEST:
        raise UserError(f"field untrained: expected with fewer than {FEWEST} transitions in a run, found {left}")


def _check_scores(cell: dict[str, Any], tests: dict[str, Any]) -> None:
    """Raises UserError for references that are equal, and for returns that nothing earns."""
    if "reference" not in cell:
        return
    zero, full = cell["reference"]["zero"], cell["reference"]["full"]
    if zero == full:
        raise UserError(f"field reference.full: expected another number than reference.zero, found {zero} for both")
    played = {f"tests.{when}.returns": test["returns"] for when, test in tests.items()} | {"returns": cell.get("returns", [])}
    for name, values in {**played, **({"curve.return": cell["curve"]["return"]} if tests else {})}.items():
        for value in itertools.chain.from_iterable(values):
            if abs(value - zero) > FURTHEST / 100 * abs(full - zero):
                raise UserError(f"field {name}: expected scores within {FURTHEST:g}, found a return of {value:g}")
