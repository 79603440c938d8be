"""Softmax, its logarithm, and the logarithm of a sum of exponentials."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array, like
from fastmat.core.checks import check_out
from fastmat.cpu.kinds import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX
from fastmat.ops.groups import normalized_axes
from fastmat.ops.statistics import delivered, entry_of, numbers_of, target_for, views_of


def softmax(x: Any, axis: Any = -1, *, out: Any = None) -> Any:
    """Exponentials that add up to 1 along an axis: ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    x
        Array-like of a floating dtype; integers and bool count as float64.
    axis
        The axis to add up along, an integer, a tuple or None for all axes.
    out
        Where to store the result; may be `x` itself, or overlap it.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ValueError, TypeError
        Axes out of range, or named twice; dtypes that are not real numbers.

    Notes
    -----
    The largest number is taken off first, so nothing overflows; sums are held in float64. A group
    with NaN or +inf gives NaN, and so does one that is -inf throughout, as in PyTorch.

    References
    ----------
    Blanchard, Higham and Higham, "Accurately computing the log-sum-exp and softmax functions",
    IMA Journal of Numerical Analysis 41(4), 2021.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.softmax(np.array([[1.0, 1.0], [0.0, 1000.0]]))
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    return _same_shape(x, axis, out, SOFTMAX)


def log_softmax(x: Any, axis: Any = -1, *, out: Any = None) -> Any:
    """Logarithm of `softmax`: ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    x, axis, out
        As `softmax`.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ValueError, TypeError
        As `softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    return _same_shape(x, axis, out, LOG_SOFTMAX)


def logsumexp(x: Any, axis: Any = -1, *, keepdims: bool = False, out: Any = None) -> Any:
    """Logarithm of the sum of exponentials along an axis: ``log(sum(exp(x)))``.

    Parameters
    ----------
    x, axis
        As `softmax`.
    keepdims
        Whether reduced axes stay, with length 1.
    out
        Where to store the result.

    Returns
    -------
    array or scalar of the dtype of `x`; -inf for an empty group, or one that is -inf throughout

    Raises
    ------
    ValueError, TypeError
        As `softmax`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.logsumexp(np.array([[0.0, 0.0], [1000.0, 0.0]])).round(3)
    array([6.93e-01, 1.00e+03])
    """
    array = numbers_of(x)
    axes = normalized_axes(axis, array.ndim)
    kept = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    shape = kept if keepdims else tuple(n for i, n in enumerate(array.shape) if i not in axes)
    destination = None if out is None else check_out(out, shape, array.dtype)
    result = np.full(kept, -np.inf, array.dtype)
    _compute(array, axes, result, LOGSUMEXP)
    if destination is None:
        return like(result.reshape(shape), x)
    np.copyto(destination, result.reshape(shape), casting="same_kind")
    return out


def _same_shape(x: Any, axis: Any, out: Any, kind: int) -> Any:
    array = numbers_of(x)
    axes = normalized_axes(axis, array.ndim)
    target = target_for(out, array, ())
    _compute(array, axes, target, kind)
    return delivered(target, out, x)


def _compute(array: Array, axes: tuple[int, ...], target: Array, kind: int) -> None:
    if array.size:
        entry = entry_of("softmax", "softmax", array.dtype)
        for views in views_of(axes, [array], [target]):
            entry(*views, kind)
