"""Gamma draws in log space, the building block of the Dirichlet and Beta densities.

`jax.random.gamma` runs one rejection loop an element on a CPU, and a policy over flows needs hundreds of thousands of
draws an update; here one loop serves the whole array and ends when every element has been accepted.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def log_gamma(key: PRNGKeyArray, concentration: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The logarithm of Gamma(concentration, 1) draws, `Float[...]` like `concentration`; differentiable in it.

    A draw is boosted: G(a) = G(a + 1) U^(1/a). It stays finite in log space where G itself underflows, and its gradient
    (that of U^(1/a), explicit, plus that of G(a + 1), implicit: Figurnov et al. 2018) needs no small-argument limit.
    """
    accept, boost = jax.random.split(key)
    uniform = jax.random.uniform(boost, concentration.shape, concentration.dtype, minval=jnp.finfo("float32").tiny)
    return _log_gamma_above_one(accept, concentration + 1.0) + jnp.log(uniform) / concentration


@jax.custom_jvp
def _log_gamma_above_one(key: jax.Array, concentration: jax.Array) -> jax.Array:
    """log Gamma(concentration, 1) for concentration >= 1 by Marsaglia and Tsang (2000), who accept 95 % a round."""
    d = concentration - 1.0 / 3.0
    c = 1.0 / jnp.sqrt(9.0 * d)

    def propose(carry):
        key, log_v, accepted = carry
        key, for_normal, for_uniform = jax.random.split(key, 3)
        x = jax.random.normal(for_normal, d.shape, d.dtype)
        log_u = jnp.log(jax.random.uniform(for_uniform, d.shape, d.dtype))
        root = 1.0 + c * x
        inside = root > 0.0
        new_log_v = 3.0 * jnp.log(jnp.where(inside, root, 1.0))
        good = inside & (log_u < 0.5 * x**2 + d * (1.0 - jnp.exp(new_log_v) + new_log_v))
        return key, jnp.where(accepted, log_v, new_log_v), accepted | good

    start = (key, jnp.zeros_like(d), jnp.zeros(d.shape, bool))
    _, log_v, _ = jax.lax.while_loop(lambda carry: ~jnp.all(carry[2]), propose, start)
    return jnp.log(d) + log_v


@_log_gamma_above_one.defjvp
def _implicit(primals, tangents):
    key, concentration = primals
    log_draw = _log_gamma_above_one(key, concentration)
    draw = jnp.exp(log_draw)
    slope = jax.lax.random_gamma_grad(concentration, draw) / draw  # pyright: ignore[reportCallIssue]
    return log_draw, slope * tangents[1]
