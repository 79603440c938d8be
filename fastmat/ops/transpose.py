"""Transposed copies: any permutation of axes, any dtype of 1, 2, 4, 8 or 16 bytes."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like
from fastmat.core.checks import check_out
from fastmat.core.devices import on_gpu, twin
from fastmat.core.dtypes import ITEM_SIZES, DType, movable, unmovable

AXES = 8  # of the arrays that kernels take

_Kernel = tuple[Callable[..., None], tuple[int, ...]]  # entry point, tuning

_assign_kernels: dict[DType, _Kernel] = {}
_ndarray = np.ndarray
_padding = [(np.newaxis,) * (AXES - ndim) for ndim in range(AXES + 1)]


def transpose(x: Any, axes: Sequence[int] | int | None = None, out: Any = None) -> Any:
    """Array with its axes permuted, as `numpy.transpose`, but always a new array.

    Parameters
    ----------
    x
        Array-like of any shape and strides, with items of 1, 2, 4, 8 or 16 bytes.
    axes
        A permutation of the axes of `x`, which may count from the end: axis ``i`` of the result
        is axis ``axes[i]`` of `x`. By default all axes in reverse.
    out
        Where to store the result. It may overlap `x` in any way; ``out=x`` transposes a square
        matrix in place.

    Returns
    -------
    array
        C-contiguous, in the library of `x`, or `out`. The dtype is that of `x`.

    Raises
    ------
    ValueError
        If `axes` is not a permutation of the axes of `x`, and for an `out` of the wrong shape or
        read-only.
    TypeError
        If items of `x` have another size or are Python objects, and for an `out` of another
        dtype.

    See Also
    --------
    matrix_transpose : Exchange the last two axes.

    Notes
    -----
    Items are moved as bits, so that NaN payloads and byte order are kept. Blocks of tiles are
    transposed in registers; results larger than a quarter of the last-level cache are written
    past the caches.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.arange(6).reshape(2, 3)
    >>> fm.transpose(x)
    array([[0, 3],
           [1, 4],
           [2, 5]])
    >>> images = np.zeros((16, 32, 24, 3), np.uint8)
    >>> fm.transpose(images, (0, 3, 1, 2)).shape
    (16, 3, 32, 24)
    """
    if type(x) is _ndarray:
        a = x
    elif on_gpu(x):
        return twin(transpose)(x, axes, out)
    else:
        a = as_array(x, "x")
    order = _reverse(a.ndim) if axes is None else permutation(axes, a.ndim)
    return _permuted(x, a, order, out)


def matrix_transpose(x: Any, /, out: Any = None) -> Any:
    """Array with its last two axes exchanged, as `numpy.matrix_transpose`, but always a new one.

    Parameters
    ----------
    x
        Array-like ``(..., m, n)`` of any strides, with items of 1, 2, 4, 8 or 16 bytes.
    out
        Where to store the result. It may overlap `x` in any way; ``out=x`` transposes square
        matrices in place.

    Returns
    -------
    array ``(..., n, m)``
        C-contiguous, in the library of `x`, or `out`. The dtype is that of `x`.

    Raises
    ------
    ValueError
        If `x` has fewer than two axes, and for an `out` of the wrong shape or read-only.
    TypeError
        If items of `x` have another size or are Python objects, and for an `out` of another
        dtype.

    See Also
    --------
    transpose : Permute all axes.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    >>> fm.matrix_transpose(x)
    array([[[1, 3],
            [2, 4]],
    <BLANKLINE>
           [[5, 7],
            [6, 8]]])
    >>> fm.matrix_transpose(x, out=x) is x
    True
    """
    if type(x) is _ndarray:
        a = x
    elif on_gpu(x):
        return twin(matrix_transpose)(x, out)
    else:
        a = as_array(x, "x")
    n = a.ndim
    if n < 2:
        raise ValueError(f"x has shape {a.shape}; matrix_transpose wants 2 or more dimensions")
    return _permuted(x, a, (*range(n - 2), n - 1, n - 2), out)


def _reverse(ndim: int) -> tuple[int, ...]:
    return (1, 0) if ndim == 2 else tuple(range(ndim - 1, -1, -1))


def permutation(axes: Sequence[int] | int, ndim: int) -> tuple[int, ...]:
    """Check the axes, and count them from 0."""
    try:
        given = [operator.index(axis) for axis in (axes if np.iterable(axes) else (axes,))]
    except TypeError:
        raise TypeError(f"axes is {axes!r}; it must consist of integers") from None
    order = tuple(axis + ndim if axis < 0 else axis for axis in given)
    if sorted(order) != list(range(ndim)):
        raise ValueError(
            f"axes is {tuple(given)}; for x of {ndim} dimensions it must be a permutation of "
            f"{tuple(range(ndim))}"
        )
    return order


def _permuted(x: Any, a: Array, order: tuple[int, ...], out: Any) -> Any:
    """Copy with this order of axes, to a new array like x or to out."""
    dtype = a.dtype
    kernel = _assign_kernels.get(dtype)
    if kernel is None:
        kernel = _assign_kernels[dtype] = _load(dtype)
    if out is None:
        view = a.transpose(order)
        result = np.empty(view.shape, dtype)
        _assign(kernel, view, result)
        return result if type(x) is _ndarray else _returned(result, x)
    if type(out) is not _ndarray and on_gpu(out):
        return twin(transpose)(x, order, out)
    target = check_out(out, tuple(a.shape[axis] for axis in order), dtype, casting="no")
    if not np.may_share_memory(a, target):
        _assign(kernel, a.transpose(order), target)
    elif not _exchanged(a, target, order):
        _assign(kernel, a.copy().transpose(order), target)
    return out


def _returned(result: Array, x: Any) -> Any:
    """Return it in the library of x; NumPy's own stays an array even without axes."""
    converted = like(result, x)
    return result if isinstance(converted, np.generic) else converted


def copy_items(src: Array, dst: Array) -> None:
    """dst[...] = src, of one shape and dtype, in other memory."""
    _assign(_assign_kernels.get(src.dtype) or _load(src.dtype), src, dst)


def _assign(kernel: _Kernel, src: Array, dst: Array) -> None:
    """dst[...] = src."""
    ndim = src.ndim
    if ndim > AXES:
        for index in np.ndindex(src.shape[:-AXES]):
            _assign(kernel, src[index], dst[index])
        return
    if ndim > 1 and src.strides[-1] == src.itemsize == dst.strides[-1]:
        run = src.shape[-1] * src.itemsize
        if run in ITEM_SIZES and run > src.itemsize:  # short rows that stay rows move as one item
            item = np.dtype((np.void, run))
            kernel, src, dst = _load(item), src.view(item), dst.view(item)
    entry, tuning = kernel
    padding = _padding[ndim]
    entry(src[padding], dst[padding], *tuning)


def _load(dtype: DType) -> _Kernel:
    """Find the kernel that moves items of this dtype."""
    if not movable(dtype):
        raise unmovable("x", dtype)
    from fastmat.cpu.blocking_transpose import tuning
    from fastmat.cpu.strides import BITS
    from fastmat.cpu.transpose import assign

    return assign.entry(np.dtype(BITS[dtype.itemsize].name)), tuning(dtype.itemsize)


def _exchanged(a: Array, target: Array, order: tuple[int, ...]) -> bool:
    """Transpose in place, if target is `a` itself and two of its axes are to change places."""
    moved = [axis for axis, source in enumerate(order) if axis != source]
    same = (
        target.__array_interface__["data"][0] == a.__array_interface__["data"][0]
        and target.strides == a.strides
        and 0 not in a.strides
    )
    if not same or len(moved) != 2 or a.ndim > AXES:
        return False
    from fastmat.cpu.blocking_transpose import SQUARE, tuning
    from fastmat.cpu.strides import BITS
    from fastmat.cpu.transpose_square import transpose_in_place

    size = a.itemsize
    squares = target.transpose([axis for axis in order if axis not in moved] + moved)
    entry = transpose_in_place.entry(np.dtype(BITS[size].name))
    entry(squares[_padding[a.ndim]], tuning(size).parallel, SQUARE)
    return True
