"""A rigid serial chain of rotating joints in closed form: where its links are, its mass matrix and its bias force.

Twists and wrenches are taken about one point, the foot of the chain, in world axes. What recursions over links do elsewhere
(Featherstone 2008, chapters 5 and 6) are then running sums over links, in vector registers for a batch of states. Meters,
radians, kilograms, seconds.
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ohio_jax.solvers.small import product


class Chain(NamedTuple):
    """n links, each turning about the z axis of its own frame. NumPy or JAX, of any precision: states say in
    which it is computed.

    Attributes:
        base: `Float[3]`, foot of the chain in the world.
        offset, turn: `Float[n, 3]`, `Float[n, 3, 3]`, frame of each link in the one before at a joint angle of 0; the first in
            the base.
        mass, com, inertia: `Float[n]`, `Float[n, 3]`, `Float[n, 3, 3]`, the last about the center of mass, in the link's frame.
        armature: `Float[n]`, of the joints' rotors.
        site, site_turn: `Float[3]`, `Float[3, 3]`, frame in the last link whose pose and Jacobian are asked for.
        gravity: `Float[3]`.
    """

    base: Any
    offset: Any
    turn: Any
    mass: Any
    com: Any
    inertia: Any
    armature: Any
    site: Any
    site_turn: Any
    gravity: Any


class Frames(NamedTuple):
    """Where links are: origin: `Float[n, 3]` from the base, rotation: `Float[n, 3, 3]`, both in world axes."""

    origin: jax.Array
    rotation: jax.Array


class Inertia(NamedTuple):
    """Rigid bodies about the base, in world axes.

    Attributes:
        mass: `Float[n]`.
        moment: `Float[n, 3]`, mass times center of mass.
        second: `Float[n, 3, 3]`, moments of inertia.
    """

    mass: jax.Array
    moment: jax.Array
    second: jax.Array

    def momentum(self, w: Float[Array, "n 3"], v: Float[Array, "n 3"]) -> tuple[Float[Array, "n 3"], Float[Array, "n 3"]]:
        """(angular, linear: `Float[n, 3]`) of twists (w, v): `Float[n, 3]`; of accelerations, the wrench they take."""
        linear = self.mass[:, None] * v + jnp.cross(w, self.moment)
        return jax.vmap(product)(self.second, w) + jnp.cross(self.moment, v), linear


def like(tree: Any, x: Float[Array, "..."]) -> Any:
    """Arrays of constants, of any precision, in that of x."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, x.dtype), tree)


def frames(chain: Chain, q: Float[Array, "n"]) -> Frames:
    """The links at joint angles q: `Float[n]`."""
    chain = like(chain, q)
    place, turn = jnp.zeros(3, q.dtype), jnp.eye(3, dtype=q.dtype)
    places, turns = [], []
    for offset, fixed, c, s in zip(chain.offset, chain.turn, jnp.cos(q), jnp.sin(q), strict=True):
        place = place + product(turn, offset)
        x, y, z = product(turn, fixed).T
        turn = jnp.stack([c * x + s * y, c * y - s * x, z], axis=1)
        places.append(place)
        turns.append(turn)
    return Frames(jnp.stack(places), jnp.stack(turns))


def pose(chain: Chain, at: Frames) -> tuple[Float[Array, "3"], Float[Array, "3 3"]]:
    """(position: `Float[3]`, rotation: `Float[3, 3]`) of the site in the world."""
    chain, last = like(chain, at.origin), at.rotation[-1]
    return chain.base + at.origin[-1] + product(last, chain.site), product(last, chain.site_turn)


def jacobian(chain: Chain, at: Frames) -> Float[Array, "6 n"]:
    """`Float[6, n]`, velocity and angular velocity of the site in world axes, a unit of each joint's velocity."""
    axis = at.rotation[:, :, 2]
    arm = (pose(chain, at)[0] - like(chain.base, axis))[None] - at.origin
    return jnp.concatenate([jnp.cross(axis, arm), axis], axis=1).T


def mass_matrix(chain: Chain, at: Frames) -> Float[Array, "n n"]:
    """Float[n, n], armature included: what a joint's motion takes of each joint before it, by the composite of links it moves."""
    axis, sweep = _screws(at)
    composite = Inertia(*(_above(x) for x in _inertia(chain, at)))
    angular, linear = composite.momentum(axis, sweep)
    upper = jnp.triu(product(axis, angular.T) + product(sweep, linear.T))
    return upper + jnp.triu(upper, 1).T + jnp.diag(like(chain.armature, upper))


def bias(chain: Chain, at: Frames, v: Float[Array, "n"]) -> Float[Array, "n"]:
    """`Float[n]`, gravity, centrifugal and Coriolis torques at joint velocities v: `Float[n]`; no friction, no damping."""
    axis, sweep = _screws(at)
    bodies = _inertia(chain, at)
    spin, slide = axis * v[:, None], sweep * v[:, None]
    w, u = _below(spin), _below(slide)
    fall = jnp.broadcast_to(like(chain.gravity, u), u.shape)
    angular, linear = bodies.momentum(_below(jnp.cross(w, spin)), _below(jnp.cross(w, slide) + jnp.cross(u, spin)) - fall)
    spun, moved = bodies.momentum(w, u)
    torque = _above(angular + jnp.cross(w, spun) + jnp.cross(u, moved))
    force = _above(linear + jnp.cross(w, moved))
    return jnp.sum(axis * torque + sweep * force, axis=1)


def _screws(at: Frames) -> tuple[jax.Array, jax.Array]:
    """(axis, sweep: `Float[n, 3]`), angular velocity and velocity at the base, a unit of each joint's velocity."""
    axis = at.rotation[:, :, 2]
    return axis, jnp.cross(at.origin, axis)


def _inertia(chain: Chain, at: Frames) -> Inertia:
    """Of each link."""
    chain, turn = like(chain, at.rotation), at.rotation
    center = at.origin + jax.vmap(product)(turn, chain.com)
    moment = chain.mass[:, None] * center
    turned = jax.vmap(lambda R, inertia: product(product(R, inertia), R.T))(turn, chain.inertia)
    square = jnp.sum(moment * center, axis=1)[:, None, None] * jnp.eye(3, dtype=turn.dtype)[None]
    return Inertia(chain.mass, moment, turned + square - moment[:, :, None] * center[:, None, :])


def _below(x: jax.Array) -> jax.Array:
    """Running sums from the base up. Written out: a cumulative sum is slower by far on a CPU."""
    return jnp.stack(list(itertools.accumulate(x)))


def _above(x: jax.Array) -> jax.Array:
    """Running sums from the last link down."""
    return jnp.stack(list(itertools.accumulate(x[::-1]))[::-1])
