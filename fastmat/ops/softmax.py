"""Softmax, its logarithm, the logarithm of a sum of exponentials, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmat.core.arrays import Array, as_array, like
from fastmat.core.checks import check_out
from fastmat.core.devices import also_on_gpu
from fastmat.cpu.kinds import (
    LOG_SOFTMAX,
    LOGSUMEXP,
    OF_LOG_SOFTMAX,
    OF_LOGSUMEXP,
    OF_SOFTMAX,
    SOFTMAX,
)
from fastmat.ops.differentiated import (
    cotangent_for,
    gradients,
    kept_shape,
    masked_gradients,
    no_weight,
    statistic,
    target_of_gradient,
    write,
)
from fastmat.ops.groups import normalized_axes
from fastmat.ops.statistics import (
    delivered,
    entry_of,
    mask_for,
    numbers_of,
    target_for,
    views_of,
)


@also_on_gpu
def softmax(x: Any, axis: Any = -1, *, mask: Any = None, out: Any = None) -> Any:
    """Exponentials that add up to 1 along an axis: ``exp(x) / sum(exp(x))``.

    Parameters
    ----------
    x
        Array-like of a floating dtype; integers and bool count as float64.
    axis
        The axis to add up along, an integer, a tuple or None for all axes.
    mask
        bool, broadcastable to `x`: True for the numbers that count. The others get 0, whatever
        they are, and all of a group get 0 where none counts.
    out
        Where to store the result; may be `x` itself, or overlap it.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ValueError, TypeError
        Axes out of range, or named twice; dtypes that are not real numbers; a mask that is not
        bool, or does not broadcast to `x`.

    Notes
    -----
    The largest number is taken off first, so nothing overflows; sums are held in float64. A group
    with NaN or +inf gives NaN, and so does one that is -inf throughout, as in PyTorch.

    The mask is read once, where it lies: it is not expanded to the shape of `x`, and no masked
    copy of `x` is made.

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
    >>> fm.softmax([1.0, 1.0, np.nan], mask=[True, True, False])
    array([0.5, 0.5, 0. ])
    """
    return _same_shape(x, axis, mask, out, SOFTMAX)


@also_on_gpu
def log_softmax(x: Any, axis: Any = -1, *, mask: Any = None, out: Any = None) -> Any:
    """Logarithm of `softmax`: ``x - log(sum(exp(x)))``.

    Parameters
    ----------
    x, axis, out
        As `softmax`.
    mask
        As `softmax`, but what does not count gets -inf.

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
    return _same_shape(x, axis, mask, out, LOG_SOFTMAX)


@also_on_gpu
def logsumexp(
    x: Any, axis: Any = -1, *, mask: Any = None, keepdims: bool = False, out: Any = None
) -> Any:
    """Logarithm of the sum of exponentials along an axis: ``log(sum(exp(x)))``.

    Parameters
    ----------
    x, axis
        As `softmax`.
    mask
        bool, broadcastable to `x`: True for the numbers that count.
    keepdims
        Whether reduced axes stay, with length 1.
    out
        Where to store the result.

    Returns
    -------
    array or scalar of the dtype of `x`; -inf for an empty group, or one of
    which no number counts, or that is -inf throughout

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
    kept_numbers = None if mask is None else mask_for(mask, array)
    kept = tuple(1 if i in axes else n for i, n in enumerate(array.shape))
    shape = kept if keepdims else tuple(n for i, n in enumerate(array.shape) if i not in axes)
    destination = None if out is None else check_out(out, shape, array.dtype)
    result = np.full(kept, -np.inf, array.dtype)
    _compute(array, axes, kept_numbers, result, LOGSUMEXP)
    if destination is None:
        return like(result.reshape(shape), x)
    np.copyto(destination, result.reshape(shape), casting="same_kind")
    return out


@also_on_gpu
def softmax_vjp(
    cotangent: Any, result: Any, axis: Any = -1, *, mask: Any = None, out: Any = None
) -> Any:
    """Gradient of `softmax`: ``result * (cotangent - sum(cotangent * result))``.

    Parameters
    ----------
    cotangent
        The gradient by the result, of its shape.
    result
        What `softmax` returned.
    axis
        As it was given to `softmax`.
    mask
        As it was given to `softmax`. Gradients of what is masked are 0, whatever the cotangent
        is there.
    out
        Where to store the gradient; may be either array, or overlap it.

    Returns
    -------
    array of the shape and dtype of `result`

    Raises
    ------
    ValueError, TypeError
        Shapes that do not fit; axes out of range; dtypes that are not real numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.softmax_vjp([1.0, 0.0], fm.softmax([0.0, 0.0]))
    array([ 0.25, -0.25])
    """
    return _softmax_vjp(OF_SOFTMAX, cotangent, result, axis, mask, out)


@also_on_gpu
def log_softmax_vjp(
    cotangent: Any, result: Any, axis: Any = -1, *, mask: Any = None, out: Any = None
) -> Any:
    """Gradient of `log_softmax`: ``cotangent - exp(result) * sum(cotangent)``.

    Parameters
    ----------
    cotangent, result, axis, mask, out
        As `softmax_vjp`.

    Returns
    -------
    array of the shape and dtype of `result`

    Raises
    ------
    ValueError, TypeError
        As `softmax_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.log_softmax_vjp([1.0, 0.0], fm.log_softmax([0.0, 0.0]))
    array([ 0.5, -0.5])
    """
    return _softmax_vjp(OF_LOG_SOFTMAX, cotangent, result, axis, mask, out)


def _softmax_vjp(kind: int, cotangent: Any, result: Any, axis: Any, mask: Any, out: Any) -> Any:
    array = numbers_of(result, name="result")
    g = cotangent_for(cotangent, array)
    axes = normalized_axes(axis, array.ndim)
    kept = None if mask is None else mask_for(mask, array, "result")
    target = target_of_gradient(out, array, g, [] if kept is None else [kept])
    shape = kept_shape(array, axes)
    statistics = np.zeros(shape), np.ones(shape)
    weight = no_weight(array)
    if kept is None:
        gradients(g, array, axes, weight, statistics, target, kind, False)
    else:
        masked_gradients(g, array, kept, axes, weight, statistics, target, kind, False)
    return delivered(target, out, result)


@also_on_gpu
def logsumexp_vjp(
    cotangent: Any,
    x: Any,
    result: Any,
    axis: Any = -1,
    *,
    mask: Any = None,
    keepdims: bool = False,
    out: Any = None,
) -> Any:
    """Gradient of `logsumexp`: ``cotangent * exp(x - result)``.

    Parameters
    ----------
    cotangent
        The gradient by the result, of its shape.
    x
        What the exponentials were of.
    result
        What `logsumexp` returned.
    axis, mask, keepdims
        As they were given to it. Gradients of what is masked are 0.
    out
        Where to store the gradient; may be `x` itself, or overlap any argument.

    Returns
    -------
    array of the shape and dtype of `x`

    Raises
    ------
    ValueError, TypeError
        As `softmax_vjp`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.logsumexp_vjp(1.0, [0.0, 0.0], fm.logsumexp([0.0, 0.0]))
    array([0.5, 0.5])
    """
    array = numbers_of(x)
    axes = normalized_axes(axis, array.ndim)
    kept = kept_shape(array, axes)
    shape = kept if keepdims else tuple(n for i, n in enumerate(array.shape) if i not in axes)
    parts = []
    for given, name in ((cotangent, "cotangent"), (result, "result")):
        part = as_array(given, name)
        part = part.astype(np.float64) if part.dtype.kind in "biu" else part
        parts.append(statistic(part, name, shape, kept))
    g = np.broadcast_to(parts[0].astype(array.dtype), array.shape)
    kept_numbers = None if mask is None else mask_for(mask, array)
    others = parts if kept_numbers is None else [*parts, kept_numbers]
    target = target_of_gradient(out, array, g, others)
    if array.size:
        nothing = np.zeros(kept)
        statistics = parts[1], np.ones(kept)
        flow = nothing, nothing
        how = OF_LOGSUMEXP, kept_numbers
        write(g, array, axes, no_weight(array), statistics, flow, target, *how)
    return delivered(target, out, x)


def _same_shape(x: Any, axis: Any, mask: Any, out: Any, kind: int) -> Any:
    array = numbers_of(x)
    axes = normalized_axes(axis, array.ndim)
    kept = None if mask is None else mask_for(mask, array)
    target = target_for(out, array, (kept,))
    _compute(array, axes, kept, target, kind)
    return delivered(target, out, x)


def _compute(
    array: Array, axes: tuple[int, ...], mask: Array | None, target: Array, kind: int
) -> None:
    if array.size:
        name, inputs = ("softmax", [array]) if mask is None else ("masked_softmax", [array, mask])
        entry = entry_of("softmax", name, array.dtype)
        for views in views_of(axes, inputs, [target]):
            entry(*views, kind)
