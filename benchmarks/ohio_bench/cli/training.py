"""`train`, `online` and `pathwise`: the ways to a policy."""

from pathlib import Path

from ohio_bench.cli import arguments
from ohio_bench.cli.arguments import Add, natural, positive, show
from ohio_jax.errors import UserError, unknown


def train_command(args) -> None:
    """train a learner on transitions"""
    from dataclasses import replace

    from ohio_envs import plans

    from ohio_jax import data
    from ohio_jax.training.offline import train

    transitions = data.load(args.data, "transitions")
    task = arguments.task_of(args.data, transitions.card)
    space = transitions.card["space"]
    plan = plans.plan(task.name, args.learner, space, args.preset)
    plan = replace(plan, config=arguments.config_of(plan.config, args.config))
    changes = {"seeds": args.seeds, "updates": args.updates, "sampling": args.sampling, "normalise": args.normalise}
    plan = replace(plan, **{key: value for key, value in changes.items() if value is not None})
    trained = train(plan, task, space, transitions, Path(args.out))
    last = {name: value[-1].tolist() for name, value in trained.curve.items()}
    found = {"out": args.out, "updates": plan.updates, "seeds": plan.seeds, "seconds": trained.seconds, "metrics": last}
    show(args, found, f"{args.out}: {plan.updates} updates of {plan.seeds} seeds of {args.learner}")


def online_command(args) -> None:
    """train a learner in the task itself, on what it does there"""
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.online import OnlinePlan, online
    from ohio_jax.training.plan import Plan

    task = arguments.task_with_space(args)
    if args.learner not in LEARNERS:
        raise unknown("learner", args.learner, LEARNERS)
    each, warm_up = args.updates_per_step, -(-args.warm_up // args.envs)
    steps = -(-args.decisions // args.envs) - warm_up
    if steps < 1:
        raise UserError(f"--decisions: expected more than the warm-up's {args.warm_up}, found {args.decisions}")
    config = arguments.config_of(LEARNERS[args.learner].Config(), args.config)
    plan = Plan(args.learner, config, args.hidden, steps * each, args.batch, min(100, steps) * each, args.seeds, normalise=False)
    plan = OnlinePlan(plan, args.envs, each, warm_up, args.capacity, args.restart)
    trained = online(plan, task, args.space, Path(args.out))
    last = {name: value[-1].tolist() for name, value in trained.curve.items()}
    found = {"out": args.out, "decisions": plan.decisions, "seeds": args.seeds, "seconds": trained.seconds, "metrics": last}
    show(args, found, f"{args.out}: {plan.decisions} decisions of {args.seeds} seeds of {args.learner}")


def pathwise_command(args) -> None:
    """train a policy by gradients through a task's simulator (HDPO)"""
    from ohio_jax.learners import bc
    from ohio_jax.training.hdpo import hdpo
    from ohio_jax.training.plan import Plan

    task = arguments.task_with_space(args)
    config = bc.Config(actor_rate=args.rate, decay=float(args.updates))
    plan = Plan("bc", config, args.hidden, args.updates, args.batch, min(50, args.updates), args.seeds, normalise=False)
    trained = hdpo(plan, task, args.space, Path(args.out))
    found = {"out": args.out, "updates": args.updates, "seeds": args.seeds, "seconds": trained.seconds}
    found["return"] = trained.curve["return"][-1].tolist()
    show(args, found, f"{args.out}: {args.updates} updates, mean return {trained.curve['return'][-1].mean():.1f} at the end")


def add_to(add: Add) -> None:
    command = add("train", train_command)
    command.add_argument("data", metavar="G.npz")
    command.add_argument("--learner", required=True)
    command.add_argument("--seeds", type=positive)
    command.add_argument("--updates", type=positive, help="gradient updates, instead of the preset's")
    command.add_argument("--sampling", help="uniform, return (RW), advantage (AW) or top (the best tenth)")
    command.add_argument("--no-normalise", dest="normalise", action="store_const", const=False, help="show features as they are")
    command.add_argument("--preset", default="quick", help="whose budget and hyperparameters are meant: quick, cpu or paper")
    arguments.add_config(command)
    command.add_argument("--out", required=True, metavar="DIR")
    arguments.add_processes(command)

    command = arguments.add_task(add("online", online_command), hidden=256)
    command.add_argument("--learner", default="sac")
    arguments.add_config(command)
    command.add_argument("--decisions", type=positive, default=1_000_000, help="of a seed, in all environments together")
    command.add_argument("--envs", type=positive, default=128, help="environments side by side")
    command.add_argument("--restart", type=natural, default=0, help="decisions after which a running episode is left; 0: never")
    command.add_argument("--updates-per-step", type=positive, default=16, help="after a decision of every environment")
    command.add_argument("--warm-up", type=natural, default=10_000, help="first decisions, with goals spread evenly")
    command.add_argument("--batch", type=positive, default=256)
    command.add_argument("--capacity", type=positive, default=1_000_000, help="transitions kept in the buffer")

    command = arguments.add_task(add("pathwise", pathwise_command), hidden=64)
    command.add_argument("--updates", type=positive, default=1000)
    command.add_argument("--batch", type=positive, default=64, help="episodes an update")
    command.add_argument("--rate", type=float, default=3e-3, help="Adam's learning rate, which falls to zero along a cosine")
