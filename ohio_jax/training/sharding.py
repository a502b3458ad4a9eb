"""Where the seeds of a run lie: spread over devices; vmapped on each (accelerators) or taking turns (CPU)."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from ohio_jax import mesh


@dataclass(frozen=True)
class SeedSharding:
    """As many of a run's seeds on each device, spare places repeating the last seed.

    Attributes:
        vmapped: whether the seeds of a device go side by side; otherwise they take turns.
    """

    seeds: int
    vmapped: bool = field(default_factory=mesh.is_wide)

    @property
    def devices(self) -> tuple[Any, ...]:
        return mesh.devices(self.seeds)

    def spread(self, tree: Any) -> Any:
        """Arrays with leading axis S, on the devices with spare places filled."""
        each = math.ceil(self.seeds / len(self.devices))
        rows = np.minimum(np.arange(each * len(self.devices)), self.seeds - 1)
        return mesh.put(jax.tree.map(lambda x: x[rows], tree), self.devices, spread=True)

    def share(self, tree: Any) -> Any:
        """The same arrays on every device."""
        return mesh.put(tree, self.devices)

    def gather(self, tree: Any) -> Any:
        """Back on the host, without the spare places: slicing what is spread would make devices wait for each other."""
        return jax.tree.map(lambda x: x[: self.seeds], mesh.gather(tree))


def over_seeds(one_seed: Callable[..., Any], placement: SeedSharding) -> jax.stages.Wrapped:
    """Jitted `block(carries, own, *shared)`: `one_seed(carry, own, *shared)` of S seeds, stacked, as is what they have of their
    own, such as keys; the carries are donated.

    On a CPU seeds take turns, since vmapping them costs cache and gains nothing.
    """
    devices, vmapped = placement.devices, placement.vmapped

    def local_seeds(carries, own, *shared):
        run = lambda seed: one_seed(*seed, *shared)
        if jax.tree.leaves(own)[0].shape[0] == 1:  # no loop around the scan: XLA then keeps its threads for the matrix products
            out = run(jax.tree.map(lambda x: x[0], (carries, own)))
            return jax.tree.map(lambda x: x[None], out)
        return (jax.vmap(run) if vmapped else functools.partial(jax.lax.map, run))((carries, own))

    def block(carries, own, *shared):
        specs = (mesh.EACH, mesh.EACH, *(mesh.WHOLE,) * len(shared))
        spread = jax.shard_map(local_seeds, mesh=mesh.over(devices), in_specs=specs, out_specs=mesh.EACH, check_vma=False)
        return spread(carries, own, *shared)

    return jax.jit(block, donate_argnums=0)
