"""The console command `ohio-jax`.

Subcommands print results on standard output; progress and logs go to standard error. A user's mistake ends with one line
and exit code 2. What a command needs is imported when it runs, so that `--help` loads neither JAX nor NumPy.
"""

from ohio_bench.cli.main import main, parser, run

__all__ = ["main", "parser", "run"]
