"""How tests compile: most of their time would go to it. Without LLVM's work on the code, and with XLA's older emitters where it
still has them, it takes a quarter. What users run is tested by

    XLA_FLAGS="--xla_backend_optimization_level=3 --xla_cpu_use_fusion_emitters=true" make test    # the second up to JAX 0.10
"""

from importlib.metadata import version

_emitters = lambda new: {"xla_cpu_use_fusion_emitters": new} if tuple(map(int, version("jax").split(".")[:2])) < (0, 11) else {}

FAST = {"xla_backend_optimization_level": 0, "xla_cpu_parallel_codegen_split_count": 1, **_emitters(False)}
FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in FAST.items())  # the same in the environment
OPTIMIZED = {"xla_backend_optimization_level": 3, **_emitters(True)}  # of what runs thousands of updates
