"""`evaluate` and `film`: what a policy earns and what it looks like."""

from ohio_bench.cli import arguments
from ohio_bench.cli.arguments import Add


def evaluate_command(args) -> None:
    """play episodes with a scripted policy or a trained checkpoint"""
    import jax
    import numpy as np
    from ohio_envs import registry

    from ohio_jax.evaluate import evaluate_learner, evaluate_policy
    from ohio_jax.learners import LEARNERS
    from ohio_jax.training.checkpoint import load_policy

    task = arguments.scripted_policy(args)
    if task is None:
        task, space, plan, states = load_policy(args.checkpoint, registry.make)
        learner = LEARNERS[plan.learner]
        played = evaluate_learner(task, space, learner, states, args.episodes, args.seed, not args.stochastic)
        played = jax.tree.map(np.concatenate, jax.tree.map(np.asarray, played))
        head = {"task": task.name, "policy": f"{space} {plan.learner}", "checkpoint": args.checkpoint}
        head["training_seed"] = np.repeat(np.arange(plan.seeds), args.episodes).tolist()
    else:
        played = jax.tree.map(np.asarray, evaluate_policy(task, args.policy, args.episodes, args.seed))
        head = {"task": task.name, "policy": args.policy}
    returns = np.asarray(played.returns, np.float64)
    found = {
        **head,
        "settings": task.settings,
        "seed": args.seed,
        "returns": returns.tolist(),
        **{name: np.asarray(value, np.float64).tolist() for name, value in played.metrics.items()},
    }
    lines = [f"{head['policy']} on {task.name}: {returns.mean():.1f} ± {returns.std():.1f} over {len(returns)} episodes"]
    lines += [f"  {name:<20} {np.mean(value):.1f}" for name, value in played.metrics.items()]
    arguments.show(args, found, "\n".join(lines))


def film_command(args) -> None:
    """draw episodes of a scripted policy or a trained checkpoint into a GIF"""
    from ohio_envs import registry

    from ohio_jax.learners import LEARNERS
    from ohio_jax.render import render
    from ohio_jax.rollout import Steered, learned, scripted_behaviour
    from ohio_jax.training.checkpoint import load_policy

    task = arguments.scripted_policy(args)
    if task is None:
        task, space, plan, states = load_policy(args.checkpoint, registry.make)
        env, act = task.high_level(space), learned(LEARNERS[plan.learner], not args.stochastic)
        params = states.of_seed(0)
    else:
        _, env, act, params, _ = scripted_behaviour(task, args.policy)
        env = env.high if isinstance(env, Steered) else env  # a frame a decision
    render(task, env, act, params, args.out, args.seed, args.episodes, args.decisions, args.fps, args.every)
    arguments.show(args, {"file": args.out, "task": task.name, "episodes": args.episodes}, args.out)


def add_to(add: Add) -> None:
    command = add("evaluate", evaluate_command)
    arguments.add_who(command)
    command.add_argument("--episodes", type=arguments.positive, default=10)
    command.add_argument("--seed", type=arguments.natural, default=10)
    arguments.add_set(command)
    arguments.add_processes(command)

    command = add("film", film_command)
    arguments.add_who(command)
    command.add_argument("--episodes", type=arguments.positive, default=3, help="side by side")
    command.add_argument("--decisions", type=arguments.positive, default=40, help="how much of an episode is shown")
    command.add_argument("--every", type=arguments.positive, default=1, help="decisions from one frame to the next")
    command.add_argument("--fps", type=arguments.positive, default=10, help="frames a second")
    command.add_argument("--seed", type=arguments.natural, default=10)
    command.add_argument("--out", required=True, metavar="F.gif")
    arguments.add_set(command)
