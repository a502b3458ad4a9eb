"""The command's entry, `python -m ohio_bench` as `ohio-jax`: signals are heeded before anything else is imported."""

from ohio_jax import interrupts


def run() -> None:
    interrupts.install()
    from ohio_bench import cli

    cli.run()


if __name__ == "__main__":
    run()
