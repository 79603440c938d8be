"""Means and variances, and numbers standardized by them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from fastmat.core.arrays import Array, like
from fastmat.core.devices import also_on_gpu
from fastmat.cpu.kinds import MOMENTS
from fastmat.ops.groups import normalized_axes
from fastmat.ops.statistics import (
    apply_statistics,
    delivered,
    mask_for,
    masked_moments,
    measured,
    no_parameters,
    number,
    numbers_of,
    target_for,
)


class Moments(NamedTuple):
    """Mean and variance."""

    mean: Any
    variance: Any


@also_on_gpu
def moments(
    x: Any, axis: Any = None, *, correction: float = 0, mask: Any = None, keepdims: bool = False
) -> Any:
    """Mean and variance, in one pass over memory.

    Parameters
    ----------
    x
        Array-like of any real or complex dtype; integers and bool count as float64.
    axis
        The axis, or axes, to reduce; by default all of them.
    correction
        What is subtracted from the number of values before the sum of squares is divided by it:
        0 for the population's variance, 1 for the unbiased one of a sample.
    mask
        bool, broadcastable to `x`: True for the numbers that count, as in ``where=`` of
        `numpy.mean`. Of groups without such a number, mean and variance are NaN.
    keepdims
        Whether reduced axes stay, with length 1.

    Returns
    -------
    named tuple ``(mean, variance)``, in the dtype that `numpy.mean` and `numpy.var` return

    Raises
    ------
    ValueError, TypeError
        Axes out of range, or named twice; dtypes that are not numbers; a mask that is not bool,
        or does not broadcast to `x`.

    Notes
    -----
    Differences from `numpy.var`: sums are held in float64 whatever the dtype, deviations are
    taken from the mean of a piece that stays in the cache, and pieces are combined in an order
    that depends on shape and memory layout alone [1]_. So the variance of float32 numbers is
    right to about 1e-7 of itself even where the mean is 10,000 times the standard deviation, and
    sums of squares do not overflow below 1e150.

    References
    ----------
    .. [1] Chan, Golub and LeVeque, "Algorithms for computing the sample variance: analysis and
       recommendations", The American Statistician 37(3), 1983.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.moments(np.array([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    Moments(mean=array([2., 4.]), variance=array([1., 4.]))
    >>> fm.moments([[1.0, 3.0, np.nan]], axis=1, mask=[True, True, False])
    Moments(mean=array([2.]), variance=array([1.]))
    """
    array = numbers_of(x, complex_too=True)
    axes = normalized_axes(axis, array.ndim)
    kept = None if mask is None else mask_for(mask, array)
    mean, total, count = _measured(array, axes, kept)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = total / np.maximum(count - number(correction, "correction"), 0)
    if not keepdims:
        shape = [n for i, n in enumerate(array.shape) if i not in axes]
        mean, variance = mean.reshape(shape), variance.reshape(shape)
    with np.errstate(over="ignore"):  # of float16, as in NumPy
        mean = mean.astype(array.dtype, copy=False)
        variance = variance.astype(array.real.dtype, copy=False)
    return Moments(like(mean, x), like(variance, x))


@also_on_gpu
def standardize(x: Any, axis: Any = None, *, correction: float = 0, out: Any = None) -> Any:
    """Subtract the mean and divide by the standard deviation.

    Parameters
    ----------
    x
        Array-like of a real dtype; integers and bool count as float64.
    axis
        The axis, or axes, that means and deviations extend over; by default all of them.
    correction
        As in `moments`.
    out
        Where to store the result; may be `x` itself, or overlap it.

    Returns
    -------
    array of the shape and dtype of `x`; NaN where all numbers of a group are equal

    Raises
    ------
    ValueError, TypeError
        As `moments`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmat as fm
    >>> fm.standardize(np.array([1.0, 2.0, 3.0]), correction=1)
    array([-1.,  0.,  1.])
    """
    array = numbers_of(x)
    axes = normalized_axes(axis, array.ndim)
    mean, total, count = _measured(array, axes)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = total / max(count - number(correction, "correction"), 0)
        factor = 1 / np.sqrt(variance)
    target = target_for(out, array, ())
    apply_statistics(array, axes, no_parameters(array), target, mean, factor)
    return delivered(target, out, x)


def _measured(
    array: Array, axes: tuple[int, ...], mask: Array | None = None
) -> tuple[Array, Array, Any]:
    """Mean, sum of squares of deviations from it, and how many numbers they are of."""
    if array.dtype.kind == "c":
        real, real_total, count = _measured(array.real, axes, mask)
        imaginary, imaginary_total, _ = _measured(array.imag, axes, mask)
        return real + 1j * imaginary, real_total + imaginary_total, count
    if mask is not None:
        return masked_moments(array, mask, axes)
    return *measured(array, axes, MOMENTS), math.prod(array.shape[i] for i in axes)
