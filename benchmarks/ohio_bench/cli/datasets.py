"""`collect`, `invert`, `labels` and `corrupt`: logs and transitions, as files or as folders."""

from pathlib import Path

from ohio_bench.cli import arguments
from ohio_bench.cli.arguments import Add, Number, path_argument, show
from ohio_jax.errors import UserError, counted, unknown


def collect_command(args) -> None:
    """log a scripted policy or a trained checkpoint into a data set"""
    from ohio_jax.collect import collect_to, trained_policy
    from ohio_jax.streams import SPAN, Data

    if args.seed > (most := Data(int(SPAN) - 1).seed):  # what learns from logs is chosen and tested by later streams
        raise UserError(f"--seed: expected an integer from 0 to {most}, the last of the data stream, found {args.seed}")
    out = arguments.output(args.out, ".npz", folder=True)
    task, policy = arguments.scripted_policy(args), args.policy
    if task is None:
        task, interface, plan, states = arguments.trained(args)
        seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
        seed = seeds[0] if args.training_seed is None else args.training_seed
        if seed not in seeds:
            raise UserError(f"--training-seed: expected one of the run's, {seeds[0]} to {seeds[-1]}, found {seed}")
        state = states.of_seed(seeds.index(seed))
        policy = trained_policy(task, interface, plan.learner, state, not args.sample_actions)
    trajectories = collect_to(out, task, policy, args.episodes, args.seed)
    card = {**trajectories.card, "file": str(out), "sha256": trajectories.digest}
    show(args, card, f"{out}: {counted(args.episodes, 'episode')}, mean return {card['return_mean']:.1f}")


def invert_command(args) -> None:
    """recover high-level actions: low-level trajectories to high-level transitions"""
    from ohio_bench.runner import relabeling
    from ohio_bench.runner.executors import executor
    from ohio_jax import data
    from ohio_jax.files import check_replaceable
    from ohio_jax.relabel import default_weights, relabel_to

    out = arguments.output(args.out, ".npz", args.data, folder=True)
    execute = executor(args.executor, args.cell_cpus, args.cell_gpus)
    logs = logs_of(args)
    trajectories = data.load(logs, "trajectories")
    task = arguments.task_of(args.data, trajectories.card, arguments.settings(args.set))
    weights = default_weights(args.inverse) if args.weights is None else args.weights
    made = {"source_sha256": trajectories.digest, "settings": task.settings, "interface": args.interface, "inverse": args.inverse}
    made |= {"kind": "transitions", "corruption": trajectories.card.get("corruption"), "weights": weights}
    check_replaceable(out, made)
    if args.executor != "local":
        relabeling.fill(execute, Path(logs), task, args.interface, args.inverse, out)
    transitions = relabel_to(out, trajectories, task, args.interface, args.inverse, weights)
    card = {**transitions.card, "file": str(out), "sha256": transitions.digest}
    text = f"{out}: {counted(card['transitions'], 'transition')}, largest residual {card['residual_max']:.3g}"
    show(args, card, ", ".join([text, *(f"{card[status]} {status}" for status in ("ambiguous", "unexplained", "failed"))]))


def labels_command(args) -> None:
    """errors of recovered high-level actions: in low-level actions, and in the states that they reach in the simulator"""
    from ohio_jax import data
    from ohio_jax.labels import label_errors

    logs, transitions = data.load(args.logs, "trajectories"), data.load(args.data, "transitions")
    home = arguments.task_of(args.logs, logs.card)
    task = arguments.task_of(args.data, transitions.card, arguments.settings(args.set))
    found = label_errors(task, transitions.card["interface"], logs, transitions, home, args.episodes)
    errors = ", ".join(f"{name} {value:.3g}" for name, value in found.items() if name != "segments")
    show(args, found, f"{args.data}: root mean square over {counted(int(found['segments']), 'segment')}: {errors}")


def logs_of(args) -> str | Path:
    """Where the logs lie that a command is given: as a path, or as the name of a data set, which is made if it is not there."""
    from ohio_envs import datasets, registry

    from ohio_bench.runner import source
    from ohio_jax.relabel import check_names

    if args.data in datasets.RECIPES and not Path(args.data).exists():
        of = datasets.recipe(args.data)
        task = registry.make(of.task, {**of.settings, **arguments.settings(args.set)})
        check_names(task, args.interface, args.inverse, args.weights)  # before minutes of work
        return datasets.make(args.data, args.data_seed or 0, "train", args.episodes, sources=source.of_data_set(args.data))
    for flag, given in (("--data-seed", args.data_seed), ("--episodes", args.episodes)):
        if given is not None:
            raise UserError(f"{flag}: expected with the name of a data set, found with {args.data}")
    return args.data


def corrupt_command(args) -> None:
    """spoil a part of a data set, to see what learners lose to it"""
    from ohio_envs import registry

    from ohio_jax import data
    from ohio_jax.data.corruption import FIELDS, Adversary, corrupt, record
    from ohio_jax.files import check_replaceable
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.checkpoint import load_policy

    if args.kind not in FIELDS:
        raise unknown("corruption", args.kind, FIELDS)
    out, adversary = arguments.output(args.out, ".npz", args.data, folder=True), None
    if args.adversary:
        _, _, plan, states = load_policy(args.adversary, registry.make)
        adversary = Adversary(LEARNERS[plan.learner], states.of_seed(0))
    dataset, asked = data.load(args.data, FIELDS[args.kind][0]), (args.kind, args.rate, args.scale, args.seed, adversary)
    made = {"kind": FIELDS[args.kind][0], "task": dataset.card["task"], "corruption": record(dataset, *asked)}
    check_replaceable(out, made)
    spoiled = corrupt(dataset, *asked)
    card = {**spoiled.card, "file": str(out), "sha256": data.save(out, spoiled)}
    show(args, card, f"{out}: {args.kind} of {round(args.rate * len(spoiled.reward))} of {len(spoiled.reward)} rows spoiled")


def add_to(add: Add) -> None:
    command = add("collect", collect_command)
    arguments.add_who(command)
    command.add_argument("--training-seed", type=Number("seed"), help="which of the checkpoint's, the first by default")
    command.add_argument("--episodes", type=Number("episodes"), default=510, help="how many")
    command.add_argument("--seed", type=Number("seed"), default=0, help="of instances and of the policy's own randomness")
    command.add_argument(
        "--out", type=path_argument, required=True, metavar="F", help="logs: .npz, or a folder, which may exceed memory"
    )
    arguments.add_set(command)

    command = add("invert", invert_command)
    command.add_argument("data", type=path_argument, metavar="F", help="logs, as collect writes them, or the name of a data set")
    command.add_argument("--data-seed", type=Number("data_seed"), help="of a named data set, 0 by default")
    command.add_argument("--episodes", type=Number("episodes"), help="of a named data set, only the first so many")
    command.add_argument("--inverse", default="analytic", help="a name that `ohio-jax list` shows")
    command.add_argument("--interface", default="ohio", help="action interface: ohio, ohio_compat, end_to_end, ...")
    command.add_argument("--weights", help="trust in a transition: keep, drop, original, posterior; default: the inverse's own")
    arguments.add_set(command)
    command.add_argument(
        "--out", type=path_argument, required=True, metavar="G", help="transitions: .npz, or a folder, which may exceed memory"
    )
    arguments.add_executor(command, "part")
    arguments.add_processes(command)

    command = add("labels", labels_command)
    command.add_argument("data", type=path_argument, metavar="G", help="transitions, as invert writes them")
    command.add_argument("--logs", type=path_argument, required=True, metavar="F", help="the logs that they were made of")
    command.add_argument(
        "--episodes", type=Number("episodes"), default=4, help="of the logs, the first so many, which are replayed"
    )
    arguments.add_set(command)

    command = add("corrupt", corrupt_command)
    command.add_argument("data", type=path_argument, metavar="F", help="logs or transitions")
    command.add_argument("--kind", required=True, help="action (of logs), observation, next_observation, reward or label")
    command.add_argument("--rate", type=Number("rate"), default=0.3, help="share of the rows")
    command.add_argument("--scale", type=Number("scale"), default=1.0, help="largest noise, in deviations of what is spoiled")
    command.add_argument("--adversary", type=path_argument, metavar="DIR", help="a trained run whose critics choose the noise")
    command.add_argument("--seed", type=Number("seed"), default=0, help="of the noise")
    command.add_argument("--out", type=path_argument, required=True, metavar="G", help="the corrupted data set")
