"""Cholesky factorization."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array, like
from fastmat.ops.factors import check_squares, floats_of


def cholesky(x: Any, /, *, upper: bool = False) -> Any:
    """Cholesky factorization ``x = l lᴴ`` of positive definite matrices.

    Parameters
    ----------
    x
        Matrices ``(..., n, n)`` of float32, float64, complex64 or complex128, symmetric or
        Hermitian; integers and bool count as float64. Only the triangle that is asked for is read,
        and of its diagonal only the real part.
    upper
        Whether the upper triangular factor ``u``, with ``x = uᴴ u``, is wanted.

    Returns
    -------
    array ``(..., n, n)``
        The factor, of the dtype of `x`, with zeros in its other triangle and real positive numbers
        on its diagonal.

    Raises
    ------
    numpy.linalg.LinAlgError
        A ValueError: `x` is not positive definite. It names the leading minor, and in a stack the
        first matrix, that is not.
    ValueError, TypeError
        Matrices that are not square; other dtypes.

    Notes
    -----
    The factor is exactly that of a matrix within ``(n + 1) * eps * abs(l) @ abs(l).T`` of `x` [1]_.
    Large matrices are factored by panels, of stacks of small ones (n up to 16) 16 at once.

    References
    ----------
    .. [1] N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., theorem 10.3.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.linalg.cholesky(np.array([[4.0, 2.0], [2.0, 5.0]]))
    array([[2., 0.],
           [1., 2.]])
    """
    array = floats_of(x, "x")
    check_squares(array, "x", "cholesky")
    result = np.empty(array.shape, array.dtype)
    if result.size:
        from fastmat.cpu.cholesky import cholesky as kernel

        # The transpose of the upper factor is the lower factor of the transpose.
        given, factors = (z.reshape(-1, *array.shape[-2:]) for z in (array, result))
        if upper:
            given, factors = given.swapaxes(1, 2), factors.swapaxes(1, 2)
        failed = np.empty(len(given), np.int64)
        steps = given.strides[0], factors.strides[0]
        kernel.entry(array.dtype)(given[0], factors[0], len(given), *steps, failed)
        if failed.any():
            raise _failure(failed, array.shape[:-2])
    return like(result, x)


def _failure(failed: Array, batch: tuple[int, ...]) -> Exception:
    which = int(np.flatnonzero(failed)[0])
    place = ", ".join(str(i) for i in np.unravel_index(which, batch)) if batch else ""
    return np.linalg.LinAlgError(
        f"x{f'[{place}]' if batch else ''} is not positive definite: "
        f"its leading minor of order {failed[which]} is not positive"
    )
