"""`python -m ohio_bench`, the same as `ohio-jax`."""

from ohio_bench.cli import run

if __name__ == "__main__":
    run()
