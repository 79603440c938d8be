"""Gradients of normalization and softmax, in plain NumPy. Never imports fastmat.

Each is the derivative of `normal_oracles` and `softmax_oracles`, turned around: for a loss L with
the cotangent g = dL/d(result), it gives dL/dx and the like. All is computed in long double from
the statistics or results that are handed over, and comes with what `gradient_bounds` needs.
`test_gradient_oracles.py` holds them to differences of the forward oracles.
"""

from typing import NamedTuple

import normal_oracles
import numpy as np
from normal_oracles import WIDE, axes_of, result_dtype, wide

_QUIET = {"invalid": "ignore", "divide": "ignore", "over": "ignore", "under": "ignore"}


class Gradients(NamedTuple):
    """The gradients of a normalization; those of weight and bias are None without a weight.

    The forward operation is ``x̂ * weight + bias`` with ``x̂ = (x - mean) * rstd``. The other
    arrays are in a view of x that has the groups' numbers along axes of their own.
    """

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    g: np.ndarray  # |cotangent|
    scaled: np.ndarray  # |cotangent * weight|
    normal: np.ndarray  # |x̂|
    mean: np.ndarray  # |mean|
    rstd: np.ndarray
    axes: tuple  # of the numbers of a group; None where the statistics are constants
    rest: tuple  # over which the gradients of weight and bias are sums
    shape: tuple  # of x
    dtype: np.dtype  # of the gradient of x
    weight_dtype: np.dtype


class Scaled(NamedTuple):
    """The gradient of `normalize`, where ``y = x / size`` and ``size = max(norm, eps)``."""

    x: np.ndarray
    g: np.ndarray  # |cotangent|
    slope: np.ndarray  # |d norm / dx|
    total: np.ndarray  # sum of |g y| of the group
    mass: np.ndarray  # sum of |g| of the group
    size: np.ndarray
    n: int
    dtype: np.dtype


class Softmaxed(NamedTuple):
    """The gradient of softmax or one of its kin."""

    x: np.ndarray
    g: np.ndarray  # |cotangent|
    factor: np.ndarray  # the probability
    total: np.ndarray  # of which the gradient takes off a share: the sum of the absolute terms
    apart: np.ndarray  # |exponent|
    n: int
    dtype: np.dtype


def lengths(shape, axes):
    """How many numbers there are along these axes."""
    return int(np.prod([shape[a] for a in axes], dtype=int))


def _average(x, axes):
    return np.sum(x, axis=axes, keepdims=True) / WIDE(max(lengths(x.shape, axes), 1))


def converted(cotangent, x):
    """The cotangent in the dtype of x, in long double."""
    with np.errstate(**_QUIET):
        return wide(np.asarray(cotangent).astype(result_dtype(x)))


def _normal(g, x, mean, rstd, weight, view, along, axes, rest, centred=True):
    """Gradients of (x - mean) * rstd * weight + bias.

    `view` is the shape in which x is seen, `along` what brings statistics and weight to it. With
    h = g · weight the loss changes with x_j by h_j · rstd, and through the statistics: d mean/dx_j
    is 1/n and d rstd/dx_j is -rstd³ (x_j - mean)/n, so that

        dx_j = rstd · h_j - rstd · Σh/n - rstd³ (x_j - mean) · Σ h (x - mean) / n

    where Σ(x - mean), which d rstd/d mean has for a factor, is 0.
    """
    shape, dtype, weight_dtype = np.shape(x), result_dtype(x), None
    g, x = converted(g, x).reshape(view), wide(x).reshape(view)
    mean, rstd = along["statistics"](wide(mean)), along["statistics"](wide(rstd))
    if weight is not None:
        weight_dtype, weight_shape = result_dtype(weight), np.shape(weight)
        weight = along["weight"](wide(weight))
    with np.errstate(**_QUIET):
        normal = (x - mean) * rstd
        h = g if weight is None else g * weight
        inner = h
        if axes is not None:
            inner = inner - normal * _average(h * normal, axes)
            inner = inner - _average(h, axes) if centred else inner
        dx = (rstd * inner).reshape(shape)
        dweight = dbias = None
        if weight is not None:
            dweight = np.sum(g * normal, axis=rest).reshape(weight_shape)
            dbias = np.sum(g, axis=rest).reshape(weight_shape)
        return Gradients(
            dx,
            dweight,
            dbias,
            *(np.abs(part) for part in (g, h, normal, mean, rstd)),
            axes,
            rest,
            shape,
            dtype,
            weight_dtype,
        )


def _layer(g, x, mean, rstd, normalized_shape, weight, axis, centred):
    ndim = np.ndim(x)
    if axis is None:
        axes = tuple(range(ndim - len(np.atleast_1d(normalized_shape)), ndim))
    else:
        axes = tuple(sorted(axes_of(axis, ndim)))
    rest = tuple(a for a in range(ndim) if a not in axes)
    along = {"statistics": lambda s: s, "weight": lambda w: np.expand_dims(w, rest)}
    return _normal(g, x, mean, rstd, weight, np.shape(x), along, axes, rest, centred)


def layer_norm_vjp(cotangent, x, mean, rstd, normalized_shape=None, weight=None, *, axis=None):
    """The gradients of `normal_oracles.layer_norm`."""
    return _layer(cotangent, x, mean, rstd, normalized_shape, weight, axis, True)


def rms_norm_vjp(cotangent, x, rstd, normalized_shape=None, weight=None, *, axis=None):
    """The gradients of `normal_oracles.rms_norm`, whose mean is 0 and stays so."""
    return _layer(cotangent, x, np.zeros_like(rstd), rstd, normalized_shape, weight, axis, False)


def group_norm_vjp(cotangent, x, num_groups, mean, rstd, weight=None):
    """The gradients of `normal_oracles.group_norm`."""
    items, channels, *space = np.shape(x)
    view = items, num_groups, channels // num_groups, lengths(space, range(len(space)))
    along = {
        "statistics": lambda s: s[:, :, None, None],
        "weight": lambda w: w.reshape(1, *view[1:3], 1),
    }
    return _normal(cotangent, x, mean, rstd, weight, view, along, (2, 3), (0, 3))


def _channels(ndim, before):
    """What brings an array with channels last to x, with `before` axes before the channels."""
    return lambda part: part.reshape((1,) * (1 - before) + part.shape + (1,) * (ndim - 2))


def instance_norm_vjp(cotangent, x, mean, rstd, weight=None, use_input_stats=True):
    """The gradients of `normal_oracles.instance_norm`."""
    ndim = np.ndim(x)
    space = tuple(range(2, ndim))
    along = {"statistics": _channels(ndim, 1), "weight": _channels(ndim, 0)}
    axes = space if use_input_stats else None
    return _normal(cotangent, x, mean, rstd, weight, np.shape(x), along, axes, (0, *space))


def batch_norm_vjp(cotangent, x, mean, rstd, weight=None, training=False):
    """The gradients of `normal_oracles.batch_norm`."""
    ndim = np.ndim(x)
    rest = (0, *range(2, ndim))
    along = dict.fromkeys(("statistics", "weight"), _channels(ndim, 0))
    axes = rest if training else None
    return _normal(cotangent, x, mean, rstd, weight, np.shape(x), along, axes, rest)


def statistics(op, x, dtype="f8", **keywords):
    """Mean and rstd in the shapes, and by default the dtype, of the forward operation."""
    normal = getattr(normal_oracles, op)(x, **keywords)
    normal = normal if isinstance(normal, normal_oracles.Normal) else normal[0]
    shape, parts = np.shape(x), (normal.mean, normal.rstd)
    if op == "group_norm":
        groups = keywords["num_groups"]
        if shape[1] == 0:
            parts = (np.full((shape[0], groups), np.nan) for _ in parts)
        parts = (part[:, :: max(shape[1] // groups, 1)] for part in parts)
        parts = (part.reshape(shape[0], groups) for part in parts)
    elif op == "instance_norm":
        kept = shape[:2] + (1,) * (len(shape) - 2)
        parts = (np.broadcast_to(part, kept).reshape(shape[:2]) for part in parts)
    elif op == "batch_norm":
        parts = (part.reshape(shape[1:2]) for part in parts)
    with np.errstate(**_QUIET):
        return tuple(part.astype(dtype) for part in parts)


def normalize_vjp(cotangent, x, ord=2, axis=-1, eps=1e-12):
    """The gradient of `normal_oracles.normalize`.

    y = x / N changes with x_j by 1 / N at j, and through the norm N:

        dx_j = g_j / N - dN/dx_j · Σ g x / N²

    dN/dx_j is sign(x_j), x_j / N, or sign(x_j) shared among the numbers that are the largest. A
    complex y counts as its two parts. Where eps is above the norm it is a constant.
    """
    dtype = result_dtype(x)
    g, x = converted(cotangent, x), wide(x)
    axes = axes_of(axis, x.ndim)
    with np.errstate(**_QUIET):
        magnitude = np.hypot(x.real, x.imag) if x.dtype.kind == "c" else np.abs(x)
        if ord == 1:
            norm = np.sum(magnitude, axis=axes, keepdims=True)
            slope = np.sign(x)
        elif ord == 2:
            norm = np.sqrt(np.sum(magnitude * magnitude, axis=axes, keepdims=True))
            slope = x / norm
        else:
            norm = np.max(magnitude, axis=axes, keepdims=True, initial=0)
            largest = magnitude == norm
            slope = np.where(largest, np.sign(x), 0) / np.sum(largest, axis=axes, keepdims=True)
        constant = norm < WIDE(eps)
        size = np.where(constant, WIDE(eps), norm)
        slope = np.where(constant, 0, slope)
        y = x / size
        inner = np.sum((g * np.conj(y)).real, axis=axes, keepdims=True)
        total = np.sum(np.abs(g) * np.abs(y), axis=axes, keepdims=True)
        share = slope * inner
        if ord not in (1, 2):  # what is not the largest has no part in the norm, be it NaN
            share = np.where(largest | np.isnan(norm), share, 0)
        dx = np.where(constant, g / size, (g - share) / size)
        mass = np.sum(np.abs(g), axis=axes, keepdims=True)
    return Scaled(dx, np.abs(g), np.abs(slope), total, mass, size, lengths(x.shape, axes), dtype)


def softmax_vjp(cotangent, result, axis=-1):
    """The gradient of softmax: dy_i/dx_j = y_i ((i = j) - y_j)."""
    g, y = converted(cotangent, result), wide(result)
    axes = axes_of(axis, y.ndim)
    with np.errstate(**_QUIET):
        terms = g * y
        dx = terms - y * np.sum(terms, axis=axes, keepdims=True)
        total = np.sum(np.abs(terms), axis=axes, keepdims=True)
    parts = np.abs(g), np.abs(y), total, np.zeros_like(g)
    return Softmaxed(dx, *parts, lengths(y.shape, axes), result_dtype(result))


def log_softmax_vjp(cotangent, result, axis=-1):
    """The gradient of log_softmax: dy_i/dx_j = (i = j) - exp(y_j)."""
    g, y = converted(cotangent, result), wide(result)
    axes = axes_of(axis, y.ndim)
    with np.errstate(**_QUIET):
        share = np.exp(y)
        dx = g - share * np.sum(g, axis=axes, keepdims=True)
        total = np.sum(np.abs(g), axis=axes, keepdims=True)
    parts = np.abs(g), share, total, np.zeros_like(g)
    return Softmaxed(dx, *parts, lengths(y.shape, axes), result_dtype(result))


def logsumexp_vjp(cotangent, x, result, axis=-1, *, keepdims=False):
    """The gradient of logsumexp: d result/dx_j = exp(x_j - result)."""
    value = wide(x)
    axes = axes_of(axis, value.ndim)
    g, result = converted(cotangent, x), wide(result)
    if not keepdims:
        g, result = (np.expand_dims(part, axes) for part in (g, result))
    with np.errstate(**_QUIET):
        apart = value - result
        share = np.exp(apart)
        dx = g * share
    parts = np.abs(g), share, WIDE(0), np.abs(apart)
    return Softmaxed(dx, *parts, lengths(value.shape, axes), result_dtype(x))


def slope(loss, place, direction, step, noise):
    """The derivative of a loss along a direction, and a bound on its error.

    Two central differences, of the steps h and h/2. Each is off by c · h² and by what the loss is
    off, `noise`, over the step: together they differ by 3/4 c · h² and up to 3 · noise / h, and
    the finer one is off by 1/4 c · h² and up to 2 · noise / h.
    """
    step = WIDE(step)
    coarse, fine = (
        (loss(place + h * direction) - loss(place - h * direction)) / (2 * h)
        for h in (step, step / 2)
    )
    return fine, np.abs(coarse - fine) + 4 * noise / step
