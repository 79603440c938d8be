"""Reductions of the numbers that a mask says are valid."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.devices import also_on_gpu
from fastmat.core.dtypes import DType
from fastmat.ops.masked_groups import (
    check_result,
    counted,
    extremes,
    masked,
    moments,
    result_of,
    scalar,
    sums,
)
from fastmat.ops.statistics import number


@also_on_gpu
def masked_sum(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = 0,
    out: Any = None,
) -> Any:
    """Sum of the valid numbers.

    Parameters
    ----------
    x
        Array-like of any dtype, or a `numpy.ma.MaskedArray`.
    mask
        Array-like of bool that broadcasts to `x`: True means valid, as ``where=`` of NumPy's
        reductions has it (in `numpy.ma` True means invalid). For a `numpy.ma.MaskedArray` it may
        be None; a number is valid if neither mask rules it out.
    axis
        The axis, or axes, to reduce; by default all of them.
    keepdims
        Whether reduced axes stay, with length 1.
    initial
        What the sum starts with.
    out
        Where to store the result; may overlap the arguments.

    Returns
    -------
    array or scalar of the dtype that `numpy.sum` returns; `initial` where nothing is valid. For a
    `numpy.ma.MaskedArray` one that is masked there.

    Raises
    ------
    ValueError, TypeError
        Shapes that do not broadcast; axes out of range, or named twice; a mask that is not bool;
        dtypes that are not numbers.

    Notes
    -----
    What is not valid has no influence, be it NaN or infinite, and where a whole chunk is invalid
    it is not even read. Floats are added up in float64, integers modulo 2**64.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> x = np.array([[1.0, np.nan], [3.0, 4.0]])
    >>> fm.masked_sum(x, x == x, axis=0)
    array([4., 4.])
    """
    found = masked(x, mask, axis)
    dtype = _sum_dtype(found.array.dtype)
    start = scalar(initial, dtype)
    check_result(out, found, keepdims, dtype)
    total, count = sums(found)
    with np.errstate(over="ignore", invalid="ignore"):
        total = total + start.astype(total.dtype)
    return result_of(total, count == 0, found, keepdims, dtype, out, x)


@also_on_gpu
def masked_mean(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """Mean of the valid numbers.

    Parameters
    ----------
    x, mask, axis, keepdims, out
        As `masked_sum`.

    Returns
    -------
    array or scalar of the dtype that `numpy.mean` returns; NaN where nothing is valid, without
    the warning of NumPy

    Raises
    ------
    ValueError, TypeError
        As `masked_sum`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_mean([[1.0, 2.0], [3.0, 8.0]], [[True, False], [True, True]], axis=1)
    array([1. , 5.5])
    """
    found = masked(x, mask, axis)
    dtype = _floating(found.array.dtype)
    check_result(out, found, keepdims, dtype)
    if found.array.dtype.kind in "iu" and found.array.dtype.itemsize == 8:
        mean, _, count = moments(found)  # a sum might wrap
    else:
        total, count = sums(found)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / count
    return result_of(mean, count == 0, found, keepdims, dtype, out, x)


@also_on_gpu
def masked_var(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    out: Any = None,
) -> Any:
    """Variance of the valid numbers, in one pass over memory.

    Parameters
    ----------
    x, mask, axis, keepdims, out
        As `masked_sum`.
    correction
        What is subtracted from the number of valid values before the sum of squares is divided
        by it, as in `moments`.

    Returns
    -------
    array or scalar of the dtype that `numpy.var` returns; NaN where nothing is valid, without the
    warning of NumPy

    Raises
    ------
    ValueError, TypeError
        As `masked_sum`.

    Notes
    -----
    Held in float64 and combined piece by piece, as `moments` are.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_var([1.0, 3.0, 99.0], [True, True, False])
    np.float64(1.0)
    """
    return _spread(x, mask, axis, keepdims, correction, out, False)


@also_on_gpu
def masked_std(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    correction: float = 0,
    out: Any = None,
) -> Any:
    """Standard deviation of the valid numbers.

    Parameters
    ----------
    x, mask, axis, keepdims, correction, out
        As `masked_var`.

    Returns
    -------
    array or scalar, see `masked_var`

    Raises
    ------
    ValueError, TypeError
        As `masked_sum`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_std([1.0, 5.0, 99.0], [True, True, False])
    np.float64(2.0)
    """
    return _spread(x, mask, axis, keepdims, correction, out, True)


@also_on_gpu
def masked_min(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    out: Any = None,
) -> Any:
    """Smallest valid number; NaN if there is one.

    Parameters
    ----------
    x
        Array-like of a real dtype, or a `numpy.ma.MaskedArray`.
    mask, axis, keepdims, out
        As `masked_sum`.
    initial
        The largest result there may be: what it is where nothing is valid. Needed only there
        (NumPy wants it with any ``where=``).

    Returns
    -------
    array or scalar of the dtype of `x`

    Raises
    ------
    ValueError
        Where nothing is valid and `initial` is not given, unless `x` is a
        `numpy.ma.MaskedArray`; otherwise as `masked_sum`.
    TypeError
        As `masked_sum`; complex numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_min([[3, 1], [5, 7]], [[True, False], [False, False]], axis=1, initial=9)
    array([3, 9])
    """
    return _extreme(x, mask, axis, keepdims, initial, out, False)


@also_on_gpu
def masked_max(
    x: Any,
    mask: Any,
    axis: Any = None,
    keepdims: bool = False,
    *,
    initial: Any = None,
    out: Any = None,
) -> Any:
    """Largest valid number; NaN if there is one.

    Parameters
    ----------
    x, mask, axis, keepdims, out
        As `masked_min`.
    initial
        The smallest result there may be, see `masked_min`.

    Returns
    -------
    array or scalar of the dtype of `x`

    Raises
    ------
    ValueError, TypeError
        As `masked_min`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_max([3, 8, 5], [True, False, True])
    np.int64(5)
    """
    return _extreme(x, mask, axis, keepdims, initial, out, True)


@also_on_gpu
def masked_argmin(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """Where the smallest valid number is; the first of several, or the first NaN.

    Parameters
    ----------
    x
        Array-like of a real dtype, or a `numpy.ma.MaskedArray`.
    mask, keepdims, out
        As `masked_sum`.
    axis
        An integer; by default the place is that in the flattened array.

    Returns
    -------
    array or scalar of integers: places along the axis, whether valid or not all are counted

    Raises
    ------
    ValueError
        Where nothing is valid, unless `x` is a `numpy.ma.MaskedArray`; otherwise as `masked_sum`.
    TypeError
        As `masked_min`; several axes.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_argmin([3.0, 1.0, 2.0], [True, False, True])
    np.int64(2)
    """
    return _place(x, mask, axis, keepdims, out, False)


@also_on_gpu
def masked_argmax(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """Where the largest valid number is; the first of several, or the first NaN.

    Parameters
    ----------
    x, mask, axis, keepdims, out
        As `masked_argmin`.

    Returns
    -------
    array or scalar of integers, see `masked_argmin`

    Raises
    ------
    ValueError, TypeError
        As `masked_argmin`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_argmax([3.0, 9.0, 7.0], [True, False, True])
    np.int64(2)
    """
    return _place(x, mask, axis, keepdims, out, True)


@also_on_gpu
def masked_count(
    x: Any, mask: Any, axis: Any = None, keepdims: bool = False, *, out: Any = None
) -> Any:
    """How many numbers are valid.

    Parameters
    ----------
    x, mask, axis, keepdims, out
        As `masked_sum`; the numbers of `x` are not read.

    Returns
    -------
    array or scalar of integers; for a `numpy.ma.MaskedArray` too, as from its `count`

    Raises
    ------
    ValueError, TypeError
        As `masked_sum`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.masked_count(np.zeros((2, 3)), [True, False, True], axis=1)
    array([2, 2])
    """
    found = masked(x, mask, axis)
    dtype = np.dtype(np.intp)
    check_result(out, found, keepdims, dtype)
    count = counted(found)
    plain = found._replace(from_masked_array=False)
    return result_of(count, count == 0, plain, keepdims, dtype, out, x)


def _spread(
    x: Any, mask: Any, axis: Any, keepdims: bool, correction: float, out: Any, root: bool
) -> Any:
    found = masked(x, mask, axis)
    dtype = _floating(found.array.dtype)
    dtype = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    less = number(correction, "correction")
    check_result(out, found, keepdims, dtype)
    _, total, count = moments(found)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = total / np.maximum(count - less, 0)
        spread = np.sqrt(spread) if root else spread
    missing = (count == 0) | (count <= less)
    return result_of(spread, missing, found, keepdims, dtype, out, x)


def _extreme(
    x: Any, mask: Any, axis: Any, keepdims: bool, initial: Any, out: Any, largest: bool
) -> Any:
    found = masked(x, mask, axis)
    dtype = found.array.dtype
    start = None if initial is None else scalar(initial, dtype)
    check_result(out, found, keepdims, dtype)
    value, _, count = extremes(found, largest, False)
    missing = count == 0
    if start is not None:
        with np.errstate(invalid="ignore"):
            better = (value > start) if largest else (value < start)
        chosen = (better | (value != value)) & ~missing & (start == start)
        value = np.where(chosen, value, start)
    elif missing.any() and not found.from_masked_array:
        name = "masked_max" if largest else "masked_min"
        raise ValueError(f"{name} of a slice where mask is False throughout: it needs initial=")
    return result_of(value, missing, found, keepdims, dtype, out, x)


def _place(x: Any, mask: Any, axis: Any, keepdims: bool, out: Any, largest: bool) -> Any:
    if isinstance(axis, tuple | list):
        raise TypeError(f"axis is {axis!r}; it must be an integer or None")
    found = masked(x, mask, axis)
    dtype = np.dtype(np.intp)
    check_result(out, found, keepdims, dtype)
    _, where, count = extremes(found, largest, True)
    missing = count == 0
    if missing.any() and not found.from_masked_array:
        name = "masked_argmax" if largest else "masked_argmin"
        raise ValueError(f"{name} of a slice where mask is False throughout: there is no place")
    return result_of(where, missing, found, keepdims, dtype, out, x)


def _sum_dtype(dtype: DType) -> DType:
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    return np.dtype(np.uint64) if dtype.kind == "u" else dtype.newbyteorder("=")


def _floating(dtype: DType) -> DType:
    return np.dtype(np.float64) if dtype.kind in "biu" else dtype
