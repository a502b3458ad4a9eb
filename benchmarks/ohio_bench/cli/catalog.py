"""`list` and `data`: what there is by name."""

from ohio_bench.cli.arguments import Add, show


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
    """the cities' demand: list, fetch, verify its files"""
    from ohio_envs import files

    found = {"list": files.list_files, "fetch": files.fetch, "verify": files.verify}[args.action]()
    where = lambda file: str(file.path) if file.path else "not found"
    records = [{"name": file.name, "sha256": file.sha256, "path": file.path and str(file.path)} for file in found]
    show(args, {"files": records}, "\n".join(f"{file.name:<40} {where(file)}" for file in found))


def add_to(add: Add) -> None:
    add("list", list_command, cached=False)

    command = add("data", data_command, cached=False)
    command.add_argument("action", choices=("list", "fetch", "verify"), help="what to do with them")
