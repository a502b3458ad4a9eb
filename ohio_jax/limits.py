"""What numbers may be, whether a flag, a plan or a file gives them. Loads nothing, since the parser of the command reads it.

Where nothing smaller follows from the meaning, the upper bound is beyond any use and what no machine holds: a slip of the
keyboard is answered in one line, not by a process without memory.
"""

from typing import Any

from ohio_jax.errors import UserError, short

# By name, lowest and highest: whole numbers, or with a decimal point real ones.
Bounds = tuple[int, int] | tuple[float, float]

# Of flags, and of the fields of plans.
BUDGETS: dict[str, Bounds] = {
    "episodes": (1, 1_000_000),
    "seeds": (1, 1_000),
    "minutes": (0.01, 100_000.0),
    "updates": (1, 1_000_000_000),
    "block": (1, 1_000_000_000),
    "batch": (1, 1_000_000),
    "ahead": (1, 1_000_000),
    "hidden": (1, 8_192),
    "envs": (1, 100_000),
    "env_steps": (1, 10_000_000_000),
    "updates_per_step": (1, 10_000),
    "learning_starts": (0, 1_000_000_000),
    "buffer_size": (1, 10_000_000),
    "reset_every": (0, 1_000_000_000),
    "decisions": (1, 1_000_000),
    "pictures": (1, 100),
    "every": (1, 1_000_000),
    "fps": (1, 1_000),
    "processes": (1, 10_000),
    "process": (0, 9_999),
    "cell_cpus": (1, 10_000),
    "cell_gpus": (0.0, 10_000.0),
    "seed": (0, 2**32 - 1),  # NumPy's legacy generator takes no other
    "first_seed": (0, 2**32 - 1),
    "data_seed": (0, 2**24 - 1),  # of each stream in `ohio_jax.streams`
    "temperature": (1e-6, 1e6),
    "rate": (0.0, 1.0),
    "scale": (0.0, 1e6),
    "lr": (0.0, 1.0),
}

# Of the fields of the Configs in `ohio_jax.learners`; those without a line have none but float32's.
HYPERPARAMETERS: dict[str, Bounds] = {
    **dict.fromkeys(("actor_lr", "critic_lr", "temperature_lr"), (0.0, 1.0)),
    **dict.fromkeys(("actor_lr_decay_steps", "bc_warmup"), (0.0, 1e12)),
    **dict.fromkeys(("discount", "tau", "quantile"), (0.0, 1.0)),
    "expectile": (0.001, 0.999),
    **dict.fromkeys(("alpha", "beta", "cql_alpha", "diversity", "flow_weight", "threshold"), (0.0, 1e6)),
    "temperature": (1e-6, 1e6),  # whose logarithm learners hold
    **dict.fromkeys(("actor_penalty", "critic_penalty", "exploration_noise", "noise_clip", "policy_noise"), (0.0, 1e6)),
    **dict.fromkeys(("exp_adv_max", "max_grad_norm"), (0.0, 1e12)),
    **dict.fromkeys(("critics", "n_actions", "policy_freq", "steps"), (1, 1_000)),
    "n_sampled_terms": (0, 3_000),
    "chunk": (0, 1_000_000),
}
WHOLE, REAL = (-(2**31), 2**31 - 1), (-1e30, 1e30)


def expected(bounds: Bounds) -> str:
    """What a message and a help say of them."""
    low, high = bounds
    return f"an integer from {low} to {high}" if isinstance(low, int) else f"a number from {low:g} to {high:g}"


def within(value: Any, bounds: Bounds) -> bool:
    """Whether a value is such a number: of this kind, finite, and no boolean."""
    kinds = int if isinstance(bounds[0], int) else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and bounds[0] <= value <= bounds[1]


def check(place: str, value: Any, bounds: Bounds) -> None:
    """Raises UserError naming the place for any other value."""
    if not within(value, bounds):
        raise UserError(f"{place}: expected {expected(bounds)}, found {short(value)}")
