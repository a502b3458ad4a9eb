"""What it takes to choose among trained policies by trying them: score against the number of online evaluations.

A table that shows the best of many hyperparameters hides the episodes that found it. Here every trained policy is an arm
of a bandit, and pulling it gives one of its test returns. Reported after each pull is the true mean of the arm that looks
best by then: a policy picked blindly at one pull, the best of all in the limit. After Jackson, Berdica, Liesen, Whiteson and
Foerster, "A Clean Slate for Offline Reinforcement Learning" (2025), with two corrections of the published code: an arm
that was never pulled is never reported, and the bonus is in units of the returns' deviation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, PRNGKeyArray
from numpy.typing import ArrayLike


def chosen(
    key: PRNGKeyArray, returns: ArrayLike, arms: int = 8, pulls: int = 128, trials: int = 1000
) -> Float64[np.ndarray, "{pulls}"]:
    """Mean over trials of the true mean of the arm that looks best after each pull.

    Args:
        returns: `Float[A, E]`, test returns (or scores) of A trained policies.
        arms: that many of them, drawn anew in each trial.

    Returns:
        `Float64[pulls]`.
    """
    returns = np.asarray(returns, np.float64)
    ours, theirs = jax.random.split(key)
    drawn = np.argsort(np.asarray(jax.random.uniform(ours, (trials, len(returns)))), axis=1)[:, :arms]
    with jax.enable_x64(True):
        return np.asarray(_played(theirs, returns[drawn], np.sqrt(returns.var(axis=1).mean()), pulls)).mean(axis=0)


@functools.partial(jax.jit, static_argnames="pulls")
def _played(key: jax.Array, returns: jax.Array, scale: jax.Array, pulls: int) -> jax.Array:
    """`Float[trials, pulls]`: UCB, argmax of mean + scale sqrt(2 ln t / n), on returns `Float[trials, arms, E]`."""

    def trial(key, returns):
        truth = returns.mean(axis=1)

        def pull(tried, step):
            count, total = tried
            key, t = step
            mean = total / jnp.maximum(count, 1)
            bonus = scale * jnp.sqrt(2 * jnp.log(t) / jnp.maximum(count, 1))
            arm = jnp.argmax(jnp.where(count > 0, mean + bonus, jnp.inf))
            got = returns[arm, jax.random.randint(key, (), 0, returns.shape[1], jnp.int32)]
            count, total = count.at[arm].add(1), total.at[arm].add(got)
            best = jnp.argmax(jnp.where(count > 0, total / jnp.maximum(count, 1), -jnp.inf))
            return (count, total), truth[best]

        steps = (jax.random.split(key, pulls), jnp.arange(1.0, pulls + 1.0))
        return jax.lax.scan(pull, (jnp.zeros_like(truth), jnp.zeros_like(truth)), steps)[1]

    return jax.vmap(trial)(jax.random.split(key, len(returns)), returns)
