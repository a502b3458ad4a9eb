"""`list` and `data`: what there is by name."""

from ohio_bench.cli.arguments import Add, path_argument, show
from ohio_jax.errors import UserError


def list_command(args) -> None:
    """tasks, policies, action interfaces, controllers, inverses, learners, experiments"""
    import gc

    gc.disable()  # importing makes many objects and no garbage; looking for it takes a tenth of this command's time
    from ohio_envs import registry
    from ohio_envs.plans import INTERFACES

    from ohio_bench.experiments import EXPERIMENTS
    from ohio_bench.speed.pages import PAGES
    from ohio_jax.controllers import CONTROLLERS
    from ohio_jax.inverse import INVERSES
    from ohio_jax.learners import LEARNERS

    found = {
        "tasks": sorted(registry.TASKS),
        "policies": registry.policies(),
        "interfaces": {family: list(names) for family, names in INTERFACES.items()},
        "controllers": sorted(CONTROLLERS),
        "inverses": sorted(INVERSES),
        "learners": sorted(LEARNERS),
        "experiments": {name: sorted(of.presets) for name, of in EXPERIMENTS.items()},
        "speed": sorted(PAGES),
    }
    lines = []
    for kind, names in found.items():
        if isinstance(names, dict):
            names = [f"{name} ({', '.join(of)})" for name, of in names.items()]
        lines.append(f"{kind:<12} {', '.join(names)}")
    show(args, found, "\n".join(lines))


def data_command(args) -> None:
    """the cities' demand: list, fetch, verify its files; or verify a data set"""
    from ohio_envs import files

    if args.path is not None:
        return verify_dataset(args)
    found = {"list": files.list_files, "fetch": files.fetch, "verify": files.verify}[args.action]()
    where = lambda file: str(file.path) if file.path else "not found"
    records = [{"name": file.name, "sha256": file.sha256, "path": file.path and str(file.path)} for file in found]
    show(args, {"files": records}, "\n".join(f"{file.name:<40} {where(file)}" for file in found))


def verify_dataset(args) -> None:
    """Reads and checks all of a data set of one's own."""
    from ohio_jax import data

    if args.action != "verify":
        raise UserError(f"PATH: expected with verify, found with {args.action}")
    dataset, chunks = data.verify(args.path)
    found = {"path": args.path, "kind": dataset.card["kind"], "sha256": dataset.digest, "rows": len(dataset.reward)}
    text = f"{args.path}: {found['kind']}, {found['rows']} rows, sound: SHA-256 {found['sha256']}"
    show(args, {**found, "chunks": chunks}, text)


def add_to(add: Add) -> None:
    add("list", list_command, cached=False)

    command = add("data", data_command, cached=False)
    command.add_argument("action", choices=("list", "fetch", "verify"), help="what to do with them")
    command.add_argument("path", nargs="?", type=path_argument, help="with verify: a data set, all of which is read and checked")
