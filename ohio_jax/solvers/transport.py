"""Exact transport problems in integers: who sends how much where, at the lowest cost.

::

    minimize <cost, X>   subject to   sum_j X_ij + slack_i = supply_i,   sum_i X_ij = demand_j,   X, slack >= 0 integers

This is the low level of the paper's vehicle routing (OHIO, ICLR 2025): origins are rows, destinations are columns,
staying is a free diagonal, and what nobody asked for ends in the slack. No triangle inequality is assumed.

The method is the dual simplex on spanning trees. The slack is one more column, at no cost. A basis is a tree over rows
and columns; each of its arcs splits the nodes in two, and we keep the side of its origin as bits: these sides *are* the
inverse of the basis. One pivot:

1. The arc with the most negative flow leaves. More must flow into its origin's side S than the tree brings there.
2. Of all arcs from outside S into S the one with the lowest reduced cost enters.
3. The potentials of S rise by that reduced cost. The arcs on the cycle that the entering arc closes change their flows,
   and their sides by exclusive or with S.

A start that is dual feasible for every cost: each row hangs on the slack, each column on its cheapest row. With a free
diagonal only regions that lack vehicles then need pivots.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Int32
from numpy.typing import ArrayLike

from ohio_jax.errors import UserError

OPTIMAL, ITERATION_LIMIT, INFEASIBLE = 0, 1, 2  # codes of `Solution.status`

PIVOTS_PER_ARC = 64  # limit of pivots for each row and column; instances of the paper's cities need about one

_FAR = 2**29  # added to the reduced cost of an arc that may not enter
_LARGEST = 2**28  # above every path's cost: twice it stays below _FAR, and it plus twice _FAR stays an int32
_FINEST = 2**12  # of the tie-break; finer would make objectives of city-sized fleets overflow


class Solution(NamedTuple):
    """The answer to one instance.

    Attributes:
        flow: `Int[R, C]`.
        slack: `Int[R]`. Optimal for status 0, zero flow for status 2, not feasible for status 1.
        cost: `Int[]`, <cost, flow>.
        gap: `Int[]`, cost minus the value of a feasible point of the dual problem, so 0 proves optimality. Like `cost` it is
            exact modulo 2^32.
        iterations: `Int[]`, pivots.
        status: `Int[]`, 0 optimal, 1 iteration limit (64 (R + C) pivots), 2 infeasible (demand above supply, or an amount below
            0).
    """

    flow: jax.Array
    slack: jax.Array
    cost: jax.Array
    gap: jax.Array
    iterations: jax.Array
    status: jax.Array


class _Tree(NamedTuple):
    """A basis of R + C arcs, with everything the next pivot reads.

    Attributes:
        side: `Int[words, R + C]`, bits of the nodes on the origin's side of each arc: rows first, columns from a new word on.
        arc: `Int[R + C]`, origin * 2^16 + destination.
        flow: `Int[R + C]`.
        row_key, column_key: `Int[R]`, `Int[C + 1 and padding]`, potentials u, v with reduced cost c + u - v, moved by _FAR where
            a node cannot be an end of the entering arc. In the carry, because XLA computes a carry once and would compute
            anything else anew for every cell of the cost matrix.
        cut: `Int[words]`, side of the leaving arc.
        leaving: `Int[]`, its flow and index in one number.
        pivots: `Int[]`.
    """

    side: jax.Array
    arc: jax.Array
    flow: jax.Array
    row_key: jax.Array
    column_key: jax.Array
    cut: jax.Array
    leaving: jax.Array
    pivots: jax.Array


def solve(
    cost: Int[jax.Array | np.ndarray, "R C"], supply: Int[jax.Array | np.ndarray, "R"], demand: Int[jax.Array | np.ndarray, "C"]
) -> Solution:
    """Solves one instance; `vmap` over any of the arguments.

    Args:
        cost: not negative, largest entry times (min(R, C) + 1) below 2^28: what `perturb` returns, if the answer shall not depend
            on how ties are broken here (lowest index first).
        demand: total supply times the next power of two from R + C below 2^31.

    Raises:
        UserError: for shapes that do not fit or arrays that hold no integers.
    """
    _check(cost, supply, demand)
    cost, supply, demand = (jnp.asarray(x, jnp.int32) for x in (cost, supply, demand))
    R, C = cost.shape
    arcs = _iota(R + C)
    columns = -(-(C + 1) // 8) * 8  # whole vector registers
    row_words = -(-R // 32)
    exists = -(_iota(columns) <= C).astype(np.int32)
    low_bits = (R + C - 1).bit_length()
    everyone = jnp.concatenate([_pack(jnp.ones((1, n), bool)) for n in (R, C + 1)])
    priced = jnp.pad(cost, ((0, 0), (0, columns - C)))
    priced_columns = priced.T

    def at_tree(side, arc, flow, u, v, pivots) -> _Tree:
        """The tree, with the next leaving arc chosen."""
        leaving = _lowest(flow << low_bits | arcs)
        cut = side[:, leaving & (2**low_bits - 1)]
        rows_in, columns_in = _unpack(cut[:row_words], R), _unpack(cut[row_words:], columns)
        return _Tree(side, arc, flow, u + _FAR * rows_in, v + _FAR * (columns_in - 1), cut, leaving, pivots)

    def potentials(tree: _Tree):
        rows_in, columns_in = _unpack(tree.cut[:row_words], R), _unpack(tree.cut[row_words:], columns)
        return rows_in, columns_in, tree.row_key - _FAR * rows_in, tree.column_key - _FAR * (columns_in - 1)

    def pivot(tree: _Tree) -> _Tree:
        k = tree.leaving & (2**low_bits - 1)
        shortage = tree.leaving >> low_bits
        is_k = arcs == k

        reduced = _lowest(priced + tree.row_key[:, None]) - tree.column_key
        step = _lowest(reduced)
        j = _first(reduced == step)
        i = _first(priced_columns[j] + tree.row_key == step + tree.column_key[j])

        # An arc lies on the cycle if the entering arc i -> j crosses its cut. Its new side must hold its origin again,
        # which lies in S if and only if its cut does not part i from the leaving arc's origin.
        has_i, has_j = _has(tree.side[:row_words], i), _has(tree.side[row_words:], j)
        has_k = _has(tree.side[:row_words], tree.arc[k] >> 16)
        beyond = tree.cut[:, None] ^ ((has_i ^ has_k)[None, :] - 1 & everyone)
        turn = jnp.where(is_k[None, :], everyone, jnp.where((has_i != has_j)[None, :], beyond, 0))
        flow = jnp.where(is_k, -shortage, tree.flow + shortage * (has_i - has_j))

        # Shifted so that the slack's potential stays 0 and no potential can grow without bound.
        rows_in, columns_in, u, v = potentials(tree)
        slack_in = tree.cut[row_words + C // 32] >> (C % 32) & 1
        u = u + step * (rows_in - slack_in)
        v = v + (step * (columns_in - slack_in) & exists)
        return at_tree(tree.side ^ turn, jnp.where(is_k, i << 16 | j, tree.arc), flow, u, v, tree.pivots + 1)

    total = functools.partial(jnp.sum, dtype=jnp.int32)
    possible = (total(demand) <= total(supply)) & (jnp.min(supply) >= 0) & (jnp.min(demand) >= 0)
    demand = jnp.where(possible, demand, 0)

    home = jnp.argmin(cost, axis=0).astype(jnp.int32)
    hangs = home[None, :] == _iota(R)[:, None]
    row_side = jnp.concatenate([jnp.eye(R, dtype=bool), jnp.ones((C, R), bool)])
    column_side = jnp.concatenate([hangs, ~jnp.eye(C, dtype=bool)])
    column_side = jnp.pad(column_side, ((0, 0), (0, 1))) | jnp.asarray((arcs[:, None] >= R) & (_iota(C + 1)[None, :] == C))
    tree = at_tree(
        side=jnp.concatenate([_pack(row_side), _pack(column_side)]),
        arc=jnp.concatenate([_iota(R) << 16 | C, home << 16 | _iota(C)]),
        flow=jnp.concatenate([supply - total(jnp.where(hangs, demand[None, :], 0), axis=1), demand]),
        u=jnp.zeros(R, jnp.int32),
        v=jnp.pad(jnp.min(cost, axis=0), (0, columns - C)),
        pivots=jnp.int32(0),
    )
    limit = PIVOTS_PER_ARC * (R + C)
    tree = jax.lax.while_loop(lambda tree: (tree.leaving < 0) & (tree.pivots < limit), pivot, tree)

    table = jnp.zeros((R, C + 1), jnp.int32).at[tree.arc >> 16, tree.arc & 0xFFFF].set(tree.flow, unique_indices=True)
    flow, slack = table[:, :C], jnp.where(possible, table[:, C], supply)
    # The proof does not trust the tree: any u >= 0 with v the largest it allows is feasible in the dual problem.
    u = jnp.maximum(potentials(tree)[2], 0)
    v = jnp.min(cost + u[:, None], axis=0)
    spent = total(cost * flow)
    gap = jnp.where(possible, spent - (total(demand * v) - total(supply * u)), 0)
    status = jnp.where(possible, jnp.where(tree.leaving < 0, ITERATION_LIMIT, OPTIMAL), INFEASIBLE).astype(jnp.int32)
    return Solution(jnp.where(possible, flow, 0), slack, spent, gap, tree.pivots, status)


def perturb(cost: ArrayLike, seed: int = 0) -> Int32[np.ndarray, "R C"]:
    """Costs `K * cost + p` whose optimum is one for `cost` too, and the same for every exact solver.

    p is pseudo-random in [0, P), zero on the diagonal, and fixed by `seed` (NumPy's frozen legacy generator). An
    exchange along a cycle adds at most m = min(R, C) + 1 new arcs, so with K = m (P - 1) + 1 no tie-break can outweigh
    one unit of cost; m also allows for a row or column without cost added afterwards. P is 4096, or the largest that
    keeps m (K max(cost) + P) below 2^28, so that no potential overflows. Ties can remain where P is small.

    Returns:
        `Int32[R, C]`.

    Raises:
        UserError: for costs that are not a matrix of non-negative integers or too large for any tie-break.
    """
    cost = np.asarray(cost)
    if cost.ndim != 2 or not cost.size:
        raise UserError(f"transport cost: expected a matrix [rows, columns], found shape {list(cost.shape)}")
    if not np.issubdtype(cost.dtype, np.integer):
        raise UserError(f"transport cost: expected integers, found {cost.dtype}")
    if cost.min() < 0:
        raise UserError(f"transport cost: expected no negative entry, found {cost.min()}")
    highest, m = int(cost.max()), min(cost.shape) + 1
    # m ((m (P - 1) + 1) highest + P) < 2^28, solved for P.
    P = min((_LARGEST // m + (m - 1) * highest - 1) // (m * highest + 1), _FINEST)
    if P < 2:
        raise UserError(f"transport cost: {list(cost.shape)} costs up to {highest} leave no room for a tie-break in 32 bits")
    p = np.random.RandomState(seed).randint(0, P, cost.shape)
    np.fill_diagonal(p, 0)
    return ((m * (P - 1) + 1) * cost.astype(np.int64) + p).astype(np.int32)


def _check(cost, supply, demand) -> None:
    shapes = [list(np.shape(x)) for x in (cost, supply, demand)]
    if len(shapes[0]) != 2 or shapes[1:] != [shapes[0][:1], shapes[0][1:]]:
        raise UserError(f"transport: expected cost [R, C], supply [R], demand [C], found shapes {shapes}")
    for name, x in (("cost", cost), ("supply", supply), ("demand", demand)):
        if not jnp.issubdtype(jnp.result_type(x), jnp.integer):
            raise UserError(f"transport {name}: expected integers, found {jnp.result_type(x)}")


def _iota(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int32)


def _lowest(x: jax.Array) -> jax.Array:
    """Minimum over the first axis, in pieces of 32: XLA sends longer reductions through memory on CPU."""
    return functools.reduce(jnp.minimum, [jnp.min(x[i : i + 32], axis=0) for i in range(0, x.shape[0], 32)])


def _first(hit: jax.Array) -> jax.Array:
    """`Int[]`, the lowest index where `hit: Bool[n]`; two plain minima are several times faster than one argmin."""
    n = hit.shape[0]
    return _lowest(jnp.where(hit, _iota(n), n - 1))


def _pack(member: jax.Array) -> jax.Array:
    """`Int[words, K]`, the rows of `member: Bool[K, n]` as bits."""
    K, n = member.shape
    words = -(-n // 32)
    bits = jnp.pad(member.astype(jnp.int32), ((0, 0), (0, 32 * words - n))).reshape(K, words, 32)
    return jnp.sum(bits << _iota(32)[None, None, :], axis=2, dtype=jnp.int32).T


def _unpack(words: jax.Array, n: int) -> jax.Array:
    """`Int[n]`, 0 or 1, the first n bits of `words: Int[words]`."""
    return (words[:, None] >> _iota(32)[None, :] & 1).reshape(-1)[:n]


def _has(words: jax.Array, node: jax.Array) -> jax.Array:
    """`Int[K]`, 0 or 1, the bit of `node: Int[]` in each column of `words: Int[words, K]`."""
    word = words[0] if words.shape[0] == 1 else jax.lax.dynamic_index_in_dim(words, node >> 5, 0, keepdims=False)
    return word >> (node & 31) & 1
