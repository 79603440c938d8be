"""What normalization and moments should compute, in plain NumPy. Never imports fastmat.

All is computed in long double, in two passes: mean, then the mean of squared deviations. Each
oracle also returns what the bounds in `tolerances` need. Where long double is no wider than
double, the room in the bounds takes in the rounding of the oracle.
"""

from typing import NamedTuple

import numpy as np
from oracles import BFLOAT16, widen

WIDE = np.longdouble
_QUIET = {"invalid": "ignore", "divide": "ignore", "over": "ignore", "under": "ignore"}


class Normal(NamedTuple):
    """A reference result; all arrays broadcast against the result.

    The result is ``(x - mean) * rstd * weight + bias``.
    """

    value: np.ndarray  # in long double
    scaled: np.ndarray  # |value - bias|
    mean: np.ndarray
    rstd: np.ndarray  # 1 / sqrt(variance + eps)
    size: np.ndarray  # mean of |x| of the group, or |mean| where the mean is given
    weight: np.ndarray
    bias: np.ndarray  # weight and bias are absolute values
    n: int  # numbers in a group; 0 where the statistics are given
    dtype: np.dtype  # of the result


class Scaled(NamedTuple):
    """A reference result of `normalize`."""

    value: np.ndarray
    n: int
    dtype: np.dtype


class Moments(NamedTuple):
    """Reference mean and variance, with their dtypes and the mean of |x|."""

    mean: np.ndarray
    variance: np.ndarray
    size: np.ndarray
    n: int
    dtypes: tuple


def result_dtype(x):
    """Floating and complex dtypes stay; integers and bool count as float64."""
    dtype = np.asarray(x).dtype
    return np.dtype("f8") if dtype.kind in "biu" else dtype.newbyteorder("=")


def wide(x):
    """The array in long double, or in its complex twin."""
    x = np.asarray(x)
    x = widen(x, result_dtype(x)).reshape(x.shape)
    return x.astype(np.clongdouble if x.dtype.kind == "c" else WIDE)


def axes_of(axis, ndim):
    """Axes as a tuple of numbers from 0; None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    axis = (axis,) if np.ndim(axis) == 0 else axis
    return tuple(int(a) % ndim for a in axis)


def _count(shape, axes):
    return int(np.prod([shape[a] for a in axes], dtype=int))


def _mean(x, axes):
    n = _count(x.shape, axes)
    total = np.sum(x, axis=axes, keepdims=True)
    with np.errstate(**_QUIET):
        return total / WIDE(n)


def _statistics(x, axes):
    """Mean, biased variance and mean of |x|, with length 1 along the axes."""
    with np.errstate(**_QUIET):
        mean = _mean(x, axes)
        # Numbers that are all equal have the variance 0, whatever the rounding of their mean.
        variance = _mean(_square(x - mean), axes)
        if x.size:
            first = x[tuple(slice(0, 1) if a in axes else slice(None) for a in range(x.ndim))]
            equal = np.all(x == first, axis=axes, keepdims=True)
            mean, variance = np.where(equal, first, mean), np.where(equal, 0, variance)
        return mean, variance, _mean(np.abs(x), axes)


def _square(x):
    return x.real**2 + x.imag**2 if x.dtype.kind == "c" else x * x


def _apply(x, mean, rstd, weight, bias):
    """The result, and its absolute value without the bias."""
    with np.errstate(**_QUIET):
        value = (x - mean) * rstd
        value = value if weight is None else value * weight
        return value if bias is None else value + bias, np.abs(value)


def _rstd(variance, eps):
    with np.errstate(**_QUIET):
        return 1 / np.sqrt(variance + WIDE(eps))


def _normal(x, axes, weight, bias, eps, statistics=None):
    """Normalize over axes; weight and bias already broadcast against x."""
    value = wide(x)
    if statistics is None:
        mean, variance, size = _statistics(value, axes)
        n = _count(value.shape, axes)
    else:
        mean, variance = statistics
        size, n = np.abs(mean), 0
    rstd = _rstd(variance, eps)
    return Normal(
        *_apply(value, mean, rstd, weight, bias),
        mean,
        rstd,
        size,
        WIDE(1) if weight is None else np.abs(weight),
        WIDE(0) if bias is None else np.abs(bias),
        n,
        result_dtype(x),
    )


def _along(parameter, axes, ndim):
    """A parameter with the lengths of these axes, in order, to broadcast against x."""
    if parameter is None:
        return None
    parameter = np.transpose(wide(parameter), np.argsort(axes))
    return np.expand_dims(parameter, tuple(a for a in range(ndim) if a not in axes))


def _layer_axes(x, normalized_shape, axis):
    ndim = np.ndim(x)
    if axis is not None:
        return axes_of(axis, ndim)
    return tuple(range(ndim - len(np.atleast_1d(normalized_shape)), ndim))


def layer_norm(x, normalized_shape=None, weight=None, bias=None, eps=1e-5, *, axis=None):
    """`torch.nn.functional.layer_norm`, or the same over any axes."""
    axes, ndim = _layer_axes(x, normalized_shape, axis), np.ndim(x)
    return _normal(x, axes, _along(weight, axes, ndim), _along(bias, axes, ndim), eps)


def rms_norm(x, normalized_shape=None, weight=None, eps=None, *, axis=None):
    """`torch.nn.functional.rms_norm`, or the same over any axes; its mean is 0."""
    axes, ndim = _layer_axes(x, normalized_shape, axis), np.ndim(x)
    if eps is None:
        eps = machine_epsilon(result_dtype(x))
    value = wide(x)
    mean = np.zeros_like(_mean(value, axes))
    with np.errstate(**_QUIET):
        square = _mean(value * value, axes)
    normal = _normal(x, axes, _along(weight, axes, ndim), None, eps, (mean, square))
    return normal._replace(n=_count(value.shape, axes))


def machine_epsilon(dtype):
    """The distance from 1 to the next larger number of this dtype."""
    return 2.0**-7 if dtype == BFLOAT16 else float(np.finfo(dtype).eps)


def _channels(parameter, ndim):
    return _along(parameter, (1,), ndim)


def group_norm(x, num_groups, weight=None, bias=None, eps=1e-5):
    """`torch.nn.functional.group_norm`; statistics have the shape (N, num_groups)."""
    value, shape = wide(x), np.shape(x)
    grouped = value.reshape(
        shape[0], num_groups, shape[1] // num_groups, _count(shape, range(2, len(shape)))
    )
    normal = _normal(grouped, (2, 3), None, None, eps)
    per_channel = [
        np.broadcast_to(part, (*grouped.shape[:3], 1)).reshape(shape[:2] + (1,) * (len(shape) - 2))
        for part in (normal.mean, normal.rstd, normal.size)
    ]
    weight, bias = _channels(weight, len(shape)), _channels(bias, len(shape))
    return Normal(
        *_apply(value, *per_channel[:2], weight, bias),
        *per_channel,
        WIDE(1) if weight is None else np.abs(weight),
        WIDE(0) if bias is None else np.abs(bias),
        normal.n,
        result_dtype(x),
    )


def _running(running, new, momentum):
    return None if running is None else wide(running) * (1 - WIDE(momentum)) + momentum * new


def _channel_norm(x, axes, running, use_input, momentum, weight, bias, eps):
    """Batch and instance normalization: the result, and running statistics afterwards."""
    ndim = np.ndim(x)
    weight, bias = _channels(weight, ndim), _channels(bias, ndim)
    if not use_input:
        given = tuple(_channels(part, ndim) for part in running)
        return _normal(x, axes, weight, bias, eps, given), tuple(map(wide, running))
    normal = _normal(x, axes, weight, bias, eps)
    mean, variance, _ = _statistics(wide(x), axes)
    with np.errstate(**_QUIET):
        unbiased = variance * WIDE(normal.n) / WIDE(normal.n - 1)
    rest = tuple(a for a in range(ndim) if a != 1)
    new = (np.mean(part, axis=rest) for part in (mean, unbiased))
    return normal, tuple(_running(*pair, momentum) for pair in zip(running, new, strict=True))


def batch_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
):
    """`torch.nn.functional.batch_norm`: the result, and running statistics afterwards."""
    axes = tuple(a for a in range(np.ndim(x)) if a != 1)
    running = running_mean, running_var
    return _channel_norm(x, axes, running, training, momentum, weight, bias, eps)


def instance_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
):
    """`torch.nn.functional.instance_norm`: the result, and running statistics afterwards."""
    axes = tuple(range(2, np.ndim(x)))
    running = running_mean, running_var
    return _channel_norm(x, axes, running, use_input_stats, momentum, weight, bias, eps)


def normalize(x, ord=2, axis=-1, eps=1e-12):
    """`torch.nn.functional.normalize`, over one axis or several."""
    value = wide(x)
    axes = axes_of(axis, value.ndim)
    with np.errstate(**_QUIET):
        size = np.hypot(value.real, value.imag) if value.dtype.kind == "c" else np.abs(value)
        if ord == 1:
            norm = np.sum(size, axis=axes, keepdims=True)
        elif ord == 2:
            norm = np.sqrt(np.sum(size * size, axis=axes, keepdims=True))
        else:
            norm = np.max(size, axis=axes, keepdims=True, initial=0)
        value = value / np.where(np.isnan(norm), norm, np.maximum(norm, WIDE(eps)))
    return Scaled(value, _count(value.shape, axes), result_dtype(x))


def moments(x, axis=None, *, correction=0, keepdims=False):
    """`numpy.mean` and `numpy.var`."""
    value = wide(x)
    axes = axes_of(axis, value.ndim)
    n = _count(value.shape, axes)
    mean, variance, size = _statistics(value, axes)
    with np.errstate(**_QUIET):
        variance = variance * WIDE(n) / np.maximum(WIDE(n) - WIDE(correction), 0)
    parts = mean, variance, size
    if not keepdims:
        parts = tuple(np.squeeze(part, axis=axes) for part in parts)
    dtype = result_dtype(x)
    return Moments(
        *parts, n, (dtype, np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype)
    )


def standardize(x, axis=None, *, correction=0):
    """The mean subtracted, divided by the standard deviation; NaN where that is 0."""
    value = wide(x)
    axes = axes_of(axis, value.ndim)
    n = _count(value.shape, axes)
    mean, variance, size = _statistics(value, axes)
    with np.errstate(**_QUIET):
        variance = variance * WIDE(n) / np.maximum(WIDE(n) - WIDE(correction), 0)
    normal = _normal(x, axes, None, None, 0, (mean, variance))
    return normal._replace(size=size, n=n)
