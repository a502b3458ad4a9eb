"""`train`, `online` and `hdpo`: the ways to a policy."""

from pathlib import Path
from typing import Any

from ohio_bench.cli import arguments
from ohio_bench.cli.arguments import Add, Number, path_argument, show
from ohio_jax import limits
from ohio_jax.errors import UserError, counted

CHANGES = ("seeds", "first_seed", "batch", "hidden", "sampling", "normalize", "ahead")  # flags of `train`, fields of a plan


def train_command(args) -> None:
    """train a learner on transitions"""
    from dataclasses import replace

    from ohio_envs import plans

    from ohio_jax import data
    from ohio_jax.learners import outside
    from ohio_jax.training.offline import train

    transitions = data.load(args.data, "transitions")
    task = arguments.task_of(args.data, transitions.card)
    interface = str(transitions.card.get("interface"))
    plan = plans.plan(task.name, outside.find(args.learner), interface, args.preset)
    plan = plan if args.updates is None else plan.lasting(args.updates)
    plan = replace(plan, config=arguments.config_of(plan.config, args.config))
    changes = {name: getattr(args, name) for name in CHANGES}
    plan = replace(plan, **{name: value for name, value in changes.items() if value is not None})
    trained = train(plan, task, interface, transitions, Path(args.out), args.data_on)
    last = {name: value[-1].tolist() for name, value in trained.curve.items()}
    found = {"out": args.out, "updates": plan.updates, "seeds": plan.seeds, "seconds": trained.seconds, "metrics": last}
    done = f"{counted(plan.updates, 'update')} of {counted(plan.seeds, 'seed')} of {args.learner}"
    show(args, found, f"{args.out}: {done}, {summary(trained)}")


def online_command(args) -> None:
    """train a learner in the task itself, on what it does there"""
    from ohio_jax.learners import LEARNERS, outside
    from ohio_jax.training.online import OnlinePlan, online
    from ohio_jax.training.plan import Plan

    task = arguments.task_with_interface(args)
    learner = outside.find(args.learner)
    each, learning_starts = args.updates_per_step, -(-args.learning_starts // args.envs)
    steps = -(-args.env_steps // args.envs) - learning_starts
    if steps < 1:
        raise UserError(f"--env-steps: expected more than the warm-up's {args.learning_starts}, found {args.env_steps}")
    most = (limits.BUDGETS["updates"][1] // each + learning_starts) * args.envs
    if args.env_steps > most:
        with_these = f"with --envs {args.envs} and --updates-per-step {each}"
        raise UserError(f"--env-steps: expected at most {most} {with_these}, found {args.env_steps}")
    config = arguments.config_of(LEARNERS[learner].Config(), args.config)
    rest = {"seeds": args.seeds, "first_seed": args.first_seed, "normalize": False}
    plan = Plan(learner, config, args.hidden, steps * each, args.batch, min(100, steps) * each, **rest)
    plan = OnlinePlan(plan, args.envs, each, learning_starts, args.buffer_size, args.reset_every)
    trained = online(plan, task, args.interface, Path(args.out))
    last = {name: value[-1].tolist() for name, value in trained.curve.items()}
    found = {"out": args.out, "decisions": plan.decisions, "seeds": args.seeds, "seconds": trained.seconds, "metrics": last}
    done = f"{counted(plan.decisions, 'decision')} of {counted(args.seeds, 'seed')} of {args.learner}"
    show(args, found, f"{args.out}: {done}, {summary(trained)}")


def hdpo_command(args) -> None:
    """train a policy by gradients through a task's simulator (HDPO)"""
    from ohio_jax.learners import bc
    from ohio_jax.training.hdpo import hdpo
    from ohio_jax.training.plan import Plan

    task = arguments.task_with_interface(args)
    config = bc.Config(actor_lr=args.lr, actor_lr_decay_steps=float(args.updates))
    rest = {"seeds": args.seeds, "first_seed": args.first_seed, "normalize": False}
    plan = Plan("bc", config, args.hidden, args.updates, args.batch, min(50, args.updates), **rest)
    trained = hdpo(plan, task, args.interface, Path(args.out))
    found = {"out": args.out, "updates": args.updates, "seeds": args.seeds, "seconds": trained.seconds}
    found["return"] = trained.curve["return"][-1].tolist()
    show(args, found, f"{args.out}: {counted(args.updates, 'update')} of {counted(args.seeds, 'seed')}, {summary(trained)}")


def summary(trained: Any) -> str:
    """How long training took, and its metrics in the last block, means over seeds."""
    last = ", ".join(f"{name} {value[-1].mean():.3g}" for name, value in trained.curve.items())
    return f"{sum(trained.seconds.values()):.1f} s{last and '; '}{last}"


def add_to(add: Add) -> None:
    command = add("train", train_command)
    command.add_argument("data", type=path_argument, metavar="G", help="transitions, as invert writes them")
    command.add_argument("--learner", required=True, help="its name, or module:object of your own")
    command.add_argument("--seeds", type=Number("seeds"), help="how many independent runs, instead of the preset's")
    command.add_argument("--first-seed", type=Number("first_seed"), help="the first one's seed, 0 by default")
    command.add_argument(
        "--updates", type=Number("updates"), help="gradient updates, instead of the preset's; more than a run had: goes on"
    )
    command.add_argument("--batch", type=Number("batch"), help="transitions an update, instead of the preset's")
    command.add_argument("--hidden", type=Number("hidden"), help="width of the networks, instead of the preset's")
    command.add_argument("--sampling", help="uniform, return (RW), advantage (AW) or top (the best tenth)")
    command.add_argument("--no-normalize", dest="normalize", action="store_const", const=False, help="show features as they are")
    command.add_argument("--ahead", type=Number("ahead"), help="decisions that a transition looks ahead: n-step returns")
    command.add_argument("--data-on", help="device or host, where batches are gathered ahead; by default device up to 2 GiB")
    command.add_argument("--preset", default="quick", help="whose budget and hyperparameters are meant: quick, cpu or paper")
    arguments.add_config(command)
    command.add_argument(
        "--out", type=path_argument, required=True, metavar="DIR", help="checkpoints; the same command goes on from them"
    )
    arguments.add_processes(command)

    command = arguments.add_task(add("online", online_command), hidden=256)
    command.add_argument("--learner", default="sac", help="its name, or module:object of your own")
    arguments.add_config(command)
    command.add_argument(
        "--env-steps", type=Number("env_steps"), default=1_000_000, help="of a seed, in all environments together"
    )
    command.add_argument("--envs", type=Number("envs"), default=128, help="environments side by side")
    command.add_argument(
        "--reset-every", type=Number("reset_every"), default=0, help="decisions after which a running episode is left; 0: never"
    )
    command.add_argument(
        "--updates-per-step", type=Number("updates_per_step"), default=16, help="after a decision of every environment"
    )
    command.add_argument(
        "--learning-starts", type=Number("learning_starts"), default=10_000, help="first decisions, of actions spread evenly"
    )
    command.add_argument("--batch", type=Number("batch"), default=256, help="transitions an update")
    command.add_argument("--buffer-size", type=Number("buffer_size"), default=1_000_000, help="transitions kept in the buffer")

    command = arguments.add_task(add("hdpo", hdpo_command), hidden=64)
    command.add_argument("--updates", type=Number("updates"), default=1000, help="gradient updates")
    command.add_argument("--batch", type=Number("batch"), default=64, help="episodes an update")
    command.add_argument("--lr", type=Number("lr"), default=3e-3, help="Adam's learning rate, which falls to zero along a cosine")
