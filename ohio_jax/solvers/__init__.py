"""Batched solvers: one instance a call, written for `jax.jit` and `jax.vmap`, never raising on numbers."""
