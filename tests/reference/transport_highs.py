"""Transport problems solved by SciPy's HiGHS in float64: the oracle of the batched solver."""

import functools

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array


@functools.cache
def _margins(rows: int, columns: int) -> tuple[csr_array, csr_array]:
    """Matrices that sum a flattened [rows, columns] over columns and over rows."""
    cell = np.arange(rows * columns)
    by = lambda index, n: csr_array(coo_array((np.ones(cell.size), (index, cell)), shape=(n, cell.size)))
    return by(cell // columns, rows), by(cell % columns, columns)


def optimum(cost: np.ndarray, supply: np.ndarray, demand: np.ndarray) -> float | None:
    """The lowest cost, or None if demand cannot be met. cost: [R, C], supply: [R], demand: [C]."""
    by_row, by_column = _margins(*cost.shape)
    best = linprog(cost.ravel().astype(float), A_ub=by_row, b_ub=supply, A_eq=by_column, b_eq=demand, method="highs")
    assert best.status in (0, 2), best.message
    return float(best.fun) if best.status == 0 else None
