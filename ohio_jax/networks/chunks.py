"""Networks on many nodes or pairs, computed for some states at a time, so that a layer stays in the processor's cache."""

import math
from collections.abc import Callable

import jax
from flax import linen as nn
from jaxtyping import Array, Float

LAYER = 2**19  # numbers of a layer that are computed at once, on a CPU: 2 MB of float32


def in_chunks(
    function: Callable[..., jax.Array], module: nn.Module, width: int, *parts: tuple[Float[Array, "..."], int]
) -> Float[Array, "..."]:
    """`function(module, *arrays)`, a scan over chunks of the leading batch axis where a layer of all of it is larger than LAYER.

    Values and gradients are the same but for the order of sums over the batch. The backward pass finds the matrix products of
    the forward pass in memory and computes what lies between them again, which is cheaper than to read it. Accelerators, and
    batches that fit, take all at once, and run the same program as without this function.

    Args:
        function: of the module and arrays with batch axes; of each element of the batch by itself.
        width: numbers in a layer of one element of the batch.
        parts: arrays, each with how many axes belong to one element; those before are batch axes, and broadcast.
    """
    arrays = tuple(array for array, _ in parts)
    batches = [array.shape[: array.ndim - axes] for array, axes in parts]
    chunk = _states_at_once(batches, width)
    if chunk is None:
        return function(module, *arrays)
    compute = nn.remat(function, policy=jax.checkpoint_policies.dots_saveable, prevent_cse=False)
    step = lambda module, carry, *pieces: (carry, compute(module, *pieces))
    scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
    _, values = scan(module, (), *(array.reshape(-1, chunk, *array.shape[1:]) for array in arrays))
    return values.reshape(-1, *values.shape[2:])


def _states_at_once(batches: list[tuple[int, ...]], width: int) -> int | None:
    """The largest divisor of the leading axis whose share of a layer is no larger than LAYER, or 1; None: all at once."""
    leading = {(len(batch), *batch[:1]) for batch in batches}
    if jax.default_backend() != "cpu" or len(leading) > 1 or () in batches:
        return None
    states, *rest = jax.numpy.broadcast_shapes(*batches)
    each = math.prod(rest) * width
    if states * each <= LAYER:
        return None
    return max(k for k in range(1, states + 1) if states % k == 0 and (k == 1 or k * each <= LAYER))
