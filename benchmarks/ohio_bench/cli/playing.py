"""`evaluate` and `render`: what a policy earns and what it looks like."""

from ohio_bench.cli import arguments
from ohio_bench.cli.arguments import Add, Number, path_argument
from ohio_jax.errors import UserError


def evaluate_command(args) -> None:
    """play episodes with a scripted policy or a trained checkpoint: its return and its score"""
    import jax
    import numpy as np

    from ohio_jax.evaluate import evaluate_learner, evaluate_policy
    from ohio_jax.learners import LEARNERS
    from ohio_jax.scores import t_interval

    task, (stream, seed) = arguments.scripted_policy(args), arguments.seed_of(args)
    if task is None:
        task, interface, plan, states = arguments.trained(args)
        learner = LEARNERS[plan.learner]
        played = evaluate_learner(task, interface, learner, states, args.episodes, seed, not args.sample_actions)
        head = {"task": task.name, "policy": f"{interface} {plan.learner}", "checkpoint": args.checkpoint}
        head["training_seed"] = np.repeat(plan.first_seed + np.arange(plan.seeds), args.episodes).tolist()
        of_runs = f"{plan.seeds} training seeds x {args.episodes}"
    else:
        played = jax.tree.map(lambda x: np.asarray(x)[None], evaluate_policy(task, args.policy, args.episodes, seed))
        head, of_runs = {"task": task.name, "policy": args.policy}, str(args.episodes)
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(played)):
        raise UserError(f"{head['policy']} on {task.name}: expected finite returns and metrics, found others")
    # Between training seeds where there are some: the episodes of one policy say nothing of the next.
    of = task.score(played.returns)
    low, high = t_interval(of.mean(axis=1) if len(of) > 1 else of[0])
    known = {"score_low": low, "score_high": high} if np.isfinite(low) else {}
    flat = lambda x: np.asarray(x, np.float64).reshape(-1)
    returns = flat(played.returns)
    found = {
        **head,
        "settings": task.settings,
        **({} if stream is None else {"stream": stream}),
        "seed": seed,
        "score": float(of.mean()),
        **known,
        "reference": {"zero": task.reference.zero, "full": task.reference.full},
        "returns": returns.tolist(),
        **{name: flat(value).tolist() for name, value in played.metrics.items()},
    }
    interval = f" [{low:.1f}, {high:.1f}]" if known else ""
    lines = [
        f"{head['policy']} on {task.name}: score {of.mean():.1f}{interval} (100 = {task.reference.full:.1f}), "
        f"return {returns.mean():.1f} ± {returns.std():.1f} over {of_runs} episodes"
    ]
    lines += [f"  {name:<20} {np.mean(value):.1f}" for name, value in played.metrics.items()]
    arguments.show(args, found, "\n".join(lines))


def render_command(args) -> None:
    """draw episodes of a scripted policy or a trained checkpoint into a GIF"""
    from ohio_jax.learners import LEARNERS
    from ohio_jax.render import MADE, render
    from ohio_jax.rollout import StepwiseHierarchy, learned, scripted_policy

    out = arguments.output(args.out, ".gif")
    if out.exists() and MADE not in out.read_bytes():
        raise UserError(f"{out}: expected no file, or an earlier picture of this command, found another; give another name")
    task = arguments.scripted_policy(args)
    if task is None:
        task, interface, plan, states = arguments.trained(args)
        env, act = task.high_level(interface), learned(LEARNERS[plan.learner], not args.sample_actions)
        params = states.of_seed(0)
    else:
        _, env, act, params, _ = scripted_policy(task, args.policy)
        env = env.high if isinstance(env, StepwiseHierarchy) else env  # a frame a decision
    render(task, env, act, params, out, arguments.seed_of(args)[1], args.episodes, args.decisions, args.fps, args.every)
    arguments.show(args, {"file": args.out, "task": task.name, "episodes": args.episodes}, args.out)


def add_to(add: Add) -> None:
    command = add("evaluate", evaluate_command)
    arguments.add_who(command)
    command.add_argument("--episodes", type=Number("episodes"), default=10, help="test episodes, of each training seed")
    arguments.add_episodes_of(command)
    arguments.add_set(command)
    arguments.add_processes(command)

    command = add("render", render_command)
    arguments.add_who(command)
    command.add_argument("--episodes", type=Number("pictures"), default=3, help="side by side")
    command.add_argument("--decisions", type=Number("decisions"), default=40, help="how much of an episode is shown")
    command.add_argument("--every", type=Number("every"), default=1, help="decisions from one frame to the next")
    command.add_argument("--fps", type=Number("fps"), default=10, help="frames a second")
    arguments.add_episodes_of(command)
    command.add_argument("--out", type=path_argument, required=True, metavar="F.gif", help="the moving picture")
    arguments.add_set(command)
