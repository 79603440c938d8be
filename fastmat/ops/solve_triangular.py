"""Triangular systems of equations."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.checks import check_out
from fastmat.ops.factors import check_squares, delivered, floats_of, result_for

_TRANSPOSITIONS = {0: 0, 1: 1, 2: 2, "N": 0, "T": 1, "C": 2}


def solve_triangular(
    a: Any,
    b: Any,
    /,
    *,
    lower: bool = False,
    trans: Any = 0,
    unit_diagonal: bool = False,
    out: Any = None,
) -> Any:
    """Solve ``op(a) x = b`` for triangular `a`, as `scipy.linalg.solve_triangular`.

    Parameters
    ----------
    a
        A triangular matrix ``(n, n)`` of float32, float64, complex64 or complex128; integers and
        bool count as float64. Its other triangle is not read.
    b
        Right-hand sides, ``(n,)`` or ``(n, k)``.
    lower
        Whether `a` is lower triangular; upper by default.
    trans
        Which system: 0 or "N" for ``a x = b``, 1 or "T" for ``a.T x = b``, 2 or "C" for
        ``a.T.conj() x = b``.
    unit_diagonal
        Whether the diagonal of `a` is taken to be 1, and not read.
    out
        Where to store the result. It may be `b` itself, or overlap the inputs.

    Returns
    -------
    array of the shape of `b`, of the promoted dtype

    Raises
    ------
    numpy.linalg.LinAlgError
        A ValueError: `a` is singular. It names the first 0 on the diagonal.
    ValueError, TypeError
        Shapes that do not fit; other values of `trans`; other dtypes.

    Notes
    -----
    Each column of the result is the exact solution for a matrix within ``(n + 4) * eps * abs(a)``
    of `a`, four times as far for complex numbers [1]_. There is no estimate of the condition.
    Columns are solved on all threads, 16 to 128 at once.

    References
    ----------
    .. [1] N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., theorem 8.5.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> a = np.array([[2.0, 0.0], [1.0, 4.0]])
    >>> fm.linalg.solve_triangular(a, np.array([2.0, 9.0]), lower=True)
    array([1., 2.])
    """
    matrix, given = floats_of(a, "a"), floats_of(b, "b")
    check_squares(matrix, "a", "solve_triangular")
    if matrix.ndim != 2 or given.ndim not in (1, 2) or given.shape[0] != len(matrix):
        raise ValueError(
            f"a has shape {matrix.shape} and b has shape {given.shape}; "
            "solve_triangular wants (n, n) and (n,) or (n, k)"
        )
    if trans not in _TRANSPOSITIONS:
        raise ValueError(f'trans is {trans!r}; it must be 0, 1, 2, "N", "T" or "C"')
    dtype = np.result_type(matrix.dtype, given.dtype)
    matrix, given = (x.astype(dtype, order="K", copy=False) for x in (matrix, given))
    target = None if out is None else check_out(out, given.shape, dtype)
    zeros = np.flatnonzero(np.diagonal(matrix) == 0)
    if zeros.size and not unit_diagonal:
        raise np.linalg.LinAlgError(f"a is singular: its diagonal is 0 at index {zeros[0]}")
    result = result_for(target, given.shape, dtype, matrix, given)
    if result.size:
        _solve(matrix, given, result, bool(lower), _TRANSPOSITIONS[trans], bool(unit_diagonal))
    return delivered(result, target, out, a, b)


def _solve(a: Array, b: Array, x: Array, lower: bool, trans: int, unit: bool) -> None:
    """Rows times an upper triangular matrix: the transposed system, backwards if need be."""
    from fastmat.cpu.solve_triangular import solve_triangular as kernel

    factor = a.T if trans == 0 else a if trans == 1 else np.conj(a)
    rows, solved = (y[np.newaxis] if y.ndim == 1 else y.T for y in (b, x))
    if lower != (trans == 0):
        factor, rows, solved = factor[::-1, ::-1], rows[:, ::-1], solved[:, ::-1]
    kernel.entry(a.dtype)(rows, factor, solved, unit)
