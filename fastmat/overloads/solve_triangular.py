"""`linalg.solve_triangular` inside ``@njit``."""

import numpy as np
from numba import njit, types
from numba.core import errors
from numba.extending import overload

from fastmat.core.compile import call_all
from fastmat.cpu.solve_triangular import solve_triangular as kernel
from fastmat.cpu.views import transposed
from fastmat.ops import solve_triangular as ops
from fastmat.overloads.factors import check_ndim, check_shape, converted, floating
from fastmat.overloads.storing import store
from fastmat.overloads.typing import as_kernel_reads, check_out, given, numba_dtype


@overload(ops.solve_triangular)
def _solve_triangular(a, b, lower=False, trans=0, unit_diagonal=False, out=None):
    dtype = np.result_type(floating(a, "a"), floating(b, "b"))
    check_ndim(a, "a", (2,), "solve_triangular wants 2")
    check_ndim(b, "b", (1, 2), "solve_triangular wants 1 or 2")
    if not isinstance(trans, int | types.Integer | types.Omitted):
        raise errors.TypingError(f"trans is of type {trans}; in njit it must be 0, 1 or 2")
    item, read_matrix, read = numba_dtype(dtype), converted(a, dtype), converted(b, dtype)
    oriented = _conjugated if dtype.kind == "c" else njit(lambda a, trans: a)
    rows = _rows_of_vector if b.ndim == 1 else _rows_of_matrix

    @njit
    def solve(a, b, lower, trans, unit_diagonal):
        if a.shape[0] != a.shape[1] or a.shape[0] != b.shape[0]:
            raise ValueError("solve_triangular wants a of shape (n, n) and b of (n,) or (n, k)")
        if trans < 0 or trans > 2:
            raise ValueError("trans must be 0, 1 or 2")
        if not unit_diagonal:
            for i in range(a.shape[0]):
                if a[i, i] == 0:
                    raise np.linalg.LinAlgError(f"a is singular: its diagonal is 0 at index {i}")
        result = np.empty(b.shape, item)
        if result.size:
            factor = as_kernel_reads(oriented(read_matrix(a), trans))
            x, y = rows(read(b)), rows(result)
            if trans == 0:
                factor = transposed(factor)
            if lower != (trans == 0):
                factor, x, y = factor[::-1, ::-1], x[:, ::-1], y[:, ::-1]
            call_all(kernel, y.dtype, (x, factor, y, unit_diagonal))
        return result

    def new(a, b, lower=False, trans=0, unit_diagonal=False, out=None):
        return solve(a, b, bool(lower), trans, bool(unit_diagonal))

    if not given(out):
        return new
    check_out(out, b.ndim, dtype)

    def into(a, b, lower=False, trans=0, unit_diagonal=False, out=None):
        check_shape(out, b.shape)
        store(solve(a, b, bool(lower), trans, bool(unit_diagonal)), out)
        return out

    return into


@njit
def _rows_of_vector(x):
    return as_kernel_reads(np.expand_dims(x, 0))


@njit
def _rows_of_matrix(x):
    return transposed(as_kernel_reads(x))


@njit
def _conjugated(a, trans):
    """A copy, of the complex conjugate if trans is 2."""
    result = np.empty(a.shape, a.dtype)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            result[i, j] = np.conj(a[i, j]) if trans == 2 else a[i, j]
    return result
