"""Low-level policies, one a file, all with the same functions (see `ohio_jax.environment.Controller`):

init(params) -> memory
act(params, memory, state, goal) -> (action, memory)
problem(params) -> what inverses need to recover goals from logged actions
"""

from ohio_jax.controllers import requests, shares, transport

CONTROLLERS = {"transport": transport, "shares": shares, "requests": requests}

__all__ = ["CONTROLLERS"]
