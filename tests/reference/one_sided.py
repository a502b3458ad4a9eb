"""The goal nearest to what the steps of a segment name, by trying all sets of steps that may count: one joint, NumPy float64."""

import itertools

import numpy as np


def squares(goal: float, named: np.ndarray, side: np.ndarray) -> float:
    """Squared distances to what steps name: of goals below it alone where side is -1, above it alone where it is 1."""
    off = goal - named
    return float(np.sum(np.square(np.where(side == -1, np.minimum(off, 0), np.where(side == 1, np.maximum(off, 0), off)))))


def nearest(named: np.ndarray, side: np.ndarray, reached: float) -> float:
    """The least squares; where there are many, those of the goal nearest to the one reached."""
    two_sided, one_sided = np.flatnonzero(side == 0), np.flatnonzero(side != 0)
    above, below = named[side == -1].max(initial=-np.inf), named[side == 1].min(initial=np.inf)
    if not len(two_sided) and above <= below:
        return float(np.clip(reached, above, below))
    sets = itertools.chain.from_iterable(itertools.combinations(one_sided, n) for n in range(len(one_sided) + 1))
    means = [np.mean(named[[*two_sided, *some]]) for some in sets if len(two_sided) + len(some)]
    return float(min(means, key=lambda goal: squares(goal, named, side)))
