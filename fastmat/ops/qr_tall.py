"""QR factorization of tall matrices."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, like
from fastmat.core.devices import also_on_gpu
from fastmat.ops.factors import floats_of
from fastmat.ops.matmul import matmul


class QR(NamedTuple):
    """An orthonormal and an upper triangular factor."""

    Q: Any
    R: Any


@also_on_gpu
def qr_tall(a: Any, /) -> QR:
    """Thin QR factorization ``a = Q R`` of a matrix with more rows than columns.

    Parameters
    ----------
    a
        A matrix ``(m, n)`` with ``m >= n``, of float32, float64, complex64 or complex128; integers
        and bool count as float64.

    Returns
    -------
    Q : array ``(m, n)``
        Orthonormal columns, also where those of `a` are not independent.
    R : array ``(n, n)``
        Upper triangular, with real numbers on its diagonal that are not negative.

    Raises
    ------
    ValueError
        Other dimensions; fewer rows than columns; NaN or infinity in `a`.
    TypeError
        Other dtypes.

    Notes
    -----
    CholeskyQR2 [1]_: the Cholesky factor of the Gram matrix is R, and Q comes from solving with it,
    twice over, which is a few products of tall matrices. How orthogonal the first Q is, is
    measured. Where that is not enough, or the Cholesky factorization breaks down, the first
    factorizations are shifted, and there are more of them [2]_. Columns that depend on those before
    them, zero columns say, get columns of Q that are orthogonal to all others and otherwise random.
    Then Q R is compared with `a`; should anything be missing, LAPACK's Householder factors are
    taken, whose Q is made orthonormal to rounding in the same way.

    ``norm(Q.T @ Q - 1)`` is at most ``10 * eps * sqrt(n)``. Columns may differ in size by any
    factor: they are scaled by powers of 2.

    References
    ----------
    .. [1] Yamamoto, Nakatsukasa, Yanagisawa and Fukaya, "Roundoff error analysis of the CholeskyQR2
       algorithm", Electronic Transactions on Numerical Analysis 44, 2015.
    .. [2] Fukaya, Kannan, Nakatsukasa, Yamamoto and Yanagisawa, "Shifted Cholesky QR for computing
       the QR factorization of ill-conditioned matrices", SIAM J. Sci. Comput. 42(1), 2020.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> q, r = fm.linalg.qr_tall(np.array([[3.0, 6.0], [4.0, 8.0], [0.0, 2.0]]))
    >>> r
    array([[ 5., 10.],
           [ 0.,  2.]])
    """
    array = floats_of(a, "a")
    if array.ndim != 2 or array.shape[0] < array.shape[1]:
        raise ValueError(
            f"a has shape {array.shape}; qr_tall wants (m, n) with at least as many rows as columns"
        )
    n = array.shape[1]
    q, r = np.empty(array.shape, array.dtype), np.empty((n, n), array.dtype)
    if n:
        from fastmat.cpu import qr_tall as kernels

        state = np.empty(1, np.int64)
        kernels.qr_tall.entry(array.dtype)(array, q, r, state)
        if state[0] == kernels.NOT_FINITE:
            raise ValueError("a has NaN or infinity in it; qr_tall wants finite numbers")
        if state[0] in (kernels.NOT_FOUND, kernels.NOT_EXPLAINED):
            first, upper = householder(array)
            kernels.qr_tall.entry(array.dtype)(first, q, r, state)
            r = signed(q, np.triu(matmul(r, upper)))
    return QR(like(q, a), like(r, a))


def householder(a: Array) -> tuple[Array, Array]:
    """LAPACK's factors, by the library that compiled code calls, too."""
    from scipy.linalg import qr

    q, r = qr(a, mode="economic", check_finite=False)
    return np.ascontiguousarray(q), np.ascontiguousarray(r)


def signed(q: Array, r: Array) -> Array:
    """R with a diagonal that is not negative; columns of q are turned as its rows are."""
    found = r.copy()
    least = r.real.dtype.type(np.finfo(r.real.dtype).tiny)
    for j in range(r.shape[0]):
        size = np.abs(r[j, j])
        if size > 0:
            phase = r[j, j] / size if size >= least else (r[j, j] / least) / (size / least)
            q[:, j] *= phase
            found[j] *= np.conj(phase)
            found[j, j] = size
    return found
