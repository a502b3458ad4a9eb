"""Action densities: what an action of a learner is, and how the numbers an actor emits describe a distribution over them.

One frozen (hence hashable) dataclass a kind of action. No learner knows of tanh or vehicles: it asks the spec.
"""

from ohio_jax.networks.heads.dirichlet import Simplex, Simplices, UnitBox
from ohio_jax.networks.heads.gaussian import Box, Counts
from ohio_jax.networks.heads.product import Product
from ohio_jax.networks.heads.spec import ActionSpec

__all__ = ["ActionSpec", "Box", "Counts", "Product", "Simplex", "Simplices", "UnitBox"]
