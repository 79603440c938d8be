"""Products of a matrix with its own transpose: the Gram matrix, and a step of power iteration."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import as_array, native
from fastmat.core.checks import check_out
from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import kernel_name, unsupported
from fastmat.ops.factors import delivered, floats_of, result_for
from fastmat.ops.stacks import each_stack


@also_on_gpu
def gram(a: Any, /, out: Any = None) -> Any:
    """Gram matrix of the columns: ``aᴴ a``, for half the work of a product.

    Parameters
    ----------
    a
        Matrices ``(..., m, n)`` of any dtype, with any strides.
    out
        Where to store the result, ``(..., n, n)``. It may overlap `a`.

    Returns
    -------
    array ``(..., n, n)``
        Of the dtype of `a`: symmetric, for complex numbers Hermitian, to the last bit.

    Raises
    ------
    ValueError
        For arrays of less than two dimensions, and an `out` of the wrong shape or read-only.
    TypeError
        For dtypes other than those of `fastmat.matmul`, and an `out` that the result cannot be
        cast to.

    Notes
    -----
    Only tiles that reach the diagonal, or lie below it, are computed: this is BLAS's rank-k
    update. What `fastmat.matmul` says about rounding, integers and booleans holds here, too. Sums
    over many rows are split by the shape alone, so the bits do not depend on the threads.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.linalg.gram(np.array([[1, 2], [3, 4], [5, 6]]))
    array([[35, 44],
           [44, 56]])
    """
    array = as_array(a, "a")
    if kernel_name(array.dtype) is None:
        raise unsupported("a", array.dtype)
    if array.ndim < 2:
        raise ValueError(f"a has shape {array.shape}; gram wants 2 or more dimensions")
    array = native(array)
    n = array.shape[-1]
    shape = (*array.shape[:-2], n, n)
    target = None if out is None else check_out(out, shape, array.dtype)
    result = result_for(target, shape, array.dtype, array)
    if result.size:
        from fastmat.cpu.gram import gram as kernel

        entry = kernel.entry(array.dtype)
        for x, _, c, count, step, _, c_step in each_stack(array, array, result):
            entry(x, c, count, step, c_step)
    return delivered(result, target, out, a)


@also_on_gpu
def power_step(a: Any, q: Any, /, out: Any = None) -> Any:
    """One step of power iteration, ``aᴴ (a q)``, in one pass over `a`.

    Parameters
    ----------
    a
        A matrix ``(m, n)`` of float32, float64, complex64 or complex128; integers and bool count
        as float64.
    q
        A matrix ``(n, l)``, of few columns.
    out
        Where to store the result. It may overlap the inputs.

    Returns
    -------
    array ``(n, l)``, of the promoted dtype

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; other dtypes; an `out` that cannot take the result.

    Notes
    -----
    A block of rows of `a` is multiplied with `q`, and its conjugate transpose with the result,
    while it is in the cache. So `a` is read from memory once, where two products read it twice.

    Rounding is that of the two products:
    ``abs(error) <= 2 * (m + n) * eps * abs(a).T @ (abs(a) @ abs(q))``.

    References
    ----------
    Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 53(2), 2011,
    algorithm 4.4.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.linalg.power_step(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0], [0.0]]))
    array([[10.],
           [14.]])
    """
    left, right = floats_of(a, "a"), floats_of(q, "q")
    for name, x in (("a", left), ("q", right)):
        if x.ndim != 2:
            raise ValueError(f"{name} has shape {x.shape}; power_step wants 2 dimensions")
    if left.shape[1] != right.shape[0]:
        raise ValueError(
            f"a has shape {left.shape} and q has shape {right.shape}: "
            f"the columns of a, {left.shape[1]}, must be as many as the rows of q, {right.shape[0]}"
        )
    dtype = np.result_type(left.dtype, right.dtype)
    left, right = (x.astype(dtype, order="K", copy=False) for x in (left, right))
    target = None if out is None else check_out(out, right.shape, dtype)
    result = result_for(target, right.shape, dtype, left, right)
    if result.size:
        from fastmat.cpu.power_step import power_step as kernel

        kernel.entry(dtype)(left, right, result)
    return delivered(result, target, out, a, q)
