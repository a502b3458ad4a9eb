"""`data`: data sets by name, and the cities' files."""

from pathlib import Path
from typing import Any

from ohio_bench.cli.arguments import Add, Number, path_argument, show
from ohio_jax import limits
from ohio_jax.errors import UserError, counted, short

ACTIONS = ("list", "make", "fetch", "verify")


def data_command(args) -> None:
    """data sets by name: list, make, verify; a data set of one's own: verify; the cities' files: fetch"""
    if args.action != "make":
        for name in ("data_seed", "episodes", "again"):
            if getattr(args, name) not in (None, False):
                raise UserError(f"--{name.replace('_', '-')}: expected with make, found with {args.action}")
    if args.name is not None and args.action in ("list", "fetch"):
        raise UserError(f"NAME: expected with make or verify, found with {args.action}")
    {"list": listed, "make": make, "fetch": fetched, "verify": verify}[args.action](args)


def listed(args) -> None:
    """Every data set by name, with what is known of those in the cache, and every city file."""
    from ohio_envs import datasets, files

    found = [_described(name) for name in datasets.RECIPES]
    lines = [f"{'name':<26}{'task':<20}{'behavior':<16}{'episodes':>9}{'validation':>11}  cached: data seeds"]
    for of in found:
        seeds = ", ".join(str(each["data_seed"]) for each in of["cached"]) or "none"
        size = f"{of['episodes']:>9}{of['validation_episodes']:>11}"
        lines.append(f"{of['name']:<26}{of['task']:<20}{of['behavior_policy']:<16}{size}  {seeds}")
        lines += [f"  {_line(each, of['reference'])}" for each in of["cached"]]
    cities = files.list_files()
    lines += [f"{file.name:<40} {file.path or 'not found'}" for file in cities]
    show(args, {"folder": str(datasets.folder()), "data_sets": found, "files": _files(cities)}, "\n".join(lines))


def make(args) -> None:
    """Makes those data sets of a name that are not in the cache yet, or were made by other code."""
    from ohio_envs import datasets

    from ohio_bench.runner import source

    if args.name is None:
        raise UserError(f"NAME: expected one of {', '.join(datasets.RECIPES)}, found none")
    sources = source.of_data_set(args.name)
    seeds, made = args.data_seed or [0], []
    for seed in seeds:
        path = datasets.make(args.name, seed, "train", args.episodes, args.again, sources)
        if args.episodes is None:
            datasets.make(args.name, seed, "validation", again=args.again, sources=sources)
        made.append({"data_seed": seed, "path": str(path if args.episodes else path.parent)})
    found = {"name": args.name, "made": made}
    if args.episodes is None:
        whole = _described(args.name)
        found = {**whole, **found, "cached": [of for of in whole["cached"] if of["data_seed"] in seeds]}
        lines = [_line(of, whole["reference"]) for of in found["cached"]]
    else:
        lines = [of["path"] for of in made]
    show(args, found, "\n".join(f"{args.name}: {line}" for line in lines))


def fetched(args) -> None:
    """Downloads the cities' files."""
    from ohio_envs import files

    found = files.fetch()
    show(args, {"files": _files(found)}, "\n".join(f"{file.name:<40} {file.path or 'not found'}" for file in found))


def verify(args) -> None:
    """Reads and checks all of a data set, given by path or name; without either, of all in the cache, and the cities' files."""
    from ohio_envs import datasets, files

    from ohio_jax import data

    if args.name is not None and args.name not in datasets.RECIPES:
        dataset, chunks = data.verify(args.name)
        found = {"path": args.name, "kind": dataset.card["kind"], "sha256": dataset.digest, "rows": len(dataset.reward)}
        text = f"{args.name}: {found['kind']}, {counted(found['rows'], 'row')}, sound: SHA-256 {found['sha256']}"
        return show(args, {**found, "chunks": chunks}, text)
    cities = [] if args.name else files.verify()
    places = [datasets.folder() / name for name in ([args.name] if args.name else datasets.RECIPES)]
    checked = [_verified(place.name, seed) for place in places if place.exists() for seed in _seeds(place)]
    against = lambda of: f"{' and '.join(of['shipped'])} as shipped" if of["shipped"] else "no digest shipped"
    said = lambda of: f"{counted(of['chunks'], 'chunk')}, sound; {against(of)} for this platform"
    lines = [f"{of['name']}, data seed {of['data_seed']}: {said(of)}" for of in checked]
    lines += [f"{file.name:<40} {file.path or 'not found'}" for file in cities]
    show(args, {"data_sets": checked, "files": _files(cities)}, "\n".join(lines) or f"no data sets in {datasets.folder()}")


def _seeds(place: Path) -> list[int]:
    """The data seeds of a data set in the cache. Raises UserError for what else lies there."""
    seeds, bounds = [], limits.BUDGETS["data_seed"]
    for path in _within(place):
        seeds.append(int(path.name) if path.name.isdecimal() else -1)
        if str(seeds[-1]) != path.name or not limits.within(seeds[-1], bounds):
            raise UserError(f"{place}: expected data seeds, each {limits.expected(bounds)}, found {short(path.name)}")
    return sorted(seed for seed in seeds if _within(place / str(seed)))


def _verified(name: str, seed: int) -> dict[str, Any]:
    """What is found of a data set all of whose parts are read. Raises UserError for damage, and for parts of another."""
    from ohio_envs import datasets

    from ohio_jax import data

    recipe, chunks = datasets.recipe(name), 0
    for path in _within(datasets.folder() / name / str(seed)):
        split, _, episodes = path.name.partition("-")  # the first so many, where one was made smaller
        if split not in datasets.SPLITS or not (path.name == split or episodes.isdecimal()):
            raise UserError(f"{path.parent}: expected {' and '.join(datasets.SPLITS)}, found {short(path.name)}")
        _within(path)  # a folder, where a file may be a data set as well
        dataset, read = data.verify(path)
        found = {"first_episode": 0, **dataset.card}
        found["settings"] = {key: value for key, value in found.get("settings", {}).items() if key in recipe.settings}
        part = recipe.part(split, seed, int(episodes) if episodes else None)
        made_by = {"task": recipe.task, "behavior_policy": recipe.behavior_policy, "settings": recipe.settings}
        for field, expected in {"kind": "trajectories", "data_set": name, "data_seed": seed, **part, **made_by}.items():
            if found.get(field) != expected:
                raise UserError(f"{path}: field card.{field}: expected {short(expected)}, found {short(found.get(field))}")
        chunks += read
    shipped = [split for split in datasets.SPLITS if datasets.check(name, seed, split)]
    return {"name": name, "data_seed": seed, "chunks": chunks, "shipped": shipped}


def _within(folder: Path) -> list[Path]:
    """What lies in a folder of the cache, but for what is hidden since it is being made. Raises UserError for a file."""
    if not folder.is_dir():
        raise UserError(f"{folder}: expected a folder, found a file")
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _described(name: str) -> dict[str, Any]:
    """A data set by name, and those of it in the cache."""
    from ohio_envs import datasets

    of, seeds = datasets.recipe(name), list(datasets.cached(name))
    head = {field: getattr(of, field) for field in ("task", "settings", "behavior_policy", "episodes", "validation_episodes")}
    # Only for what is there: a task may take seconds to make, or need a file.
    reference = datasets.task_of(name).reference if seeds else None
    known = {"zero": reference.zero, "full": reference.full, "how": reference.how} if reference else None
    return {"name": name, **head, "cached": [_cached(name, seed, reference) for seed in seeds], "reference": known}


def _cached(name: str, seed: int, reference: Any) -> dict[str, Any]:
    from ohio_envs import datasets

    from ohio_jax.data import load, quality

    logs = load(datasets.path_of(name, seed, "train"), "trajectories")
    card, head = logs.card, {"data_seed": seed, "bytes": datasets.size(name, seed), "steps": len(logs.reward)}
    share = quality(card["return_mean"], reference.zero, reference.full)  # by today's references
    numbers = {field: card[field] for field in ("return_mean", "return_std", "coverage")}
    return {**head, **numbers, "quality": share, "score": 100.0 * share, "sha256": datasets.digest(name, seed)}


def _line(of: dict[str, Any], reference: dict[str, Any]) -> str:
    size = f"{of['steps']:,} steps, {of['bytes'] / 2**20:.0f} MiB"
    returns = f"return {of['return_mean']:,.1f} ± {of['return_std']:,.1f}, score {of['score']:.1f}"
    scale = f"J_0 {reference['zero']:,.1f}, J_ref {reference['full']:,.1f}"
    return f"data seed {of['data_seed']}: {size}; {returns} ({scale}); quality {of['quality']:.3f}, coverage {of['coverage']:.3f}"


def _files(found: list[Any]) -> list[dict[str, Any]]:
    return [{"name": file.name, "sha256": file.sha256, "path": file.path and str(file.path)} for file in found]


def add_to(add: Add) -> None:
    command = add("data", data_command)
    command.add_argument("action", choices=ACTIONS, help="what to do")
    command.add_argument(
        "name", nargs="?", type=path_argument, metavar="NAME", help="a data set's; with verify also the path of one of your own"
    )
    words = "with make: which of this name, 0 by default; may be given several times"
    command.add_argument("--data-seed", action="append", type=Number("data_seed"), help=words)
    command.add_argument("--episodes", type=Number("episodes"), help="with make: only the first so many to train on")
    command.add_argument("--again", action="store_true", help="with make: also what is there")
