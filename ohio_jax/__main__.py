"""`python -m ohio_jax`, the same as `ohio-jax`."""

from ohio_jax.cli import run

if __name__ == "__main__":
    run()
