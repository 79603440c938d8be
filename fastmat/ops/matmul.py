"""Products of matrices and vectors: NumPy's semantics on kernels for every dtype."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmat.core.arrays import Array
from fastmat.core.devices import any_on_gpu, twin
from fastmat.core.dtypes import DType
from fastmat.ops.products import check_lengths, check_ranks, into, matrices, operands
from fastmat.ops.programmed import programmed
from fastmat.ops.stacks import each_stack

Entries = dict[Any, Callable[..., None]]  # of a kernel that is loaded, by dtype

_products: Entries = {}
_dots: Entries = {}
_ndarray, _empty, _new = np.ndarray, np.empty, np.newaxis


def matmul(
    x1: Any,
    x2: Any,
    /,
    out: Any = None,
    *,
    dtype: Any = None,
    semiring: Any = None,
    mask: Any = None,
    fill: Any = 0,
    epilogue: Any = None,
    epilogue_args: tuple[Any, ...] = (),
) -> Any:
    """Matrix product of two arrays, as `numpy.matmul`, or of your own making.

    Parameters
    ----------
    x1, x2
        Array-likes, not scalars: ``(..., m, k)`` and ``(..., k, n)``, whose leading axes
        broadcast; ``(k,)`` counts as ``(1, k)`` on the left and as ``(k, 1)`` on the right,
        and the added axis is removed from the result. Any strides; no operand is copied whole
        unless it is unaligned, byte-swapped or of another dtype than the product.
    out
        Where to store the result, ``(..., m, n)``. It may overlap the inputs.
    dtype
        The dtype to compute in and to return; by default NumPy's promotion of both inputs.
    semiring
        What to add and multiply with, in place of ``+`` and ``*``: a name, such as "min_plus"
        (all of them are listed in :doc:`/api/matmul`), or a `Semiring`.
    mask
        Which entries of the result to compute: booleans that broadcast to it, or one of
        `fastmat.masks`. What is False is not computed, where a whole tile is False not even
        packed. A SciPy sparse matrix or array stands for its stored entries; the result is then
        sparse, too, of that format.
    fill
        What the entries that the mask leaves out are; None leaves those of `out` as they were.
    epilogue
        A scalar function that each computed entry is put through, in the accumulator's precision,
        while its tile is in the cache; or "relu", "gelu" or "silu".
    epilogue_args
        Arrays that broadcast to the result, whose entries the function gets after the product's:
        a row, a column, an ``np.arange(n)`` for the number of the column.

    Returns
    -------
    array ``(..., m, n)``
        In the library of the inputs: NumPy's, or that of the first input with ``__dlpack__``.

    Raises
    ------
    ValueError
        For scalars, shapes that do not fit, an `out` of the wrong shape or read-only, names that
        no semiring has, and a `fill` that the result cannot hold.
    TypeError
        For dtypes other than bool, integers, float16, bfloat16, float32, float64, complex64
        and complex128, where casting to `dtype` or to that of `out` is not of the same kind, and
        for functions that Numba cannot compile, with its reason.

    Notes
    -----
    float16 and bfloat16 are summed in float32 and rounded once; integers wrap around; a product
    of booleans is the or of ands. Floating-point results obey
    ``abs(error) <= 2 * k * eps * (abs(x1) @ abs(x2))`` and have the same bits for any number of
    threads and any memory layout. The algorithm is that of BLIS [1]_.

    References
    ----------
    .. [1] F. G. Van Zee and R. A. van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
       Functionality", ACM Transactions on Mathematical Software 41(3), 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> a = np.arange(6, dtype=np.int32).reshape(2, 3)
    >>> fm.matmul(a, a.T)
    array([[ 5, 14],
           [14, 50]], dtype=int32)
    >>> fm.matmul(np.ones((7, 2, 3)), np.ones(3)).shape
    (7, 2)

    The shortest ways of two steps, the entries on and below the diagonal, and a product of which
    each column is cut off somewhere:

    >>> steps = np.array([[0, 2, np.inf], [np.inf, 0, 3], [1, np.inf, 0]])
    >>> fm.matmul(steps, steps, semiring="min_plus")
    array([[0., 2., 5.],
           [4., 0., 3.],
           [1., 3., 0.]])
    >>> fm.matmul(a, a.T, mask=fm.masks.causal(2, 2))
    array([[ 5,  0],
           [14, 50]], dtype=int32)
    >>> fm.matmul(a, a.T, epilogue=min, epilogue_args=(np.array([10, 99]),))
    array([[ 5, 14],
           [10, 50]], dtype=int32)
    """
    if not semiring is mask is epilogue is None:
        if any_on_gpu(x1, x2, out):
            return twin(matmul)(
                x1, x2, out, dtype=dtype, semiring=semiring, mask=mask, fill=fill,
                epilogue=epilogue, epilogue_args=epilogue_args,
            )  # fmt: skip
        return programmed(x1, x2, out, dtype, semiring, mask, fill, epilogue, epilogue_args)
    product = _plain(_products, x1, x2) if dtype is None else None
    if product is not None:
        left, right = x1.shape, x2.shape
        if len(left) == 2 == len(right):
            if left[1] == right[0]:
                result = _plain_result(out, (left[0], right[1]), x1.dtype)
                if result is not None:
                    product(x1, x2, result, 1, 0, 0, 0)
                    return result
        else:
            result = _plain_vectors(product, x1, x2, out)
            if result is not None:
                return result
    if any_on_gpu(x1, x2, out):
        return twin(matmul)(x1, x2, out, dtype=dtype)
    a, b, result_dtype = operands(x1, x2, dtype)
    left, right, removed = matrices(a, b)
    return into(_multiply, left, right, removed, (x1, x2), result_dtype, out)


def _plain(entries: Entries, x1: Any, x2: Any) -> Callable[..., None] | None:
    """The entry of the kernel if both are arrays that it reads as they are, and if it is loaded."""
    if (
        type(x1) is _ndarray is type(x2)
        and x1.dtype is x2.dtype
        and x1.flags.aligned
        and x2.flags.aligned
    ):
        return entries.get(x1.dtype)
    return None


def _plain_result(out: Any, shape: tuple[int, ...], dtype: DType) -> Array | None:
    """A new array, or `out` if a kernel can write it as it is."""
    if out is None:
        return _empty(shape, dtype)
    if type(out) is _ndarray and out.dtype is dtype and out.shape == shape:
        flags = out.flags
        if flags.writeable and flags.aligned:
            return out
    return None


def _plain_vectors(product: Callable[..., None], x1: Array, x2: Array, out: Any) -> Array | None:
    """Matrix times vector or vector times matrix, where nothing has to be converted."""
    left, right = x1.shape, x2.shape
    if len(left) == 2 and right == left[1:]:
        result = _plain_result(out, left[:1], x1.dtype)
        if result is not None:
            product(x1, x2[:, _new], result[:, _new], 1, 0, 0, 0)
        return result
    if len(right) == 2 and left == right[:1]:
        result = _plain_result(out, right[1:], x1.dtype)
        if result is not None:
            product(x1[_new], x2, result[_new], 1, 0, 0, 0)
        return result
    return None


def matvec(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None) -> Any:
    """Product of matrices and vectors, as `numpy.matvec`.

    Parameters
    ----------
    x1
        Matrices ``(..., m, k)``.
    x2
        Vectors ``(..., k)``.
    out
        Where to store the result, ``(..., m)``. It may overlap the inputs.
    dtype
        The dtype to compute in and to return; by default NumPy's promotion of both inputs.

    Returns
    -------
    array ``(..., m)``

    Raises
    ------
    ValueError, TypeError
        As `matmul`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.matvec(np.array([[1, 2], [3, 4]]), np.array([10, 1]))
    array([12, 34])
    """
    product = _plain(_products, x1, x2) if dtype is None else None
    if product is not None and x1.ndim == 2:
        result = _plain_vectors(product, x1, x2, out)
        if result is not None:
            return result
    if any_on_gpu(x1, x2, out):
        return twin(matvec)(x1, x2, out, dtype=dtype)
    a, b, result_dtype = operands(x1, x2, dtype)
    check_ranks("matvec", a, 2, b, 1)
    check_lengths(a, a.shape[-1], b, b.shape[-1])
    return into(_multiply, a, b[..., np.newaxis], [-1], (x1, x2), result_dtype, out)


def vecmat(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None) -> Any:
    """Product of vectors, complex conjugated, and matrices, as `numpy.vecmat`.

    Parameters
    ----------
    x1
        Vectors ``(..., k)``; their complex conjugates are taken.
    x2
        Matrices ``(..., k, n)``.
    out
        Where to store the result, ``(..., n)``. It may overlap the inputs.
    dtype
        The dtype to compute in and to return; by default NumPy's promotion of both inputs.

    Returns
    -------
    array ``(..., n)``

    Raises
    ------
    ValueError, TypeError
        As `matmul`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.vecmat(np.array([1j, 1]), np.array([[1, 2], [3, 4]]))
    array([3.-1.j, 4.-2.j])
    """
    product = _plain(_products, x1, x2) if dtype is None else None
    if product is not None and x1.ndim == 1 and x1.dtype.kind != "c":
        result = _plain_vectors(product, x1, x2, out)
        if result is not None:
            return result
    if any_on_gpu(x1, x2, out):
        return twin(vecmat)(x1, x2, out, dtype=dtype)
    a, b, result_dtype = operands(x1, x2, dtype)
    check_ranks("vecmat", a, 1, b, 2)
    check_lengths(a, a.shape[-1], b, b.shape[-2])
    row = np.conj(a) if a.dtype.kind == "c" else a
    return into(_multiply, row[..., np.newaxis, :], b, [-2], (x1, x2), result_dtype, out)


def vecdot(x1: Any, x2: Any, /, out: Any = None, *, axis: int = -1, dtype: Any = None) -> Any:
    """Dot products of vectors, the first complex conjugated, as `numpy.vecdot`.

    Parameters
    ----------
    x1, x2
        Vectors of one length along `axis`; the other axes broadcast.
    out
        Where to store the result. It may overlap the inputs.
    axis
        The axis of the vectors.
    dtype
        The dtype to compute in and to return; by default NumPy's promotion of both inputs.

    Returns
    -------
    array or scalar
        The broadcast shape without `axis`.

    Raises
    ------
    ValueError, TypeError
        As `matmul`; `numpy.exceptions.AxisError` (a ValueError) for an `axis` out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.vecdot(np.array([[3, 4], [1, 0]]), np.array([3, 4]))
    array([25,  3])
    """
    dot = _plain(_dots, x1, x2) if out is None is dtype and _is_last(axis) else None
    if dot is not None and x1.ndim == 1 and x1.shape == x2.shape:
        result = _empty((1, 1), x1.dtype)
        dot(x1[_new], x2[:, _new], result, 1, 0, 0, 0)
        return result[0, 0]
    if any_on_gpu(x1, x2, out):
        return twin(vecdot)(x1, x2, out, axis=axis, dtype=dtype)
    a, b, result_dtype = operands(x1, x2, dtype)
    check_ranks("vecdot", a, 1, b, 1)
    try:
        last = operator.index(axis)
    except TypeError:
        raise TypeError(f"axis is {axis!r}; it must be an integer") from None
    a, b = np.moveaxis(a, last, -1), np.moveaxis(b, last, -1)
    check_lengths(a, a.shape[-1], b, b.shape[-1])
    left, right = a[..., np.newaxis, :], b[..., np.newaxis]
    return into(_dot, left, right, [-2, -1], (x1, x2), result_dtype, out)


def _is_last(axis: Any) -> bool:
    return type(axis) is int and axis == -1


def _entry(kernel: str, dtype: DType) -> Callable[..., None]:
    from fastmat.cpu import matmul as kernels

    entry: Callable[..., None] = getattr(kernels, kernel).entry(dtype)
    return entry


def _multiply(a: Array, b: Array, out: Array) -> None:
    product = _products.get(out.dtype)
    if product is None:
        product = _products[out.dtype] = _entry("matmul", out.dtype)
    if out.size:
        for run in each_stack(a, b, out):
            product(*run)


def _dot(a: Array, b: Array, out: Array) -> None:
    dot = _dots.get(out.dtype)
    if dot is None:
        dot = _dots[out.dtype] = _entry("vecdot", out.dtype)
    if out.size:
        for run in each_stack(a, b, out):
            dot(*run)
